"""Predict whole images and score them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data import Prepared, Samples, normalise
from nas.losses import Loss
from nas.metrics import dice_per_class, iou_of, labels, mean_of_classes, mean_of_images
from nas.samples import to_unit
from nas.slot import DeviceSlot

_BATCH = 16
OVERLAP = 0.25  # of neighbouring windows


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over images; `dice_per_image` in the order of the samples.

    `dice_per_class` is of each foreground class, over the images that have it; () if there is one.
    """

    loss: float
    dice: float
    iou: float
    dice_per_image: tuple[float, ...]
    dice_per_class: tuple[float, ...] = ()


@torch.inference_mode()
def score(
    net: nn.Module, samples: Samples, prepared: Prepared, loss: Loss, slot: DeviceSlot
) -> Scores:
    """Score a net on whole images, in eval mode.

    Args:
        net: on the device of the samples.
        samples: images and labels.
        prepared: says how images are fitted and normalised.
        loss: takes logits and labels of a batch.
        slot: held while a batch is computed.
    """
    net.eval()
    losses, dices = [], []
    for rows, *picture in _batches(samples):
        with slot.shared():
            x = normalise(to_unit(samples.images[rows, :, *picture]), prepared.mean, prepared.std)
            logits = predict(net, x, size=prepared.size, fit=prepared.fit)
        truth, guess = samples.masks[rows, *picture], labels(logits)
        losses.append(loss(logits.float(), truth) * len(truth))
        dices.append(dice_per_class(guess, truth, prepared.classes))
    table = torch.cat(dices)
    per_image = mean_of_classes(table)
    mean_loss = torch.stack(losses).sum().item() / len(table)
    iou = mean_of_classes(iou_of(table)).mean().item()
    by_class = mean_of_images(table).tolist() if prepared.classes > 1 else ()
    return Scores(
        mean_loss, per_image.mean().item(), iou, tuple(per_image.tolist()), tuple(by_class)
    )


def _batches(samples: Samples) -> Iterator[tuple[slice, ...]]:
    """Yield runs of neighbouring samples of one size, with the part of the frame they fill."""
    first = 0
    for size, run in itertools.groupby(samples.sizes):
        end = first + len(list(run))
        for start in range(first, end, _BATCH):
            yield slice(start, min(start + _BATCH, end)), *map(slice, size)
        first = end


def predict(net: nn.Module, x: Tensor, *, size: int, fit: str) -> Tensor:
    """Return logits of whole images.

    With fit "resize" the images have the network's size already. With "crop", windows of `size`
    slide over each image with a quarter of overlap and are averaged with Gaussian weights.

    Shape: (N, C, H, W) -> (N, classes, H, W); (N, C, D, H, W) -> (N, classes, D, H, W)
    """
    sides = x.shape[2:]
    if len(sides) == 3:  # as in training, the volume's mean follows where a window is larger
        x = F.pad(x, [pad for side in reversed(sides) for pad in (0, max(0, size - side))])
    if fit == "resize" or x.shape[2:] == (size,) * len(sides):
        logits: Tensor = net(x)
    else:
        logits = _slide(net, x, size)
    return logits[:, :, *map(slice, sides)] if len(sides) == 3 else logits


def _slide(net: nn.Module, x: Tensor, size: int) -> Tensor:
    from monai.inferers import sliding_window_inference

    window = (size,) * (x.ndim - 2)
    out = sliding_window_inference(
        x, window, _BATCH, net, overlap=OVERLAP, mode="gaussian", padding_mode="reflect"
    )
    assert isinstance(out, Tensor)
    return out
