"""Cutting a frame's plane out of a voxel grid along the grid's axes: no arithmetic for each pixel.

Most label maps lie on the grid that the engine was given. Its planes then are the frames, turned perhaps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .axes import GRID_TOLERANCE


def copy_plane(voxels: NDArray[Any], matrix: NDArray[np.float64], plane: NDArray[Any]) -> int | None:
    """Fill a frame from a grid whose voxels are the frame's pixels, one by one.

    Parameters
    ----------
    voxels
        The grid, of any three axes.
    matrix
        3 x 3, from (column, row, 1) of the frame to an index into `voxels`.
    plane
        (rows, columns); what the grid does not reach is left as it is.

    Returns
    -------
    How many of the frame's pixels lie in the grid; None where its rows and columns do not run along the
    grid's axes from voxel to voxel, and nothing was done.
    """
    across, down = (int(np.abs(matrix[:, column]).argmax()) for column in (0, 1))
    if across == down:
        return None
    steps = np.zeros((3, 2))
    steps[across, 0], steps[down, 1] = np.sign(matrix[across, 0]), np.sign(matrix[down, 1])
    start = np.rint(matrix[:, 2])
    off_steps = np.abs(matrix[:, :2] - steps) * [plane.shape[1], plane.shape[0]]
    # Near the middle between two voxels it would have to be rounded for each pixel.
    if off_steps.max() > GRID_TOLERANCE or np.abs(matrix[:, 2] - start).max() > 0.5 - 4 * GRID_TOLERANCE:
        return None
    through = 3 - across - down
    at = start.astype(int)
    if not 0 <= at[through] < voxels.shape[through]:
        return 0
    in_rows, rows = _overlap(at[down], steps[down, 1], voxels.shape[down], plane.shape[0])
    in_columns, columns = _overlap(at[across], steps[across, 0], voxels.shape[across], plane.shape[1])
    cut = voxels.transpose(through, down, across)[at[through], in_rows, in_columns]
    plane[rows, columns] = cut
    return int(cut.size)


def _overlap(start: int, step: float, voxels: int, pixels: int) -> tuple[slice, slice]:
    """The voxels along one axis that a line of pixels meets, and the pixels that meet them."""
    forward = step > 0
    first = max(0, -start if forward else start - voxels + 1)
    last = min(pixels, voxels - start if forward else start + 1)  # the one after
    if last <= first:
        return slice(0, 0), slice(0, 0)
    if forward:
        return slice(start + first, start + last), slice(first, last)
    stop = start - last
    return slice(start - first, stop if stop >= 0 else None, -1), slice(first, last)
