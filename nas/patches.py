"""Random windows of volumes for training, some of them sure to hold foreground."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.samples import Samples

FORCED = 1 / 3  # share of windows around a foreground voxel, as in nnU-Net
_MOST = 10_000  # voxels of a class that are remembered per volume
Places = Sequence[Sequence[Tensor]]  # volume -> foreground class it has -> positions (n, 3)


def find_foreground(samples: Samples) -> Places:
    """Return where each foreground class of each volume is; evenly spread voxels of large ones."""
    found = []
    for mask in samples.masks:
        labels = mask.unique().tolist()
        found.append([_spread(mask == label) for label in labels if label])
    return found


def windows(
    samples: Samples, index: Tensor, size: int, places: Places, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut a window of each volume, a third of them so that they hold a voxel of a random class.

    Args:
        samples: volumes; a window reaches beyond those smaller than it, where the frame is zero.
        index: which volumes, (B,).
        size: side S of a window, voxels.
        places: of `find_foreground`.
        generator: on the device of the samples; decides everything.

    Returns:
        volumes (B, C, S, S, S) and labels (B, S, S, S).
    """
    draws = torch.rand(len(index), 6, generator=generator, device=generator.device).tolist()
    images, masks = [], []
    for k, draw in zip(index.tolist(), draws, strict=True):
        corner = _corner(samples.sizes[k], size, places[k], draw)
        window = tuple(slice(start, start + size) for start in corner)
        images.append(samples.images[k, :, *window])
        masks.append(samples.masks[k, *window])
    return torch.stack(images), torch.stack(masks)


def _corner(
    sides: Sequence[int], size: int, places: Sequence[Tensor], draw: Sequence[float]
) -> list[int]:
    """Place a window within a volume: anywhere, or around a foreground voxel."""
    forced, which, voxel, *shares = draw
    rooms = [max(0, side - size) for side in sides]
    if forced >= FORCED or not places:
        return [int(share * (room + 1)) for share, room in zip(shares, rooms, strict=True)]
    chosen = places[int(which * len(places))]
    at = chosen[int(voxel * len(chosen))].tolist()
    ranges = [
        (max(0, min(room, here - size + 1)), min(room, here))
        for here, room in zip(at, rooms, strict=True)
    ]
    return [
        low + int(share * (high - low + 1))
        for share, (low, high) in zip(shares, ranges, strict=True)
    ]


def _spread(where: Tensor) -> Tensor:
    positions = where.nonzero()
    return positions[:: -(-len(positions) // _MOST)]
