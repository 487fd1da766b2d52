"""A picture of an arch: the U with its stages, attention, skips and ends."""

from dataclasses import dataclass
from itertools import zip_longest
from math import log2, sqrt

from dashboard.canvas import Canvas, length_of
from dashboard.text import spec_text
from dashboard.theme import BLUE, GREEN, GREY, INK, ORANGE, PALE
from primitives.core.contract import load_blocks
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.layouts import pairs

_WIDTH, _HEAD, _FOOT = 1120, 116, 78  # picture, title and ends, legend
_ROW, _LINE = 104, 19  # lowest level, line of a label
_LABEL = 318  # longest line of a label
_LEFT, _RIGHT = 425, 695  # centres of the two columns of boxes
_ENCODER, _DECODER = "#CFE3F3", "#F7DDC8"
_PURPLE = "#A0569B"
_ATTENTION_COLOURS = (_PURPLE, GREEN, ORANGE, INK)  # by alphabet


def draw_arch(arch: Arch) -> bytes:
    """Draw the U: one box per stage, as wide as its channels and as high as its resolution.

    Returns:
        a PNG file, 1120 pixels wide.
    """
    boxes = _boxes(arch)
    bottom = max(box.below for box in boxes)
    canvas = Canvas(_WIDTH, round(bottom) + _FOOT)
    _draw_ends(canvas, arch)
    for box in boxes:
        _draw_path(canvas, box)
    _draw_skips(canvas, arch, boxes)
    largest = min(box.above for box in boxes if box.encoder)
    if largest > _HEAD:  # the encoder begins with a smaller map
        canvas.line(_LEFT, _HEAD - 28, _LEFT, largest)
    _draw_bottom(canvas, bottom)
    lowest = max((box.below for box in boxes if not box.encoder), default=_HEAD - 28)
    if lowest < bottom:  # a level without a decoder stage, or no decoder at all
        canvas.line(_RIGHT, bottom, _RIGHT, lowest, arrow=lowest < _HEAD)
    for box in boxes:
        _draw_stage(canvas, box)
    _draw_legend(canvas, boxes)
    return canvas.png(colours=64)


@dataclass(frozen=True, slots=True)
class _Box:
    """A stage at its place; lengths in units of the picture."""

    stage: Stage
    label: tuple[tuple[str, int, str], ...]  # text, size, colour of each line
    encoder: bool
    above: float  # where the level begins
    below: float  # where it ends
    middle: float
    width: float
    height: float

    @property
    def x(self) -> float:
        """Left edge."""
        return self.middle - self.width / 2

    @property
    def y(self) -> float:
        """Upper edge."""
        return (self.above + self.below - self.height) / 2

    @property
    def foot(self) -> float:
        """Lower edge, below the bars that stand for attention."""
        return self.y + self.height + 6 * len(self.stage.attention)


def _boxes(arch: Arch) -> list[_Box]:
    """Place the stages, a level of the U per row, its encoder stage on the left."""
    placed = pairs(arch)
    levels = len(arch.encoder)
    # Decoder stages may go on above the largest map of a ready-made encoder.
    above_encoder = sum(scale < placed[0][1] for _, scale, _ in placed[levels:])
    column = [*[None] * above_encoder, *placed[:levels]]
    rows = list(zip_longest(column, placed[levels:][::-1]))
    top = min(scale for _, scale, _ in placed)
    widest = max(stage.width for _, _, stage in placed)
    above, boxes = float(_HEAD), []
    for row in rows:
        there = [
            (i, scale, stage, _label(name, scale, stage, arch))
            for i, (name, scale, stage) in ((i, part) for i, part in enumerate(row) if part)
        ]
        below = above + max(_ROW, *(_LINE * (len(label) + 1) for *_, label in there))
        for i, scale, stage, label in there:
            width = 14 + 106 * sqrt(stage.width / widest)
            height = 64 - 40 * log2(scale / top) / len(rows)
            middle = (_LEFT, _RIGHT)[i]
            boxes.append(_Box(stage, label, i == 0, above, below, middle, width, height))
        above = below
    return boxes


def _label(name: str, scale: int, stage: Stage, arch: Arch) -> tuple[tuple[str, int, str], ...]:
    where = f"1/{scale} size" if scale > 1 else "full size"
    depth = f"{stage.depth} x " if stage.depth > 1 else ""
    attention = [
        (line, 14, _colour(spec))
        for spec in stage.attention
        for line in _wrap(spec_text(spec) + (" (shared)" if spec == arch.shared else ""))
    ]
    extras = [f"{word} {spec_text(spec)}" for word, spec in stage.extras if word != "skip"]
    blocks = [depth + spec_text(stage.block), *extras]
    plain = [(line, 14, GREY) for text in blocks for line in _wrap(text)]
    return ((f"{name} · {stage.width} channels · {where}", 15, INK), *plain, *attention)


