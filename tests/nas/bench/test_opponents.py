"""Other libraries' samplers in a comparison: run where they are installed, refused elsewhere."""

import sys

import pytest

from tests.commands import run, run_json

LIBRARIES = {
    "qlognehvi": "botorch.optim.optimize_mixed",
    "syne-morea": "syne_tune",
    "primo": "neps",
}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", LIBRARIES)
def test_an_opponent_runs(sampler: str) -> None:
    pytest.importorskip(LIBRARIES[sampler])
    row = run_json(f"bench search --samplers {sampler} --seeds 1 --trials 11")["samplers"][sampler]
    low, middle, high = row["curve"]
    assert low == middle == high  # of one seed
    assert 0 <= middle[0] <= middle[-1] <= 1
    assert (row["partly"], row["refused"]) == (0, 0)


@pytest.mark.parametrize("sampler", LIBRARIES)
def test_an_opponent_that_is_not_installed_is_refused(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = LIBRARIES[sampler].partition(".")[0]
    for name in [name for name in sys.modules if name.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    refused = run(f"bench search --samplers {sampler} --seeds 1 --trials 2")
    assert refused.exit_code == 2
    assert f"sampler {sampler!r} needs" in refused.stderr
    assert "pip install" in refused.stderr
