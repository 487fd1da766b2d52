import math

import pytest
import torch
from monai.losses import DiceLoss
from torch.nn import functional as F

from nas.losses import (
    LOSSES,
    balanced_cross_entropy,
    cross_entropy,
    probabilities,
    soft_dice,
    soft_iou,
)


def binary_case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 8, 8, generator=generator)
    return logits, (torch.rand(3, 8, 8, generator=generator) > 0.7).long()


def multiclass_case():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 4, 8, 8, generator=generator), torch.randint(
        0, 4, (2, 8, 8), generator=generator
    )


def test_cross_entropy_of_one_pixel_by_hand():
    logits = torch.tensor([[[[2.0]]]])
    assert cross_entropy(logits, torch.ones(1, 1, 1)).item() == pytest.approx(
        math.log(1 + math.exp(-2))
    )
    assert cross_entropy(logits, torch.zeros(1, 1, 1)).item() == pytest.approx(
        math.log(1 + math.exp(2))
    )


def test_probabilities_of_several_classes_sum_to_one():
    logits, _ = multiclass_case()
    assert torch.allclose(probabilities(logits).sum(1), torch.ones(2, 8, 8))


def test_soft_dice_agrees_with_monai():
    logits, target = binary_case()
    # MONAI adds its smoothing to numerator and denominator; over the batch it sums pixels as we do.
    monai = DiceLoss(sigmoid=True, batch=True, smooth_nr=1, smooth_dr=1)
    assert soft_dice(logits, target).item() == pytest.approx(
        monai(logits, target[:, None]).item(), abs=1e-6
    )
    logits, target = multiclass_case()
    monai = DiceLoss(
        softmax=True,
        include_background=False,
        to_onehot_y=True,
        batch=True,
        smooth_nr=1,
        smooth_dr=1,
    )
    assert soft_dice(logits, target).item() == pytest.approx(
        monai(logits, target[:, None]).item(), abs=1e-6
    )


def test_soft_iou_by_hand():
    # p = 0.5 everywhere, two of four pixels foreground: 1 - (1 + 1) / (2 + 2 - 1 + 1)
    target = torch.tensor([[[1, 1], [0, 0]]])
    assert soft_iou(torch.zeros(1, 1, 2, 2), target).item() == pytest.approx(1 - 2 / 4)


def test_perfect_logits_have_almost_no_loss_and_inverted_ones_a_large_one():
    _, target = binary_case()
    logits = (target[:, None] * 2.0 - 1) * 50
    for loss in LOSSES.values():
        assert loss(logits, target).item() < 1e-3
        assert loss(-logits, target).item() > 10


def test_empty_masks_keep_every_loss_finite():
    for loss in LOSSES.values():
        assert torch.isfinite(loss(torch.full((2, 1, 4, 4), -60.0), torch.zeros(2, 4, 4)))


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_step_reduces_every_loss(name):
    for logits, target in (binary_case(), multiclass_case()):
        logits = logits.requires_grad_()
        before = LOSSES[name](logits, target)
        (step,) = torch.autograd.grad(before, logits)
        assert LOSSES[name](logits - step, target) < before


def test_balanced_cross_entropy_weighs_pixels_by_their_share_to_the_minus_three_quarters():
    """1 of 4 pixels is foreground: it weighs 3 ** 0.75 times as much as each of the others."""
    logits, target = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]]), torch.tensor([[[1, 0], [0, 0]]])
    hit, miss = math.log(1 + math.exp(-2)), math.log(2)
    ratio = 3**0.75
    expected = (ratio * hit + 3 * miss) / (ratio + 3)
    assert balanced_cross_entropy(logits, target).item() == pytest.approx(expected)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    assert balanced_cross_entropy(both, target).item() == pytest.approx(expected)


def test_balanced_cross_entropy_of_one_class_alone_is_the_plain_one():
    logits, _ = binary_case()
    for target in (torch.zeros(3, 8, 8), torch.ones(3, 8, 8)):
        assert balanced_cross_entropy(logits, target).item() == pytest.approx(
            cross_entropy(logits, target).item(), abs=1e-6
        )


def test_the_named_losses_add_the_cross_entropy_to_the_overlap():
    logits, target = binary_case()
    entropy = F.binary_cross_entropy(logits.sigmoid()[:, 0], target.float())
    expected = {
        "balanced-ce+dice": balanced_cross_entropy(logits, target) + soft_dice(logits, target),
        "ce+iou": entropy + soft_iou(logits, target),
    }
    for name, value in expected.items():
        assert LOSSES[name](logits, target).item() == pytest.approx(value.item(), abs=1e-6)


def test_losses_of_volumes_are_those_of_the_same_voxels_in_a_plane():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 3, 4, 5, 6, generator=generator)
    target = torch.randint(0, 3, (2, 4, 5, 6), generator=generator)
    for loss in LOSSES.values():
        flat = loss(logits.flatten(3), target.flatten(2))
        assert loss(logits, target).item() == pytest.approx(flat.item(), rel=1e-6)
