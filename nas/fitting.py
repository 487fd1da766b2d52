"""Whether a space and data suit each other, and which side of the input suits both."""

from pathlib import Path

import search_spaces
from nas import volumes
from primitives.core.errors import InvalidInput
from search_spaces.core.space import Space


def check_kind(space: Space, data: str) -> None:
    """Check that a space for volumes gets volumes, and one for images gets images.

    Raises:
        InvalidInput: it does not; the message names spaces that would do.
    """
    folder = Path(data)
    if data != "phantom" and not (folder / "images").is_dir():
        return  # the check of the folder says what it lacks
    ndim = 3 if data != "phantom" and volumes.holds_volumes(folder) else 2
    if ndim == space.ndim:
        return
    fitting = [
        name
        for name in search_spaces.names()
        if (s := search_spaces.load(name)).ndim == ndim and s.task == "segmentation"
    ]
    what = {2: f"{data} holds images", 3: f"{data} holds volumes (NIfTI)"}[ndim]
    other = ", or name a folder of NIfTI volumes with --data" if space.ndim == 3 else ""
    raise InvalidInput(
        f"space {space.name!r} is for {'volumes' if space.ndim == 3 else 'images'}, {what}; use "
        f"--space {' or '.join(fitting)}{other}"
    )


def check_size(size: int, space: Space) -> None:
    """Check the side of the input, in pixels, against a space.

    Raises:
        InvalidInput: it is no multiple of what every network of the space needs.
    """
    if size < space.multiple or size % space.multiple:
        near = max(1, round(size / space.multiple)) * space.multiple
        raise InvalidInput(
            f"size must be a multiple of {space.multiple} for space {space.name!r}, got {size}; "
            f"{near} would do"
        )


def patch_size(space: Space, folder: Path, largest: int) -> int:
    """Return the side of the largest legal cube within the median volume, or the smallest legal.

    Args:
        space: of volumes.
        folder: with NIfTI volumes.
        largest: side that the device can afford, voxels.
    """
    room = min([largest, *volumes.median_sides(folder)])
    return max(1, room // space.multiple) * space.multiple
