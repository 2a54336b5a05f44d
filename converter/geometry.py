"""Where voxels lie: affines between DICOM (LPS) and NIfTI (RAS), and labels carried from one to the other.

The map between a NIfTI voxel and a pixel of a frame comes from the two affines alone; no flip is guessed.
Frame by frame it also holds where slices are tilted or unevenly spaced.
"""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .errors import LabelsDoNotFit
from .series import Volume

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's axes point to the left and back, NIfTI's to the right and front; it is its own inverse."""

SMALLEST_OVERLAP = 0.5
"""A label map in which less of the series lies belongs to another one."""


def lps_from_voxel(affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine from voxel index to LPS mm of a NIfTI affine, 4 x 4."""
    return LPS_FROM_RAS @ affine_ras


def positions_lps_mm(volume: Volume) -> NDArray[np.float64]:
    """Every frame's position, (frames, 3)."""
    return np.array([frame.position_lps_mm for frame in volume.frames])


def frame_affine_lps(volume: Volume, frame: int) -> NDArray[np.float64]:
    """4 x 3, mm: takes (column index, row index, 1) of one frame to LPS (PS3.3 Equation C.7.6.2.1-1)."""
    affine = np.zeros((4, 3))
    row_spacing_mm, column_spacing_mm = volume.pixel_spacing_mm
    affine[:3, 0] = np.array(volume.orientation_lps[:3]) * column_spacing_mm
    affine[:3, 1] = np.array(volume.orientation_lps[3:]) * row_spacing_mm
    affine[:3, 2] = volume.frames[frame].position_lps_mm
    affine[3, 2] = 1
    return affine


def voxel_from_pixel(affine_ras: NDArray[np.float64], volume: Volume, frame: int) -> NDArray[np.float64]:
    """The 3 x 3 map from (column, row, 1) of a frame to the voxel indices of a NIfTI grid."""
    matrix = np.linalg.inv(lps_from_voxel(affine_ras)) @ frame_affine_lps(volume, frame)
    return np.asarray(matrix[:3])


def labels_on_frames(labels: Path, volume: Volume) -> NDArray[np.uint8]:
    """Carry a label map onto the frames of a volume, by nearest neighbour.

    Parameters
    ----------
    labels
        A NIfTI of integers from 0 to 255, on any grid.

    Returns
    -------
    (frames, rows, columns), uint8
        Zero where the grid does not reach.

    Raises
    ------
    LabelsDoNotFit
        It cannot be read, has other values, or lies elsewhere than the volume.
    """
    array, affine = read_labels(labels)
    carried = np.zeros((len(volume.frames), volume.rows, volume.columns), np.uint8)
    inside = 0
    for frame in range(len(volume.frames)):
        inside += _carry(array, voxel_from_pixel(affine, volume, frame), carried[frame])
    if inside < SMALLEST_OVERLAP * carried.size:
        raise LabelsDoNotFit("the label map lies elsewhere than the series; it belongs to another one")
    return carried


def read_labels(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Read a label map: its values (i, j, k) and its affine to RAS mm.

    Raises
    ------
    LabelsDoNotFit
        It is no 3D NIfTI of integers from 0 to 255.
    """
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, np.float64)
    except (OSError, ValueError, EOFError, zlib.error, nib.filebasedimages.ImageFileError):
        raise LabelsDoNotFit("the label map is no NIfTI file that could be read") from None
    if values.ndim != 3:
        raise LabelsDoNotFit(f"the label map has {values.ndim} dimensions instead of 3")
    if abs(np.linalg.det(affine)) < 1e-9:
        raise LabelsDoNotFit("the label map's affine is singular")
    if values.dtype == np.uint8:
        return values, affine
    if values.size and (
        values.min() < 0 or values.max() > 255 or not np.array_equal(values, np.rint(values))
    ):
        raise LabelsDoNotFit("the label map holds other values than whole numbers from 0 to 255")
    return values.astype(np.uint8), affine


def _carry(array: NDArray[np.uint8], matrix: NDArray[np.float64], plane: NDArray[np.uint8]) -> int:
    """Fill one frame; how many of its pixels lie in the grid."""
    rows, columns = plane.shape
    row = np.arange(rows)[:, np.newaxis]
    column = np.arange(columns)[np.newaxis, :]
    indices = []
    inside = np.ones((1, 1), bool)
    for axis in range(3):
        # An axis that does not depend on the row, or on the column, stays one vector: most grids are aligned.
        index = np.full((1, 1), matrix[axis, 2])
        if abs(matrix[axis, 0]) * columns > 1e-3:
            index = index + matrix[axis, 0] * column
        if abs(matrix[axis, 1]) * rows > 1e-3:
            index = index + matrix[axis, 1] * row
        whole = np.rint(index).astype(np.int64)
        inside = inside & (whole >= 0) & (whole < array.shape[axis])
        indices.append(np.clip(whole, 0, array.shape[axis] - 1))
    inside = np.broadcast_to(inside, plane.shape)
    plane[:] = array[indices[0], indices[1], indices[2]] * inside
    return int(inside.sum())


def frames_on_grid(
    frames: NDArray[np.uint8], volume: Volume, shape: tuple[int, int, int], affine_ras: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Carry labels on frames onto a NIfTI grid, by nearest frame and nearest pixel.

    Parameters
    ----------
    frames
        (frames, rows, columns), uint8.
    shape, affine_ras
        The grid.

    Returns
    -------
    (i, j, k), uint8
        Zero where no frame lies near.
    """
    positions_mm = positions_lps_mm(volume)
    heights = positions_mm @ volume.normal_lps
    row_spacing_mm, column_spacing_mm = volume.pixel_spacing_mm
    across = np.array(volume.orientation_lps[:3]) / column_spacing_mm
    down = np.array(volume.orientation_lps[3:]) / row_spacing_mm
    half_mm = 0.5 * float(np.diff(heights).max()) if len(heights) > 1 else np.inf
    out = np.zeros(shape, np.uint8)
    to_lps = lps_from_voxel(affine_ras)
    j, k = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    for i in range(shape[0]):  # a plane at a time keeps memory flat
        points = np.stack([np.full(j.shape, i), j, k, np.ones(j.shape)], axis=-1) @ to_lps.T[:, :3]
        height = points @ volume.normal_lps
        frame = _nearest(heights, height)
        offset = points - positions_mm[frame]
        column = np.rint(offset @ across).astype(np.int64)
        row = np.rint(offset @ down).astype(np.int64)
        inside = (column >= 0) & (column < volume.columns) & (row >= 0) & (row < volume.rows)
        inside &= np.abs(height - heights[frame]) <= half_mm + 1e-3
        out[i][inside] = frames[frame[inside], row[inside], column[inside]]
    return out


def _nearest(heights: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index of the nearest of ascending heights."""
    middles = (heights[1:] + heights[:-1]) / 2
    return np.searchsorted(middles, wanted).astype(np.int64)
