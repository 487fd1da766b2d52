"""Predicted latency on devices whose times are known by formula."""

import json
import math

import numpy as np
import pytest

import search_spaces
from nas.costs import measure_costs
from nas.latency.fit import fit_model
from nas.latency.model import Accuracy, Kind, LatencyModel
from nas.latency.on_device import sum_up
from nas.latency.operators import GROUPS
from nas.latency.record import Recording, at_one_pace, choose_probes
from nas.latency.stopwatch import Times
from search_spaces.core.arch import Arch
from tests.nas.devices import (
    RIG,
    SIZE,
    affine,
    operators,
    recording,
    seconds_of,
    wanted,
    wide_is_fast,
)
from tests.nas.searches import SPACE, decode, point

SMALL = decode(point(8))


def model(**parts) -> LatencyModel:
    return LatencyModel(
        **{"rig": RIG, "size": SIZE, "table": {}, "kinds": {}, "groups": {}, **parts}
    )


def test_operators_of_one_millisecond_add_up_to_their_number() -> None:
    listed = operators(SMALL)
    found = model(table={o.key: 1.0 for o in listed})
    assert found.predict(SMALL) == pytest.approx(len(listed))


def test_a_call_that_was_not_timed_takes_what_its_name_does() -> None:
    listed = operators(SMALL)
    name = listed[0].name
    table = {o.key: 1.0 for o in listed if o.name != name}
    groups = {group: Kind((100.0, 0, 0, 0)) for group in GROUPS}
    missing = [o for o in listed if o.name == name]
    kind = Kind((2.0, 3.0, 0.0, 0.0))
    expected = sum(2 + 3 * o.macs / 1e6 for o in missing) + len(listed) - len(missing)
    found = model(table=table, kinds={name: kind}, groups=groups)
    assert found.predict(SMALL) == pytest.approx(expected)
    unknown = model(table=table, groups=groups)
    assert unknown.predict(SMALL) == pytest.approx(100 * len(missing) + len(listed) - len(missing))


@pytest.mark.slow
@pytest.mark.parametrize("space", ["unet", "ultralight"])
def test_a_device_that_adds_up_is_learned(space: str) -> None:
    found = fit_model(recording(wanted(space), affine, factor=1.25))
    assert found.accuracy[0].median < 0.01
    assert found.accuracy[0].ninety < 0.02
    assert found.accuracy[0].spearman > 0.98
    fresh = [one.arch for one in wanted(space, 40, 5)[-5:]]
    for arch in fresh:
        assert found.predict(arch) == pytest.approx(seconds_of(arch, affine, 1.25), rel=0.03)


@pytest.mark.slow
def test_a_device_of_which_totals_are_known_is_learned() -> None:
    found = fit_model(recording(wanted("unet"), affine, totals_only=True))
    assert found.table == found.kinds == {}
    assert found.accuracy[0].median < 0.01


def test_what_no_sum_of_terms_explains_is_learned_from_sizes() -> None:
    found = fit_model(recording(wanted("unet"), wide_is_fast))
    assert found.accuracy[0].median < 0.02
    assert found.accuracy[0].ninety < 0.06


def test_the_accuracy_by_hand() -> None:
    measured = np.array([10.0, 20.0, 40.0, 50.0, 100.0])
    predicted = measured * np.array([1.0, 1.1, 0.8, 1.3, 0.6])
    found = Accuracy.of("x", predicted, measured)
    # errors 0, .1, .2, .3, .4; predictions 10, 22, 32, 65, 60: one swap, 1 - 6 * 2 / (5 * 24)
    assert (found.count, found.median) == (5, pytest.approx(0.2))
    assert found.ninety == pytest.approx(0.36)
    assert found.spearman == pytest.approx(0.9)


def test_kept_networks_alone_tell_the_accuracy_of_each_space() -> None:
    probes = [*wanted("ultralight", 14, 4), *wanted("unet", 14, 3)]
    found = fit_model(recording(probes, affine))
    assert [(a.space, a.count) for a in found.accuracy] == [("", 7), ("ultralight", 4), ("unet", 3)]


def test_a_model_and_a_recording_survive_json() -> None:
    made = recording(wanted("ultralight", 14, 3), wide_is_fast)
    found = fit_model(made)
    again = LatencyModel.from_json(json.loads(json.dumps(found.to_json())))
    arch = search_spaces.load("ultralight").arch(wanted_point())
    assert again.predict(arch) == found.predict(arch)
    assert again.accuracy == found.accuracy
    assert Recording.from_json(json.loads(json.dumps(made.to_json()))) == made


def wanted_point():
    return search_spaces.load("ultralight").baseline("ultralight-m").point


def test_probes_are_the_first_published_networks_and_random_ones_all_distinct() -> None:
    spaces = [search_spaces.load(name) for name in ("ultralight", "unet")]
    found = choose_probes(spaces, 11, 5)
    assert len({one.arch.key for one in found}) == len(found) == 21
    fitted = [one for one in found if one.fitted]
    assert [sum(one.space == s.name for one in fitted) for s in spaces] == [6, 5]
    first = spaces[0].arch(spaces[0].baseline("ultralight-t").point)
    assert found[0].arch == first
    assert choose_probes(spaces, 11, 5) == found, "the same on every device"


def test_networks_that_are_fitted_reach_further_than_random_ones() -> None:
    space = search_spaces.load("unet")

    def reach(archs: list[Arch]) -> float:
        macs = [measure_costs(arch, SIZE).macs for arch in archs]
        return max(macs) / min(macs)

    found = choose_probes([space], 9, 6)
    fitted = [one.arch for one in found if one.fitted][3:]  # without the published ones
    assert reach(fitted) > 1.5 * reach([one.arch for one in found if not one.fitted])


def test_a_space_of_few_networks_is_used_up() -> None:
    assert len(choose_probes([SPACE], 20, 20)) == 9


def test_a_prediction_is_the_sum_times_the_residual() -> None:
    found = fit_model(recording(wanted("unet"), affine, factor=2.0))
    arch = wanted("unet")[0].arch
    facts, total = found.facts(arch)
    assert total == pytest.approx(seconds_of(arch, affine))
    assert found.residual is not None
    assert math.exp(found.residual.predict(facts[None])[0]) == pytest.approx(2.0, rel=0.01)


def test_the_quietest_round_counts() -> None:
    rounds = [[3.0, 1.0, 2.0], [5.0, 1.5, 1.75], [9.0, 8.0]]
    assert sum_up(rounds) == {"ms": 1.75, "slowest_ms": 8.5, "passes": 8}


def test_times_are_told_at_one_pace_of_the_machine() -> None:
    operator = operators(SMALL)[0]
    quiet, busy = (Times([3.0 * slow, 5.0 * slow], {operator: 0.5 * slow}) for slow in (1.0, 1.25))
    found = at_one_pace([[(quiet, 2.0), (busy, 2.5)], [(busy, 2.5), (busy, 2.5)]])
    assert all(times.passes == pytest.approx([3.0, 5.0]) for each in found for times in each)
    assert all(times.operators[operator] == pytest.approx(0.5) for times in found[1])


def test_predictions_that_are_all_equal_rank_nothing() -> None:
    assert Accuracy.of("x", np.array([2.0, 2.0, 2.0]), np.array([1.0, 2.0, 4.0])).spearman == 0
