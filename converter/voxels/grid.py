"""The voxel grid that a volume becomes, from its headers alone.

Where slices stand evenly and straight it is their own: i along columns, j along rows, backwards, k along the
slices, which is how dcm2niix lays voxels out. Where they lean or are uneven no affine describes them, and it
is an even, right-angled grid that holds them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import EncodingFailed, LabelsDoNotFit
from ..nifti.label_reader import read_grid
from ..reading.stacks import EVEN_SHARE
from ..series import Frame, Volume
from .axes import turn_between
from .geometry import LPS_FROM_RAS, directions_lps, frame_affine_lps, positions_lps_mm

EXACT_SHARE = 0.01
"""A stack whose slices are all within this share of a pixel, and of the spacing, of an even and straight one
needs no straightening."""
MOST_ROUNDING = 0.25
"""In voxels: where rounding adds up to more than this, dcm2niix gets copies with exact positions."""
_TURN = np.array([[81.0, -76.0, 48.0], [84.0, 87.0, -4.0], [-32.0, 36.0, 111.0]]) / 121
"""A rotation, of the quaternion (10, 1, 2, 4)."""
UNEVEN = ("gantry_tilt", "uneven_spacing", "gap")
"""Findings for which the engine gets another grid than the slices'."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels (i, j, k) and where they are: `affine_ras`, 4 x 4, takes an index to RAS mm.

    Its numbers are float32 ones, as a NIfTI file holds them, so that what is read back is the same.
    """

    shape: tuple[int, int, int]
    affine_ras: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EvenGrid:
    """An even grid along the normal of slices that lean or are uneven, and where the slices lie in it.

    `heights_mm` is (frames,), from the first slice along the normal; `shifts` (frames, 2), in pixels, how far
    down and across each frame lies in the grid's planes of `rows` x `columns`.
    """

    rows: int
    columns: int
    count: int
    step_mm: float
    heights_mm: NDArray[np.float64]
    shifts: NDArray[np.float64]
    affine_ras: NDArray[np.float64]


@dataclass(frozen=True)
class EvenVolume(Volume):
    """An even grid's planes as if they were images: they lie on no source image, so that they name none.

    Parameters
    ----------
    source
        The volume whose slices lean or are uneven.
    """

    source: Volume


def even_volume(volume: Volume) -> EvenVolume:
    """The planes of the grid on which `convert_volume` writes slices that lean or are uneven.

    Raises
    ------
    EncodingFailed
        The slices stand straight and evenly themselves.
    """
    if not needs_another_grid(volume):
        raise EncodingFailed("the slices stand straight and evenly as they are; leave the even grid out")
    even = even_grid_of(volume)
    first = (LPS_FROM_RAS @ even.affine_ras)[:3, 3]
    heights = np.arange(even.count)[:, np.newaxis] * even.step_mm
    frame = replace(volume.frames[0], path=Path(), sop_instance_uid="", sop_class_uid="", frame_number=None)
    said = {each.name: getattr(volume, each.name) for each in fields(Volume)}
    said |= {
        "rows": even.rows,
        "columns": even.columns,
        "frames": _moved([frame] * even.count, first + heights * volume.normal_lps),
        "slice_spacing_mm": even.step_mm,
        "findings": tuple(finding for finding in volume.findings if finding.code not in UNEVEN),
    }
    return EvenVolume(**said, source=volume)


def source_of(volume: Volume) -> Volume:
    """The volume with the images that results of this one refer to."""
    return volume.source if isinstance(volume, EvenVolume) else volume


def grid_of(volume: Volume) -> Grid:
    """The grid on which `convert_volume` writes a usable volume."""
    if not needs_another_grid(volume):
        return slice_grid(volume)
    even = even_grid_of(volume)
    return Grid((even.columns, even.rows, even.count), even.affine_ras)


def require_own_grid(labels: Path, volume: Volume) -> None:
    """Make sure that a label map lies on the very grid that `convert_volume` gives, axes in any order.

    One that was made on the converted image does, unless the images were changed since.

    Raises
    ------
    LabelsDoNotFit
        It lies on another one; the text says how far off.
    """
    grid = grid_of(volume)
    shape, affine = read_grid(labels)
    turn = turn_between(shape, affine, grid.shape, grid.affine_ras)
    if turn is not None and turn.is_exact:
        return
    sizes = f"{' x '.join(map(str, shape))} voxels for {' x '.join(map(str, grid.shape))}"
    off = "another shape" if turn is None else f"{max(turn.off_voxels):.3g} voxels off"
    raise LabelsDoNotFit(
        f"the label map is not on the grid that was made of the series ({sizes}, {off}); the images were "
        "changed since, convert them again"
    )


def needs_another_grid(volume: Volume) -> bool:
    """Whether the slices lean, or are so uneven that no affine describes them."""
    return any(volume.has_finding(code) for code in UNEVEN)


def straightened(volume: Volume) -> Volume:
    """The same slices as they would stand evenly along the slice normal of the first one."""
    straight, spacing_mm = _straight(volume)
    return replace(
        volume,
        frames=_moved(volume.frames, straight),
        slice_spacing_mm=spacing_mm,
        findings=tuple(finding for finding in volume.findings if finding.code not in UNEVEN),
    )


def turned(volume: Volume) -> Volume:
    """The same slices of a patient who lies otherwise: all is turned by one rotation, out of all planes."""
    across, down = np.array(volume.orientation_lps).reshape(2, 3) @ _TURN.T
    return replace(
        volume,
        orientation_lps=(*across.tolist(), *down.tolist()),
        frames=_moved(volume.frames, positions_lps_mm(volume) @ _TURN.T),
    )


def _moved(frames: Sequence[Frame], positions_lps_mm: NDArray[np.float64]) -> tuple[Frame, ...]:
    """Frames at other positions, (frames, 3)."""
    return tuple(
        replace(frame, position_lps_mm=(float(x), float(y), float(z)))
        for frame, (x, y, z) in zip(frames, positions_lps_mm, strict=True)
    )


def _straight(volume: Volume) -> tuple[NDArray[np.float64], float]:
    """Positions of the straightened slices, (frames, 3), and the step between them, in mm."""
    positions = positions_lps_mm(volume)
    height_mm = float((positions[-1] - positions[0]) @ volume.normal_lps)
    heights = np.linspace(0.0, height_mm, len(positions))
    return positions[0] + heights[:, np.newaxis] * volume.normal_lps, height_mm / (len(positions) - 1)


def is_exact(volume: Volume) -> bool:
    """Whether one affine describes all slices exactly, so that dcm2niix can read the files as they are."""
    off = positions_lps_mm(volume) - _straight(volume)[0]
    limit_mm = EXACT_SHARE * min(*volume.pixel_spacing_mm, volume.slice_spacing_mm)
    return bool(np.abs(off).max() <= limit_mm and rounding_voxels(volume)[2] <= MOST_ROUNDING)


def rounding_voxels(volume: Volume) -> NDArray[np.float64]:
    """How far dcm2niix's grid may be off `slice_grid` for no other reason than rounding, along i, j and k.

    It reads positions as float32, hangs the grid on the first or the last slice, and takes the step between
    slices from two neighbours; where positions are rounded that adds up from slice to slice.
    """
    positions = positions_lps_mm(volume)
    straight, spacing_mm = _straight(volume)
    off_mm = np.abs((positions - straight) @ directions_lps(volume).T).max(axis=0)
    as_read = positions.astype(np.float32).astype(np.float64)
    steps_mm = np.linalg.norm(np.diff(as_read, axis=0)[[0, -1]], axis=1)
    step_off_mm = float(np.abs(steps_mm - spacing_mm).max())
    row_mm, column_mm = volume.pixel_spacing_mm
    across, down = off_mm / [column_mm, row_mm]
    return np.array([across, down, step_off_mm * (len(positions) - 1) / spacing_mm])


def slice_grid(volume: Volume) -> Grid:
    """The slices' own grid, as if they stood evenly and straight: one slice a frame."""
    _, spacing_mm = _straight(volume)
    affine = np.eye(4)
    first = frame_affine_lps(volume, 0)  # the first one stands where it is
    affine[:, 0], affine[:, 1] = first[:, 0], -first[:, 1]
    affine[:3, 2] = volume.normal_lps * spacing_mm
    affine[:, 3] = first[:, 2] + first[:, 1] * (volume.rows - 1)
    return Grid((volume.columns, volume.rows, len(volume.frames)), _as_stored(LPS_FROM_RAS @ affine))


