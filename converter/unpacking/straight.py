"""Stacks that lean or are unevenly spaced, interpolated onto an even grid for the engine.

dcm2niix resamples such stacks by itself (`_Tilt_`, `_Eq_`), but where it puts a leaning one depends on its
direction: phantoms came out up to 24 mm off. So the copies that it is given say that the slices stand evenly
and straight, and it only unpacks; each frame's voxels are then known exactly, and are interpolated here at
the places that the original headers name.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converter.voxels.grid import EvenGrid


def on_even_grid(frames: NDArray[Any], grid: EvenGrid) -> NDArray[Any]:
    """Interpolate frames, linearly, onto an even grid along the slice normal.

    Parameters
    ----------
    frames
        (frames, rows, columns), in the order of the volume's.

    Returns
    -------
    (slices, rows, columns), the type of `frames`
        What no frame reaches has the lowest value.
    """
    out = np.empty((grid.count, grid.rows, grid.columns), frames.dtype)
    placed = _Placed(frames, grid, float(frames.min()))
    for number in range(grid.count):
        out[number] = _between(placed, grid.heights_mm, number * grid.step_mm, frames.dtype)
    return out


class _Placed:
    """Frames on the even grid's pixels, each moved in its plane to where it lies; the last two are kept."""

    def __init__(self, frames: NDArray[Any], grid: EvenGrid, fill: float) -> None:
        self._frames, self._shifts, self._fill = frames, grid.shifts, fill
        self._shape = (grid.rows, grid.columns)
        self._kept: dict[int, NDArray[np.float32]] = {}

    def __getitem__(self, number: int) -> NDArray[np.float32]:
        if number not in self._kept:
            if len(self._kept) > 1:
                del self._kept[min(self._kept)]
            self._kept[number] = self._place(number)
        return self._kept[number]

    def _place(self, number: int) -> NDArray[np.float32]:
        plane: NDArray[np.float32] = self._frames[number].astype(np.float32)
        for axis in (0, 1):
            shift, size = self._shifts[number, axis], self._shape[axis]
            if shift != 0 or size != plane.shape[axis]:
                plane = _moved(plane, shift, size, axis, self._fill)
        return plane


def _moved(
    plane: NDArray[np.float32], shift: float, size: int, axis: int, fill: float
) -> NDArray[np.float32]:
    """Move a plane by `shift` >= 0 pixels along an axis into `size` pixels, linearly between two of them."""
    whole = int(np.floor(shift))
    part = np.float32(shift - whole)
    moved: NDArray[np.float32] = np.swapaxes(
        np.full((size + 1, plane.shape[1 - axis]), fill, np.float32), 0, axis
    )
    once = moved.copy()
    begin: list[slice] = [slice(None), slice(None)]
    begin[axis] = slice(whole, whole + plane.shape[axis])
    moved[tuple(begin)] = plane
    begin[axis] = slice(whole + 1, whole + 1 + plane.shape[axis])
    once[tuple(begin)] = plane
    begin[axis] = slice(0, size)
    between: NDArray[np.float32] = moved[tuple(begin)] * (1 - part) + once[tuple(begin)] * part
    return between


def _between(placed: _Placed, heights: NDArray[np.float64], height: float, dtype: Any) -> NDArray[Any]:
    """The plane at a height: between the frames below and above; above the last one that one."""
    below = int(np.clip(np.searchsorted(heights, height, side="right") - 1, 0, len(heights) - 2))
    weight = np.float32(np.clip((height - heights[below]) / (heights[below + 1] - heights[below]), 0, 1))
    plane = placed[below] * (1 - weight) + placed[below + 1] * weight
    return np.rint(plane).astype(dtype) if np.issubdtype(dtype, np.integer) else plane.astype(dtype)
