"""Holes: a polygon has none, so that each is joined to what is around it by a cut that goes there and back.

The cut runs along a row, from the hole's leftmost side through the structure's own pixels to the next border:
that is another hole's, or the outer one.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .tracing import Border, Indices


def join_holes(border: "Border", order: "Indices", begins: "Indices", is_hole: NDArray[np.bool_]) -> "Border":
    """Lead borders around holes through cuts into the others.

    Parameters
    ----------
    order, begins
        The sides in the order of their borders, and where each of these begins.
    is_hole
        Of each border.
    """
    following = border.following.tolist()
    preceding = np.argsort(border.following).tolist()
    x, west = border.x, _west_sides(border)
    ends = np.append(begins[1:], len(order))
    copied: list[int] = []
    for begin, end in zip(begins[is_hole].tolist(), ends[is_hole].tolist(), strict=True):
        sides = order[begin:end]
        at_hole = int(sides[x[sides].argmin()])
        at_border = int(west[np.searchsorted(border.pixel[west], border.pixel[at_hole], "right") - 1])
        # ... at_border > at_hole > around the hole > copy of at_hole > copy of at_border > ...
        hole_copy, border_copy = len(following), len(following) + 1
        copied += [at_hole, at_border]
        before = preceding[at_hole]
        following += [border_copy, following[at_border]]
        following[at_border], following[before] = at_hole, hole_copy
        preceding += [before, hole_copy]
        preceding[following[border_copy]], preceding[at_hole] = border_copy, at_border
    every = np.concatenate([np.arange(len(border.pixel)), copied])
    return replace(
        border, pixel=border.pixel[every], side=border.side[every], following=np.array(following, np.int64)
    )


def _west_sides(border: "Border") -> "Indices":
    """The left sides, by pixel: where a run of one label begins."""
    west = np.flatnonzero(border.side == 3)
    return np.asarray(west[np.argsort(border.pixel[west], kind="stable")])
