"""The process that trains: one candidate at a time, reported to the driver every few seconds."""

import faulthandler
import json
import os
import time
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from ray import tune

from nas.costs import Costs
from nas.data import Data, open_data
from nas.evaluation import Evaluation, Latency
from nas.files import is_disk_full
from nas.inheritance.lineage import Parent
from nas.objectives import parse_limit
from nas.task import Task, TrainingFailed
from search_spaces.core.arch import Arch

if TYPE_CHECKING:
    from nas.evaluate import Candidate

_REPORT_SECONDS = 5.0


class Worker(tune.Trainable):
    """Trains the candidates that the driver sends, one after the other in one process.

    The config holds `task`, `arch`, `costs`, `latency`, `known`, `parent`, `rungs`, `timeout` and
    `hang_file`, all plain data. Nested results travel as JSON text, because Tune flattens
    dictionaries. After the epoch of a rung the driver decides whether the candidate goes on.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the process and begin the first candidate."""
        torch.set_num_threads(1)
        self._data: tuple[str, Data] | None = None
        self._candidate: Candidate | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last candidate, which may have been stopped, and begin the next."""
        self._end()
        self._config = new_config
        self._rungs = set(new_config["rungs"])
        self._reported = 0  # epochs; a continued training begins with those of its checkpoint
        self._began = time.time()
        return True

    def step(self) -> dict[str, Any]:
        """Work for a few seconds; a candidate's error is a result, so that the process lives on."""
        try:
            work = {"worker": os.getpid(), "began": self._began}
            return self._work() | work | {"ended": time.time()}
        except TrainingFailed as error:
            return self._failed(str(error), retry=False)
        except (torch.OutOfMemoryError, MemoryError) as error:
            return self._failed(f"out of memory: {error}", retry=True)
        except Exception as error:  # the worker's edge
            if is_disk_full(error):
                return self._failed(str(error), retry=True) | {"disk_full": True}
            return self._failed(f"{type(error).__name__}: {error}", retry=False) | {
                "traceback": traceback.format_exc()
            }

    def cleanup(self) -> None:
        """Stop the watch when the process ends."""
        self._end()

    def _work(self) -> dict[str, Any]:
        if self._candidate is None:
            self._watch()
            self._candidate = self._begin()
        candidate = self._candidate
        known = self._config["known"]
        if known is not None:
            evaluation = Evaluation.from_json(known | {"latency": candidate.latency().to_json()})
            return self._done(evaluation=json.dumps(evaluation.to_json()))
        limits = [limit for limit in self._limits() if limit.objective.name == "latency"]
        if limits and candidate.training.epoch == 0:
            latency = candidate.latency()
            if any(limit.excess(latency.latency_ms) > 0 for limit in limits):
                return self._done(too_slow=json.dumps(latency.to_json()))
        self._train(candidate)
        rows = [asdict(epoch) for epoch in candidate.training.curve[self._reported :]]
        self._reported += len(rows)
        if candidate.done:
            return self._done(rows=rows, evaluation=json.dumps(candidate.finish().to_json()))
        return {"rows": rows, "done": False} | self._rung(candidate)

    def _train(self, candidate: "Candidate") -> None:
        """Train up to the next rung, for a few seconds at most."""
        start = time.perf_counter()
        while (
            not candidate.done
            and candidate.training.epoch not in self._rungs
            and time.perf_counter() - start < _REPORT_SECONDS
        ):
            candidate.run_epoch()

    def _rung(self, candidate: "Candidate") -> dict[str, Any]:
        epoch = candidate.training.epoch
        if epoch not in self._rungs:
            return {}
        self._rungs.remove(epoch)
        return {"rung": epoch, "rung_loss": candidate.settled_loss()}

    def _begin(self) -> "Candidate":
        from nas.evaluate import Candidate  # takes seconds, and a driver imports this file too

        config = self._config
        task = Task.from_json(config["task"])
        latency = Latency.from_json(config["latency"]) if config["latency"] else None
        data = self._open(task)
        costs = Costs(**config["costs"])
        parent = Parent.from_json(config["parent"]) if config["parent"] else None
        return Candidate(task, Arch.from_json(config["arch"]), costs, data, latency, parent)

    def _open(self, task: Task) -> Data:
        """Keep the images on the device between the candidates of a study."""
        if self._data is None or self._data[0] != task.prepared.cache:
            device = torch.device(task.study.device)
            self._data = (task.prepared.cache, open_data(task.prepared, device))
        return self._data[1]

    def _limits(self) -> list[Any]:
        return [parse_limit(text) for text in self._config["task"]["study"]["constraints"]]

    def _done(self, **result: Any) -> dict[str, Any]:
        self._end()
        return result | {"done": True}

    def _failed(self, reason: str, *, retry: bool) -> dict[str, Any]:
        return self._done(failed=reason, retry=retry)

    def _end(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        if self._candidate is not None:
            self._candidate.close()
            self._candidate = None

    def _watch(self) -> None:
        """End the process when a candidate hangs; it leaves a file that says where."""
        if self._config["timeout"] is not None:
            self._hang_file = open(self._config["hang_file"], "w")  # noqa: SIM115
            faulthandler.dump_traceback_later(
                self._config["timeout"], exit=True, file=self._hang_file
            )
