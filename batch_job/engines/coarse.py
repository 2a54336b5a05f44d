"""A coarser copy of a CT for questions of shape, and its answers on the fine voxels.

Distances and openings over 80 million voxels take minutes and gigabytes; what they decide here (which part
is the trunk, which gas is a lung) does not need millimetres. Edges are then found on the fine voxels, by
their own values. All arrays have axes in RAS order, indices (right, front, up).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

COARSE_MM: Final = 3.0
_IN_PLANE: Final = ndimage.generate_binary_structure(2, 1)[:, :, np.newaxis]


@dataclass(frozen=True)
class Coarse:
    """Means over blocks of `factors` voxels; HU, int16."""

    hu: NDArray[np.int16]
    factors: tuple[int, int, int]
    spacing_mm: Spacing
    fine_shape: tuple[int, int, int]

    @property
    def voxel_ml(self) -> float:
        """A coarse voxel's volume."""
        return float(np.prod(self.spacing_mm)) / 1000

    @cached_property
    def block_neighbours(self) -> Mask:
        """One coarse voxel to each side along the axes that were made coarser; 3 x 3 x 3."""
        structure = np.zeros((3, 3, 3), bool)
        reach = tuple(slice(0, 3) if factor > 1 else slice(1, 2) for factor in self.factors)
        structure[reach] = True
        return structure

    def wider(self, mask: Mask) -> Mask:
        """A coarse mask and every block that may hold voxels of its edge."""
        return np.asarray(ndimage.binary_dilation(mask, self.block_neighbours), bool)

    def narrower(self, mask: Mask) -> Mask:
        """The blocks of a coarse mask that lie wholly inside; the end of the scan is no edge."""
        return np.asarray(ndimage.binary_erosion(mask, self.block_neighbours, border_value=1), bool)

    def plane(self, values: NDArray[Any], level: int) -> NDArray[Any]:
        """The fine axial plane `level` of coarse values: each block's value for each of its voxels."""
        across, deep, high = self.factors
        width, depth, _ = self.fine_shape
        return values[:, :, level // high].repeat(across, 0).repeat(deep, 1)[:width, :depth]


def coarse_factors(spacing_mm: Spacing) -> tuple[int, int, int]:
    """How many voxels along each axis make one coarse one: those of 3 mm stay as they are."""
    across, deep, high = (max(1, int(COARSE_MM / mm + 0.1)) for mm in spacing_mm)
    return across, deep, high


def coarsen(hu: NDArray[np.int16], spacing_mm: Spacing) -> Coarse:
    """Average blocks of whole voxels up to about `COARSE_MM` wide."""
    across, deep, high = coarse_factors(spacing_mm)
    width, depth, levels = hu.shape
    shape = (-(-width // across), -(-depth // deep), -(-levels // high))
    means = np.empty(shape, np.int16)
    margin = ((0, shape[0] * across - width), (0, shape[1] * deep - depth), (0, 0))
    for level in range(shape[2]):
        slab = np.pad(hu[:, :, level * high : (level + 1) * high], margin, mode="edge")
        blocks = slab.reshape(shape[0], across, shape[1], deep, -1)
        means[:, :, level] = blocks.mean(axis=(1, 3, 4), dtype=np.float32)
    coarse_mm = (spacing_mm[0] * across, spacing_mm[1] * deep, spacing_mm[2] * high)
    return Coarse(means, (across, deep, high), coarse_mm, (width, depth, levels))


# -- shapes within axial planes: a short scan has no depth along the body ------------------------------------


def distance_in_plane(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float32]:
    """Distance in mm of each voxel to the nearest one outside the mask in its axial plane.

    Beyond the field of view counts as outside.
    """
    distance = np.zeros(mask.shape, np.float32)
    for level in np.flatnonzero(mask.any(axis=(0, 1))):
        plane = np.pad(mask[:, :, level], 1)
        distance[:, :, level] = ndimage.distance_transform_edt(plane, sampling=spacing_mm[:2])[1:-1, 1:-1]
    return distance


def near_in_plane(mask: Mask, reach_mm: float, spacing_mm: Spacing) -> Mask:
    """Everything within that distance of the mask in its axial plane."""
    near = np.zeros(mask.shape, bool)
    for level in np.flatnonzero(mask.any(axis=(0, 1))):
        outside = ~mask[:, :, level]
        near[:, :, level] = ndimage.distance_transform_edt(outside, sampling=spacing_mm[:2]) <= reach_mm
    return near


def opened_in_plane(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """The mask without what is thinner than twice the radius."""
    core = distance_in_plane(mask, spacing_mm) > radius_mm
    return near_in_plane(core, radius_mm, spacing_mm) & mask


def filled_in_plane(mask: Mask) -> Mask:
    """The mask with whatever it encloses in an axial plane."""
    structure = np.zeros((3, 3, 3), bool)
    structure[:, :, 1:2] = _IN_PLANE
    parts, count = ndimage.label(~mask, structure)
    is_hole = np.ones(count + 1, bool)
    is_hole[0] = False
    for border in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        is_hole[np.unique(border)] = False
    return np.asarray(mask | is_hole[parts])
