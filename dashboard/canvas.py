"""A sheet to draw on with Pillow, at twice its size: lines and letters get soft edges."""

import io
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from dashboard.theme import BLUE, INK

SCALE = 2  # pixels drawn for each pixel of the file


class Canvas:
    """A white sheet.

    Args:
        width: in pixels of the file, like all lengths here.
        height: likewise.
    """

    def __init__(self, width: int, height: int) -> None:
        self.height = height
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), "white")
        self.draw = ImageDraw.Draw(self.image)

    def png(self, colours: int | None = None) -> bytes:
        """Return the picture as a PNG file, of few colours if told how many: that is smaller."""
        file = io.BytesIO()
        image = self.image.reduce(SCALE)
        image = image.quantize(colours, Image.Quantize.MAXCOVERAGE) if colours else image
        image.save(file, "PNG")
        return file.getvalue()

    def text(
        self, x: float, y: float, text: str, size: int, colour: str, anchor: str = "la"
    ) -> None:
        """Write a line; `anchor` as Pillow names it."""
        self.draw.text((x * SCALE, y * SCALE), text, colour, _font(size), anchor)

    def paste(self, x: float, y: float, image: Image.Image) -> None:
        """Put a picture, `SCALE` times as large as it shall be, with its corner at x, y."""
        self.image.paste(image, (round(x * SCALE), round(y * SCALE)))

    def label(self, x: float, y: float, text: str, colour: str) -> None:
        """Write on a line, which is hidden behind the text."""
        half = length_of(text, 14) / 2 + 6
        self.box(x - half, y - 10, 2 * half, 20, "white", outline=False)
        self.text(x, y, text, 14, colour, "mm")

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, outline: bool = True
    ) -> None:
        """Draw a filled box with slightly round corners."""
        corners = (x * SCALE, y * SCALE, (x + width) * SCALE, (y + height) * SCALE)
        self.draw.rounded_rectangle(
            corners, 2 * SCALE, fill, INK if outline else None, SCALE if outline else 0
        )

    def line(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        *,
        arrow: bool = False,
        dashed: bool = False,
        colour: str = INK,
        thickness: int = 2,
    ) -> None:
        """Draw a straight horizontal or vertical line, with a tip at its end if asked for."""
        length = abs(x1 - x0) + abs(y1 - y0)
        steps = int(length / 8) if dashed else 1
        for i in range(steps):
            begin, end = i / steps, (i + (0.6 if dashed else 1)) / steps
            ends = (
                *(SCALE * (x0 + (x1 - x0) * begin), SCALE * (y0 + (y1 - y0) * begin)),
                *(SCALE * (x0 + (x1 - x0) * end), SCALE * (y0 + (y1 - y0) * end)),
            )
            self.draw.line(ends, colour, thickness * SCALE)
        if arrow:
            self._tip(x1, y1, (x1 - x0) / length, (y1 - y0) / length, colour)

    def dot(self, x: float, y: float) -> None:
        """Mark where a path forks."""
        self.draw.circle((x * SCALE, y * SCALE), 4 * SCALE, INK)

    def ring(self, x: float, y: float) -> None:
        """Mark where a skip joins."""
        self.draw.circle((x * SCALE, y * SCALE), 9 * SCALE, "white", BLUE, 2 * SCALE)

    def _tip(self, x: float, y: float, dx: float, dy: float, colour: str) -> None:
        back, side = 8, 5
        points = [
            (x, y),
            (x - dx * back - dy * side, y - dy * back - dx * side),
            (x - dx * back + dy * side, y - dy * back + dx * side),
        ]
        self.draw.polygon([(a * SCALE, b * SCALE) for a, b in points], colour)


def length_of(text: str, size: int) -> float:
    """Return how long a line of text is."""
    return float(_font(size).getlength(text)) / SCALE


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size * SCALE)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
