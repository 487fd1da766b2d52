"""Encoded images or volumes and masks of one part of a data set, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas.findings import Pair
from nas.folder import Progress, parallel
from nas.images import decode_image, decode_mask, resize_image, resize_mask, to_channels
from nas.volumes import encode


@dataclass(frozen=True, slots=True)
class Encoding:
    """How files become tensors: side in pixels, fit, channels, classes as in `Prepared`.

    Args:
        size: side of the network input, pixels.
        fit: "resize" or "crop".
        channels: 1 or 3.
        classes: 1 for binary masks, else the number of labels.
        invert: swap foreground and background.
        deep: keep more than 8 bits, as float32.
        spacing: of volumes, mm along depth, height and width; () for images.
    """

    size: int
    fit: str
    channels: int
    classes: int
    invert: bool
    deep: bool
    spacing: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Samples:
    """Images and masks of one part.

    With fit "crop" the pictures keep their own size in the top left corner of a common frame.
    Pictures smaller than the network input are mirrored up to it, below and to the right; the rest
    of the frame is zero. Scores should read `heights` by `widths` alone.

    Volumes are standardised, each by its own mean and deviation, and keep their own size in a
    corner of the frame too; all that they do not fill is zero, their mean.

    Args:
        images: (N, C, H, W), uint8 or float32 in [0, 1]; volumes (N, C, D, H, W), float32.
        masks: (N, H, W) or (N, D, H, W) uint8 labels, 0 is background.
        heights: (N,) int64, rows of the picture: its own, or after resizing.
        widths: (N,) int64, columns likewise.
        stems: N names.
        depths: (N,) int64 likewise for volumes; None for images.
    """

    images: Tensor
    masks: Tensor
    heights: Tensor
    widths: Tensor
    stems: tuple[str, ...]
    depths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.stems)

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Height and width of each picture; depth, height and width of each volume."""
        sides: tuple[Tensor, ...] = (self.heights, self.widths)
        sides = sides if self.depths is None else (self.depths, *sides)
        return list(zip(*(axis.tolist() for axis in sides), strict=True))

    def pixels(self, index: Tensor | slice) -> Tensor:
        """Return images as float32 in [0, 1], shape (n, C, H, W)."""
        return to_unit(self.images[index])

    def to(self, device: torch.device) -> "Samples":
        """Copy all tensors to a device."""
        return Samples(
            self.images.to(device),
            self.masks.to(device),
            self.heights.to(device),
            self.widths.to(device),
            self.stems,
            None if self.depths is None else self.depths.to(device),
        )


def to_unit(images: Tensor) -> Tensor:
    """Scale uint8 to float32 in [0, 1]; float32 stays as it is."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def read_samples(
    pairs: Sequence[Pair], encoding: Encoding, progress: Progress | None = None
) -> Samples:
    """Decode and encode pairs that passed `check_folder`.

    Raises:
        BadImage: a file changed since, or is in colour in a grey set.
    """
    read = parallel(lambda pair: _read(pair, encoding), pairs, "decoding", progress)
    extents = torch.tensor([mask.shape for _, mask, _ in read])
    sizes = [size for _, _, size in read]
    frame = [max(int(n), encoding.size if encoding.spacing else 0) for n in extents.amax(0)]
    dtype = torch.float32 if encoding.deep else torch.uint8
    images = torch.zeros(len(read), encoding.channels, *frame, dtype=dtype)
    masks = torch.zeros(len(read), *frame, dtype=torch.uint8)
    for k, (image, mask, _) in enumerate(read):
        filled = tuple(slice(side) for side in mask.shape)
        images[k][(slice(None), *filled)] = image
        masks[k][filled] = mask
    *depths, heights, widths = (axis.contiguous() for axis in torch.tensor(sizes).unbind(1))
    stems = tuple(pair.stem for pair in pairs)
    return Samples(images, masks, heights, widths, stems, *depths)


def statistics(samples: Samples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over the original pictures, scaled to [0, 1].

    The deviation of a blank channel is given as 1e-6, so dividing by it is safe.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for k in range(len(samples)):
        height, width = int(samples.heights[k]), int(samples.widths[k])
        pixels = to_unit(samples.images[k, :, :height, :width]).double()
        count += height * width
        total = total + pixels.sum((1, 2))
        squares = squares + pixels.square().sum((1, 2))
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(1e-12).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def _read(pair: Pair, encoding: Encoding) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    if encoding.spacing:
        volume, labels = encode(pair, encoding.spacing, encoding.classes, encoding.invert)
        return volume, labels, tuple(labels.shape)
    return _read_image(pair, encoding)


def _read_image(pair: Pair, encoding: Encoding) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    image = to_channels(pair.image, decode_image(pair.image), encoding.channels)
    labels = decode_mask(pair.mask)
    if encoding.classes == 1:
        labels = (labels > 0) != encoding.invert
    mask = torch.from_numpy(labels.astype(np.uint8))
    if encoding.fit == "resize":
        image = resize_image(image, encoding.size)
        mask = resize_mask(mask, encoding.size, max(2, encoding.classes))
    size = (mask.shape[0], mask.shape[1])
    image, mask = _mirror(image, encoding.size), _mirror(mask, encoding.size)
    if not encoding.deep:
        image = (image * 255).round().to(torch.uint8)
    return image, mask, size


def _mirror(x: Tensor, size: int) -> Tensor:
    """Mirror below and to the right until both sides have `size` pixels."""
    *front, height, width = x.shape
    missing = max(0, size - height), max(0, size - width)
    if not any(missing):
        return x
    pads = [(0, 0)] * len(front) + [(0, pad) for pad in missing]
    return torch.from_numpy(np.pad(x.numpy(), pads, mode="reflect"))
