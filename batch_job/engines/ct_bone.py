"""Bone in a CT, told from contrast and calcified vessels by shape where shape can tell.

Compact bone lies above some 300 HU and spongy bone between 100 and 300 HU (for lumbar vertebrae Pickhardt
et al., Ann Intern Med 158, 2013); blood with contrast overlaps with both. Three things tell them apart: blood
is even over millimetres and bone is not; what lies near the outside of the muscles is ribs, hips and limbs;
and what lies deep is bone only when it is large and partly compact, as vertebrae are and plaques are not.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .coarse import Mask, Spacing
from .ct_body import Body, depth_in_lean_body

BONE_HU: Final = 200
COMPACT_HU: Final = 420
EDGE_HU: Final = 130
"""Where bone meets soft tissue within one voxel."""
EDGE_MM: Final = 1.2
SMALLEST_ML: Final = 0.15
NEAR_SURFACE_MM: Final = 30.0
SMALLEST_DEEP_ML: Final = 3.0
DEEP_COMPACT_SHARE: Final = 0.1

BLOOD_HU: Final = (110, 900)
"""With contrast; evenly brighter is cortical bone or metal."""
TRABECULA_MM: Final = 3.0
EVEN_SPREAD_HU: Final = 35.0
EVEN_TO_NOISE: Final = 2.0
VESSEL_RADIUS_MM: Final = 2.0
RIM_MM: Final = 3.0
LUMEN_RADIUS_MM: Final = (4.0, 25.0)
ROUND: Final = 1.6
"""A lumen's area is at most this many times that of its widest circle; the liver's is more."""
WALL_MM: Final = 3.5
"""An artery's wall with its plaques."""
BONE_AROUND: Final = 0.35
"""Of what lies around an artery so much may be bone: the aorta leans on vertebrae."""

CLOSING_MM: Final = 8.0
MARROW_HU: Final = 80
"""Spongy bone is brighter; the spinal canal and muscle are darker."""
FATTY_MARROW_HU: Final = (-150, -10)
LARGEST_MARROW_CM2: Final = 25.0
"""A vertebra or a femur's head has up to 20; pelvis and skull enclose more, which is not marrow."""
SMALLEST_CANAL_CM2: Final = 0.8

_EVERY_NEIGHBOUR: Final = np.ones((3, 3, 3), bool)


def find_bone(
    hu: NDArray[np.int16], labelled: NDArray[np.uint8], body: Body, spacing_mm: Spacing,
    on_progress: Callable[[float], None],
) -> Mask:  # fmt: skip
    """Find the bones with their marrow.

    Parameters
    ----------
    hu, labelled
        Fine voxels; `labelled` is not 0 in the body.
    on_progress
        Told 0 to 1.

    Returns
    -------
    numpy.ndarray
        A fine mask.
    """
    bone = hu >= BONE_HU
    bone &= labelled > 0
    limit = _even_spread(hu, labelled, spacing_mm)
    levels = np.flatnonzero(bone.any(axis=(0, 1)))
    for done, level in enumerate(levels):
        _remove_blood(hu[:, :, level], bone[:, :, level], limit, spacing_mm)
        on_progress(0.4 * done / levels.size)
    _remove_other_than_bone(hu, bone, body, spacing_mm)
    on_progress(0.5)
    for done, level in enumerate(levels):
        inside = labelled[:, :, level] > 0
        bone[:, :, level] = _with_marrow(hu[:, :, level], bone[:, :, level], spacing_mm) & inside
        on_progress(0.5 + 0.5 * done / levels.size)
    return bone


# -- what is no bone ----------------------------------------------------------------------------------------


def _even_spread(hu: NDArray[np.int16], labelled: NDArray[np.uint8], spacing_mm: Spacing) -> float:
    """The deviation over a few millimetres that noise alone gives, measured where tissue is most even."""
    spreads = []
    for level in np.linspace(0, hu.shape[2] - 1, min(9, hu.shape[2])).astype(int):
        plane = hu[:, :, level]
        soft = (labelled[:, :, level] > 0) & (plane > 0) & (plane < 150)
        if soft.any():
            spreads.append(np.percentile(_spread(plane, spacing_mm)[soft], 25))
    noise = float(np.median(spreads)) if spreads else 0.0
    return max(EVEN_SPREAD_HU, EVEN_TO_NOISE * noise)


