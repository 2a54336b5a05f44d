"""Labels as lines: which pixels of a plane are drawn, inside of each structure along its border."""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

WIDE_FROM: Final = 512
"""Pixels of the longer side from which on a line is two pixels wide."""

_CROSS: Final = ((0, 1), (1, 0))
_SECOND: Final = ((0, 2), (2, 0), (1, 1), (1, -1))
"""What lies two steps away: with it a line is two pixels wide."""


def line_width(rows: int, columns: int) -> int:
    """How wide lines are on slices of this size, in pixels."""
    return 2 if max(rows, columns) >= WIDE_FROM else 1


def contours(labels: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """The labelled pixels that lie at most `width` pixels (1 or 2) from something else.

    The image's edge is nothing else: a structure that the image cuts stays open there.
    """
    edge = np.zeros(labels.shape, bool)
    if not labels.any():
        return edge
    rows, columns = (_extent(np.asarray(labels.any(axis=axis)), width) for axis in (1, 0))
    part, drawn = labels[rows, columns], edge[rows, columns]
    for down, across in _CROSS if width == 1 else _CROSS + _SECOND:
        above, below = _apart(part, down, across)
        differs = above != below
        for marked in _apart(drawn, down, across):
            np.logical_or(marked, differs, out=marked)
    drawn &= part > 0
    return edge


def _extent(used: NDArray[np.bool_], margin: int) -> slice:
    at = np.flatnonzero(used)
    return slice(max(0, int(at[0]) - margin), int(at[-1]) + 1 + margin)


def _apart(plane: NDArray[T], down: int, across: int) -> tuple[NDArray[T], NDArray[T]]:
    """Two views of a plane, the second so many pixels down and across from the first."""
    rows, columns = plane.shape
    if across < 0:
        return plane[: rows - down, -across:], plane[down:, : columns + across]
    return plane[: rows - down, : columns - across], plane[down:, across:]
