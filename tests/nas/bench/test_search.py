"""The comparison of samplers: its figures by hand, and a small run of the command."""

import json
from pathlib import Path

import numpy as np
import pytest

from dashboard.shares import shares_figure
from nas.bench.search import Replay, _summary, _to_match, check_methods
from primitives.core.errors import InvalidInput
from tests.commands import run, run_json


def replay_of(*shares: float) -> Replay:
    return Replay(np.array(shares), seconds=2.0, infeasible=1, repeats=0)


def test_trainings_to_match_are_counted_per_seed() -> None:
    ours = [replay_of(0.1, 0.5, 0.9), replay_of(0.3, 0.4, 0.5), replay_of(0.2, 0.2, 0.2)]
    theirs = [replay_of(0.1, 0.2, 0.5), replay_of(0.1, 0.1, 0.2), replay_of(0.1, 0.2, 0.3)]
    assert _to_match(ours, theirs) == {"median": 2, "worst": None, "each": [2, 1, None]}
    assert _to_match(ours[:2], theirs[:2]) == {"median": 1.5, "worst": 2, "each": [2, 1]}


def test_shares_are_medians_over_seeds() -> None:
    found = _summary([replay_of(*[0.2] * 10), replay_of(*[0.4] * 10), replay_of(*[0.9] * 10)])
    assert (found["share"], found["mean"]) == ({10: 0.4}, {10: 0.5})
    assert (found["seconds_per_proposal"], found["infeasible"]) == (0.2, 3)


def test_the_command_prints_the_same_for_the_same_seeds() -> None:
    command = "bench search --samplers known-cost,random,stratified --seeds 1 --trials 15 --tight"
    found = run_json(command)
    assert set(found["samplers"]) == {"known-cost", "random", "stratified"}
    assert set(found["samplers"]["random"]["share"]) == {"10"}
    for name in ("known-cost", "stratified"):  # both know the limit
        assert (found["samplers"][name]["infeasible"], found["samplers"][name]["repeats"]) == (0, 0)
    assert found["samplers"]["random"]["infeasible"] > 10
    assert set(found["to_match"]["random"]) == {"median", "worst", "each"}
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
    refused = run(f"bench report {kept} --figure {tmp_path / 'found.doc'}")
    assert refused.exit_code == 2
    assert "a figure must end in .html, .png, .svg, .pdf, got 'found.doc'" in refused.stderr
    page.write_text("no JSON")
    assert run(f"bench report {page}").exit_code == 2


def test_the_figure_draws_medians_and_quartiles() -> None:
    shares = [replay_of(0.1, 0.2), replay_of(0.3, 0.4), replay_of(0.5, 0.9)]
    found = {"task": {"name": "synthetic", "noise": 0.0, "tight": True}, "seeds": [0, 1, 2]}
    figure = shares_figure(found | {"samplers": {"random": _summary(shares)}})
    band, line = figure.data
    assert (list(line.x), list(line.y), line.name) == ([1, 2], [0.3, 0.4], "random")
    assert list(band.y) == [0.4, 0.65, 0.3, 0.2]


def test_ablations_are_searches_of_their_own() -> None:
    names = ("known-cost", "random-start", "costs-unknown", "costs-no-inputs")
    found = run_json(f"bench search --samplers {','.join(names)} --seeds 1 --trials 12 --tight")
    curves = {name: found["samplers"][name]["curve"][1] for name in names}
    assert len({tuple(curve) for curve in curves.values()}) == len(names)
    rows = found["samplers"]
    # Only who knows costs keeps a limit on them.
    assert [rows[name]["infeasible"] > 0 for name in names] == [False, True, True, False]


@pytest.mark.parametrize(
    ("task", "title"),
    [
        ({"name": "synthetic", "noise": 0.02, "tight": True}, "noise 0.02, tight, 1 seeds"),
        ({"name": "tabular", "trainings": 146, "tight": False}, "146 real trainings, 1 seeds"),
        ({"name": "live", "data": "cells", "tight": False}, "trainings on cells, 1 seeds"),
    ],
)
def test_a_figure_says_what_was_searched(task: dict[str, object], title: str) -> None:
    rows = {"random": {"curve": [[0.1], [0.2], [0.3]]}}
    figure = shares_figure({"task": task, "seeds": [0], "samplers": rows})
    assert title in figure.layout.title.text
