"""A page to write and draw on, as a picture or as a PDF: the same layout makes both.

Lengths are in pixels of a page of `WIDTH` x `HEIGHT`, from its top left corner.
"""

from enum import Enum
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from . import ink

Point = tuple[float, float]

WIDTH: Final = 1200
HEIGHT: Final = 1600


class Tone(Enum):
    """What a text is; each kind of page has a colour for it."""

    PLAIN = "plain"
    FAINT = "faint"
    WARNING = "warning"


class Sheet(Protocol):
    """One page."""

    def width_of(self, text: str, size: int) -> float:
        """How wide a text gets."""
        ...

    def text(self, at: Point, text: str, size: int, tone: Tone, *, is_right: bool = False) -> None:
        """Write one line with its top left, or top right, corner there."""
        ...

    def box(self, at: Point, size: Point, rgb: ink.Colour) -> None:
        """Fill a rectangle."""
        ...

    def picture(self, at: tuple[int, int], pixels: NDArray[np.uint8]) -> None:
        """Place a colour picture, (rows, columns, 3), a pixel a pixel."""
        ...


class PictureSheet:
    """A page as pixels: light on dark, as viewers are."""

    _COLOURS: Final = {Tone.PLAIN: ink.INK, Tone.FAINT: ink.FAINT, Tone.WARNING: ink.WARNING}

    def __init__(self) -> None:
        self._canvas = Image.new("RGB", (WIDTH, HEIGHT), ink.BACKGROUND)
        self._draw = ImageDraw.Draw(self._canvas)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The page, (rows, columns, 3)."""
        return np.asarray(self._canvas)

    def width_of(self, text: str, size: int) -> float:
        """How wide a text gets."""
        return ink.text_width(text, size)

    def text(self, at: Point, text: str, size: int, tone: Tone, *, is_right: bool = False) -> None:
        """Write one line with its top left, or top right, corner there."""
        anchor = "ra" if is_right else "la"
        self._draw.text(at, text, self._COLOURS[tone], ink.font(size), anchor=anchor)

    def box(self, at: Point, size: Point, rgb: ink.Colour) -> None:
        """Fill a rectangle."""
        self._draw.rectangle((at[0], at[1], at[0] + size[0] - 1, at[1] + size[1] - 1), rgb)

    def picture(self, at: tuple[int, int], pixels: NDArray[np.uint8]) -> None:
        """Place a colour picture, a pixel a pixel."""
        self._canvas.paste(Image.fromarray(pixels), at)


def fitted(sheet: Sheet, text: str, size: int, width: float) -> str:
    """A text cut to a width; what stands behind its last comma, a side, is kept."""
    return ink.cut_to(text, width, lambda part: sheet.width_of(part, size))


def wrapped(sheet: Sheet, text: str, size: int, width: float) -> list[str]:
    """A text in lines of at most that width."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and sheet.width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(sheet, word, size, width))
    return lines