def _draw_skips(canvas: Canvas, arch: Arch, boxes: list[_Box]) -> None:
    """Draw how features cross over: between two levels, or within one."""
    encoder = [box for box in boxes if box.encoder]
    decoder = [box for box in boxes if not box.encoder]
    between = arch.layout == "skip-after-down"
    for left in encoder:
        level = [box for box in decoder if box.above == left.above]
        if not level or (between and left is encoder[-1]):
            break  # the bottom
        (right,) = level
        y = left.below if between else (left.above + left.below) / 2
        # The stage that merges lies above the level's lower edge, or is the one on this level.
        spec = (decoder[encoder.index(left) + 1] if between else right).stage.skip or arch.skip
        ends = (_LEFT, _RIGHT) if between else (left.x + left.width, right.x)
        _draw_skip(canvas, y, ends, spec_text(spec))


def _draw_ends(canvas: Canvas, arch: Arch) -> None:
    canvas.text(24, 16, f"arch {arch.key}", 22, INK)
    canvas.text(_WIDTH - 24, 20, f"widths {'-'.join(map(str, arch.widths))}", 16, GREY, "ra")
    for x, spec, what in (
        (_LEFT, arch.stem, f"{arch.in_channels} in"),
        (_RIGHT, arch.head, f"{arch.classes} out"),
    ):
        encoder = spec is arch.stem
        canvas.box(x - 52, 62, 104, 26, PALE)
        canvas.text(x, 75, what, 14, INK, "mm")
        side, anchor = (x - 64, "rm") if encoder else (x + 64, "lm")
        canvas.text(
            side, 75, f"{'stem' if encoder else 'head'}: {spec_text(spec)}", 14, GREY, anchor
        )


def _draw_path(canvas: Canvas, box: _Box) -> None:
    """Draw the way through a level: down on the encoder's side, up on the decoder's."""
    first = box.above == _HEAD
    above = _HEAD - 28 if first else box.above
    if box.encoder:
        canvas.line(box.middle, above, box.middle, box.y, arrow=True)
        canvas.line(box.middle, box.foot, box.middle, box.below)
    else:
        canvas.line(box.middle, box.below, box.middle, box.foot, arrow=True)
        canvas.line(box.middle, box.y, box.middle, above, arrow=first)


def _draw_skip(canvas: Canvas, y: float, ends: tuple[float, float], name: str) -> None:
    left, right = ends
    canvas.line(left, y, right - 17, y, dashed=True, colour=BLUE)
    canvas.line(right - 18, y, right - 9, y, arrow=True, colour=BLUE)
    canvas.dot(left, y)
    canvas.ring(right, y)
    canvas.label((_LEFT + _RIGHT) / 2, y, name, BLUE)


def _draw_bottom(canvas: Canvas, y: float) -> None:
    canvas.line(_LEFT, y, _RIGHT, y)
    canvas.label((_LEFT + _RIGHT) / 2, y, "bottom", GREY)


def _draw_stage(canvas: Canvas, box: _Box) -> None:
    canvas.box(box.x, box.y, box.width, box.height, _ENCODER if box.encoder else _DECODER)
    for i in range(1, box.stage.depth):  # one slice per block
        y = box.y + box.height * i / box.stage.depth
        canvas.line(box.x, y, box.x + box.width, y, thickness=1)
    # Encoder stages attend to their output, decoder stages to their input: both are at the foot.
    for i, spec in enumerate(box.stage.attention):
        y = box.y + box.height + 2 + 6 * i
        canvas.box(box.x, y, box.width, 4, _colour(spec), outline=False)
    x, anchor = (box.x - 14, "rm") if box.encoder else (box.x + box.width + 14, "lm")
    top = (box.above + box.below - _LINE * (len(box.label) - 1)) / 2
    for i, (text, size, colour) in enumerate(box.label):
        canvas.text(x, top + _LINE * i, text, size, colour, anchor)


def _draw_legend(canvas: Canvas, boxes: list[_Box]) -> None:
    y, x = canvas.height - 26, 24.0
    kinds = {spec.name: spec for box in boxes for spec in box.stage.attention}
    for name, spec in sorted(kinds.items()):
        canvas.box(x, y - 2, 22, 5, _colour(spec), outline=False)
        canvas.text(x + 30, y, name, 14, GREY, "lm")
        x += 60 + length_of(name, 14)
    note = "box width: channels, height: resolution, slices: blocks"
    canvas.text(_WIDTH - 24, y, note, 14, GREY, "rm")


def _colour(spec: BlockSpec) -> str:
    names = sorted(block.name for block in load_blocks().values() if block.role == "attention")
    return _ATTENTION_COLOURS[names.index(spec.name) % len(_ATTENTION_COLOURS)]


def _wrap(text: str) -> list[str]:
    """Break a list at its commas where a line would become too long."""
    lines = [""]
    for part in text.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if length_of(longer, 14) > _LABEL:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines
