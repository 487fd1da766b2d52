import math

import pytest

from dashboard.plots import (
    curves_figure,
    figures,
    front_figure,
    front_figures,
    hypervolume_figure,
)
from nas.handle import StudyHandle
from primitives.core.errors import InvalidInput
from tests.dashboard.studies import EPOCHS, LIMIT, RUNNING, SEEDS, STOPPED, Writer, write_study


def trace(figure, name):
    (found,) = [t for t in figure.data if t.name == name]
    return found


def points(trace):
    return set(zip(trace.x, trace.y, strict=True))


def brute_front(handle: StudyHandle) -> set[tuple[float, float]]:
    """Parameters and Dice of the trials that no trial beats."""
    done = {
        (t.evaluation.params, t.evaluation.dice)
        for t in handle.trials()
        if t.state in ("complete", "reused")
    }
    return {
        (params, dice)
        for params, dice in done
        if not any(p <= params and d >= dice and (p, d) != (params, dice) for p, d in done)
    }


def test_filled_points_are_the_front_and_pale_ones_the_rest(handle):
    figure = front_figure(handle, "params", "dice")
    assert points(trace(figure, "front")) == brute_front(handle)
    complete = {
        (t.evaluation.params, t.evaluation.dice) for t in handle.trials() if t.state == "complete"
    }
    assert points(trace(figure, "beaten")) == complete - brute_front(handle)


def test_step_line_joins_the_front_by_cost_and_stays_until_the_next(handle):
    line = trace(front_figure(handle, "params", "dice"), "front of the two")
    assert list(zip(line.x, line.y, strict=True)) == sorted(brute_front(handle))
    assert line.line.shape == "hv"


def test_costs_stand_on_logarithmic_axes_and_scores_do_not(handle):
    figure = front_figure(handle, "params", "dice")
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.yaxis.type is None
    low, high = (10**end for end in figure.layout.xaxis.range)
    trained = [t.evaluation.params for t in handle.trials() if t.evaluation]
    assert low < min(trained) <= max(trained) < LIMIT < high
    assert "100k" in figure.layout.xaxis.ticktext


def test_published_networks_are_marked_by_their_short_names(handle):
    published = trace(front_figure(handle, "params", "dice"), "published")
    assert tuple(published.text) == ("t", "s", "base")
    assert "text" in published.mode
    first = handle.trial(0).evaluation
    assert (published.x[0], published.y[0]) == (first.params, first.dice)


def test_infeasible_trials_are_grey_marks_along_the_cost_axis(handle):
    figure = front_figure(handle, "params", "dice")
    rug = trace(figure, "infeasible")
    infeasible = [t for t in handle.trials() if t.state == "infeasible"]
    assert len(infeasible) > 1
    assert list(rug.x) == [t.costs["params"] for t in infeasible]
    assert rug.yaxis == "y2"
    assert rug.marker.color == "#8A9099"
    assert rug.text[0] == "m"  # the published network that is too large


def test_infeasible_trials_stand_in_place_where_both_costs_are_known(tmp_path, prepared):
    study = write_study(tmp_path / "store", prepared, 4, ("dice", "params", "macs"))
    figure = front_figure(study, "params", "macs")
    costs = study.trial(SEEDS.index("ultralight-m")).costs
    marks = trace(figure, "infeasible")
    assert points(marks) == {(costs["params"], costs["macs"])}
    assert marks.marker.color == "#8A9099"
    assert figure.layout.yaxis.type == "log"


def test_stopped_trials_are_hollow_and_running_and_failed_ones_absent(handle):
    figure = front_figure(handle, "params", "dice")
    e = handle.trial(STOPPED).evaluation
    assert points(trace(figure, "stopped")) == {(e.params, e.dice)}
    assert trace(figure, "stopped").marker.symbol.endswith("open")
    running = handle.trial(RUNNING).costs["params"]
    assert not any(running in list(t.x) for t in figure.data)


def test_limit_is_drawn_where_the_logarithmic_axis_has_it(handle):
    figure = front_figure(handle, "params", "dice")
    (line,) = figure.layout.shapes
    (label,) = figure.layout.annotations
    assert line.x0 == LIMIT
    assert label.x == pytest.approx(math.log10(LIMIT))
    assert label.text == "limit 500k"


