"""From one voxel grid to another that differs in the order and direction of its axes only.

Whether two affines differ in nothing else is computed, not assumed, and how far they are from it is a number.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID_TOLERANCE = 1e-3
"""In voxels: two grids whose corners lie nearer to each other than this are the same one."""


@dataclass(frozen=True)
class Turn:
    """Which axis of a grid becomes which of another, and which are turned around.

    Axis `a` of the new grid is axis `axes[a]` of the old one, backwards where `flipped[a]`.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    off_voxels: tuple[float, float, float]
    """How far the old grid's corners lie from the new one's, along each of the new axes."""

    @property
    def is_exact(self) -> bool:
        """Whether the grids are the same one but for their axes' order and direction."""
        return max(self.off_voxels) <= GRID_TOLERANCE

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn voxels of the old grid to the new one's axes; a view, nothing is copied."""
        turned = values.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]


def turn_between(
    old_shape: tuple[int, ...],
    old_affine: NDArray[np.float64],
    new_shape: tuple[int, ...],
    new_affine: NDArray[np.float64],
) -> Turn | None:
    """Find the turn from one grid to another; None where no order of axes makes their shapes agree.

    Parameters
    ----------
    old_shape, new_shape
        Voxels along three axes.
    old_affine, new_affine
        4 x 4, from voxel index to mm, both in the same space (RAS or LPS).
    """
    matrix = np.linalg.inv(new_affine) @ old_affine  # from old to new voxel index
    if not np.isfinite(matrix).all():
        return None
    axes = tuple(int(axis) for axis in np.abs(matrix[:3, :3]).argmax(axis=1))
    if sorted(axes) != [0, 1, 2] or tuple(old_shape[axis] for axis in axes) != tuple(new_shape):
        return None
    flipped = tuple(bool(matrix[axis, source] < 0) for axis, source in enumerate(axes))
    corners = np.array(np.meshgrid(*((0, size - 1) for size in old_shape), (1,), indexing="ij")).reshape(
        4, -1
    )
    where = matrix[:3] @ corners
    off = np.empty(3)
    for axis, source in enumerate(axes):
        index = corners[source]
        wanted = new_shape[axis] - 1 - index if flipped[axis] else index
        off[axis] = np.abs(where[axis] - wanted).max()
    return Turn((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]), (off[0], off[1], off[2]))
