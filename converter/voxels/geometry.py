"""Where voxels lie: affines between DICOM (LPS) and NIfTI (RAS), and labels carried from one to the other.

The map between a NIfTI voxel and a pixel of a frame comes from the two affines alone; no flip is guessed.
Frame by frame it also holds where slices are tilted or unevenly spaced.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelsDoNotFit
from ..nifti.label_reader import read_labels
from ..series import Volume
from .cut import copy_plane
from .paged import LettingGo, paged_zeros, planes_of

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's axes point to the left and back, NIfTI's to the right and front; it is its own inverse."""

SMALLEST_OVERLAP = 0.5
"""A label map in which less of the series lies belongs to another one."""
SAME_PLANE_MM = 1e-3


def lps_from_voxel(affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine from voxel index to LPS mm of a NIfTI affine, 4 x 4."""
    return LPS_FROM_RAS @ affine_ras


def positions_lps_mm(volume: Volume) -> NDArray[np.float64]:
    """Every frame's position, (frames, 3)."""
    return np.array([frame.position_lps_mm for frame in volume.frames])


def directions_lps(volume: Volume) -> NDArray[np.float64]:
    """Unit vectors of growing column and growing row index, (2, 3).

    Direction cosines are of unit length (PS3.3 C.7.6.2.1.1); what rounding in the header took from that
    would add up over hundreds of pixels.
    """
    cosines = np.array(volume.orientation_lps).reshape(2, 3)
    return np.asarray(cosines / np.linalg.norm(cosines, axis=1, keepdims=True))


def frame_affine_lps(volume: Volume, frame: int) -> NDArray[np.float64]:
    """4 x 3, mm: takes (column index, row index, 1) of one frame to LPS (PS3.3 Equation C.7.6.2.1-1)."""
    affine = np.zeros((4, 3))
    across, down = directions_lps(volume)
    row_spacing_mm, column_spacing_mm = volume.pixel_spacing_mm
    affine[:3, 0] = across * column_spacing_mm
    affine[:3, 1] = down * row_spacing_mm
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
    carried = paged_zeros((len(volume.frames), volume.rows, volume.columns))
    inside, letting_go = 0, LettingGo(array)
    for frame, plane in enumerate(planes_of(carried)):
        matrix = voxel_from_pixel(affine, volume, frame)
        copied = copy_plane(array, matrix, plane)
        inside += _carry(array, matrix, plane) if copied is None else copied
        letting_go.after(plane)
    if inside < SMALLEST_OVERLAP * carried.size:
        raise LabelsDoNotFit(
            f"the label map, {' x '.join(map(str, array.shape))} voxels, lies elsewhere than the series: "
            f"only {100 * inside / carried.size:.0f} % of that is in its grid; it belongs to another one"
        )
    return carried


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
    to_lps = lps_from_voxel(affine_ras)
    stack = _Stack.of(volume)
    through = int(np.abs(volume.normal_lps @ to_lps[:3, :3]).argmax())
    first, second = (axis for axis in range(3) if axis != through)
    out, letting_go = paged_zeros(shape, "F"), LettingGo(frames)
    for number, plane in enumerate(planes_of(out.transpose(through, second, first))):
        origin = to_lps[:, 3] + to_lps[:, through] * number
        _fill(plane, np.column_stack([to_lps[:, first], to_lps[:, second], origin]), frames, stack)
        letting_go.after(plane)
    return out


@dataclass(frozen=True)
class _Stack:
    """A volume's frames as a stack: from LPS mm to the nearest of them, and to its pixels."""

    positions_mm: NDArray[np.float64]
    heights_mm: NDArray[np.float64]
    normal: NDArray[np.float64]
    per_mm: NDArray[np.float64]
    """(2, 3): rows and columns to a mm, along each axis."""
    reach_mm: float

    @classmethod
    def of(cls, volume: Volume) -> "_Stack":
        positions = positions_lps_mm(volume)
        heights = positions @ volume.normal_lps
        row_mm, column_mm = volume.pixel_spacing_mm
        across, down = directions_lps(volume)
        reach = 0.5 * float(np.diff(heights).max()) + SAME_PLANE_MM if len(heights) > 1 else np.inf
        return cls(
            positions, heights, volume.normal_lps, np.stack([down / row_mm, across / column_mm]), reach
        )

    def nearest(self, heights_mm: NDArray[np.float64]) -> NDArray[np.int64]:
        middles = (self.heights_mm[1:] + self.heights_mm[:-1]) / 2
        return np.searchsorted(middles, heights_mm).astype(np.int64)


def _fill(
    plane: NDArray[np.uint8], place: NDArray[np.float64], frames: NDArray[np.uint8], stack: _Stack
) -> None:
    """Fill one plane of a grid; `place`, 4 x 3, takes (column, row, 1) of it to LPS mm."""
    rows, columns = plane.shape
    corners = np.array([[c, r, 1] for c in (0, columns - 1) for r in (0, rows - 1)]).T
    heights = stack.normal @ place[:3] @ corners
    if np.ptp(heights) < SAME_PLANE_MM:  # parallel to the frames: one of them is nearest everywhere
        frame = int(stack.nearest(heights.mean()))
        if abs(heights.mean() - stack.heights_mm[frame]) > stack.reach_mm:
            return
        matrix = np.zeros((3, 3))
        matrix[1:] = stack.per_mm @ (place[:3] - np.outer(stack.positions_mm[frame], [0, 0, 1]))
        matrix[0, 2] = frame
        if copy_plane(frames, matrix, plane) is not None:
            return
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    points = np.stack([column, row, np.ones_like(row)], axis=-1) @ place[:3].T
    height = points @ stack.normal
    frame_of = stack.nearest(height)
    index = np.rint((points - stack.positions_mm[frame_of]) @ stack.per_mm.T).astype(np.int64)
    inside = ((index >= 0) & (index < frames.shape[1:])).all(axis=-1)
    inside &= np.abs(height - stack.heights_mm[frame_of]) <= stack.reach_mm
    plane[inside] = frames[frame_of[inside], index[inside, 0], index[inside, 1]]
