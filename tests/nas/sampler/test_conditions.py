"""Dimensions of a published family that others switch off."""

from nas.sampler.conditions import find_conditions
from search_spaces import load
from tests.nas.searches import SPACE


def test_stages_that_are_absent_and_gates_without_kernels_are_found() -> None:
    off = {"depth_5", "encoder_kernels_5", "encoder_attention_5"}
    off |= {"decoder_kernels_1", "decoder_attention_1"}
    expected = {name: ("levels", frozenset({4})) for name in off}
    expected["gate_kernel"] = ("gate", frozenset({"add", "ag"}))
    assert find_conditions(load("ultralight")) == expected


def test_a_dimension_that_never_has_an_effect_is_always_off() -> None:
    assert find_conditions(SPACE) == {"idle": ("width", frozenset({4, 8, 12}))}