def _spread(plane: NDArray[np.int16], spacing_mm: Spacing) -> NDArray[np.float32]:
    """Standard deviation over squares a trabecula or two wide."""
    size = [max(3, 2 * round(TRABECULA_MM / mm) + 1) for mm in spacing_mm[:2]]
    values = plane.astype(np.float32)
    mean = ndimage.uniform_filter(values, size)
    variance = ndimage.uniform_filter(values * values, size) - mean * mean
    return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float32)


def _remove_blood(plane: NDArray[np.int16], bright: Mask, limit: float, spacing_mm: Spacing) -> None:
    """Take vessels with contrast, and the plaques of their walls, out of one axial plane of `bright`."""
    box = _box(bright, int(2 * TRABECULA_MM / min(spacing_mm[:2])) + 1)
    values = plane[box]
    even = (values >= BLOOD_HU[0]) & (values < BLOOD_HU[1]) & (_spread(values, spacing_mm) < limit)
    lumps = _opened(even & (values >= BONE_HU), VESSEL_RADIUS_MM, spacing_mm)
    if lumps.any():
        bright[box] &= ~((_distance(~lumps, spacing_mm) <= RIM_MM) & (values < COMPACT_HU))
    lumen = _round_parts(_opened(even, LUMEN_RADIUS_MM[0], spacing_mm), spacing_mm)
    if lumen.any():
        lumen = _up_to_the_wall(lumen, values, limit, spacing_mm)
        lumen = _in_soft_tissue(lumen, values, spacing_mm)
        bright[box] &= _distance(~lumen, spacing_mm) > WALL_MM


def _up_to_the_wall(lumen: Mask, values: NDArray[np.int16], limit: float, spacing_mm: Spacing) -> Mask:
    """A lumen with its outer millimetres, where squares that deviations are taken from reach the wall."""
    distance, nearest = ndimage.distance_transform_edt(~lumen, sampling=spacing_mm[:2], return_indices=True)
    blood = ndimage.uniform_filter(values.astype(np.float32), 3)[tuple(nearest)]
    return np.asarray(lumen | ((distance <= TRABECULA_MM + 1) & (np.abs(values - blood) < 2 * limit)))


def _in_soft_tissue(lumen: Mask, values: NDArray[np.int16], spacing_mm: Spacing) -> Mask:
    """The parts that lie in fat and muscle beyond a wall's breadth; an even vertebra has its cortex there."""
    parts, count = ndimage.label(lumen)
    distance, nearest = ndimage.distance_transform_edt(~lumen, sampling=spacing_mm[:2], return_indices=True)
    ring = (distance > WALL_MM) & (distance <= 2 * WALL_MM)
    of_part = parts[tuple(nearest)][ring]
    around = np.maximum(np.bincount(of_part, minlength=count + 1), 1)
    is_vessel = np.bincount(of_part[values[ring] >= BONE_HU], minlength=count + 1) <= BONE_AROUND * around
    is_vessel[0] = False
    return np.asarray(is_vessel[parts])


