import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch.nn import functional as F

from nas.images import (
    BadImage,
    decode_image,
    decode_mask,
    normalise,
    resize_image,
    resize_mask,
    to_channels,
)

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
ALPHA = np.dstack((COLOUR, GREY))
DEEP = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)


def write_png16(path: Path, pixels: np.ndarray, colour_type: int) -> None:
    """Write 16-bit channels by hand: Pillow cannot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR])
def test_lossless_8_bit_files_come_back_exactly(tmp_path, suffix, pixels):
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
    decoded = decode_image(tmp_path / f"a{suffix}")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_comes_back_exactly(tmp_path, suffix):
    Image.fromarray(DEEP).save(tmp_path / f"a{suffix}")
    decoded = decode_image(tmp_path / f"a{suffix}")
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, DEEP)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_16_bit_colour_tiff_keeps_all_bits(tmp_path, order, planar):
    stored = DEEP_COLOUR if planar == "contig" else DEEP_COLOUR.transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, byteorder=order
    )
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif"), DEEP_COLOUR)


def test_big_endian_16_bit_grey_tiff_has_native_order(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, byteorder=">")
    decoded = decode_image(tmp_path / "a.tif")
    assert decoded.dtype == np.uint16
    assert decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, DEEP)


def test_16_bit_colour_png_gives_its_upper_8_bits(tmp_path):
    write_png16(tmp_path / "a.png", DEEP_COLOUR, 2)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), DEEP_COLOUR >> 8)


def test_16_bit_colour_png_is_refused_where_8_bits_lose_it(tmp_path):
    write_png16(tmp_path / "a.png", DEEP_COLOUR >> 4, 2)  # a 12-bit camera
    with pytest.raises(BadImage, match="dark 16-bit colour PNG"):
        decode_image(tmp_path / "a.png")
    write_png16(tmp_path / "b.png", np.dstack([DEEP % 4] * 3), 2)
    with pytest.raises(BadImage, match="store one label value per pixel"):
        decode_mask(tmp_path / "b.png")


def test_alpha_is_dropped(tmp_path):
    Image.fromarray(ALPHA).save(tmp_path / "a.png")
    Image.merge("LA", [Image.fromarray(GREY)] * 2).save(tmp_path / "b.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), COLOUR)
    np.testing.assert_array_equal(decode_image(tmp_path / "b.png"), GREY)


def test_jpeg_is_close_to_what_was_saved(tmp_path):
    smooth = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(decode_image(tmp_path / "a.jpg").astype(int) - smooth).max() < 6


def test_one_bit_images_span_0_to_255_and_masks_0_to_1(tmp_path):
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), bits * 255)
    np.testing.assert_array_equal(decode_mask(tmp_path / "a.png"), bits)


def save_palette(path: Path, indices: np.ndarray, colours: list[int]) -> None:
    image = Image.fromarray(indices, mode=None).convert("L")
    image.putpalette(colours)
    image.save(path, transparency=0)


def test_palette_images_become_colour_and_palette_masks_their_indices(tmp_path):
    indices = GREY % 3
    colours = [0, 0, 0, 200, 30, 10, 5, 6, 7]
    save_palette(tmp_path / "a.png", indices, colours)
    expected = np.array(colours, dtype=np.uint8).reshape(-1, 3)[indices]
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), expected)
    np.testing.assert_array_equal(decode_mask(tmp_path / "a.png"), indices)


def test_grey_palettes_of_masks_give_grey_values(tmp_path):
    indices = GREY % 2
    save_palette(tmp_path / "a.png", indices, [255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(decode_mask(tmp_path / "a.png"), 255 * (1 - indices))


def test_masks_with_three_equal_channels_are_grey_and_coloured_ones_are_refused(tmp_path):
    Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / "a.png")
    Image.fromarray(COLOUR).save(tmp_path / "b.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "a.png"), GREY)
    with pytest.raises(BadImage, match="unexpected labels in colour"):
        decode_mask(tmp_path / "b.png")


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_odd_channel_counts_are_named(tmp_path, channels):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((8, 8, channels), np.uint8),
        photometric="minisblack",
        planarconfig="contig",
    )
    with pytest.raises(BadImage, match=f"has {channels} channels"):
        decode_image(tmp_path / "a.tif")


def test_a_tiff_with_an_unknown_kind_of_colour_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb")
    content = (tmp_path / "a.tif").read_bytes()
    kind = struct.pack("<HHI", 262, 3, 1)  # the tag, its type, one value
    place = content.index(kind) + len(kind)
    (tmp_path / "a.tif").write_bytes(content[:place] + b"\x63\x00" + content[place + 2 :])
    with pytest.raises(BadImage):
        decode_mask(tmp_path / "a.tif")


def test_stacks_floats_and_cmyk_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((5, 40, 50), np.uint8))
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((8, 8), np.float32))
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "cmyk.jpg")
    for name, words in {
        "pages.tif": "has 5 pages",
        "float.tif": "pixels of kind F",
        "cmyk.jpg": "pixels of kind CMYK",
    }.items():
        with pytest.raises(BadImage, match=words):
            decode_image(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("keep", [0, 3, 30, 0.5, 0.9])
def test_cut_files_are_unreadable_whatever_the_decoder_raises(tmp_path, suffix, keep):
    big = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(big).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep >= 1 else int(keep * len(content))])
    with pytest.raises(BadImage, match="readable"):
        decode_image(path)


def test_a_colour_image_does_not_silently_become_grey():
    unit = to_channels(Path("a.png"), np.dstack([GREY] * 3), 1)
    torch.testing.assert_close(unit, torch.from_numpy(GREY)[None] / 255)
    with pytest.raises(BadImage, match="is in colour"):
        to_channels(Path("a.png"), COLOUR, 1)
    assert to_channels(Path("a.png"), DEEP, 3).shape == (3, 6, 9)
    assert to_channels(Path("a.png"), np.full((2, 2), 65535, np.uint16), 1).max() == 1


def test_resizing_by_a_whole_factor_keeps_the_mean_and_constants():
    x = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert resize_image(x, 32).shape == (1, 32, 32)
    assert abs(float(resize_image(x, 32).mean() - x.mean())) < 2e-3
    torch.testing.assert_close(
        resize_image(torch.full((3, 50, 70), 0.3), 32), torch.full((3, 32, 32), 0.3)
    )


def test_resized_masks_follow_the_area_of_each_label():
    y = torch.zeros(64, 64, dtype=torch.uint8)
    y[:, 20:40], y[40:, 40:] = 1, 2
    small = resize_mask(y, 32, 3)
    expected = F.interpolate(y[None, None].float(), (32, 32), mode="nearest-exact")[0, 0]
    assert float((small == expected).float().mean()) > 0.99
    assert set(small.unique().tolist()) == {0, 1, 2}


def test_a_lesion_of_one_pixel_survives_resizing_at_its_place():
    y = torch.zeros(320, 320, dtype=torch.uint8)
    y[105, 205] = 1
    assert resize_mask(y, 32, 2).nonzero().tolist() == [[10, 20]]


def test_normalise_subtracts_and_divides_per_channel():
    x = torch.tensor([0.5, 1.0]).view(1, 2, 1, 1)
    assert normalise(x, (0.5, 0.5), (0.1, 0.25)).flatten().tolist() == [0.0, 2.0]
