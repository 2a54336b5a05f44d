"""CT tissues by Hounsfield units and shape: no weights, no GPU, and no more certainty than that gives.

Thresholds: fat -150 to -30 HU and soft tissue -30 to 150 HU (the ranges of body composition CT, e.g. Aubrey
et al., Acta Physiol 210, 2014, widened at the outer ends so that no voxel of the body is left over), compact
and trabecular bone from 200 HU on, gas below -400 HU. Lung parenchyma has a core of about -790 HU; gas in the
bowel has one below -900 HU, which is how the two are told apart. In doubt there is no lung.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from batch_job.contract import ENGINE_TASKS, EngineInfo
from batch_job.image import BadInput, Image, from_ras, to_ras

from . import Segmented

NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {1: "bone", 2: "adipose_tissue", 3: "soft_tissue", 4: "gas", 5: "lung_left", 6: "lung_right"}
)
BONE, FAT, SOFT, GAS, LUNG_LEFT, LUNG_RIGHT = NAMES

AIR_HU = -400
"""Between soft tissue and gas; a surface voxel half of each lies here."""
BODY_HU = -300
FAT_HU = -30
BONE_HU = 200
COMPACT_BONE_HU = 420
"""Bone has some of it; vessels with contrast and their plaques have little."""

BODY_RADIUS_MM = 10.0
"""Limbs are thicker than this everywhere but at their ends; table shells and blankets are thinner."""
LUNG_CORE_HU = (-900.0, -600.0)
SMALLEST_LUNG_ML = 5.0
CORE_DEPTH_MM = 4.0
RIB_DEPTH_MM = 35.0
"""Bone that is not compact is believed this near to the skin, where ribs are and large vessels are not."""
SMALLEST_DEEP_BONE_ML = 3.0
TRABECULA_MM = 3.0
SMALLEST_BONE_ML = 0.15

Mask = NDArray[np.bool_]
_EVERY_NEIGHBOUR = np.ones((3, 3, 3), bool)


class Threshold:
    """The engine `threshold` with its one task, `tissue`."""

    @property
    def info(self) -> EngineInfo:
        """Name and version; it has no weights."""
        facts = ENGINE_TASKS["threshold"]
        return EngineInfo(name="threshold", version=facts.version, weights=facts.weights)

    def segment(
        self, image: Image, task: str, options: Mapping[str, Any], on_progress: Callable[[float], None]
    ) -> Segmented:
        """Segment one CT in Hounsfield units; `fast` changes nothing, it is fast already.

        Raises
        ------
        BadInput
            The values are no Hounsfield units.
        """
        ras, orientation = to_ras(image)
        hu = _hounsfield(ras.values)
        spacing_mm = ras.spacing_mm
        body = _body(hu, spacing_mm)
        on_progress(0.3)
        labels = np.zeros(hu.shape, np.uint8)
        labels[body & (hu >= FAT_HU)] = SOFT
        labels[body & (hu < FAT_HU)] = FAT
        labels[body & (hu < AIR_HU)] = GAS
        on_progress(0.4)
        labels[_bone(hu, body, spacing_mm)] = BONE
        on_progress(0.7)
        for label, lung in zip((LUNG_LEFT, LUNG_RIGHT), _lungs(hu, body, spacing_mm), strict=True):
            labels[lung] = label
        on_progress(1.0)
        return Segmented(from_ras(labels, orientation), NAMES)


def _hounsfield(values: NDArray[Any]) -> NDArray[np.int16]:
    low, high = float(values.min()), float(values.max())
    if low > -200 or high < -100:
        raise BadInput(
            f"the values run from {low:.0f} to {high:.0f}, which are no Hounsfield units of a patient in air"
        )
    clipped: NDArray[np.int16] = np.clip(values, -1024, 3071).astype(np.int16)
    return clipped


# -- the body -----------------------------------------------------------------------------------------------


def _body(hu: NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> Mask:
    """Trunk and limbs with the air inside them, without table, blankets and cables."""
    solid = hu > BODY_HU
    flat = _in_plane_distance(solid, spacing_mm)
    parts, count = ndimage.label(solid)
    thickness_mm = ndimage.maximum(flat, parts, np.arange(1, count + 1))
    is_body = np.concatenate([[False], np.asarray(thickness_mm) >= BODY_RADIUS_MM])
    body = is_body[parts]
    # What is thinner than a few millimetres and hangs on: a table's edge that touches the skin.
    opened = _opened(body, 3.0, spacing_mm)
    parts, count = ndimage.label(opened)
    if count == 0:
        return np.zeros(hu.shape, bool)
    inner = np.asarray(ndimage.maximum(flat, parts, np.arange(1, count + 1))) >= BODY_RADIUS_MM
    kept = np.concatenate([[False], inner])[parts]
    body &= ndimage.distance_transform_edt(~kept, sampling=spacing_mm) <= 4.0
    for level in range(body.shape[2]):
        body[:, :, level] = _filled(body[:, :, level])
    return np.asarray(body)


def _in_plane_distance(solid: Mask, spacing_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """Distance to the nearest air within each axial plane: short scans have no depth along the body."""
    distance = np.empty(solid.shape, np.float32)
    for level in range(solid.shape[2]):
        plane = np.pad(solid[:, :, level], 1)
        distance[:, :, level] = ndimage.distance_transform_edt(plane, sampling=spacing_mm[:2])[1:-1, 1:-1]
    return distance


def _filled(plane: Mask) -> Mask:
    """A section with its holes; each part for itself: air between arm and trunk is no hole of either."""
    filled = plane.copy()
    parts, count = ndimage.label(plane)
    for part in range(1, count + 1):
        filled |= ndimage.binary_fill_holes(parts == part)
    return filled


# -- bone ---------------------------------------------------------------------------------------------------


def _bone(hu: NDArray[np.int16], body: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """What is bright and shaped like bone; marrow that it encloses in an axial plane belongs to it."""
    bright = body & (hu >= BONE_HU)
    parts, count = ndimage.label(bright, _EVERY_NEIGHBOUR)
    if count == 0:
        return bright
    index = np.arange(1, count + 1)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    volume_ml = np.bincount(parts.ravel(), minlength=count + 1)[1:] * voxel_ml
    compact = np.asarray(ndimage.mean(hu >= COMPACT_BONE_HU, parts, index))
    depth_mm = np.asarray(ndimage.mean(_in_plane_distance(body, spacing_mm), parts, index))
    near_skin = depth_mm <= RIB_DEPTH_MM
    is_bone = (volume_ml >= SMALLEST_BONE_ML) & (
        near_skin | ((volume_ml >= SMALLEST_DEEP_BONE_ML) & (compact >= 0.1))
    )
    bone = np.concatenate([[False], is_bone])[parts]
    bone &= ~_smooth_and_round(hu, bone, spacing_mm)
    for level in range(bone.shape[2]):
        plane = ndimage.binary_closing(np.pad(bone[:, :, level], 3), iterations=2)
        holes = ndimage.binary_fill_holes(plane)[3:-3, 3:-3] & (hu[:, :, level] > 0)
        bone[:, :, level] |= holes & body[:, :, level]
    return np.asarray(bone)


def _smooth_and_round(hu: NDArray[np.int16], bone: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Vessels full of contrast that touch bone: even in value over more than a trabecula is wide."""
    sizes = [*(max(3, 2 * round(TRABECULA_MM / mm) + 1) for mm in spacing_mm[:2]), 1]
    values = hu.astype(np.float32)
    mean = ndimage.uniform_filter(values, sizes)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(values**2, sizes) - mean**2, 0))
    even = bone & (spread < 35) & (mean > BONE_HU) & (mean < COMPACT_BONE_HU)
    core = _opened(even, 2.0, spacing_mm)
    if not core.any():
        return core
    grown = ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= 5.0
    return np.asarray(grown & bone & (hu < COMPACT_BONE_HU))