def _round_parts(mask: Mask, spacing_mm: Spacing) -> Mask:
    """The parts of a plane's mask that are a large vessel's section."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    radius_mm = np.asarray(
        ndimage.maximum(_distance(np.pad(mask, 1), spacing_mm)[1:-1, 1:-1], parts, range(count + 1))
    )
    area_mm2 = np.bincount(parts.ravel(), minlength=count + 1) * (spacing_mm[0] * spacing_mm[1])
    is_round = (radius_mm <= LUMEN_RADIUS_MM[1]) & (area_mm2 <= ROUND * np.pi * radius_mm**2)
    is_round[0] = False
    return np.asarray(is_round[parts])


def _opened(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    core = _distance(np.pad(mask, 1), spacing_mm)[1:-1, 1:-1] > radius_mm
    return mask & (_distance(~core, spacing_mm) <= radius_mm) if core.any() else core


def _remove_other_than_bone(hu: NDArray[np.int16], bone: Mask, body: Body, spacing_mm: Spacing) -> None:
    """Keep the connected parts that lie near the surface, or are large and partly compact."""
    if not bone.any():
        return
    box = ndimage.find_objects(bone.view(np.uint8))[0]
    parts, count = ndimage.label(bone[box], _EVERY_NEIGHBOUR)
    where = np.nonzero(parts)
    of_part = parts[where]
    coarse_where = tuple(
        (index + limits.start) // factor
        for index, limits, factor in zip(where, box, body.coarse.factors, strict=True)
    )
    depth_mm = depth_in_lean_body(body)[coarse_where]
    voxels = np.maximum(np.bincount(of_part, minlength=count + 1), 1)
    mean_depth_mm = np.bincount(of_part, weights=depth_mm, minlength=count + 1) / voxels
    compact = np.bincount(of_part, weights=hu[box][where] >= COMPACT_HU, minlength=count + 1) / voxels
    volume_ml = voxels * (float(np.prod(spacing_mm)) / 1000)
    near = (mean_depth_mm <= NEAR_SURFACE_MM) & (volume_ml >= SMALLEST_ML)
    deep = (volume_ml >= SMALLEST_DEEP_ML) & (compact >= DEEP_COMPACT_SHARE)
    is_bone = near | deep
    is_bone[0] = False
    bone[box] = is_bone[parts]


# -- marrow -------------------------------------------------------------------------------------------------


def _with_marrow(plane: NDArray[np.int16], bone: Mask, spacing_mm: Spacing) -> Mask:
    """One axial plane of bone with its marrow and its edge; the spinal canal stays out."""
    if not bone.any():
        return bone
    box = _box(bone, int(CLOSING_MM / min(spacing_mm[:2])) + 2)
    values, found = plane[box], bone[box]
    near = np.pad(_distance(~found, spacing_mm) <= CLOSING_MM, 1, mode="edge")
    closed = _distance(near, spacing_mm)[1:-1, 1:-1] > CLOSING_MM
    closed |= found
    filled = found | (closed & (values >= MARROW_HU))
    filled |= _marrow(values, found, np.asarray(ndimage.binary_fill_holes(found)), spacing_mm, in_ring=True)
    filled |= _marrow(values, found, np.asarray(ndimage.binary_fill_holes(closed)), spacing_mm, in_ring=False)
    edge = _distance(~found, spacing_mm) <= max(EDGE_MM, min(spacing_mm[:2]))
    filled |= edge & (values >= EDGE_HU)
    whole = bone.copy()
    whole[box] = filled
    return whole


def _marrow(
    values: NDArray[np.int16], found: Mask, enclosing: Mask, spacing_mm: Spacing, *, in_ring: bool
) -> Mask:
    """What `enclosing` adds to the bone found, part by part, where it has a marrow's size and value.

    In a true ring marrow may be fat, and what is too small for a spinal canal may be anything but gas.
    """
    parts, count = ndimage.label(enclosing & ~found)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    area_cm2 = sizes * (spacing_mm[0] * spacing_mm[1] / 100)
    mean = np.bincount(parts.ravel(), weights=values.ravel(), minlength=count + 1) / np.maximum(sizes, 1)
    is_marrow = mean >= MARROW_HU
    if in_ring:
        is_marrow |= (mean >= FATTY_MARROW_HU[0]) & (mean <= FATTY_MARROW_HU[1])
        is_marrow |= (mean >= FATTY_MARROW_HU[0]) & (area_cm2 < SMALLEST_CANAL_CM2)
    is_marrow &= area_cm2 <= LARGEST_MARROW_CM2
    is_marrow[0] = False
    return np.asarray(is_marrow[parts])


def _distance(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_mm[:2]))


def _box(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The rectangle around a plane's mask, widened, within the plane; the mask is not empty."""
    first, second = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, int(first[0]) - margin), int(first[-1]) + margin + 1),
        slice(max(0, int(second[0]) - margin), int(second[-1]) + margin + 1),
    )
