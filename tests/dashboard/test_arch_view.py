import io
import random
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import search_spaces
from dashboard.arch_view import draw_arch
from dashboard.canvas import Canvas
from search_spaces.core.arch import Arch

SPACE = search_spaces.load("ultralight")


def picture(arch: Arch) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw_arch(arch))).convert("RGB")).astype(int)


def baseline(**changes) -> Arch:
    return SPACE.arch({**SPACE.baselines["ultralight-base"].point, **changes})


def share_of(pixels: np.ndarray, colour: str) -> float:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(pixels - wanted).max(2) < 24).mean())


def test_picture_is_a_png_of_fixed_width_that_is_mostly_white_but_not_blank():
    pixels = picture(baseline())
    assert pixels.shape[1] == 1120
    assert 0.7 < (pixels.min(2) > 250).mean() < 0.97


def test_same_arch_gives_the_same_picture_and_another_one_another():
    assert draw_arch(baseline()) == draw_arch(baseline())
    assert draw_arch(baseline()) != draw_arch(baseline(width=32))


def test_fewer_levels_make_a_lower_picture():
    assert len(picture(baseline(levels=4))) < len(picture(baseline()))


@pytest.mark.parametrize(("kind", "colour"), [("ca", "#A0569B"), ("sa", "#009E73")])
def test_attention_is_shown_in_its_own_colour(kind, colour):
    levels = range(1, 6)
    none = {f"{s}_attention_{n}": "none" for s in ("encoder", "decoder") for n in levels}
    some = {**none, "decoder_attention_2": kind}
    assert share_of(picture(baseline(**none)), colour) == 0
    assert share_of(picture(baseline(**some)), colour) > 0.0002


def test_wider_stages_have_wider_boxes():
    def longest_run(row):
        blue = np.abs(row - [0xCF, 0xE3, 0xF3]).max(1) < 20
        return max(map(len, "".join("x" if b else " " for b in blue).split()), default=0)

    rows = [longest_run(row) for row in picture(baseline())]
    runs = [run for run, after in pairwise(rows) if run == after and run > 10]
    distinct = list(dict.fromkeys(runs))
    assert len(distinct) == 5
    assert distinct == sorted(distinct)


def test_no_text_of_any_arch_leaves_the_picture(monkeypatch):
    outside = []
    write = Canvas.text

    def watched(self, x, y, text, size, colour, anchor="la"):
        from dashboard.canvas import length_of

        length = length_of(text, size)
        left = x - {"l": 0, "m": length / 2, "r": length}[anchor[0]]
        if left < 0 or left + length > 1120 or y > self.height:
            outside.append(text)
        write(self, x, y, text, size, colour, anchor)

    monkeypatch.setattr(Canvas, "text", watched)
    rng = random.Random(0)
    for _ in range(15):
        draw_arch(SPACE.arch(SPACE.sample(rng)))
    assert outside == []