# -- lungs --------------------------------------------------------------------------------------------------


def _lungs(hu: NDArray[np.int16], body: Mask, spacing_mm: tuple[float, float, float]) -> tuple[Mask, Mask]:
    """Left and right lung (RAS: the patient's right is at higher first indices)."""
    air = body & (hu < AIR_HU)
    parts, count = ndimage.label(air)
    airways = _opened(air & (hu < -950), 3.0, spacing_mm)
    left, right = np.zeros(hu.shape, bool), np.zeros(hu.shape, bool)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    sizes_ml = np.bincount(parts.ravel(), minlength=count + 1) * voxel_ml
    middle = _midline(body)
    for part in (int(p) for p in np.flatnonzero(sizes_ml >= SMALLEST_LUNG_ML) if p):
        region = parts == part
        if not _is_lung(hu, region, spacing_mm):
            continue
        for lung in _halves(region, middle, spacing_mm):
            side = float(np.nonzero(lung)[0].mean()) - middle
            (right if side > 0 else left)[lung & ~airways] = True
    return _with_vessels(left, body, right, spacing_mm), _with_vessels(right, body, left, spacing_mm)


def _is_lung(hu: NDArray[np.int16], region: Mask, spacing_mm: tuple[float, float, float]) -> bool:
    box = ndimage.find_objects(region.astype(np.uint8))[0]
    padded = np.pad(region[box], 1, mode="edge")  # the end of the scan is no surface
    depth_mm = ndimage.distance_transform_edt(padded, sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    core = depth_mm > CORE_DEPTH_MM
    if not core.any():
        return False
    return LUNG_CORE_HU[0] <= float(hu[box][core].mean()) <= LUNG_CORE_HU[1]


def _midline(body: Mask) -> float:
    """The trunk's middle, as a first index: halfway between its sides where it is widest in depth."""
    parts, count = ndimage.label(body)
    if count == 0:
        return body.shape[0] / 2
    trunk = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    middle: float = np.nonzero(trunk)[0].mean()
    return middle


def _halves(region: Mask, middle: float, spacing_mm: tuple[float, float, float]) -> list[Mask]:
    """One lung stays one; lungs that touch are parted at their narrowest place."""
    first = np.nonzero(region)[0]
    minor = min((first < middle).mean(), (first >= middle).mean())
    if minor < 0.1:
        return [region]
    depth_mm = ndimage.distance_transform_edt(region, sampling=spacing_mm)
    for radius_mm in np.arange(1.0, 25.0, 1.0):
        parts, count = ndimage.label(depth_mm > radius_mm)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        large = np.flatnonzero(sizes > 0.1 * sizes.sum()) + 1 if count else np.array([])
        if large.size >= 2:
            markers = np.where(np.isin(parts, large), parts, 0)
            basins = watershed(-depth_mm, markers, mask=region)
            return [basins == label for label in large]
    return []  # in doubt, no lung


def _with_vessels(lung: Mask, body: Mask, other: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Close the vessels and small opacities inside a lung, without reaching into the other."""
    if not lung.any():
        return lung
    box = ndimage.find_objects(lung.astype(np.uint8))[0]
    margin = tuple(
        slice(max(0, s.start - 8), min(n, s.stop + 8)) for s, n in zip(box, lung.shape, strict=True)
    )
    part = np.pad(lung[margin], ((0, 0), (0, 0), (8, 8)), mode="edge")
    outside_mm = ndimage.distance_transform_edt(~part, sampling=spacing_mm)
    closed = ndimage.distance_transform_edt(outside_mm <= 5.0, sampling=spacing_mm) > 5.0
    closed = closed[:, :, 8:-8]
    whole = lung.copy()
    whole[margin] |= closed & body[margin] & ~other[margin]
    return whole


def _opened(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Opening with a disc of that radius in every axial plane."""
    opened = np.zeros(mask.shape, bool)
    for level in range(mask.shape[2]):
        plane = np.pad(mask[:, :, level], 1)
        if not plane.any():
            continue
        core = ndimage.distance_transform_edt(plane, sampling=spacing_mm[:2]) > radius_mm
        if core.any():
            near = ndimage.distance_transform_edt(~core, sampling=spacing_mm[:2]) <= radius_mm
            opened[:, :, level] = (near & plane)[1:-1, 1:-1]
    return opened
