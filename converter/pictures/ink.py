"""What texts in pictures are written with, and in which colours."""

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Final[Colour] = (16, 18, 22)
INK: Final[Colour] = (235, 235, 240)
FAINT: Final[Colour] = (150, 155, 165)
WARNING: Final[Colour] = (255, 190, 70)
RESEARCH_USE: Final = "Research use only"
ELLIPSIS: Final = "..."


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that every machine draws the same."""
    return ImageFont.load_default(size)


def in_plain_letters(words: str, value: int | None) -> str:
    """A structure in words as the font has them: without accents; in another script it is its label value."""
    parts = unicodedata.normalize("NFKD", words.replace("\N{LATIN SMALL LETTER SHARP S}", "ss"))
    plain = "".join(each for each in parts if not unicodedata.combining(each))
    return plain if plain.isascii() else f"Label {value}" if value else "Without a label"


def text_width(text: str, size: int) -> float:
    """Pixels."""
    return font(size).getlength(text)


def fitted(text: str, size: int, width: float) -> str:
    """A text cut to a width in pixels, as `cut_to` does."""
    return cut_to(text, width, lambda part: text_width(part, size))


def cut_to(text: str, width: float, width_of: Callable[[str], float]) -> str:
    """A text cut to a width; what stands behind its last comma, a side, is kept."""
    if width_of(text) <= width:
        return text
    head, comma, side = text.rpartition(",")
    head, ending = (head, comma + side) if comma else (text, "")
    while head and width_of(head.rstrip() + ELLIPSIS + ending) > width:
        head = head[:-1]
    return head.rstrip() + ELLIPSIS + ending


def line(text: str, size: int, colour: Colour, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """One line of text on the background, (rows, columns, 3), its middle on the middle row."""
    picture = Image.new("RGB", (shape[1], shape[0]), BACKGROUND)
    ImageDraw.Draw(picture).text((0, shape[0] / 2), text, colour, font(size), anchor="lm")
    return np.asarray(picture)


def remarks(number: int) -> str:
    """How many flags there are, in words."""
    return f"{number} remark{'' if number == 1 else 's'} on quality"
