"""Organs in a viewer's picture, found by their colours alone, against where they are in the slice."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from tests.viewers.phantom import Slice

BLACK = 8
"""Brightness up to which a pixel shows nothing."""
DARK = 20
"""Brightness up to which a pixel shows no patient."""
LEAST_COLOUR = 25
"""By how much the channels of a pixel differ that is coloured; what lies under a colour is grey."""
LEAST_SEEN = 30
"""Pixels of an organ that is seen."""


def overlaps(picture: np.ndarray, shown: Slice, rgb: Mapping[int, tuple[int, ...]]) -> dict[int, float]:
    """Dice coefficient of each organ: pixels of its colour, and where the slice has it.

    The frame of the patient in the picture says where slices lie in it.

    Parameters
    ----------
    picture
        (rows, columns, 3).
    rgb
        The colours by label number.
    """
    expected = _in_picture(shown, picture)
    drawn = organs(picture, rgb)
    return {number: _dice(drawn == number, expected == number) for number in rgb}


def places(picture: np.ndarray, rgb: Mapping[int, tuple[int, ...]]) -> dict[int, np.ndarray]:
    """The middle of what has each organ's colour, to the right and down; nothing of one that is not seen."""
    drawn = organs(picture, rgb)
    return {n: np.argwhere(drawn == n).mean(axis=0)[::-1] for n in rgb if (drawn == n).sum() >= LEAST_SEEN}


def apart(one: Mapping[int, np.ndarray], other: Mapping[int, np.ndarray]) -> float:
    """How far organs are from each other at most in two pictures of one slice, as a share of their spread.

    The one picture may be larger, and lie elsewhere; flipped or turned it fits nowhere.
    """
    both = sorted(one.keys() & other.keys())
    first, second = (np.stack([each[number] for number in both]) for each in (one, other))
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    scale = np.maximum((first * second).sum(axis=0) / (first**2).sum(axis=0), 0)
    return float(np.abs(first * scale - second).max() / np.ptp(second, axis=0).max())


def organs(picture: np.ndarray, rgb: Mapping[int, tuple[int, ...]]) -> np.ndarray:
    """The number of the organ whose colour each pixel has, 0 for none.

    Colours lie half transparent over greys, which changes all channels alike: what tells them apart is by how
    much channels are above the darkest one.
    """
    grey = picture.min(axis=-1, keepdims=True).astype(float)
    above = picture - grey
    directions = np.array([np.subtract(colour, min(colour)) for colour in rgb.values()], float)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    nearest = np.array(list(rgb))[np.argmax(above @ directions.T, axis=-1)]
    return np.where(np.linalg.norm(above, axis=-1) > LEAST_COLOUR, nearest, 0)


def difference(picture: np.ndarray, image: np.ndarray) -> float:
    """By how much channels differ on average, of what is not black in both."""
    there, here = (_frame(each.max(axis=-1) > BLACK) for each in (picture, image))
    if there is None or here is None:
        return float("inf")
    stretched = Image.fromarray(image[here]).resize(picture[there].shape[1::-1], Image.Resampling.BILINEAR)
    return float(np.abs(np.asarray(stretched, float) - picture[there]).mean())


def _in_picture(shown: Slice, picture: np.ndarray) -> np.ndarray:
    """The slice's labels, stretched so that the patient fills the same frame as in the picture."""
    there, here = _frame(picture.max(axis=-1) > DARK), _frame(shown.is_body)
    labels = np.zeros(picture.shape[:2], np.uint8)
    if there is None or here is None:
        return labels
    index = [
        from_.start
        + (np.arange(to.stop - to.start) + 0.5) * (from_.stop - from_.start) / (to.stop - to.start)
        for from_, to in zip(here, there, strict=True)
    ]
    labels[there] = shown.labels[np.ix_(*(np.floor(each).astype(int) for each in index))]
    return labels


def _frame(mask: np.ndarray) -> tuple[slice, slice] | None:
    """The smallest part that holds all of a mask."""
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))