def even_grid_of(volume: Volume) -> EvenGrid:
    """The even grid for slices that lean or are uneven: j along rows, k along the slice normal."""
    positions = positions_lps_mm(volume)
    row_mm, column_mm = volume.pixel_spacing_mm
    from_first = positions - positions[0]
    heights = from_first @ volume.normal_lps
    across, down = directions_lps(volume)
    shifts = np.column_stack([from_first @ down / row_mm, from_first @ across / column_mm])
    shifts[np.abs(shifts) < EXACT_SHARE] = 0.0
    low, high = np.floor(shifts.min(axis=0)).astype(int), np.ceil(shifts.max(axis=0)).astype(int)
    count = _count(heights)
    step_mm = float(heights[-1]) / (count - 1)
    affine = np.eye(4)
    affine[:, :2] = frame_affine_lps(volume, 0)[:, :2]
    affine[:3, 2] = volume.normal_lps * step_mm
    affine[:3, 3] = positions[0] + affine[:3, 1] * low[0] + affine[:3, 0] * low[1]
    return EvenGrid(
        rows=volume.rows + int(high[0] - low[0]),
        columns=volume.columns + int(high[1] - low[1]),
        count=count,
        step_mm=step_mm,
        heights_mm=heights,
        shifts=shifts - low,
        affine_ras=_as_stored(LPS_FROM_RAS @ affine),
    )


def _count(heights: NDArray[np.float64]) -> int:
    """How many slices: about the finest spacing there is, but not finer than half of the usual one."""
    steps = np.diff(heights)
    finest_mm = max(float(steps.min()), float(np.median(steps)) / 2)
    return int(np.ceil(float(heights[-1]) / finest_mm - EVEN_SHARE)) + 1


def _as_stored(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded to float32, without negative zeros, which would be other bytes."""
    return affine.astype(np.float32).astype(np.float64) + 0.0
