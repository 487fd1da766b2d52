"""Training losses on logits; binary for one class, softmax for more."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def probabilities(logits: Tensor) -> Tensor:
    """Return class probabilities.

    Shape: (N, 1, H, W) -> (N, 1, H, W) by sigmoid; (N, K, H, W) -> (N, K, H, W) by softmax;
    likewise of volumes, here and below
    """
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean (binary) cross-entropy per pixel.

    Shape: (N, K, H, W), (N, H, W) integer labels -> ()
    """
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits.dtype))
    return F.cross_entropy(logits, target.long())


def balanced_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy per pixel, weighted by the class's share of the batch to the -3/4.

    Between all pixels alike, where small nets predict background alone for many epochs, and all
    classes alike, where they predict too much foreground. Weights have mean 1 over the pixels.

    Shape: (N, K, H, W), (N, H, W) integer labels -> ()
    """
    if logits.shape[1] == 1:  # the sigmoid as a softmax over background and foreground
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    counts = torch.bincount(target.flatten().long(), minlength=logits.shape[1])
    weight = counts.clamp_min(1).to(logits.dtype).pow(-0.75)
    return F.cross_entropy(logits, target.long(), weight)


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - the Dice of probabilities, over the batch's pixels, mean over foreground classes.

    Source: Milletari et al., V-Net, 3DV 2016, equation 3, without squares; +1 keeps empty
    masks finite.
    Shape: (N, K, H, W), (N, H, W) integer labels -> ()
    """
    shared, total = _overlap(logits, target)
    return (1 - (2 * shared.sum(0) + 1) / (total.sum(0) + 1)).mean()


def soft_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - the intersection over union of probabilities, mean over images and classes.

    Source: UltraLightUNet appendix A.3; +1 keeps empty masks finite.
    Shape: (N, K, H, W), (N, H, W) integer labels -> ()
    """
    shared, total = _overlap(logits, target)
    return (1 - (shared + 1) / (total - shared + 1)).mean()


def _overlap(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums over pixels of p * t and of p + t, (N, foreground classes)."""
    p = probabilities(logits)
    if p.shape[1] == 1:
        t = target[:, None].to(p.dtype)
    else:
        labels = torch.arange(1, p.shape[1], device=p.device).view(1, -1, *[1] * (p.ndim - 2))
        p, t = p[:, 1:], (target[:, None] == labels).to(p.dtype)
    axes = tuple(range(2, p.ndim))
    return (p * t).sum(axes), (p + t).sum(axes)


def _sum(first: Loss, second: Loss) -> Loss:
    return lambda logits, target: first(logits, target) + second(logits, target)


LOSSES: Mapping[str, Loss] = {
    "balanced-ce+dice": _sum(balanced_cross_entropy, soft_dice),
    "ce+iou": _sum(cross_entropy, soft_iou),
}
