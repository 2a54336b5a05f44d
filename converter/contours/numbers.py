"""Points as the text of Contour Data (PS3.3 C.8.8.6): decimal strings of at most ten characters.

Whole arrays at once: a hundred structures have millions of numbers.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from converter.errors import EncodingFailed

PER_MM: Final = 10_000
"""Numbers are rounded to a ten-thousandth of a millimetre."""
FURTHEST_MM: Final = 9999.0
_DIGITS: Final = (10_000_000, 1_000_000, 100_000, 10_000, 1000, 100, 10, 1)
_POINT: Final = 5
"""Sign, four digits, point, four digits, backslash."""
_SHAPE: Final = 11
_FIRST_THAT_STAND_ALWAYS: Final = 10_000


def point_texts(points_mm: NDArray[np.float64], begins: NDArray[np.int64]) -> list[bytes]:
    """The text of each contour: x, y and z of its points, between backslashes.

    Parameters
    ----------
    points_mm
        (points, 3), of all contours.
    begins
        Where each contour's points begin.

    Raises
    ------
    EncodingFailed
        A point lies ten metres away.
    """
    if not len(begins):
        return []
    if np.abs(points_mm).max() > FURTHEST_MM:
        raise EncodingFailed("the images lie metres away from their origin; have their positions corrected")
    numbers = np.rint(points_mm.reshape(-1) * PER_MM).astype(np.int64)
    size = np.abs(numbers).astype(np.int32)
    text = np.empty((len(numbers), _SHAPE), np.uint8)
    stands = np.ones(text.shape, bool)
    text[:, 0], stands[:, 0] = ord("-"), numbers < 0
    for place, worth in enumerate(_DIGITS):
        column = 1 + place + (place >= _POINT - 1)
        text[:, column] = ord("0") + size // worth % 10
        if worth > _FIRST_THAT_STAND_ALWAYS:
            stands[:, column] = size >= worth
    text[:, _POINT], text[:, -1] = ord("."), ord("\\")
    ends = np.append(begins[1:], len(points_mm)) * 3
    stands[ends - 1, -1] = False
    cuts = np.concatenate([[0], np.cumsum(np.count_nonzero(stands, axis=1))[ends - 1]]).tolist()
    whole = text[stands].tobytes()
    return [whole[begin:end] for begin, end in pairwise(cuts)]
