"""What every test runs under: one thread, slow tests on request, GPU tests where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `nas` does, before numpy is imported

import pytest
import torch

from nas.data import DataSpec, Prepared, prepare
from nas.handle import StudyHandle
from tests.dashboard.studies import write_study
from tests.processes import Search, searching

torch.set_num_threads(1)

LONGEST = ("test_end_to_end.py", "test_interruptions.py")  # files that begin first


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    """A folder to search in, with images."""
    with searching(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(DataSpec("phantom", 32), tmp_path_factory.mktemp("cache"), seed=0)


@pytest.fixture(scope="session")
def handle(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> StudyHandle:
    """A study called demo in a store called read, to look at only."""
    return write_study(tmp_path_factory.mktemp("stores") / "read", prepared)


@pytest.fixture
def inside(handle: StudyHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the folder that the store of `handle` lies in."""
    monkeypatch.chdir(handle.store.folder.parent)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption(
        "--points",
        type=int,
        default=10,
        help="random points per space in the slow tests, and a mutation of each; a sixth in 3D",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {
        "slow": None if config.getoption("--slow") else "slow; run it with --slow",
        "gpu": None if torch.cuda.is_available() else "needs a CUDA GPU",
    }
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        for marker, reason in skips.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
