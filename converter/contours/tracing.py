"""The borders of all labels on a slice, as closed polygons.

A border runs between the centres of a pixel that is inside and one that is not, `OFFSET` pixels from the one
inside: who asks of each pixel's centre whether it lies in the polygon, and who rounds corners to pixels, as
rt-utils does, gets exactly the pixels that were marked. Pixels that touch at a corner are one piece, so that
thin oblique structures stay whole. Of points on a straight line only the ends are kept.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .keyholes import join_holes

OFFSET: Final = 0.49
"""In pixels; at half a pixel it would be chance to which side a corner is rounded."""
NORTH, EAST, SOUTH, WEST = range(4)
"""The sides of a pixel, clockwise: a border is followed with the inside on its right hand."""
_X: Final = np.array([0, OFFSET, 0, -OFFSET])
_Y: Final = np.array([-OFFSET, 0, OFFSET, 0])
_STRAIGHT: Final = 1e-6
"""Square pixels: any corner spans more."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outlines:
    """Closed polygons on one slice.

    Parameters
    ----------
    points
        (points, 2), column and row, in pixels from the centre of the first one.
    begins
        Where each polygon's points begin.
    labels
        The label value of each polygon.
    """

    points: NDArray[np.float64]
    begins: Indices
    labels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Border:
    """Sides of pixels that belong to a border, and which follows which; all are (sides,).

    `pixel` counts in a plane of `width` that has an empty frame around it.
    """

    pixel: Indices
    side: Indices
    following: Indices
    width: int

    @property
    def x(self) -> NDArray[np.float64]:
        """Columns of their middles."""
        return np.asarray(self.pixel % self.width - 1 + _X[self.side])

    @property
    def y(self) -> NDArray[np.float64]:
        """Rows of their middles."""
        return np.asarray(self.pixel // self.width - 1 + _Y[self.side])


def trace(plane: NDArray[np.uint8]) -> Outlines:
    """Follow the borders of every label of a slice, (rows, columns); 0 is nothing."""
    padded = np.pad(plane, 1)
    border = _border(padded.reshape(-1), padded.shape[1])
    order, begins = _cycles(border.following)
    areas = _areas(border, order, begins)
    if (areas < 0).any():
        border = join_holes(border, order, begins, areas < 0)
        order, begins = _cycles(border.following)
    points = np.stack([border.x[order], border.y[order]], axis=1)
    labels = padded.reshape(-1)[border.pixel[order[begins]]] if len(begins) else np.zeros(0, np.uint8)
    return _without_straight_points(points, begins, labels)


def _border(flat: NDArray[np.uint8], width: int) -> Border:
    """Every side of a labelled pixel behind which something else is, and the one that follows it."""
    outward = np.array([-width, 1, width, -1])
    beside, below = np.flatnonzero(flat[1:] != flat[:-1]), np.flatnonzero(flat[width:] != flat[:-width])
    pixels = [below + width, beside, below, beside + 1]
    pixels = [pixel[flat[pixel] != 0] for pixel in pixels]
    pixel = np.concatenate(pixels)
    side = np.repeat(np.arange(4), [len(each) for each in pixels])
    ahead = pixel + outward[(side + 1) % 4]
    corner = ahead + outward[side]
    label = flat[pixel]
    turns_left, goes_on = flat[corner] == label, flat[ahead] == label
    next_pixel = np.where(turns_left, corner, np.where(goes_on, ahead, pixel))
    next_side = (side + np.where(turns_left, 3, np.where(goes_on, 0, 1))) % 4
    number = np.empty(4 * flat.size, np.int64)
    number[4 * pixel + side] = np.arange(len(pixel))
    return Border(pixel, side, number[4 * next_pixel + next_side], width)


def _cycles(following: Indices) -> tuple[Indices, Indices]:
    """The sides in the order of their borders, one border after the other, and where each begins."""
    left: list[int] = following.tolist()
    order: list[int] = []
    begins: list[int] = []
    for first in range(len(left)):
        if left[first] < 0:
            continue
        begins.append(len(order))
        at = first
        while (after := left[at]) >= 0:
            order.append(at)
            left[at] = -1
            at = after
    return np.array(order, np.int64), np.array(begins, np.int64)


def _areas(border: Border, order: Indices, begins: Indices) -> NDArray[np.float64]:
    """Twice the area of each border; of a hole it is negative."""
    if not len(begins):
        return np.zeros(0)
    x, y = border.x, border.y
    after = border.following[order]
    spanned = x[order] * y[after] - x[after] * y[order]
    return np.asarray(np.add.reduceat(spanned, begins))


def _without_straight_points(
    points: NDArray[np.float64], begins: Indices, labels: NDArray[np.uint8]
) -> Outlines:
    if not len(begins):
        return Outlines(points, begins, labels)
    ends = np.append(begins[1:], len(points))
    before, after = np.arange(len(points)) - 1, np.arange(len(points)) + 1
    before[begins], after[ends - 1] = ends - 1, begins
    came, goes = points - points[before], points[after] - points
    turn = came[:, 0] * goes[:, 1] - came[:, 1] * goes[:, 0]
    is_kept = (np.abs(turn) > _STRAIGHT) | ((came * goes).sum(axis=1) < 0)
    kept_before = np.concatenate([[0], np.cumsum(is_kept)])
    return Outlines(points[is_kept], kept_before[begins], labels)
