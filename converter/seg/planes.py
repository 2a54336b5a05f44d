"""What a segmentation's frames show: a mask for each segment and source frame, from labels or from masks.

Most structures take a small part of a slice, so masks are handed on as the rows between a structure's first
and last one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from converter.voxels.paged import LettingGo, planes_of

ROW_STEP = 8
"""Parts begin at such a row, so that their first pixel is the first one of a byte of packed bits."""


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


class MaskedRows(NamedTuple):
    """Where a segment is on a frame: (rows, columns) from `first_row` on; it is nowhere else."""

    first_row: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Extents:
    """First row of each segment on each frame, and the row after its last; (segments, frames), 0 for none."""

    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    @property
    def presence(self) -> NDArray[np.bool_]:
        """Whether a segment occurs on a frame, (segments, frames)."""
        return self.end > self.begin


class Planes(Protocol):
    """Segments, counted from 0, on the frames of a volume."""

    shape: tuple[int, int]
    """Rows, columns."""
    extents: Extents

    def masked_rows(self, segment: int, frame: int) -> MaskedRows:
        """Where a segment is on a frame."""
        ...

    def outline(self) -> NDArray[np.bool_]:
        """Where any segment is on any frame, (rows, columns)."""
        ...

    def pixel_count(self) -> int:
        """How many pixels all segments have on all frames."""
        ...

    def within(self, window: Window) -> "Planes":
        """The same in a part of each plane, which holds all segments."""
        ...


class LabelPlanes:
    """One label a pixel; a segment for each value that occurs.

    Parameters
    ----------
    labels
        (frames, rows, columns), uint8; 0 is nothing.

    Attributes
    ----------
    values
        The label value of each segment, ascending.
    """

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self._labels, self._letting_go = labels, LettingGo(labels)
        self.shape = (labels.shape[1], labels.shape[2])
        every = _label_extents(labels)
        self.values: list[int] = (np.flatnonzero(every.presence[1:].any(axis=1)) + 1).tolist()
        self.extents = Extents(every.begin[self.values], every.end[self.values])
        self._numbers = np.zeros(256, np.uint8)
        self._numbers[self.values] = np.arange(1, len(self.values) + 1)

    def masked_rows(self, segment: int, frame: int) -> MaskedRows:
        """Where a segment is on a frame."""
        begin, end = _part(self.extents, segment, frame)
        rows = self._labels[frame, begin:end]
        self._letting_go.after(rows)
        return MaskedRows(begin, rows == self.values[segment])

    def outline(self) -> NDArray[np.bool_]:
        """Where any segment is on any frame, (rows, columns)."""
        outline = np.zeros(self.shape, bool)
        for plane in planes_of(self._labels):
            outline |= plane != 0
        return outline

    def pixel_count(self) -> int:
        """How many pixels all segments have on all frames."""
        return sum(map(np.count_nonzero, planes_of(self._labels)))

    def within(self, window: Window) -> "LabelPlanes":
        """The same in a part of each plane, which holds all segments."""
        return LabelPlanes(self._labels[(slice(None), *window.slices)])

    def numbers(self, frame: int) -> NDArray[np.uint8]:
        """Segment numbers from 1, 0 for none, (rows, columns)."""
        numbers: NDArray[np.uint8] = np.take(self._numbers, self._labels[frame])
        self._letting_go.after(numbers)
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
        self.shape = (masks[0].shape[1], masks[0].shape[2])
        rows = np.array([mask.any(axis=2) for mask in masks])  # (segments, frames, rows)
        is_there = rows.any(axis=2)
        self.extents = Extents(
            np.where(is_there, rows.argmax(axis=2), 0),
            np.where(is_there, rows.shape[2] - rows[:, :, ::-1].argmax(axis=2), 0),
        )

    def masked_rows(self, segment: int, frame: int) -> MaskedRows:
        """Where a segment is on a frame."""
        begin, end = _part(self.extents, segment, frame)
        return MaskedRows(begin, self._masks[segment][frame, begin:end] != 0)

    def outline(self) -> NDArray[np.bool_]:
        """Where any segment is on any frame, (rows, columns)."""
        outline: NDArray[np.bool_] = np.any([mask.any(axis=0) for mask in self._masks], axis=0)
        return outline

    def pixel_count(self) -> int:
        """How many pixels all segments have on all frames."""
        return sum(int(np.count_nonzero(mask)) for mask in self._masks)

    def within(self, window: Window) -> "MaskPlanes":
        """The same in a part of each plane, which holds all segments."""
        return MaskPlanes([mask[(slice(None), *window.slices)] for mask in self._masks])

    def overlap(self) -> bool:
        """Whether any two segments share a pixel."""
        taken = np.zeros(self._masks[0].shape, bool)
        for mask in self._masks:
            if (taken & (mask != 0)).any():
                return True
            taken |= mask != 0
        return False


def bounding_window(planes: Planes) -> Window:
    """The smallest part of the planes that holds every segment."""
    outline = planes.outline()
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    return Window(
        int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    )


def _part(extents: Extents, segment: int, frame: int) -> tuple[int, int]:
    begin = int(extents.begin[segment, frame])
    return begin - begin % ROW_STEP, int(extents.end[segment, frame])


def _label_extents(labels: NDArray[np.uint8]) -> Extents:
    """The rows of each of the 256 values on each frame; those of 0 are not looked for."""
    begin, end = np.zeros((256, len(labels)), np.int64), np.zeros((256, len(labels)), np.int64)
    for number, plane in enumerate(planes_of(labels)):
        flat = np.ascontiguousarray(plane).reshape(-1)
        starts = run_starts(flat, plane.shape[1])
        rows, values = starts // plane.shape[1], flat[starts]
        # Of several assignments to one place the last one stays, and runs come row by row.
        end[values, number] = rows + 1
        begin[values[::-1], number] = rows[::-1]
    begin[0] = end[0] = 0
    return Extents(begin, end)


def run_starts(flat: NDArray[np.uint8], columns: int) -> NDArray[np.int64]:
    """Where runs of one value begin in a plane, (rows * columns,); none goes on over the end of a row."""
    begins = np.empty(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::columns] = True
    return np.flatnonzero(begins)
