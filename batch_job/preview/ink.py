"""What the preview's texts are written with."""

from functools import cache
from typing import Final

from PIL import ImageFont

BACKGROUND: Final = (16, 18, 22)
INK: Final = (235, 235, 240)
FAINT: Final = (150, 155, 165)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that every machine draws the same."""
    return ImageFont.load_default(size)
