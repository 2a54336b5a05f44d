"""Display colours between sRGB and CIELab as DICOM stores it (PS3.3 C.10.7.1.1)."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

XYZ_FROM_RGB: Final = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""Of linear sRGB (IEC 61966-2-1)."""
RGB_FROM_XYZ: Final = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)
WHITE_XYZ: Final = np.array([0.95047, 1.0, 1.08883])
"""D65, as highdicom and the programs it learned from take it."""
LIGHTNESS_STEPS: Final = 0xFFFF / 100
CHROMA_STEPS: Final = 0xFFFF / 255
DARK: Final = 6 / 29
"""Below its third power the cube root is a straight line."""


def cielab_of(rgb: Sequence[int]) -> tuple[int, int, int]:
    """The stored CIELab value, 0 to 65535 each, of an sRGB colour, 0 to 255 each."""
    channels = np.array(rgb) / 255
    linear = np.where(channels > 0.04045, ((channels + 0.055) / 1.055) ** 2.4, channels / 12.92)
    parts = XYZ_FROM_RGB @ linear / WHITE_XYZ
    x, y, z = np.where(parts >= DARK**3, np.cbrt(parts), parts / (3 * DARK**2) + 4 / 29)
    return (
        round((116 * y - 16) * LIGHTNESS_STEPS),
        round((500 * (x - y) + 128) * CHROMA_STEPS),
        round((200 * (y - z) + 128) * CHROMA_STEPS),
    )


def rgb_of(cielab: Sequence[int]) -> tuple[int, int, int]:
    """The sRGB colour nearest to a stored CIELab value."""
    y = (cielab[0] / LIGHTNESS_STEPS + 16) / 116
    x = (cielab[1] / CHROMA_STEPS - 128) / 500 + y
    z = y - (cielab[2] / CHROMA_STEPS - 128) / 200
    parts = np.array([x, y, z])
    xyz = np.where(parts > DARK, parts**3, (parts - 4 / 29) * 3 * DARK**2) * WHITE_XYZ
    red, green, blue = _as_bytes(RGB_FROM_XYZ @ xyz)
    return red, green, blue


def _as_bytes(linear: NDArray[np.float64]) -> list[int]:
    bent = 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055
    channels = np.where(linear > 0.0031308, bent, 12.92 * linear)
    return [round(channel * 255) for channel in np.clip(channels, 0, 1).tolist()]
