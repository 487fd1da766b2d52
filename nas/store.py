"""What is written where. A store is a folder; one SQLite file holds Optuna's tables and ours.

    nas.db          studies, trials (Optuna's schema) and the tables below
    weights/        ARCHKEY-RECIPEKEY.safetensors, best epoch of each finished training
    checkpoints/    ARCHKEY-RECIPEKEY.pt, last epoch of each unfinished training
    cache/          decoded images
    artifacts/      pictures that the dashboard shows
    latency/        RIG-SIZE-KEY.json, how fast a device is (`nas.latency.calibration`)
    locks/          one file per study; held while a driver runs

Only the driver of a search writes results to the database; workers hand theirs to it. The dashboard
adds notes and pictures to finished trials.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nas.costs import Costs
from nas.evaluation import Evaluation, Latency
from primitives.core.errors import InvalidInput

VERSION = 1
_FOLDERS = ("weights", "checkpoints", "cache", "artifacts", "latency", "locks")

_meta = sa.MetaData()
_version = sa.Table("nas_store", _meta, sa.Column("version", sa.Integer, primary_key=True))
_evaluations = sa.Table(
    "nas_evaluations",
    _meta,
    sa.Column("arch_key", sa.String, primary_key=True),
    sa.Column("recipe_key", sa.String, primary_key=True),
    sa.Column("study", sa.String),
    sa.Column("trial", sa.Integer),
    sa.Column("created", sa.Float),
    sa.Column("value", sa.Text),
)
_latencies = sa.Table(
    "nas_latencies",
    _meta,
    sa.Column("arch_key", sa.String, primary_key=True),
    sa.Column("size", sa.Integer, primary_key=True),
    sa.Column("rig", sa.String, primary_key=True),
    sa.Column("value", sa.Text),
)
_rigs = sa.Table(
    "nas_rigs",
    _meta,
    sa.Column("rig", sa.String, primary_key=True),
    sa.Column("value", sa.Text),
)
_costs = sa.Table(
    "nas_costs",
    _meta,
    sa.Column("arch_key", sa.String, primary_key=True),
    sa.Column("size", sa.Integer, primary_key=True),
    sa.Column("params", sa.Integer),
    sa.Column("macs", sa.Integer),
    sa.Column("memory_mib", sa.Float),
)
_epochs = sa.Table(
    "nas_epochs",
    _meta,
    sa.Column("study", sa.String, primary_key=True),
    sa.Column("trial", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("train_loss", sa.Float),
    sa.Column("val_loss", sa.Float),
    sa.Column("dice", sa.Float),
    sa.Column("seconds", sa.Float),
)


@dataclass(frozen=True, slots=True)
class Known:
    """A kept evaluation and the trial that it was measured by."""

    evaluation: Evaluation
    study: str
    trial: int


class Store:
    """A store folder, opened.

    Args:
        folder: the store.
        create: make it if it does not exist; otherwise that is an error.

    Raises:
        InvalidInput: it does not exist, is not a store of ours, or is of a newer version.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder.absolute()
        self.database = self.folder / "nas.db"
        if not self.database.exists():
            check_folder(self.folder, create=create)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(self.url, connect_args={"timeout": 60})
        self._check_version()
        sa.event.listen(self.engine, "connect", set_pragmas)
        self._create_tables()
        for name in _FOLDERS:  # after the check, which may find that the folder is not ours
            (self.folder / name).mkdir(exist_ok=True)

    @property
    def url(self) -> str:
        """The database as SQLAlchemy and Optuna name it."""
        return f"sqlite:///{self.database}"

    def _check_version(self) -> None:
        """Only read: what is not ours stays as it is."""
        found = None
        try:
            with self.engine.connect() as connection:
                tables = sa.inspect(connection).get_table_names()
                if tables and "nas_store" not in tables:
                    raise InvalidInput(
                        f"{self.database} is not a store of nas; name another --store"
                    )
                if tables:
                    found = connection.execute(sa.select(_version.c.version)).scalar()
        except sa.exc.DatabaseError as error:
            raise InvalidInput(f"{self.database} cannot be read as a store: {error.orig}") from None
        finally:
            self.engine.dispose()  # its connection has no pragmas, and keeps files of SQLite's open
        if found is not None and found > VERSION:
            raise InvalidInput(
                f"store {self.folder} is of version {found}, this program reads up to {VERSION}; "
                "update it"
            )

    def _create_tables(self) -> None:
        with self.engine.begin() as connection:
            _version.create(connection, checkfirst=True)  # first: it marks the database as ours
            _meta.create_all(connection)
            if connection.execute(sa.select(_version.c.version)).scalar() is None:
                connection.execute(_version.insert().values(version=VERSION))

    def path(self, kind: str, name: str) -> Path:
        """Return the path of a file in one of the store's folders."""
        assert kind in _FOLDERS, kind
        return self.folder / kind / name

    @contextmanager
    def driving(self, study: str) -> Iterator[None]:
        """Hold a study for one driver; the kernel lets go when the process dies.

        Raises:
            InvalidInput: another driver holds it.
        """
        path = self.path("locks", f"{study}.lock")
        with open(path, "a+") as file:
            if not _lock(file.fileno(), fcntl.LOCK_EX, seconds=1.0):  # `is_driven` holds it shortly
                file.seek(0)
                raise InvalidInput(
                    f"a study has one search at a time, {study!r} is being searched by process "
                    f"{file.read().strip()}; wait for it or use another --study name"
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def is_driven(self, study: str) -> bool:
        """Whether a driver holds the study now."""
        path = self.path("locks", f"{study}.lock")
        if not path.exists():
            return False
        with open(path) as file:
            return not _lock(file.fileno(), fcntl.LOCK_SH)

    def evaluation(self, arch_key: str, recipe_key: str) -> Known | None:
        """Return what is known of an arch under a recipe, from any study of the store."""
        found = self._one(_evaluations, arch_key=arch_key, recipe_key=recipe_key)
        if found is None:
            return None
        value = Evaluation.from_json(json.loads(found["value"]))
        return Known(value, found["study"], found["trial"])

    def add_evaluation(
        self, evaluation: Evaluation, recipe_key: str, study: str, trial: int
    ) -> None:
        """Keep a finished training."""
        self._put(
            _evaluations,
            arch_key=evaluation.arch_key,
            recipe_key=recipe_key,
            study=study,
            trial=trial,
            created=time.time(),
            value=json.dumps(evaluation.to_json()),
        )

    def latency(self, arch_key: str, size: int, rig: str) -> Latency | None:
        """Return the latency of an arch measured on a rig."""
        found = self._one(_latencies, arch_key=arch_key, size=size, rig=rig)
        return Latency.from_json(json.loads(found["value"])) if found else None

    def add_latency(self, arch_key: str, size: int, latency: Latency) -> None:
        """Keep a measured latency."""
        value = json.dumps(latency.to_json())
        self._put(_latencies, arch_key=arch_key, size=size, rig=latency.rig, value=value)

    def add_rig(self, key: str, facts: Mapping[str, Any]) -> None:
        """Keep the description of a machine under its key."""
        self._put(_rigs, rig=key, value=json.dumps(dict(facts)))

    def rig(self, key: str) -> Mapping[str, Any] | None:
        """Return the description of a machine."""
        found = self._one(_rigs, rig=key)
        return dict(json.loads(found["value"])) if found else None

    def costs(self, arch_key: str, size: int) -> Costs | None:
        """Return the costs of an arch at an input size."""
        found = self._one(_costs, arch_key=arch_key, size=size)
        return Costs(found["params"], found["macs"], found["memory_mib"]) if found else None

    def add_costs(self, arch_key: str, size: int, costs: Costs) -> None:
        """Keep costs."""
        self._put(
            _costs,
            arch_key=arch_key,
            size=size,
            params=costs.params,
            macs=costs.macs,
            memory_mib=costs.memory_mib,
        )

    def add_epochs(self, study: str, trial: int, rows: Sequence[Mapping[str, float]]) -> None:
        """Keep rows of a learning curve: epoch, train_loss, val_loss, dice, seconds."""
        with self.engine.begin() as connection:
            for row in rows:
                values = {"study": study, "trial": trial, **row}
                connection.execute(sa.insert(_epochs).prefix_with("OR REPLACE").values(values))

    def epochs(self, study: str, trial: int) -> list[dict[str, float]]:
        """Return the learning curve of a trial, by epoch."""
        query = (
            sa.select(_epochs)
            .where(_epochs.c.study == study, _epochs.c.trial == trial)
            .order_by(_epochs.c.epoch)
        )
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _one(self, table: sa.Table, **keys: Any) -> Mapping[str, Any] | None:
        query = sa.select(table).where(*(table.c[k] == v for k, v in keys.items()))
        with self.engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return dict(row) if row else None

    def _put(self, table: sa.Table, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.insert(table).prefix_with("OR REPLACE").values(values))


def set_pragmas(connection: Any, _record: object) -> None:
    """Let readers work beside the writer: WAL, as on every connection to the database."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def check_folder(folder: Path, *, create: bool = True) -> None:
    """Check that a folder without a database can become a store.

    Raises:
        InvalidInput: it holds other things, or no store is to be made.
    """
    if not create:
        raise InvalidInput(f"no store in {folder}: `nas search` makes one, --store names another")
    foreign = not folder.is_dir() or {f.name for f in folder.iterdir()} - {*_FOLDERS}
    if folder.exists() and foreign:
        raise InvalidInput(f"{folder} exists and is not a store of nas; name another --store")


def _lock(file: int, how: int, *, seconds: float = 0.0) -> bool:
    """Take a kernel lock; False if another process still holds it after some seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        else:
            return True
