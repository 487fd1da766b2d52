import pytest

from nas.data import Prepared
from nas.handle import StudyHandle
from tests.dashboard.studies import write_study


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> StudyHandle:
    """A study of three objectives to look at only."""
    folder = tmp_path_factory.mktemp("stores") / "three"
    return write_study(folder, prepared, objectives=("dice", "params", "latency"))
