"""Predict whole images and score them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.data import Prepared, Samples, normalise
from nas.losses import Loss
from nas.metrics import dice_per_image, iou_per_image, labels
from nas.samples import to_unit
from nas.slot import DeviceSlot

_BATCH = 16
_OVERLAP = 0.25  # of neighbouring windows


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over images; `dice_per_image` in the order of the samples."""

    loss: float
    dice: float
    iou: float
    dice_per_image: tuple[float, ...]


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
    losses, dices, ious = [], [], []
    for rows, height, width in _batches(samples):
        with slot.shared():
            x = normalise(
                to_unit(samples.images[rows, :, :height, :width]), prepared.mean, prepared.std
            )
            logits = predict(net, x, size=prepared.size, fit=prepared.fit)
        truth, guess = samples.masks[rows, :height, :width], labels(logits)
        losses.append(loss(logits.float(), truth) * len(truth))
        dices.append(dice_per_image(guess, truth, prepared.classes))
        ious.append(iou_per_image(guess, truth, prepared.classes))
    per_image = torch.cat(dices)
    count = len(per_image)
    mean_loss = torch.stack(losses).sum().item() / count
    iou = torch.cat(ious).mean().item()
    return Scores(mean_loss, per_image.mean().item(), iou, tuple(per_image.tolist()))


def _batches(samples: Samples) -> Iterator[tuple[slice, int, int]]:
    """Yield runs of neighbouring samples of one size, with their height and width."""
    sizes = list(zip(samples.heights.tolist(), samples.widths.tolist(), strict=True))
    first = 0
    for size, run in itertools.groupby(sizes):
        end = first + len(list(run))
        for start in range(first, end, _BATCH):
            yield slice(start, min(start + _BATCH, end)), *size
        first = end


def predict(net: nn.Module, x: Tensor, *, size: int, fit: str) -> Tensor:
    """Return logits of whole images.

    With fit "resize" the images have the network's size already. With "crop", windows of `size`
    slide over each image with a quarter of overlap and are averaged with Gaussian weights.

    Shape: (N, C, H, W) -> (N, classes, H, W)
    """
    if fit == "resize" or x.shape[-2:] == (size, size):
        logits: Tensor = net(x)
        return logits
    from monai.inferers import sliding_window_inference

    out = sliding_window_inference(
        x, (size, size), _BATCH, net, overlap=_OVERLAP, mode="gaussian", padding_mode="reflect"
    )
    assert isinstance(out, Tensor)
    return out
