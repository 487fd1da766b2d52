"""The comparison of samplers: its figures by hand, and a small run of the command."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import optuna
import pytest

from nas.bench.grounds import Synthetic
from nas.bench.search import METHODS, bench_samplers, check_methods
from nas.bench.synthetic import Instance
from primitives.core.errors import InvalidInput
from tests.commands import run, run_json


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the best that is known in less than seconds."""
    monkeypatch.setattr("nas.bench.synthetic._GENERATIONS", 40)


def test_the_command_prints_the_same_for_the_same_seeds() -> None:
    command = "bench search --samplers known-cost,random,stratified --seeds 1 --trials 15 --tight"
    found = run_json(command)
    assert set(found["samplers"]) == {"known-cost", "random", "stratified"}
    assert set(found["samplers"]["random"]["share"]) == {"10"}
    for name in ("known-cost", "stratified"):  # both know the limit
        assert (found["samplers"][name]["infeasible"], found["samplers"][name]["repeats"]) == (0, 0)
    assert found["samplers"]["random"]["infeasible"] > 10
    assert set(found["to_match"]["random"]) >= {"median", "worst", "each"}
    again = run_json(command)
    assert again["samplers"]["known-cost"]["share"] == found["samplers"]["known-cost"]["share"]


def test_without_json_it_prints_tables() -> None:
    text = run("bench search --samplers random --seeds 1 --trials 10").stdout
    assert text.split()[:5] == ["Share", "of", "the", "best", "hypervolume"]
    assert "sampler     10  s/proposal  infeasible  repeats   claims  partly\n" in text


def test_unknown_samplers_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"samplers must be some of .*, got 'tpee'"):
        check_methods(["tpee"])


def test_a_warm_start_needs_an_earlier_search() -> None:
    refused = run("bench search --samplers warm-start --seeds 1 --trials 5")
    assert refused.exit_code == 2
    assert "sampler 'warm-start' needs the trainings of an earlier search" in refused.stderr
    found = run_json("bench search --samplers warm-start --seeds 1 --trials 10 --earlier 12")
    assert found["task"]["earlier"] == 12
    assert 0 < found["samplers"]["warm-start"]["share"]["10"] < 1


def test_a_kept_comparison_is_printed_and_drawn(tmp_path: Path) -> None:
    kept, page = tmp_path / "found.json", tmp_path / "found.html"
    kept.write_text(run("bench search --samplers random --seeds 2 --trials 10 --json").stdout)
    row = json.loads(kept.read_text())["samplers"]["random"]
    text = run(f"bench report {kept} --figure {page}").stdout
    assert f"random   {row['share']['10']:.3f}" in text
    low, middle, high = row["curve"]
    assert middle[-1] == row["share"]["10"]
    assert [low[-1], high[-1]] == row["quartiles"]["10"]
    assert '"name":"random"' in page.read_text()
    # Trainings of this problem take a minute each, so that time is trainings and a bit.
    assert row["minutes"] == {"5": row["clock"][2][49], "10": row["share"]["10"]}
    assert "\nsampler      5     10\n" in text
    refused = run(f"bench report {kept} --figure {tmp_path / 'found.doc'}")
    assert refused.exit_code == 2
    assert "a figure must end in .html, .png, .svg, .pdf, got 'found.doc'" in refused.stderr
    page.write_text("no JSON")
    assert run(f"bench report {page}").exit_code == 2


def test_ablations_are_searches_of_their_own() -> None:
    names = ("known-cost", "random-start", "costs-unknown", "costs-no-inputs")
    found = run_json(f"bench search --samplers {','.join(names)} --seeds 1 --trials 12 --tight")
    curves = {name: found["samplers"][name]["curve"][1] for name in names}
    assert len({tuple(curve) for curve in curves.values()}) == len(names)
    rows = found["samplers"]
    # Only who knows costs keeps a limit on them.
    assert [rows[name]["infeasible"] > 0 for name in names] == [False, True, True, False]


def test_stratified_points_are_spread_evenly_over_log_parameters() -> None:
    def crowded(name: str) -> float:
        ground = Synthetic(Instance(100))
        study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=METHODS[name](100, ground.problem())
        )
        for _ in range(24):
            trial = study.ask(dict(ground.space))
            study.tell(trial, (0.5, ground.costs(trial.params)[0]))
        sizes = np.sort([np.log(ground.costs(t.params)[0]) for t in study.trials])
        return float(np.diff(sizes).max() / (sizes[-1] - sizes[0]))

    # 23 gaps of 1/23 = 0.043 would be even.
    assert crowded("stratified") < 0.08 < crowded("random")


def test_a_search_that_nearly_all_is_refused_to_gives_up() -> None:
    class Narrow(Synthetic):
        """Can train what is asked for first."""

        @cached_property
        def _first(self) -> set[tuple[object, ...]]:
            return set()

        def knows(self, point: Mapping[str, object]) -> bool:
            if len(self._first) < 2:
                self._first.add(self.key(point))
            return self.key(point) in self._first

    found = bench_samplers(
        ["random"], [0], 4, [(Narrow(Instance(0)), None)], {}, progress=lambda *_: None
    )
    row = found["samplers"]["random"]
    assert row["refused"] == 50 * 4
    assert 0 < row["curve"][1][1] == row["curve"][1][3]
