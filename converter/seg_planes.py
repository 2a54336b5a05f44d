"""What a segmentation's frames show: a mask for each segment and source frame, from labels or from masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """A part of a plane: the first row and column, and how many."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The part as indices of a plane."""
        return slice(self.row, self.row + self.rows), slice(self.column, self.column + self.columns)


class Planes(Protocol):
    """Segments, counted from 0, on the frames of a volume."""

    def presence(self) -> NDArray[np.bool_]:
        """Whether a segment occurs on a frame, (segments, frames)."""
        ...

    def mask(self, segment: int, frame: int) -> Mask:
        """Where a segment is on a frame, (rows, columns)."""
        ...

    def outline(self) -> NDArray[np.bool_]:
        """Where any segment is on any frame, (rows, columns)."""
        ...

    def within(self, window: Window) -> "Planes":
        """The same in a part of each plane."""
        ...


class LabelPlanes:
    """One label a pixel.

    Parameters
    ----------
    labels
        (frames, rows, columns), uint8.
    values
        The label value of each segment.
    """

    def __init__(self, labels: NDArray[np.uint8], values: Sequence[int]) -> None:
        self._labels = labels
        self._values = list(values)
        self._numbers = np.zeros(256, np.uint8)
        self._numbers[self._values] = np.arange(1, len(self._values) + 1)

    def presence(self) -> NDArray[np.bool_]:
        """Whether a segment occurs on a frame, (segments, frames)."""
        return label_presence(self._labels)[:, self._values].T

    def mask(self, segment: int, frame: int) -> Mask:
        """Where a segment is on a frame, (rows, columns)."""
        mask: Mask = self._labels[frame] == self._values[segment]
        return mask

    def outline(self) -> NDArray[np.bool_]:
        """Where any segment is on any frame, (rows, columns)."""
        outline: NDArray[np.bool_] = (self._labels != 0).any(axis=0)
        return outline

    def within(self, window: Window) -> "LabelPlanes":
        """The same in a part of each plane."""
        return LabelPlanes(self._labels[(slice(None), *window.slices)], self._values)

    def numbers(self, frame: int) -> NDArray[np.uint8]:
        """Segment numbers from 1, 0 for none, (rows, columns)."""
        numbers: NDArray[np.uint8] = self._numbers[self._labels[frame]]
        return numbers


class MaskPlanes:
    """A mask for each segment; they may overlap.

    Parameters
    ----------
    masks
        One for each segment, (frames, rows, columns), zero where it is not.
    """

    def __init__(self, masks: Sequence[NDArray[Any]]) -> None:
        self._masks = list(masks)

    def presence(self) -> NDArray[np.bool_]:
        """Whether a segment occurs on a frame, (segments, frames)."""
        return np.array([mask.any(axis=(1, 2)) for mask in self._masks])

    def mask(self, segment: int, frame: int) -> Mask:
        """Where a segment is on a frame, (rows, columns)."""
        mask: Mask = self._masks[segment][frame] != 0
        return mask

    def outline(self) -> NDArray[np.bool_]:
        """Where any segment is on any frame, (rows, columns)."""
        outline: NDArray[np.bool_] = np.any([mask.any(axis=0) for mask in self._masks], axis=0)
        return outline

    def within(self, window: Window) -> "MaskPlanes":
        """The same in a part of each plane."""
        return MaskPlanes([mask[(slice(None), *window.slices)] for mask in self._masks])

    def overlap(self) -> bool:
        """Whether any two segments share a pixel."""
        taken = np.zeros(self._masks[0].shape, bool)
        for mask in self._masks:
            if (taken & (mask != 0)).any():
                return True
            taken |= mask != 0
        return False


def label_presence(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which label values occur on each frame, (frames, 256)."""
    return np.array([np.bincount(plane.ravel(), minlength=256) > 0 for plane in labels])


def bounding_window(planes: Planes) -> Window:
    """The smallest part of the planes that holds every segment."""
    outline = planes.outline()
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    return Window(
        int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    )
