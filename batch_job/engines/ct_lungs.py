"""Left and right lung in a CT, told from gas in bowel and stomach by value and place. In doubt, no lung.

Lung of -900 to -500 HU is normally aerated (Gattinoni et al., Am J Respir Crit Care Med 164, 2001), gas has
values near -1000 HU: in the CTs that this was made with, the cores of the lungs lie near -800 HU and those of
gas below -950 HU. Stool mixed with gas may have a lung's mean, but
never its evenness, and it does not go on beyond the top of the scan as a lung must that is not whole.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from .coarse import Coarse, Mask
from .ct_body import Body, midline

AIR_HU: Final = -400
"""Between soft tissue and air of any kind."""
LUNG_HU: Final = (-920.0, -550.0)
"""Means over a few millimetres inside a lung."""
CORE_HU: Final = (-900.0, -600.0)
"""The mean over a whole lung's core."""
CORE_SPREAD_HU: Final = 125.0
CORE_DEPTH_MM: Final = 4.0
MEAN_MM: Final = 3.0
RIM_MM: Final = 7.0
SMALLEST_LUNG_ML: Final = 5.0
SMALLEST_WHOLE_LUNG_ML: Final = 250.0
"""A lung that does not reach the top of the scan is there from tip to base: an adult's has litres."""
ONE_SIDED: Final = 0.85
"""So much of a lung lies on its side of the midline; both may reach over it in front of the heart."""
VESSEL_MM: Final = 5.0
WIDEST_BRIDGE_MM: Final = 25.0
"""Lungs that touch do so over less than twice this."""


def find_lungs(body: Body) -> tuple[Mask, Mask]:
    """Find the left and the right lung.

    Returns
    -------
    tuple
        Coarse masks of the left and of the right one, empty where there is none or it is in doubt.
    """
    coarse = body.coarse
    air = body.mask & (coarse.hu < AIR_HU)
    lung = np.zeros(air.shape, bool)
    for region in _regions(air, coarse):
        if _is_lung(region, coarse):
            lung |= region
    left, right = _by_side(lung, midline(body), coarse)
    return _with_vessels(left, body.mask & ~right, coarse), _with_vessels(right, body.mask & ~left, coarse)


