"""A picture of the result for the status page: three planes, a projection from the front, and a legend.

The patient's right is on the left side of axial and coronal pictures, as radiologists look at them. All have
one scale. Nothing of the patient's header is known here, and nothing of it can be shown.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from batch_job.engines import Segmented
from batch_job.image import Image, to_ras
from batch_job.statistics import Statistics

from .colours import palette
from .ink import BACKGROUND, FAINT, INK, font
from .legend import Legend
from .views import View, views_of

__all__ = ["draw_preview"]

WIDTH, HEIGHT = 1240, 760
"""Pixels that the four pictures together may take."""
GAP, CAPTION = 12, 20
NARROWEST: Final = 130
"""Pixels of a column: a caption must find room."""
LARGEST_SCALE: Final = 4.0
"""Pixels a millimetre: an image of a few voxels is not blown up further."""
OPACITY, OUTLINE = 0.42, 0.9
ROOM_FOR_MARKS: Final = 40
SCALE_BAR_MM: Final = 50.0

ARRANGEMENTS: Final = (
    ((0,), (1,), (2,), (3,)),
    ((0, 2), (1, 3)),
    ((0, 1), (2, 3)),
    ((0,), (1, 2, 3)),
    ((0, 1, 2, 3),),
)
"""Columns of views, of which the one that allows the largest scale is taken."""


def draw_preview(image: Image, segmented: Segmented, statistics: Statistics, out: Path) -> None:
    """Draw the axial, coronal and sagittal planes that show most, and a coronal maximum projection.

    Parameters
    ----------
    segmented
        Its labels lie on the image's grid.
    statistics
        What `measure` says of them, for the legend.
    out
        A path ending with `.png`.
    """
    voxels = np.zeros(256, np.int64)
    for value, name in segmented.names.items():
        voxels[value] = statistics[name]["voxels"] if name in statistics else 0
    views = views_of(to_ras(image)[0], to_ras(Image(segmented.labels, image.affine))[0].values, voxels)
    colours = palette(segmented.names)
    columns, scale = _arranged(views)
    pictures = [_drawn(view, scale, colours) for view in views]
    legend = Legend(segmented.names, statistics)
    widths = [max(NARROWEST, *(pictures[n].width for n in column)) for column in columns]
    heights = [sum(CAPTION + pictures[n].height + GAP for n in column) for column in columns]
    right = GAP + sum(width + GAP for width in widths)
    size = (right + legend.width, GAP + max(*heights, legend.height))
    canvas = Picture.new("RGB", size, BACKGROUND)
    left = GAP
    for column, width in zip(columns, widths, strict=True):
        top = GAP
        for n in column:
            _place(canvas, views[n], pictures[n], (left, top))
            top += CAPTION + pictures[n].height + GAP
        left += width + GAP
    _scale_bar(canvas, pictures[0], scale)
    legend.draw(canvas, (right, GAP), colours)
    canvas.save(out, "PNG")


def _arranged(views: Sequence[View]) -> tuple[Sequence[Sequence[int]], float]:
    """The arrangement in columns that shows the views largest and is then least high; pixels a millimetre."""

    def high_mm(columns: Sequence[Sequence[int]]) -> float:
        return max(sum(views[n].size_mm[1] for n in column) for column in columns)

    def scale(columns: Sequence[Sequence[int]]) -> float:
        wide_mm = sum(max(views[n].size_mm[0] for n in column) for column in columns)
        between = (CAPTION + GAP) * max(len(column) for column in columns)
        by_width = (WIDTH - GAP * (len(columns) - 1)) / wide_mm
        return min(by_width, (HEIGHT - between) / high_mm(columns), LARGEST_SCALE)

    best = max(ARRANGEMENTS, key=lambda columns: (round(scale(columns), 3), -high_mm(columns)))
    return best, scale(best)


def _drawn(view: View, scale: float, colours: NDArray[np.float32]) -> Picture.Image:
    """One picture with true proportions: the structures' colours over grey, stronger along their edges."""
    width, height = (max(1, round(mm * scale)) for mm in view.size_mm)
    low, high = view.window
    grey = np.clip((view.values.astype(np.float32) - low) / (high - low), 0, 1)
    grey8 = Picture.fromarray((grey * 255).astype(np.uint8)).resize(
        (width, height), Picture.Resampling.BICUBIC
    )
    marked = Picture.fromarray(np.ascontiguousarray(view.labels))
    labels = np.asarray(marked.resize((width, height), Picture.Resampling.NEAREST))
    opacity = np.where(_outlines(labels), OUTLINE, OPACITY) * (labels > 0)
    opacity = opacity[..., np.newaxis]
    mixed = np.asarray(grey8)[..., np.newaxis] * (1 - opacity) + colours[labels] * opacity
    return Picture.fromarray(mixed.astype(np.uint8))


def _outlines(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels to the left or above which something else begins."""
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return edge


def _place(canvas: Picture.Image, view: View, picture: Picture.Image, at: tuple[int, int]) -> None:
    """Put a picture below its caption and mark its sides, where there is room."""
    draw, (left, top) = ImageDraw.Draw(canvas), at
    draw.text((left, top), view.caption, FAINT, font(13))
    top += CAPTION
    canvas.paste(picture, (left, top))
    right, bottom = left + picture.width, top + picture.height
    middle = ((left + right) // 2, (top + bottom) // 2)
    marks = [((left + 4, middle[1]), "lm", view.sides[0]), ((right - 4, middle[1]), "rm", view.sides[1])]
    if picture.height >= 2 * ROOM_FOR_MARKS:
        marks += [((middle[0], top + 3), "mt", view.sides[2]), ((middle[0], bottom - 3), "mb", view.sides[3])]
    for position, anchor, side in marks:
        draw.text(position, side, INK, font(15), anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)


def _scale_bar(canvas: Picture.Image, axial: Picture.Image, scale: float) -> None:
    """Five centimetres in the axial picture's lower left corner."""
    length = round(SCALE_BAR_MM * scale)
    if axial.width < 2 * length or axial.height < 2 * ROOM_FOR_MARKS:
        return
    draw = ImageDraw.Draw(canvas)
    x, y = GAP + 10, GAP + CAPTION + axial.height - 10
    draw.line((x, y, x + length, y), INK, 2)
    draw.text((x + length + 5, y), "5 cm", INK, font(12), anchor="lm")
