"""Closed surfaces of single structures: marching cubes, smoothed and decimated.

Each runs half-way between voxels that are inside and voxels that are not, and smoothing moves no point of it
by more than half a voxel along any axis: what is one voxel thin stays there.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from skimage.measure import marching_cubes

SMOOTHINGS: Final = 10
STEPS: Final = (np.float32(0.5), np.float32(-0.53))
"""Of Taubin's smoothing (SIGGRAPH 1995), in turns: the second takes back what the first shrinks."""
SHARES: Final = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85)
"""Of the triangles that a surface may have: tried in turns."""
MOST_MOVED: Final = np.float32(0.5)
"""In voxels, along each axis."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface.

    Parameters
    ----------
    points
        (n, 3), float32, RAS mm.
    triangles
        (m, 3), uint32: each three points, counter-clockwise as seen from outside.
    """

    points: NDArray[np.float32]
    triangles: NDArray[np.uint32]

    @cached_property
    def volume_mm3(self) -> float:
        """What it encloses."""
        return _enclosed(self.points.astype(np.float64), self.triangles)

    @cached_property
    def normals(self) -> NDArray[np.float32]:
        """At each point, (n, 3), outward, of length 1: the mean of its triangles', by their area."""
        first, second, third = (self.points[self.triangles[:, corner]] for corner in range(3))
        areas = np.cross(second - first, third - first)
        sums = np.zeros(self.points.shape)
        for axis in range(3):
            for corner in range(3):
                sums[:, axis] += np.bincount(self.triangles[:, corner], areas[:, axis], len(self.points))
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.asarray(sums / np.where(lengths > 0, lengths, 1), np.float32)


def surface_of(inside: NDArray[np.bool_], affine_ras: NDArray[np.float64], most_triangles: int) -> Mesh:
    """The surface of a structure.

    Parameters
    ----------
    inside
        (i, j, k): the voxels that are of it, at least one. What reaches the border is closed there.
    affine_ras
        From voxel indices to RAS mm.
    most_triangles
        It is decimated to about so many where it has more.
    """
    found: Any = marching_cubes(np.pad(inside, 1), 0.5, method="lorensen")
    corners, triangles = found[0], found[1]
    points = _smoothed(corners.astype(np.float32) - 1, triangles) @ affine_ras[:3, :3].T + affine_ras[:3, 3]
    if _enclosed(points, triangles) < 0:  # the axes of the grid are left-handed, or marching cubes' are
        triangles = triangles[:, ::-1]
    centre = points.mean(axis=0)  # near zero 32 bits are more exact
    near, triangles = (points - centre).astype(np.float32), triangles.astype(np.int32)
    if len(triangles) > most_triangles:
        near, triangles = _decimated(near, triangles, most_triangles)
    return Mesh((near + centre).astype(np.float32), np.ascontiguousarray(triangles, np.uint32))


def _decimated(
    points: NDArray[np.float32], triangles: NDArray[np.int32], most: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Fewer triangles, if it can be had so that no edge has more than two of them.

    It is closed in any case, but where thin parts come to touch each other an edge has four, which some
    programs do not call watertight: a few triangles less or more, and they touch elsewhere.
    """
    for share in SHARES:
        found, fewer = fast_simplification.simplify(points, triangles, target_count=int(most * share))
        if _touches_nowhere(fewer):
            break
    return found, fewer


def _touches_nowhere(triangles: NDArray[np.int32]) -> bool:
    edges = np.sort(np.stack([triangles, triangles[:, [1, 2, 0]]], axis=-1).reshape(-1, 2), axis=1)
    numbered = np.sort(edges[:, 0].astype(np.int64) * (triangles.max() + 1) + edges[:, 1])
    return bool((numbered[2:] != numbered[:-2]).all())


def _smoothed(points: NDArray[np.float32], triangles: NDArray[Any]) -> NDArray[np.float32]:
    """Points, in voxels, nearer to the mean of their neighbours, each within its room."""
    ahead = triangles[:, [1, 2, 0]]
    # The surface is closed, so each edge stands there once in either direction.
    edges = np.ones(triangles.size, np.float32), (triangles.ravel(), ahead.ravel())
    neighbours = sparse.csr_array(edges, shape=(len(points), len(points)))
    mean = sparse.diags_array(1 / neighbours.sum(axis=1)).astype(np.float32) @ neighbours
    moved = points
    for _ in range(SMOOTHINGS):
        for step in STEPS:
            moved = moved + step * (mean @ moved - moved)
        moved = np.clip(moved, points - MOST_MOVED, points + MOST_MOVED)
    return moved


def _enclosed(points: NDArray[Any], triangles: NDArray[Any]) -> float:
    """What a closed surface encloses; negative where its triangles are seen from outside as clockwise."""
    near = points - points.mean(axis=0)
    first, second, third = (near[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->i", first, np.cross(second, third)).sum() / 6)
