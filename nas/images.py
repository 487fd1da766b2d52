"""One image or mask: decoding, channels, resizing, normalising. Search and export share it."""

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from primitives.core.errors import InvalidInput

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
Pixels = NDArray[Any]  # uint8 or uint16

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY_MODES = ("L", "LA", "I;16", "I;16B", "I;16L", "I;16N")
_COLOUR_MODES = ("RGB", "RGBA", "RGBX", "YCbCr")
_DECODER_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class BadImage(InvalidInput):
    """One file that cannot be used: its `path`, and the `reason` with the way out."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def decode_image(path: Path) -> Pixels:
    """Read a PNG, JPEG, TIFF or BMP; alpha is dropped, EXIF orientation is not applied.

    16-bit grey and TIFF keep all bits; of 16-bit PNG with several channels the upper 8 are read.

    Returns:
        (H, W) for grey, 0/255 for 1-bit files, (H, W, 3) for colour and palettes; uint8 or uint16.

    Raises:
        BadImage: the file is unreadable, has several pages, or pixels that are neither 8 nor
            16 bit, neither grey nor RGB(A).
    """

    def from_palette(image: Image.Image) -> Pixels:
        image.info.pop("transparency", None)  # alpha is dropped, so Pillow need not warn of it
        return np.asarray(image.convert("RGB"))

    pixels = _decode(path, from_palette)
    if pixels.ndim == 3 and pixels.max() < 64 and _is_deep_colour_png(path):
        reason = "is a dark 16-bit colour PNG, read with 8 bits only; store it as TIFF"
        raise BadImage(path, reason)
    return pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels


def decode_mask(path: Path) -> Pixels:
    """Read the label values of a mask.

    1-bit files give 0/1, palettes their indices unless every colour of the palette is grey
    (then the grey values: that is how tools shrink grey masks).

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        BadImage: as for `decode_image`, or the mask is in colour.
    """
    pixels = _decode(path, _palette_labels)
    if pixels.ndim == 3:
        if not _equal_channels(pixels) or _is_deep_colour_png(path):
            raise BadImage(path, "unexpected labels in colour; store one label value per pixel")
        pixels = pixels[..., 0]
    return pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels


def to_channels(path: Path, pixels: Pixels, channels: int) -> Tensor:
    """Give decoded pixels the number of channels of a data set.

    Args:
        path: where they come from, for the message.
        pixels: (H, W) or (H, W, 3) of `decode_image`.
        channels: 1 or 3; grey is repeated, equal colour channels count as grey.

    Returns:
        (channels, H, W) float32 in [0, 1].

    Raises:
        BadImage: a colour image for a grey data set.
    """
    top = 65535 if pixels.dtype == np.uint16 else 255
    planes = np.atleast_3d(pixels)
    if channels == 1 and planes.shape[2] == 3:
        if not _equal_channels(planes):
            raise BadImage(path, "is in colour, the data set is grey; convert it to grey")
        planes = planes[..., :1]
    unit = torch.from_numpy(planes.astype(np.float32) / top).permute(2, 0, 1)
    return unit.expand(channels, -1, -1).contiguous()


def resize_image(x: Tensor, size: int) -> Tensor:
    """Resize to a square, bilinear and antialiased; the aspect ratio is not kept.

    Shape: (C, H, W) -> (C, size, size)
    """
    if x.shape[-2:] == (size, size):
        return x
    small = F.interpolate(
        x[None], (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return small[0].clamp(0, 1)


def resize_mask(y: Tensor, size: int, labels: int) -> Tensor:
    """Resize labels: each pixel gets the label with the largest share of it.

    The shares come from the filter of `resize_image`, so both keep the same geometry. A label too
    small to win any pixel keeps the one it covers most: a resized lesion never vanishes.

    Args:
        y: uint8 labels below `labels`.
        size: side of the result.
        labels: number of labels, background included.

    Shape: (H, W) -> (size, size)
    """
    if y.shape == (size, size):
        return y
    shares = torch.stack([resize_image((y == k).float()[None], size)[0] for k in range(labels)])
    small = shares.argmax(0).to(torch.uint8)
    for k in range(1, labels):
        if (y == k).any() and not (small == k).any():
            small.view(-1)[shares[k].argmax()] = k
    return small


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel.

    Args:
        x: pixels scaled to [0, 1].
        mean: one per channel, of pixels scaled to [0, 1].
        std: likewise.

    Shape: (..., C, H, W) -> the same; volumes with one channel too
    """
    centre = torch.tensor(mean, dtype=x.dtype, device=x.device).view(-1, 1, 1)
    return (x - centre) / torch.tensor(std, dtype=x.dtype, device=x.device).view(-1, 1, 1)


def _decode(path: Path, from_palette: Callable[[Image.Image], Pixels]) -> Pixels:
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return _decode_tiff(path, from_palette)
        return _decode_pillow(path, from_palette)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage(path, "is not a readable PNG, JPEG, TIFF or BMP; replace it") from None
    except _DECODER_ERRORS as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(path, f"unreadable ({cause}); replace it") from error


def _decode_pillow(path: Path, from_palette: Callable[[Image.Image], Pixels]) -> Pixels:
    with Image.open(path, formats=_FORMATS) as image:
        image.load()
        if image.mode in ("P", "PA"):
            return from_palette(image)
        if image.mode == "1":
            return np.array(image)
        if image.mode in _GREY_MODES:
            pixels = np.array(image)
            return _native(pixels[..., 0] if pixels.ndim == 3 else pixels)
        if image.mode in _COLOUR_MODES:
            return np.array(image.convert("RGB"))
        reason = f"has pixels of kind {image.mode}; store 8 or 16 bit grey or RGB"
        raise BadImage(path, reason)


def _decode_tiff(path: Path, from_palette: Callable[[Image.Image], Pixels]) -> Pixels:
    with tifffile.TiffFile(path) as tiff:
        if len(tiff.pages) > 1:
            raise BadImage(path, f"has {len(tiff.pages)} pages; store one image per file")
        page: Any = tiff.pages[0]
        channels, bits = page.samplesperpixel, page.bitspersample
        colour = page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
        if channels not in (1, 3) and not (channels == 4 and colour):
            raise BadImage(path, f"has {channels} channels; store grey, RGB or RGBA")
        if channels == 1 or (bits == 8 and colour):
            return _decode_pillow(path, from_palette)  # knows palettes and more compressions
        # Pillow would cut 16-bit colour to 8 bits.
        pixels: Pixels = page.asarray()
        if pixels.dtype not in (np.uint8, np.uint16):
            raise BadImage(path, f"has {pixels.dtype} pixels; store 8 or 16 bit")
        planes = np.moveaxis(pixels, 0, -1) if page.axes.startswith("S") else pixels
        return np.ascontiguousarray(_native(planes[..., :3]))


def _is_deep_colour_png(path: Path) -> bool:
    """Tell 16-bit PNG with several channels, of which Pillow reads the upper 8 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    return head.startswith(b"\x89PNG") and head[24] == 16 and head[25] != 0


def _palette_labels(image: Image.Image) -> Pixels:
    colours = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    image.info.pop("transparency", None)
    indices = np.array(image.getchannel(0)) if image.mode == "PA" else np.array(image)
    if _equal_channels(colours) and int(indices.max()) < len(colours):
        return np.ascontiguousarray(colours[indices, 0])
    return indices


def _equal_channels(pixels: Pixels) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _native(pixels: Pixels) -> Pixels:
    """Bring big-endian 16-bit pixels into the byte order of this machine."""
    native: Pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return native
