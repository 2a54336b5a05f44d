"""A picture of the result for the status page: three planes with their structures in colour.

The patient's right is on the left side of the axial and coronal planes, as radiologists look at them. Nothing
of the patient's header is known here, and nothing of it can be shown.
"""

import colorsys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from .engines import Segmented
from .image import Image, to_ras

HEIGHT: Final = 480
"""Pixels of the longest side of the image."""
GAP: Final = 10
OPACITY: Final = 0.45
BACKGROUND: Final = (16, 18, 22)
INK: Final = (235, 235, 240)
SOFT_TISSUE_WINDOW: Final = (-160.0, 240.0)

Colour = tuple[int, int, int]

COLOURS: Final[Mapping[str, Colour]] = {
    "bone": (241, 232, 200),
    "adipose_tissue": (232, 190, 70),
    "soft_tissue": (190, 84, 78),
    "gas": (70, 190, 240),
    "lung_left": (110, 215, 140),
    "lung_right": (190, 130, 235),
}


def draw_preview(image: Image, segmented: Segmented, out: Path) -> None:
    """Draw the axial, coronal and sagittal planes that hold most labelled voxels.

    Parameters
    ----------
    segmented
        Its labels lie on the image's grid.
    out
        A path ending with `.png`.
    """
    ras, _ = to_ras(image)
    labels = to_ras(Image(segmented.labels, image.affine))[0].values
    window, colours = _window(ras), _palette(segmented.names)
    axial, coronal, sagittal = (
        _plane(ras, labels, axis, index, window, colours)
        for axis, index in zip((2, 1, 0), reversed(_fullest(labels)), strict=True)
    )
    beside = max(coronal.width, sagittal.width)
    below = coronal.height + GAP + sagittal.height
    size = (axial.width + beside + 3 * GAP, max(axial.height, below) + 2 * GAP)
    canvas = Picture.new("RGB", size, BACKGROUND)
    right = axial.width + 2 * GAP
    _place(canvas, axial, (GAP, GAP), "RLAP")
    _place(canvas, coronal, (right, GAP), "RLHF")
    _place(canvas, sagittal, (right, GAP + coronal.height + GAP), "APHF")
    canvas.save(out, "PNG")


def _fullest(labels: NDArray[np.uint8]) -> tuple[int, int, int]:
    """The index along each axis whose plane holds most labelled voxels."""
    counts = [np.zeros(size, np.int64) for size in labels.shape]
    for level in range(labels.shape[2]):
        found = labels[:, :, level] > 0
        counts[0] += np.count_nonzero(found, axis=1)
        counts[1] += np.count_nonzero(found, axis=0)
        counts[2][level] = np.count_nonzero(found)
    i, j, k = (int(count.argmax()) for count in counts)
    return i, j, k


def _plane(
    image: Image, labels: NDArray[np.uint8], axis: int, index: int,
    window: tuple[float, float], colours: NDArray[np.float32],
) -> Picture.Image:  # fmt: skip
    """One plane, seen from below, from the front or from the left, with true proportions."""
    across, up = (other for other in range(3) if other != axis)
    # In RAS the first axis runs to the right, the second to the front: both are drawn from right to left.
    here = tuple(index if other == axis else slice(None, None, -1) for other in range(3))
    values, marked = image.values[here].T, labels[here].T
    low, high = window
    grey = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)[..., np.newaxis] * 255
    mixed = np.where(marked[..., np.newaxis] > 0, (1 - OPACITY) * grey + OPACITY * colours[marked], grey)
    size_mm = (values.shape[1] * image.spacing_mm[across], values.shape[0] * image.spacing_mm[up])
    longest_mm = max(n * mm for n, mm in zip(image.values.shape, image.spacing_mm, strict=True))
    width, height = (max(1, round(HEIGHT * mm / longest_mm)) for mm in size_mm)
    picture = Picture.fromarray(mixed.astype(np.uint8))
    return picture.resize((width, height), Picture.Resampling.BILINEAR)


def _window(image: Image) -> tuple[float, float]:
    """A soft tissue window where the values look like HU; else the middle 98 % of them."""
    steps = tuple(slice(None, None, max(1, size // 64)) for size in image.values.shape)
    low, high = (float(v) for v in np.percentile(image.values[steps], (1, 99)))
    return SOFT_TISSUE_WINDOW if low < -500 else (low, max(high, low + 1))


def _palette(names: Mapping[int, str]) -> NDArray[np.float32]:
    """A colour for each label value, (256, 3): the known ones, else hues a golden angle apart."""
    colours = np.zeros((256, 3), np.float32)
    for value, name in names.items():
        red, green, blue = colorsys.hsv_to_rgb(value * 0.381966 % 1, 0.75, 0.95)
        colours[value] = COLOURS.get(name, (red * 255, green * 255, blue * 255))
    return colours


def _place(canvas: Picture.Image, plane: Picture.Image, at: tuple[int, int], sides: str) -> None:
    """Put a plane on the canvas and mark its left and right side; top and bottom where there is room."""
    canvas.paste(plane, at)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    left, top = at[0], at[1]
    right, bottom = left + plane.width, top + plane.height
    middle = ((left + right) // 2, (top + bottom) // 2)
    marks = [((left + 4, middle[1]), "lm", sides[0]), ((right - 4, middle[1]), "rm", sides[1])]
    if plane.height >= 80:
        marks += [((middle[0], top + 3), "mt", sides[2]), ((middle[0], bottom - 3), "mb", sides[3])]
    for position, anchor, side in marks:
        draw.text(position, side, INK, font, anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)
