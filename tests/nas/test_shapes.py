"""Shapes and types of our rules against torch's own."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nas.shapes import RULES, shapes_only

aten = torch.ops.aten


def m(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


X, V = m(2, 6, 8, 12), m(2, 6, 4, 8, 12)
PLAIN = (None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
CASES: dict[Any, list[tuple[Any, ...]]] = {
    aten.add.Tensor: [(X, X), (X, m(1, 6, 1, 1)), (m(6, 1), m(1, 4)), (X, 2.0)],
    aten.addmm.default: [(m(5), m(3, 4), m(4, 5))],
    aten.amax.default: [(X, [2, 3], True), (X, [-1]), (X, [])],
    aten.cat.default: [([X, m(2, 3, 8, 12)], 1), ([X, X],), ([X, X], -1)],
    aten.channel_shuffle.default: [(X, 3)],
    aten.convolution.default: [
        (X, m(4, 6, 1, 1), *PLAIN),
        (X, m(4, 6, 3, 5), m(4), [2, 3], [1, 2], [1, 2], False, [0, 0], 1),
        (X, m(6, 1, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 6),
        (X, m(6, 4, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1),
        (V, m(4, 6, 3, 3, 3), None, [2, 2, 2], [1, 1, 1], [1, 1, 1], False, [0, 0, 0], 1),
        (m(2, 6, 9), m(4, 6, 3), None, [1], [1], [1], False, [0], 1),
    ],
    aten.mean.dim: [(X, [2, 3], True), (X, [1]), (X, None), (X, [-1, -2])],
    aten.mul.Tensor: [(X, m(2, 1, 8, 12)), (m(1), X)],
    aten.native_batch_norm.default: [(X, m(6), m(6), m(6), m(6), False, 0.1, 1e-5)],
    aten.native_group_norm.default: [(X, m(6), m(6), 2, 6, 96, 3, 1e-5)],
    aten.native_layer_norm.default: [(X, [12], m(12), m(12), 1e-5), (X, [8, 12], None, None, 1e-5)],
    aten.roll.default: [(X, [1], [2])],
    aten.upsample_bicubic2d.default: [(X, [16, 24], False)],
    aten.upsample_bilinear2d.default: [(X, [16, 24], True), (X, [3, 5], False, 0.5, 0.5)],
    aten.upsample_nearest2d.default: [(X, [16, 24])],
    aten.upsample_nearest3d.default: [(V, [8, 16, 24])],
    aten.upsample_trilinear3d.default: [(V, [8, 16, 24], False)],
}
CASES |= {func: [(X,), (m(3, dtype=torch.float64),)] for func in RULES if func not in CASES}


@pytest.mark.parametrize("func", RULES, ids=str)
def test_rules_agree_with_torch(func: Any) -> None:
    for args in CASES[func]:
        ours, theirs = tree_leaves(shapes_only(func, args, {})), tree_leaves(func(*args))
        assert len(ours) == len(theirs)
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if func != aten.native_batch_norm.default or i == 0:  # its statistics are for training
                assert a.shape == b.shape
            assert (a.dtype, a.device) == (b.dtype, b.device)


def test_what_has_no_rule_is_torchs_own() -> None:
    found = shapes_only(aten.add.Tensor, (X, m(6, 1, 1, dtype=torch.float64)), {})
    assert found.dtype == torch.promote_types(torch.float32, torch.float64)
    assert shapes_only(aten.mean.dim, (X, [1]), {"dtype": torch.float64}).dtype == torch.float64
    assert shapes_only(aten.max_pool2d_with_indices.default, (X, [2, 2]), {})[0].shape[2:] == (4, 6)
