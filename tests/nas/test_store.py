"""The store: what it keeps, what it refuses to open, and one driver per study."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.costs import Costs
from nas.evaluation import Evaluation, Latency
from nas.store import VERSION, Store
from primitives.core.errors import InvalidInput

LATENCY = Latency(2.5, 2.25, 2.75, 60, "rig-1")
EVALUATION = Evaluation(
    arch_key="aaaaaaaaaaaa",
    dice=0.1 + 0.2,
    iou=1 / 3,
    params=315_451,
    macs=17_000_000,
    memory_mib=1.25,
    latency=LATENCY,
    epochs=3,
    full_epochs=8,
    best_epoch=2,
    steps=60,
    train_seconds=4.5,
    seed=2**32 - 1,
    weights="aaaaaaaaaaaa-bbbbbbbbbbbb.safetensors",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store", create=True)
    yield opened
    opened.engine.dispose()


def test_a_store_is_created_and_opened_again(store: Store) -> None:
    store.add_costs("a", 64, Costs(1, 2, 0.5))
    again = Store(store.folder)
    assert again.costs("a", 64) == Costs(1, 2, 0.5)
    assert again.path("weights", "x").parent.is_dir()
    assert again.url == f"sqlite:///{store.folder / 'nas.db'}"
    again.engine.dispose()


def test_a_store_is_not_created_unasked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"no store in {tmp_path / 'none'}: "):
        Store(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="exists and is not a store of nas"):
        Store(tmp_path, create=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="exists and is not a store of nas"):
        Store(tmp_path / "file", create=True)


def foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE patients (name TEXT)")
    connection.close()


def no_database(path: Path) -> None:
    path.write_bytes(b"not a database at all\n" * 200)


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_database, "nas.db is not a store of nas; name another --store"),
        (no_database, "nas.db cannot be read as a store: file is not a database"),
    ],
)
def test_a_foreign_database_is_refused(
    tmp_path: Path, make: object, message: str, create: bool
) -> None:
    assert callable(make)
    make(tmp_path / "nas.db")
    with pytest.raises(InvalidInput, match=message):
        Store(tmp_path, create=create)
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_a_newer_version_is_refused(store: Store) -> None:
    with sqlite3.connect(store.database) as connection:
        connection.execute("UPDATE nas_store SET version = ?", (VERSION + 1,))
    connection.close()
    message = f"is of version {VERSION + 1}, this program reads up to {VERSION}; update it"
    with pytest.raises(InvalidInput, match=message):
        Store(store.folder)


def test_evaluations_are_kept_to_the_bit_under_arch_and_recipe(store: Store) -> None:
    assert store.evaluation(EVALUATION.arch_key, "r1") is None
    store.add_evaluation(EVALUATION, "r1", "study", 7)
    known = store.evaluation(EVALUATION.arch_key, "r1")
    assert known is not None
    assert (known.evaluation, known.study, known.trial) == (EVALUATION, "study", 7)
    assert store.evaluation(EVALUATION.arch_key, "r2") is None
    assert store.evaluation("other", "r1") is None


def test_an_evaluation_without_latency_and_budget_survives_json() -> None:
    data = {**EVALUATION.to_json(), "latency": None}
    assert Evaluation.from_json(data).latency is None
    assert Evaluation.from_json(EVALUATION.to_json()) == EVALUATION
    assert not EVALUATION.full_budget
    assert Evaluation.from_json({**data, "epochs": 8}).full_budget


def test_latencies_belong_to_arch_size_and_rig(store: Store) -> None:
    store.add_latency("a", 64, LATENCY)
    assert store.latency("a", 64, "rig-1") == LATENCY
    assert store.latency("a", 64, "rig-2") is None
    assert store.latency("a", 96, "rig-1") is None
    newer = Latency(3.0, 2.9, 3.1, 80, "rig-1")
    store.add_latency("a", 64, newer)
    assert store.latency("a", 64, "rig-1") == newer


def test_rigs_and_costs_are_kept(store: Store) -> None:
    assert store.rig("rig-1") is None
    store.add_rig("rig-1", {"cpu": "x", "threads": 2})
    assert store.rig("rig-1") == {"cpu": "x", "threads": 2}
    costs = Costs(3_757_667, 3_066_650_000_000, 0.1 + 0.2)
    store.add_costs("a", 64, costs)
    assert store.costs("a", 64) == costs
    assert store.costs("a", 96) is None


def test_learning_curves_come_back_by_epoch_and_are_overwritten(store: Store) -> None:
    def row(epoch: int, dice: float) -> dict[str, float]:
        facts = {"train_loss": 0.5, "val_loss": 0.25, "seconds": 1.5}
        return {"epoch": epoch, "dice": dice, **facts}

    store.add_epochs("s", 0, [row(2, 0.5), row(1, 0.25)])
    store.add_epochs("s", 1, [row(1, 0.75)])
    store.add_epochs("s", 0, [row(2, 0.625)])
    curve = store.epochs("s", 0)
    assert [(r["epoch"], r["dice"]) for r in curve] == [(1, 0.25), (2, 0.625)]
    assert {k: curve[0][k] for k in row(1, 0.25)} == row(1, 0.25)
    assert store.epochs("s", 2) == []


def test_readers_work_beside_a_writer(store: Store) -> None:
    reader = Store(store.folder)
    with store.engine.begin() as writing:
        writing.exec_driver_sql("INSERT INTO nas_costs VALUES ('a', 64, 1, 2, 3.0)")
        assert reader.costs("a", 64) is None
    assert reader.costs("a", 64) == Costs(1, 2, 3.0)
    reader.engine.dispose()


HOLD = """
import sys
from pathlib import Path
from nas.store import Store
with Store(Path(sys.argv[1])).driving("s"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_is_refused_until_the_first_dies(store: Store) -> None:
    command = [sys.executable, "-c", HOLD, str(store.folder)]
    assert not store.is_driven("s")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        message = f"'s' is being searched by process {holder.pid}; wait for it"
        with pytest.raises(InvalidInput, match=message), store.driving("s"):
            pytest.fail("two drivers held one study")
        assert store.is_driven("s")
        with store.driving("another"):
            assert store.is_driven("another")
        holder.kill()
    assert not store.is_driven("s")
    with store.driving("s"):
        pass
