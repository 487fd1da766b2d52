"""Objectives: what they read, which are refused, how constraints are written."""

import pytest

from nas.costs import Costs
from nas.evaluation import Evaluation, Latency
from nas.objectives import OBJECTIVES, find_objectives, parse_limit
from primitives.core.errors import InvalidInput


def evaluation(latency: Latency | None) -> Evaluation:
    return Evaluation(
        arch_key="0" * 12,
        dice=0.75,
        iou=0.5,
        params=1000,
        macs=2000,
        memory_mib=3.5,
        latency=latency,
        epochs=2,
        full_epochs=3,
        best_epoch=1,
        steps=40,
        train_seconds=1.5,
        seed=4,
        weights="w.safetensors",
    )


def test_objectives_read_their_value_from_an_evaluation() -> None:
    measured = evaluation(Latency(12.5, 12.0, 13.0, 50, "rig"))
    assert {name: o.read(measured) for name, o in OBJECTIVES.items()} == {
        "dice": 0.75,
        "iou": 0.5,
        "params": 1000,
        "macs": 2000,
        "flops": 4000,
        "latency": 12.5,
        "memory": 3.5,
    }
    assert OBJECTIVES["latency"].read(evaluation(None)) is None


def test_costs_are_also_read_before_training() -> None:
    costs = Costs(params=10, macs=20, memory_mib=0.5)
    values = {name: OBJECTIVES[name].read(costs) for name in ("params", "macs", "flops", "memory")}
    assert values == {"params": 10, "macs": 20, "flops": 40, "memory": 0.5}


def test_scores_are_maximised_and_costs_minimised() -> None:
    upwards = {name for name, o in OBJECTIVES.items() if o.direction == "maximize"}
    assert upwards == {"dice", "iou"}
    assert {o.direction for o in OBJECTIVES.values()} == {"maximize", "minimize"}
    assert all(name == o.name for name, o in OBJECTIVES.items())


def test_objectives_are_found_in_the_order_given() -> None:
    assert [o.name for o in find_objectives(["macs", "dice"])] == ["macs", "dice"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "one to four objectives, got 0: ''"),
        (["dice", "iou", "params", "macs", "latency"], "one to four objectives, got 5"),
        (["dice", "dice"], "objectives must differ, got 'dice,dice'"),
        (["dice", "prams"], r"must be one of dice, .* got 'prams'; did you mean 'params'\?"),
    ],
)
def test_wrong_objectives_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        find_objectives(names)


@pytest.mark.parametrize(
    ("text", "name", "bound"),
    [
        ("params<=0.5M", "params", 500_000),
        ("params<=500k", "params", 500_000),
        (" params <= 5e-4 G ", "params", 500_000),
        ("macs<=1.25G", "macs", 1.25e9),
        ("flops<=2G", "flops", 2e9),
        ("latency<=20ms", "latency", 20),
        ("latency<=0.02s", "latency", 20),
        ("latency<=250us", "latency", 0.25),
        ("memory<=2GiB", "memory", 2048),
        ("memory<=512KiB", "memory", 0.5),
    ],
)
def test_a_constraint_is_read_in_the_objectives_unit(text: str, name: str, bound: float) -> None:
    limit = parse_limit(text)
    assert limit.objective is OBJECTIVES[name]
    assert limit.bound == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a constraint reads NAME<=NUMBER UNIT"),
        ("params", "a constraint reads NAME<=NUMBER UNIT"),
        ("params<0.5M", "a constraint reads NAME<=NUMBER UNIT"),
        ("params>=0.5M", "a constraint reads NAME<=NUMBER UNIT"),
        ("params=0.5M", "a constraint reads NAME<=NUMBER UNIT"),
        ("<=0.5M", "a constraint reads NAME<=NUMBER UNIT"),
        ("params<=M", "a constraint reads NAME<=NUMBER UNIT"),
        ("params<=0.5M extra", "a constraint reads NAME<=NUMBER UNIT"),
        ("params<=0,5M", "a constraint reads NAME<=NUMBER UNIT"),
        ("params<=nanM", "a constraint reads NAME<=NUMBER UNIT"),
        ("dice<=0.9", "known before training: one of params, .* got 'dice'"),
        ("parms<=1M", r"must be one of params, .* got 'parms'; did you mean 'params'\?"),
        ("params<=500000", r"params needs a unit \(k, M, G\), got .* with no unit"),
        ("params<=0.5m", "with unknown unit 'm'"),
        ("latency<=20M", r"latency needs a unit \(us, ms, s\), .* unknown unit 'M'"),
        ("memory<=2GB", r"memory needs a unit \(KiB, MiB, GiB\), .* unknown unit 'GB'"),
        ("params<=0M", "must be positive, got 'params<=0M'"),
        ("params<=-1M", "must be positive, got 'params<=-1M'"),
        ("params<=1e999M", "must be positive"),
        ("params<=1-2M", "needs a number, got 'params<=1-2M'"),
        ("params<=.M", "needs a number, got 'params<=.M'"),
    ],
)
def test_a_wrong_constraint_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_limit(text)


def test_another_relation_can_be_asked_for() -> None:
    assert parse_limit("latency=20ms", "=").bound == 20
    with pytest.raises(InvalidInput, match="reads NAME=NUMBER UNIT"):
        parse_limit("latency<=20ms", "=")


def test_excess_is_relative_and_zero_at_the_bound() -> None:
    limit = parse_limit("params<=1k")
    assert limit.excess(1000) == 0
    assert limit.excess(1500) == pytest.approx(0.5)
    assert limit.excess(250) == pytest.approx(-0.75)
