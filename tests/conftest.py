"""What every test runs under: one thread, slow tests on request, GPU tests where there is one."""

import pytest
import torch

from nas.data import DataSpec, Prepared, prepare
from nas.handle import StudyHandle
from tests.dashboard.studies import write_study

torch.set_num_threads(1)


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
        default=20,
        help="random points per space in the slow tests, and a mutation of each; a sixth in 3D",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {
        "slow": None if config.getoption("--slow") else "slow; run it with --slow",
        "gpu": None if torch.cuda.is_available() else "needs a CUDA GPU",
    }
    items.sort(key=lambda item: item.path.name != "test_end_to_end.py")  # the longest file first
    for item in items:
        for marker, reason in skips.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