def test_hover_names_arch_widths_costs_and_epochs(handle):
    figure = front_figure(handle, "params", "dice")
    published = trace(figure, "published")
    arch = handle.trial(2).arch
    assert published.hovertext[2].split("<br>") == [
        "trial 2, ultralight-base",
        f"arch {arch.key}",
        "widths 16-32-64-96-160",
        f"315.5k params, {handle.trial(2).costs['macs'] / 1e6:.4g}M macs",
        f"Dice {handle.trial(2).evaluation.dice:.4f}, IoU {handle.trial(2).evaluation.iou:.4f}",
        "latency 5.15 ms",
        f"{EPOCHS} of {EPOCHS} epochs",
    ]


def test_every_pair_of_objectives_has_a_front_with_scores_upwards(three):
    assert set(front_figures(three)) == {
        ("params", "latency"),
        ("params", "dice"),
        ("latency", "dice"),
    }
    latency = front_figures(three)["latency", "dice"]
    assert latency.layout.xaxis.title.text == "latency (ms)"
    assert latency.layout.xaxis.type == "log"


def test_front_over_all_objectives_may_hold_more_than_the_front_of_two(tmp_path, prepared):
    handle = write_study(tmp_path / "store", prepared, 12, ("dice", "params", "macs"))
    figure = front_figure(handle, "params", "dice")
    assert len(trace(figure, "front").x) == len(handle.front())
    line = trace(figure, "front of the two")
    assert set(zip(line.x, line.y, strict=True)) <= points(trace(figure, "front"))


def test_objectives_that_the_study_lacks_are_refused(handle):
    with pytest.raises(InvalidInput, match="objective must be one of dice, params, got 'macs'"):
        front_figure(handle, "macs", "dice")


def test_hypervolume_equals_the_area_computed_by_hand(handle):
    figure = hypervolume_figure(handle)
    curve = trace(figure, "all trials so far")
    done = [t for t in handle.trials() if t.state == "complete"]
    assert list(curve.x) == [t.number for t in done]
    # The box runs from 1e3 to 1e8 parameters, five decades, and from Dice 0 to 1.
    for trial, share in zip(done, curve.y, strict=True):
        seen = sorted(
            (math.log10(t.evaluation.params) - 3, t.evaluation.dice)
            for t in done
            if t.number <= trial.number
        )
        area, best = 0.0, 0.0
        for cost, dice in seen:
            area += (5 - cost) * max(0.0, dice - best)
            best = max(best, dice)
        assert share == pytest.approx(area / 5)


def test_hypervolume_of_the_published_networks_is_a_line(handle):
    figure = hypervolume_figure(handle)
    curve = trace(figure, "all trials so far")
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == pytest.approx(curve.y[list(curve.x).index(2)])
    assert line.y0 < curve.y[-1]


def test_learning_curves_are_one_line_for_each_trained_trial(handle):
    figure = curves_figure(handle)
    front = {t.number for t in handle.front()}
    rows = handle.store.epochs(handle.name, min(front))
    line = trace(figure, "front")
    assert list(line.y[: EPOCHS + 1]) == [*(row["dice"] for row in rows), None]
    assert list(line.x[: EPOCHS + 1]) == [1, 2, 3, 4, 5, None]
    gaps = sum(list(t.x).count(None) for t in figure.data)
    assert gaps == sum(t.state in ("complete", "stopped", "running") for t in handle.trials())
    assert list(trace(figure, "front").x).count(None) == len(front)


def test_a_study_without_trials_has_empty_figures(tmp_path, prepared):
    empty = Writer(tmp_path / "store", prepared).handle()
    assert set(figures(empty)) == {"front-params-dice", "hypervolume", "curves"}
    assert not any(t.x for figure in figures(empty).values() for t in figure.data if t.x)


def test_a_study_of_one_objective_has_no_front_but_a_hypervolume(tmp_path, prepared):
    handle = write_study(tmp_path / "store", prepared, 3, ("dice",))
    assert set(figures(handle)) == {"hypervolume", "curves"}
    shares = trace(hypervolume_figure(handle), "all trials so far").y
    best = [handle.trial(n).evaluation.dice for n in range(3)]
    assert list(shares) == pytest.approx([max(best[: n + 1]) for n in range(3)])