def lung_plane(lung: Mask, hu: NDArray[np.int16], body: Body, level: int) -> Mask:
    """A coarse lung in the fine axial plane `level`: its air up to the edge, its vessels inside."""
    coarse = body.coarse
    high = coarse.factors[2]
    here = slice(max(0, level // high - 1), level // high + 2)
    near = coarse.wider(lung[:, :, here])
    inside = coarse.narrower(lung[:, :, here])
    own = level // high - here.start
    air = coarse.plane(near[:, :, own : own + 1], 0) & (hu < AIR_HU)
    return np.asarray(air | coarse.plane(inside[:, :, own : own + 1], 0))


def _regions(air: Mask, coarse: Coarse) -> list[Mask]:
    """The air in parts: where lung and gas (trachea, stomach) run together, each for itself."""
    depth_mm = _depth(air, coarse)
    core = depth_mm > CORE_DEPTH_MM
    mean = _mean_inside(coarse, depth_mm > max(coarse.spacing_mm))
    gas = core & (mean < LUNG_HU[0])
    lung = core & (mean >= LUNG_HU[0]) & (mean <= LUNG_HU[1])
    if gas.any():  # the rim of gas shares its voxels with the wall, and has a lung's values there
        lung &= ndimage.distance_transform_edt(~gas, sampling=coarse.spacing_mm) > RIM_MM
    cores, count = ndimage.label(gas)
    cores[lung] = ndimage.label(lung)[0][lung] + count
    basins = watershed(coarse.hu, cores, mask=air)
    # Parts of one kind that touch belong together: vessels and bubbles break cores into many.
    regions = []
    parts, _ = ndimage.label(basins > count)
    for part, box in enumerate(ndimage.find_objects(parts), 1):
        region = np.zeros(air.shape, bool)
        region[box] = parts[box] == part
        if region.sum() * coarse.voxel_ml >= SMALLEST_LUNG_ML:
            regions.append(region)
    return regions


def _mean_inside(coarse: Coarse, inside: Mask) -> NDArray[np.float32]:
    """The mean over the voxels inside among those within a few millimetres; 0 where there are none."""
    size = [2 * round(MEAN_MM / mm) + 1 for mm in coarse.spacing_mm]
    share = ndimage.uniform_filter(inside.astype(np.float32), size)
    total = ndimage.uniform_filter(np.where(inside, coarse.hu, 0).astype(np.float32), size)
    has_any = share > 1e-4
    return np.asarray(np.where(has_any, total / np.where(has_any, share, 1), 0), np.float32)


def _is_lung(region: Mask, coarse: Coarse) -> bool:
    core = region & (_depth(region, coarse) > CORE_DEPTH_MM)
    if not core.any():
        return False
    values = coarse.hu[core]
    is_whole = bool(region.sum() * coarse.voxel_ml >= SMALLEST_WHOLE_LUNG_ML)
    return (
        CORE_HU[0] <= float(values.mean()) <= CORE_HU[1]
        and float(values.std()) <= CORE_SPREAD_HU
        and (is_whole or bool(region[:, :, -1].any()))
    )


def _by_side(lung: Mask, middles: NDArray[np.float64], coarse: Coarse) -> tuple[Mask, Mask]:
    """Left and right (RAS: the patient's right is at higher first indices); parts in doubt to neither."""
    left, right = np.zeros(lung.shape, bool), np.zeros(lung.shape, bool)
    if not np.isfinite(middles).any():
        return left, right
    middle = np.where(np.isfinite(middles), middles, np.nanmedian(middles))
    parts, _ = ndimage.label(lung)
    for part, box in enumerate(ndimage.find_objects(parts), 1):
        region = parts[box] == part
        for piece in _one_or_two(region, middle[box[2]] - box[0].start, coarse):
            on_right = _share_on_right(piece, middle[box[2]] - box[0].start)
            if on_right >= ONE_SIDED:
                right[box] |= piece
            elif on_right <= 1 - ONE_SIDED:
                left[box] |= piece
    return left, right


def _one_or_two(region: Mask, middle: NDArray[np.float64], coarse: Coarse) -> list[Mask]:
    """One lung stays one; lungs that touch are parted at their narrowest place."""
    if not 1 - ONE_SIDED < _share_on_right(region, middle) < ONE_SIDED:
        return [region]
    depth_mm = _depth(region, coarse)
    for radius_mm in np.arange(1.0, WIDEST_BRIDGE_MM, 1.0):
        parts, count = ndimage.label(depth_mm > radius_mm)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        large = np.flatnonzero(sizes > 0.1 * sizes.sum()) + 1
        shares = np.array([_share_on_right(parts == part, middle) for part in large])
        if (shares >= ONE_SIDED).any() and (shares <= 1 - ONE_SIDED).any():
            markers = np.where(np.isin(parts, large), parts, 0)
            basins = watershed(-depth_mm, markers, mask=region)
            return [basins == part for part in large]
    return []  # in doubt, no lung


def _share_on_right(region: Mask, middle: NDArray[np.float64]) -> float:
    first, _, level = np.nonzero(region)
    return float((first > middle[level]).mean())


def _with_vessels(lung: Mask, allowed: Mask, coarse: Coarse) -> Mask:
    """Close the vessels and small opacities inside a lung."""
    if not lung.any():
        return lung
    reach = [int(np.ceil(VESSEL_MM / mm)) + 1 for mm in coarse.spacing_mm]
    limits = zip(ndimage.find_objects(lung.astype(np.uint8))[0], reach, lung.shape, strict=True)
    box = tuple(slice(max(0, s.start - n), min(size, s.stop + n)) for s, n, size in limits)
    # The end of the scan is no edge of the lung; the other sides are air or wall.
    part = np.pad(lung[box], ((0, 0), (0, 0), (reach[2], reach[2])), mode="edge")
    near = ndimage.distance_transform_edt(~part, sampling=coarse.spacing_mm) <= VESSEL_MM
    closed = ndimage.distance_transform_edt(near, sampling=coarse.spacing_mm) > VESSEL_MM
    whole = lung.copy()
    whole[box] |= closed[:, :, reach[2] : -reach[2]] & allowed[box]
    return whole


def _depth(mask: Mask, coarse: Coarse) -> NDArray[np.float32]:
    """Distance to the nearest voxel outside; the end of the scan is no edge."""
    depth_mm = np.zeros(mask.shape, np.float32)
    if mask.any():
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        padded = np.pad(np.pad(mask[box], ((0, 0), (0, 0), (1, 1)), mode="edge"), ((1, 1), (1, 1), (0, 0)))
        distance = ndimage.distance_transform_edt(padded, sampling=coarse.spacing_mm)
        depth_mm[box] = distance[1:-1, 1:-1, 1:-1]
    return depth_mm
