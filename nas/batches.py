"""Training batches drawn, cropped and augmented entirely on the device of the samples."""

import hashlib

import torch
from torch import Tensor

from nas.augment import Augment, augment
from nas.images import normalise
from nas.patches import find_foreground, windows
from nas.prepared import Prepared
from nas.samples import Samples, to_unit


class Batcher:
    """Draws batch number `step` as a pure function of (seed, step), so a resumed run repeats.

    Samples are visited in passes: each pass takes every sample once, in an order of its own; a
    batch may span two passes.

    Args:
        samples: a part of a data set, on the device that trains; pictures larger than the network
            input are cropped at random, volumes as `nas.patches` says.
        prepared: gives the side S of the network input, mean and deviation.
        batch: samples B in a batch.
        augment: ranges of the augmentation.
        seed: any integer.
    """

    def __init__(
        self, samples: Samples, prepared: Prepared, *, batch: int, augment: Augment, seed: int
    ) -> None:
        self.samples, self.prepared = samples, prepared
        self.batch, self.augment, self.seed = batch, augment, seed
        self._generator = torch.Generator(samples.images.device)
        self._orders: dict[int, Tensor] = {}
        self._places = None if samples.depths is None else find_foreground(samples)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Return batch number `step`.

        Returns:
            Images, float32 (B, C, S, S), normalised; labels, int64 (B, S, S). Of volumes
            (B, C, S, S, S) and (B, S, S, S).
        """
        index = self._indices(step)
        self._seed("batch", step)
        x, y = self._crops(index)
        x, y = augment(to_unit(x), y, self._generator, self.augment)
        return normalise(x, self.prepared.mean, self.prepared.std), y.long()

    def _indices(self, step: int) -> Tensor:
        """Positions step * B to (step + 1) * B in the endless sequence of passes; shape (B,)."""
        count = len(self.samples)
        first, last = step * self.batch, (step + 1) * self.batch
        passes = range(first // count, (last - 1) // count + 1)
        self._orders = {number: self._order(number) for number in passes}
        start = first - passes[0] * count
        return torch.cat([self._orders[k] for k in passes])[start : start + self.batch]

    def _order(self, number: int) -> Tensor:
        if number in self._orders:
            return self._orders[number]
        self._seed("pass", number)
        count = len(self.samples)
        return torch.randperm(count, generator=self._generator, device=self._generator.device)

    def _crops(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Gather a window of each picture, placed uniformly; shapes (B, C, S, S), (B, S, S)."""
        samples, size = self.samples, self.prepared.size
        if self._places is not None:
            return windows(samples, index, size, self._places, self._generator)
        if samples.images.shape[-2:] == (size, size):
            return samples.images[index], samples.masks[index]
        rows = self._window(samples.heights[index])
        columns = self._window(samples.widths[index])
        # Indices on both sides of the channel slice would move it to the end: index all four axes.
        channels = torch.arange(samples.images.shape[1], device=index.device)
        images = samples.images[
            index[:, None, None, None],
            channels[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]
        masks = samples.masks[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return images, masks

    def _window(self, extents: Tensor) -> Tensor:
        """Draw S neighbouring positions within each extent; shape (B, S)."""
        device = extents.device
        room = (extents - self.prepared.size).clamp_min(0)  # smaller pictures are mirrored up to S
        share = torch.rand(len(extents), generator=self._generator, device=device)
        start = (share * (room + 1)).long().minimum(room)
        return start[:, None] + torch.arange(self.prepared.size, device=device)

    def _seed(self, purpose: str, number: int) -> None:
        # A hash, because neighbouring seeds of a generator need not give unrelated streams.
        digest = hashlib.sha256(f"{purpose} {self.seed} {number}".encode()).digest()
        self._generator.manual_seed(int.from_bytes(digest[:4], "big"))
