"""Stacks that lean or are unevenly spaced: straight copies for dcm2niix, and an even grid for the engine.

dcm2niix resamples such stacks by itself (`_Tilt_`, `_Eq_`), but where it puts a leaning one depends on its
direction: phantoms came out up to 24 mm off. So it is given copies whose headers say that the slices stand
evenly and straight, which it only unpacks; each frame's voxels are then known exactly, and are interpolated
here at the places that the original headers name.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.valuerep import format_number_as_ds

from .geometry import LPS_FROM_RAS, frame_affine_lps, positions_lps_mm, voxel_from_pixel
from .series import Frame, Volume
from .single_frames import SingleFrames
from .stacks import EVEN_SHARE

EXACT_SHARE = 0.01
"""A stack whose slices are all within this share of a pixel, and of the spacing, of an even and straight one
is left as it is."""
UNEVEN = ("gantry_tilt", "uneven_spacing", "gap")
"""Findings for which the engine gets another grid than the slices'."""


def needs_another_grid(volume: Volume) -> bool:
    """Whether the slices lean, or are so uneven that no affine describes them."""
    return any(volume.has_finding(code) for code in UNEVEN)


def is_exact(volume: Volume) -> bool:
    """Whether one affine describes all slices exactly, so that dcm2niix can read the files as they are."""
    off_mm = positions_lps_mm(volume) - positions_lps_mm(straightened(volume))
    limit_mm = EXACT_SHARE * min(*volume.pixel_spacing_mm, volume.slice_spacing_mm)
    return bool(np.abs(off_mm).max() <= limit_mm)


def straightened(volume: Volume) -> Volume:
    """The same slices as they would stand evenly along the slice normal of the first one."""
    positions = positions_lps_mm(volume)
    height_mm = float((positions[-1] - positions[0]) @ volume.normal_lps)
    heights = np.linspace(0.0, height_mm, len(positions))
    straight = positions[0] + heights[:, np.newaxis] * volume.normal_lps
    return replace(
        volume,
        frames=tuple(
            replace(frame, position_lps_mm=(float(x), float(y), float(z)))
            for frame, (x, y, z) in zip(volume.frames, straight, strict=True)
        ),
        slice_spacing_mm=height_mm / (len(positions) - 1),
        findings=tuple(finding for finding in volume.findings if finding.code not in UNEVEN),
    )


def straight_copies(volume: Volume, images: SingleFrames) -> Callable[[Frame, Path], None]:
    """Give a function that copies a frame of this volume with its straightened position in the header.

    Orientation is said with the first frame's values in each copy, and the tilt that the scanner noted is
    left out, so that dcm2niix finds nothing to correct.
    """
    positions = {frame.name: frame.position_lps_mm for frame in straightened(volume).frames}

    def copy(frame: Frame, target: Path) -> None:
        with config.disable_value_validation():
            dataset = images.image(frame)
            dataset.ImagePositionPatient = [format_number_as_ds(v) for v in positions[frame.name]]
            dataset.ImageOrientationPatient = [format_number_as_ds(v) for v in volume.orientation_lps]
            for keyword in ("GantryDetectorTilt", "SpacingBetweenSlices", "SliceLocation"):
                if keyword in dataset:
                    del dataset[keyword]
            dataset.save_as(target)

    return copy


def frames_of(values: NDArray[Any], affine_ras: NDArray[np.float64], volume: Volume) -> NDArray[Any]:
    """Turn voxels (i, j, k) whose grid is the volume's own into its frames, (frames, rows, columns)."""
    first = voxel_from_pixel(affine_ras, volume, 0)
    last = voxel_from_pixel(affine_ras, volume, len(volume.frames) - 1)
    along = np.column_stack([last[:, 2] - first[:, 2], first[:, 1], first[:, 0]])
    axes = np.abs(along).argmax(axis=0)
    turned = values.transpose(axes)
    for axis, source in enumerate(axes):
        if along[source, axis] < 0:
            turned = np.flip(turned, axis)
    return turned


def on_even_grid(frames: NDArray[Any], volume: Volume) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Interpolate frames, linearly, onto an even grid along the slice normal.

    Parameters
    ----------
    frames
        (frames, rows, columns), in the order of the volume's.

    Returns
    -------
    values : (i, j, k), the type of `frames`
        Columns, rows and slices of a grid that holds every frame; what no frame reaches has the lowest value.
    affine_ras : 4 x 4, mm
    """
    positions = positions_lps_mm(volume)
    row_mm, column_mm = volume.pixel_spacing_mm
    from_first = positions - positions[0]
    heights = from_first @ volume.normal_lps
    shifts = np.column_stack(
        [
            from_first @ np.array(volume.orientation_lps[3:]) / row_mm,
            from_first @ np.array(volume.orientation_lps[:3]) / column_mm,
        ]
    )
    shifts[np.abs(shifts) < EXACT_SHARE] = 0.0
    low, high = np.floor(shifts.min(axis=0)).astype(int), np.ceil(shifts.max(axis=0)).astype(int)
    shape = (volume.rows + high[0] - low[0], volume.columns + high[1] - low[1])
    count = _count(heights)
    step_mm = float(heights[-1]) / (count - 1)
    fill = frames.min()
    out = np.empty((count, *shape), frames.dtype)
    placed = _Placed(frames, shifts - low, shape, float(fill))
    for number in range(count):
        out[number] = _between(placed, heights, number * step_mm, frames.dtype)
    affine = np.eye(4)
    affine[:, :2] = frame_affine_lps(volume, 0)[:, :2]
    affine[:3, 2] = volume.normal_lps * step_mm
    affine[:3, 3] = positions[0] + affine[:3, 1] * low[0] + affine[:3, 0] * low[1]
    return out.transpose(2, 1, 0), LPS_FROM_RAS @ affine


def _count(heights: NDArray[np.float64]) -> int:
    """How many slices: about the finest spacing there is, but not finer than half of the usual one."""
    steps = np.diff(heights)
    finest_mm = max(float(steps.min()), float(np.median(steps)) / 2)
    return int(np.ceil(float(heights[-1]) / finest_mm - EVEN_SHARE)) + 1


class _Placed:
    """Frames on the even grid's pixels, each moved in its plane to where it lies; the last two are kept."""

    def __init__(
        self, frames: NDArray[Any], shifts: NDArray[np.float64], shape: tuple[int, int], fill: float
    ) -> None:
        self._frames, self._shifts, self._shape, self._fill = frames, shifts, shape, fill
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
            plane = _moved(plane, self._shifts[number, axis], self._shape[axis], axis, self._fill)
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
