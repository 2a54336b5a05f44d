"""Stacks that lean or are unevenly spaced: straight copies for dcm2niix, and an even grid for the engine.

dcm2niix resamples such stacks by itself (`_Tilt_`, `_Eq_`), but where it puts a leaning one depends on its
direction: phantoms came out up to 24 mm off. So it is given copies whose headers say that the slices stand
evenly and straight, which it only unpacks; each frame's voxels are then known exactly, and are interpolated
here at the places that the original headers name.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.valuerep import format_number_as_ds

from converter.errors import ConversionFailed
from converter.grid import EvenGrid
from converter.reading.headers import numbers_of, text_of
from converter.series import Frame, Volume

from .decoding import CHANGED, from_outside
from .pixels import expected_uid
from .placing import Place

SAME_PLACE = 1e-3
"""In mm, and of a direction cosine."""


def moved_copies(volume: Volume, moved: Volume, place: Place) -> Place:
    """Have frames placed, with the position and the direction that they have in `moved` in the copy's header.

    Each copy says the direction in the same words, and the tilt that the scanner noted is left out, so that
    dcm2niix finds nothing to correct.
    """
    headers = dict(zip(volume.frames, volume.headers, strict=True))
    positions = {
        frame: other.position_lps_mm for frame, other in zip(volume.frames, moved.frames, strict=True)
    }

    def copy(frame: Frame, target: Path) -> Path:
        placed = target.with_suffix(".placed")
        source = place(frame, placed)
        with from_outside():
            dataset = dcmread(source)
            uid = expected_uid(source, frame)
            if (uid and text_of(dataset, "SOPInstanceUID") != uid) or not _lie_alike(dataset, headers[frame]):
                raise ConversionFailed(CHANGED)
            dataset.ImagePositionPatient = [format_number_as_ds(v) for v in positions[frame]]
            dataset.ImageOrientationPatient = [format_number_as_ds(v) for v in moved.orientation_lps]
            for keyword in ("GantryDetectorTilt", "SpacingBetweenSlices", "SliceLocation"):
                if keyword in dataset:
                    del dataset[keyword]
            dataset.save_as(target)
        placed.unlink(missing_ok=True)
        return target

    return copy


def _lie_alike(image: Dataset, header: Dataset) -> bool:
    """Whether an image lies where its header was read to say; written anew, numbers lose some digits."""
    for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6)):
        said, read = numbers_of(image, keyword, count), numbers_of(header, keyword, count)
        if said is None or read is None or not np.allclose(said, read, rtol=0, atol=SAME_PLACE):
            return False
    return True


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
