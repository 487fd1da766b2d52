import pytest

from nas.data import DataSpec, Prepared, prepare
from nas.handle import StudyHandle
from tests.dashboard.studies import write_study


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(DataSpec("phantom", 32), tmp_path_factory.mktemp("cache"), seed=0)


@pytest.fixture(scope="session")
def handle(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> StudyHandle:
    """A study to look at only; tests that write make their own."""
    return write_study(tmp_path_factory.mktemp("stores") / "read", prepared)


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> StudyHandle:
    """A study of three objectives to look at only."""
    folder = tmp_path_factory.mktemp("stores") / "three"
    return write_study(folder, prepared, objectives=("dice", "params", "latency"))
