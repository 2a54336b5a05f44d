"""The preview's legend: every structure with its colour and volume, the largest first."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from batch_job.names import spoken
from batch_job.statistics import Statistics

from .ink import FAINT, INK, font

ROW: Final = 17
COLUMN: Final = 270
ROWS: Final = 42
"""Of a column; there are at most two, and what is left over is counted."""
NAME_WIDTH: Final = 186
"""Pixels; the rest is colour and volume."""
CUT: Final = "*"


class Legend:
    """Names, colours and volumes."""

    def __init__(self, names: Mapping[int, str], statistics: Statistics) -> None:
        values = {name: value for value, name in names.items()}
        self._lines = sorted(
            ((values[name], name, float(measured["volume_ml"])) for name, measured in statistics.items()),
            key=lambda line: (-line[2], line[0]),
        )
        self._cut = {name for name, measured in statistics.items() if measured["truncated"]}
        self._shown = self._lines[: 2 * ROWS]
        self._rows = min(ROWS, len(self._shown))

    @property
    def width(self) -> int:
        """Pixels."""
        return COLUMN * (2 if len(self._shown) > ROWS else 1)

    @property
    def height(self) -> int:
        """Pixels, with head and foot."""
        return (self._rows + 4) * ROW

    def draw(self, canvas: Picture.Image, at: tuple[int, int], colours: NDArray[np.float32]) -> None:
        """Draw it with its top left corner there."""
        draw, (left, top) = ImageDraw.Draw(canvas), at
        count = len(self._lines)
        head = f"{count} structure{'' if count == 1 else 's'}, ml" if count else "nothing was found"
        draw.text((left, top), head, FAINT, font(13))
        for number, (value, name, ml) in enumerate(self._shown):
            x = left + COLUMN * (number // ROWS)
            y = top + ROW * (number % ROWS + 1) + 4
            red, green, blue = (int(part) for part in colours[value])
            draw.rectangle((x, y + 2, x + 10, y + 12), (red, green, blue))
            draw.text((x + 18, y), self._text(draw, name), INK, font(12))
            draw.text((x + COLUMN - 16, y), _volume(ml), INK, font(12), anchor="ra")
        foot = top + ROW * (self._rows + 1) + 10
        left_over = count - len(self._shown)
        if left_over:
            draw.text((left, foot), f"and {left_over} smaller ones", FAINT, font(12))
        if self._cut:
            text = f"{CUT} cut off at the edge of the scan"
            draw.text((left, foot + ROW * bool(left_over)), text, FAINT, font(12))

    def _text(self, draw: ImageDraw.ImageDraw, name: str) -> str:
        """The name, cut to the room that there is, and whether the scan cuts the structure."""
        text, cut = spoken(name), CUT if name in self._cut else ""
        if draw.textlength(text + cut, font(12)) <= NAME_WIDTH:
            return text + cut
        while draw.textlength(text + "…" + cut, font(12)) > NAME_WIDTH:
            text = text[:-1]
        return text + "…" + cut


def _volume(ml: float) -> str:
    """Three figures that count."""
    return f"{ml:.0f}" if ml >= 99.5 else f"{ml:.1f}" if ml >= 9.95 else f"{ml:.2f}"
