"""A picture of the result for the status page: three planes with their structures in colour.

The patient's right is on the left side of the axial and coronal planes, as radiologists look at them. Nothing
of the patient's header is known here, and nothing of it can be shown.
"""

import colorsys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from .image import Image, to_ras

HEIGHT = 360
"""Pixels of the longest side of a plane."""
GAP = 8
OPACITY = 0.45
BACKGROUND = (16, 18, 22)
INK = (230, 230, 235)


def draw_preview(image: Image, labels: NDArray[np.uint8], out: Path) -> None:
    """Draw the axial, coronal and sagittal planes that hold most labelled voxels.

    Parameters
    ----------
    labels
        (i, j, k), uint8, on the image's grid.
    out
        A path ending with `.png`.
    """
    ras, _ = to_ras(image)
    found = to_ras(Image(labels, image.affine))[0].values
    planes = [_plane(ras, found, axis) for axis in (2, 1, 0)]
    canvas = Picture.new(
        "RGB",
        (sum(p.width for p in planes) + GAP * (len(planes) + 1), max(p.height for p in planes) + 2 * GAP),
        BACKGROUND,
    )
    left = GAP
    for plane, sides in zip(planes, ("RL", "RL", "AP"), strict=True):
        canvas.paste(plane, (left, GAP))
        _mark(canvas, left, plane, sides)
        left += plane.width + GAP
    canvas.save(out, "PNG")


def _plane(image: Image, labels: NDArray[np.uint8], axis: int) -> Picture.Image:
    """One plane, seen from the front, from below or from the left, with true proportions."""
    others = tuple(other for other in range(3) if other != axis)
    index = int(np.count_nonzero(labels, axis=others).argmax())
    across, up = others
    # In RAS the first axis runs to the right, the second to the front: both are drawn from right to left.
    values = np.take(image.values, index, axis)[::-1, ::-1].T
    marked = np.take(labels, index, axis)[::-1, ::-1].T
    low, high = _window(image)
    grey = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)[..., np.newaxis] * 255
    colours = np.array([palette(value) for value in range(256)], np.float32)[marked]
    mixed = np.where(marked[..., np.newaxis] > 0, (1 - OPACITY) * grey + OPACITY * colours, grey)
    size_mm = (values.shape[1] * image.spacing_mm[across], values.shape[0] * image.spacing_mm[up])
    longest_mm = max(n * mm for n, mm in zip(image.values.shape, image.spacing_mm, strict=True))
    size = tuple(max(1, round(HEIGHT * mm / longest_mm)) for mm in size_mm)
    return Picture.fromarray(mixed.astype(np.uint8)).resize((size[0], size[1]), Picture.Resampling.BILINEAR)


def _window(image: Image) -> tuple[float, float]:
    """A soft tissue window where the values look like HU; else the middle 98 % of them."""
    low, high = (float(v) for v in np.percentile(image.values, (1, 99)))
    return (-160.0, 240.0) if low < -500 else (low, max(high, low + 1))


def palette(value: int) -> tuple[int, int, int]:
    """A colour for a label value: hues a golden angle apart, so that neighbours differ."""
    if value == 0:
        return (0, 0, 0)
    red, green, blue = colorsys.hsv_to_rgb(value * 0.381966 % 1, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _mark(canvas: Picture.Image, left: int, plane: Picture.Image, sides: str) -> None:
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    middle = GAP + plane.height // 2
    draw.text((left + 4, middle), sides[0], INK, font, anchor="lm", stroke_width=2, stroke_fill=BACKGROUND)
    right = left + plane.width - 4
    draw.text((right, middle), sides[1], INK, font, anchor="rm", stroke_width=2, stroke_fill=BACKGROUND)
