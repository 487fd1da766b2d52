"""Proposals on Ray Tune: resources, retries, time limit. The study decides, Tune only schedules."""

import errno
import json
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, RunConfig, TuneConfig, Tuner
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from nas.evaluation import Evaluation, Latency
from nas.settings import Run
from nas.study import Proposal, StudyDriver
from nas.task import Task
from nas.worker import Worker

_SUGGEST_SECONDS = 0.2  # results of workers wait for so long at most
_ATTEMPTS = 2


class Watcher:
    """Who is told of a search's progress; this one keeps silent."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Hear how many images are read."""

    def changed(self, driver: StudyDriver, running: Mapping[int, Mapping[str, float]]) -> None:
        """Hear of a change; `running` maps trials in training to the last row of their curve."""


def run_search(driver: StudyDriver, task: Task, run: Run, watcher: Watcher) -> None:
    """Train proposals until the study has its trials, the time is over or Ctrl-C.

    Raises:
        OSError: weights or checkpoints could not be written; the trials concerned can be continued.
        KeyboardInterrupt: Ctrl-C; trials in training can be continued.
    """
    folder = driver.store.folder / f"ray-{driver.study.name}"
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier, killed driver left
    folder.mkdir()
    searcher = ProposalSearcher(driver, task, run, watcher, folder)
    try:
        _start_ray(run)
        worker = tune.with_resources(Worker, {"cpu": 1, "gpu": run.gpus_per_trial})
        Tuner(
            worker,
            tune_config=TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name=driver.study.name,
                storage_path=str(folder),
                stop=searcher.stopper,
                verbose=0,
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    if searcher.fatal is not None:
        raise searcher.fatal
    if not (driver.ended or searcher.stopper.stop_all()):
        raise KeyboardInterrupt


class ProposalSearcher(Searcher):
    """Ask and tell between Tune and the study.

    Args:
        driver: of the study.
        task: what all candidates share.
        run: limits.
        watcher: told after every change.
        folder: for what lives no longer than the search.
    """

    def __init__(
        self, driver: StudyDriver, task: Task, run: Run, watcher: Watcher, folder: Path
    ) -> None:
        super().__init__(metric=None, mode=None)
        self.driver, self.task, self.run, self.watcher = driver, task, run, watcher
        self.folder = folder
        self.fatal: Exception | None = None
        self.stopper = _Stops(self, run.seconds)
        self._live: dict[str, Proposal] = {}  # Tune's trial id -> proposal
        self._worker_freed = False
        self._again: deque[Proposal] = deque()
        self._attempts: dict[int, int] = {}
        self._rows: dict[int, dict[str, float]] = {}
        self._stopped: set[int] = set()

    def set_search_properties(
        self, metric: object, mode: object, config: object, **_: object
    ) -> bool:
        """Accept Tune's settings; the study has its own objectives."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next candidate, None while there is none, FINISHED at the end."""
        if self.fatal is not None or self.stopper.stop_all():
            return str(Searcher.FINISHED)
        if len(self._live) > self.run.workers:  # one beyond those in training waits
            return None
        if self._worker_freed:  # it takes the one that waits first, then there is time to propose
            self._worker_freed = False
            return None
        proposal = None
        with self._fatal():
            proposal = self._next()
        if proposal is None:
            idle = not self._live and not self._again
            return str(Searcher.FINISHED) if self.driver.finished and idle else None
        self._live[trial_id] = proposal
        self._attempts[proposal.number] = self._attempts.get(proposal.number, 0) + 1
        self._show()
        return self._config(proposal)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the rows of a learning curve."""
        rows = result.get("rows")
        if rows and trial_id in self._live:
            number = self._live[trial_id].number
            self._rows[number] = rows[-1]
            with self._fatal():
                self.driver.store.add_epochs(self.driver.study.name, number, rows)
            self._show()

    def stops(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a result is that of a rung, and the candidate not good enough to go on."""
        if "rung" not in result or trial_id not in self._live:
            return False
        proposal, goes_on = self._live[trial_id], True
        with self._fatal():
            rung = result["rung"], result["rung_loss"]
            goes_on = self.driver.early_stop.goes_on(proposal.trial, *rung)
        if not goes_on:
            self._stopped.add(proposal.number)
        return not goes_on

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record how a candidate ended."""
        self.on_trial_result(trial_id, result or {})  # Tune hands the last rows only to this call
        proposal = self._live.pop(trial_id, None)
        if proposal is not None:
            self._worker_freed = True
            self._rows.pop(proposal.number, None)
            with self._fatal():
                self._finish(proposal, result or {}, error)
            self._show()

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the study is the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles the searcher beside its own state; ours is in the study

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        """End the search on an error of the driver's own; Tune would log some and go on."""
        try:
            yield
        except Exception as error:
            self.fatal = self.fatal or error

    def _next(self) -> Proposal | None:
        if self._again:
            return self._again.popleft()
        end = time.monotonic() + _SUGGEST_SECONDS
        while not self.driver.finished and time.monotonic() < end:
            proposal = self.driver.propose()
            if proposal is not None:
                return proposal
            self._show()
        return None

    def _config(self, proposal: Proposal) -> dict[str, Any]:
        return {
            "task": self.task.to_json(),
            "arch": proposal.arch.to_json(),
            "costs": asdict(proposal.costs),
            "latency": proposal.latency.to_json() if proposal.latency else None,
            "known": proposal.known.evaluation.to_json() if proposal.known else None,
            "parent": proposal.parent.to_json() if proposal.parent else None,
            "rungs": self.driver.early_stop.ahead(proposal.trial),
            "timeout": self.run.trial_timeout,
            "hang_file": str(self._hang_file(proposal)),
        }

    def _finish(self, proposal: Proposal, result: dict[str, Any], error: bool) -> None:
        if result.get("evaluation"):
            self._record(proposal, result)
        elif proposal.number in self._stopped:  # its checkpoint stays, it may be proposed again
            self.driver.stop(proposal, result["rung"])
        elif result.get("too_slow"):
            self.driver.reject(proposal, Latency.from_json(json.loads(result["too_slow"])))
        elif result.get("disk_full"):
            raise OSError(errno.ENOSPC, result["failed"])
        elif result.get("failed"):
            if "traceback" in result:
                proposal.trial.set_user_attr("traceback", result["traceback"])
            self._retry_or_fail(proposal, result["failed"], retry=result["retry"])
        elif error:
            self._retry_or_fail(proposal, self._why_dead(proposal), retry=True)
        # Otherwise the search was stopped: the trial stays as running, with its checkpoint.

    def _record(self, proposal: Proposal, result: dict[str, Any]) -> None:
        evaluation = Evaluation.from_json(json.loads(result["evaluation"]))
        work = {key: result[key] for key in ("worker", "began", "ended")}
        self.driver.record(proposal, evaluation, work)
        self.task.checkpoint(proposal.arch, proposal.parent).unlink(missing_ok=True)

    def _retry_or_fail(self, proposal: Proposal, reason: str, *, retry: bool) -> None:
        if retry and self._attempts[proposal.number] < _ATTEMPTS:
            self._again.append(proposal)
        else:
            self.driver.fail(proposal, reason)
            self.task.checkpoint(proposal.arch, proposal.parent).unlink(missing_ok=True)

    def _why_dead(self, proposal: Proposal) -> str:
        path = self._hang_file(proposal)
        if path.exists() and "Timeout" in path.read_text():
            return f"no result within {self.run.trial_timeout:g} s (--trial-timeout)"
        return "its process died: killed, or out of memory"

    def _hang_file(self, proposal: Proposal) -> Path:
        return self.folder / f"{proposal.number}.hang"

    def _show(self) -> None:
        running = {p.number: self._rows.get(p.number, {}) for p in self._live.values()}
        self.watcher.changed(self.driver, running)


class _Stops(Stopper):
    """End a trial at a rung, and the run when the time is over or the driver cannot go on."""

    def __init__(self, searcher: ProposalSearcher, seconds: float | None) -> None:
        self._searcher = searcher
        self._end = None if seconds is None else time.monotonic() + seconds

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._searcher.stops(trial_id, result)

    def stop_all(self) -> bool:
        """Whether to end the run."""
        late = self._end is not None and time.monotonic() > self._end
        return late or self._searcher.fatal is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _start_ray(run: Run) -> None:
    """Start Ray on this machine, or join the cluster that RAY_ADDRESS names; keep it quiet."""
    os.environ |= {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # Ray's 15 lets anything else disturb a latency measurement
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_MAX_PENDING_TRIALS_PG": str(run.workers + 1),  # workers start at once
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    joined = "RAY_ADDRESS" in os.environ
    ray.init(
        address=None if joined else "local",
        num_cpus=None if joined else run.workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
