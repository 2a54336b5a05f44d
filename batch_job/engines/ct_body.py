"""The body in a CT: trunk and limbs with the air inside them, without table, blankets and cables."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .coarse import Coarse, Mask, distance_in_plane, filled_in_plane, near_in_plane, opened_in_plane

BODY_HU: Final = -300
"""Skin and fat are above, foam and blankets below."""
BODY_RADIUS_MM: Final = 10.0
"""Limbs are thicker than this somewhere; the shells of a table are not."""
SHELL_RADIUS_MM: Final = 3.0
"""What is thinner and only hangs on: the edge of a table that touches the skin."""
REGAINED_MM: Final = 4.0
OPEN_SHARE: Final = 0.5
LEAN_HU: Final = -30
SKIN_RADIUS_MM: Final = 3.0
WALL_GAP_MM: Final = 10.0
"""Gaps between the muscles of the trunk's wall, which is closed over them."""


@dataclass(frozen=True)
class Body:
    """Where the body is, on the coarse grid."""

    coarse: Coarse
    mask: Mask
    """With the air inside it."""
    _wide: Mask
    _core: Mask

    def plane(self, hu: NDArray[np.int16], level: int) -> Mask:
        """The body in the fine axial plane `level`, whose values are `hu`: exact at the skin."""
        wide, core = self.coarse.plane(self._wide, level), self.coarse.plane(self._core, level)
        return np.asarray(core | (wide & (hu > BODY_HU)))


def find_body(coarse: Coarse) -> Body:
    """Find the body; an empty one where nothing is as thick as a limb."""
    solid = coarse.hu > BODY_HU
    parts_with_core = _thick_parts(solid, distance_in_plane(solid, coarse.spacing_mm))
    opened = opened_in_plane(parts_with_core, SHELL_RADIUS_MM, coarse.spacing_mm)
    kept = _thick_parts(opened, distance_in_plane(opened, coarse.spacing_mm))
    near = near_in_plane(kept, REGAINED_MM, coarse.spacing_mm)
    mask = _with_air_inside(parts_with_core & near)
    return Body(coarse, mask, coarse.wider(mask), coarse.narrower(mask))


def _with_air_inside(solid: Mask) -> Mask:
    """The body with what it encloses in axial planes, but for the gap under an arm that touches the trunk.

    Such a gap opens to the outside in the planes above or below; lungs and bowel do not, and where the airway
    does it is far narrower than what it leads to.
    """
    filled = filled_in_plane(solid)
    outside = ~filled
    levels = range(solid.shape[2])
    for level, beside in [
        *zip(levels[1:], levels[:-1], strict=True),
        *zip(levels[-2::-1], levels[:0:-1], strict=True),
    ]:
        holes, count = ndimage.label(filled[:, :, level] & ~solid[:, :, level])
        if count:
            sizes = np.bincount(holes.ravel(), minlength=count + 1)
            open_sizes = np.bincount(holes[outside[:, :, beside]], minlength=count + 1)
            is_open = open_sizes >= OPEN_SHARE * sizes
            is_open[0] = False
            outside[:, :, level] |= is_open[holes]
    return filled & ~outside


def depth_in_lean_body(body: Body) -> NDArray[np.float32]:
    """Distance in mm to the outside of the muscles, coarse: fat under the skin makes nothing deeper.

    Ribs, hips and limbs' bones lie near that surface whatever the patient weighs; aorta and heart do not.
    """
    spacing_mm = body.coarse.spacing_mm
    lean = opened_in_plane(body.mask & (body.coarse.hu > LEAN_HU), SKIN_RADIUS_MM, spacing_mm)
    wall = filled_in_plane(near_in_plane(lean, WALL_GAP_MM, spacing_mm))
    depth_mm = distance_in_plane(wall & body.mask, spacing_mm) - WALL_GAP_MM
    return np.asarray(np.maximum(depth_mm, 0), np.float32)


def midline(body: Body) -> NDArray[np.float64]:
    """The trunk's middle as a coarse first index, for each coarse level; NaN where there is no trunk.

    It is the middle of the widest circles that fit into the section, so that an arm at one side, or a
    trunk that the field of view cuts, does not move it.
    """
    depth_mm = distance_in_plane(body.mask, body.coarse.spacing_mm)
    widest_mm = depth_mm.max(axis=(0, 1))
    middles = np.full(body.mask.shape[2], np.nan)
    for level in np.flatnonzero(widest_mm > 0.6 * widest_mm.max(initial=0)):
        centre = depth_mm[:, :, level] >= 0.8 * widest_mm[level]
        middles[level] = np.nonzero(centre)[0].mean()
    return middles


def _thick_parts(mask: Mask, depth_mm: NDArray[np.float32]) -> Mask:
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    is_thick = np.zeros(count + 1, bool)
    is_thick[np.unique(parts[depth_mm >= BODY_RADIUS_MM])] = True
    is_thick[0] = False
    return np.asarray(is_thick[parts])
