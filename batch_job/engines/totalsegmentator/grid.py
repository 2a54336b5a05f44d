"""An image's way to the grid of a task's networks and its labels' way back, as TotalSegmentator goes it.

To a region where one was found, to axes that run to the right, front and top, and to the networks' spacing.
TotalSegmentator's own numbers decide, down to the 32 bits in which a NIfTI header keeps a spacing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from totalsegmentator.cropping import get_bbox_from_mask

from .proven import NotCovered
from .resampling import linear, nearest

HELD_EXACTLY: Final = ("i1", "u1", "i2", "u2", "i4", "f4", "f8")
"""Types whose numbers are the same in the 64-bit floats in which TotalSegmentator works."""

Box = list[list[int]]


@dataclass(frozen=True)
class Grid:
    """An image on the networks' grid, and what it takes to go back."""

    values: NDArray[Any]
    """(x, y, z), axes to the right, front and top, whole numbers where they were resampled or cut."""
    affine: NDArray[np.float64]
    original: Any
    """The NIfTI image that it was."""
    box: Box | None
    """The region of the original that was cut out."""
    shape_before: tuple[int, ...]
    """Of the region before it was resampled, in the order of axes that the networks get."""
    is_resampled: bool

    @property
    def zooms_mm(self) -> tuple[float, ...]:
        """The spacing as a NIfTI header says it."""
        return header_zooms(self.values, self.affine)

    def back(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels (x, y, z) from the networks' grid on the original's."""
        if self.is_resampled and labels.shape != self.shape_before:
            labels = nearest(labels, self.shape_before)
        turn = ornt_transform(axcodes2ornt("RAS"), io_orientation(self.original.affine))
        labels = apply_orientation(labels, turn)
        if self.box is not None:
            whole = np.zeros(self.original.shape, np.uint8, order="F")
            whole[_slices(self.box)] = labels
            return whole
        return np.asfortranarray(labels)


def to_grid(
    original: Any, region: NDArray[np.uint8] | None, margin_mm: Sequence[float], spacing_mm: Any
) -> Grid:
    """Bring a NIfTI image to the networks' grid.

    Parameters
    ----------
    region
        Not zero where the networks shall look, on the original's grid; None: everywhere.
    margin_mm
        How much around it they get.
    spacing_mm
        TotalSegmentator's `resample`: one number, one for each axis, or None.
    """
    values, affine, box = exact_values(original), original.affine, None
    if region is not None:
        margin = (np.array(margin_mm) / header_zooms(values, affine)).astype(int)
        box = get_bbox_from_mask(region, outside_value=0, addon=margin)
        affine = affine.copy()
        affine[:3, 3] = np.dot(affine, [box[0][0], box[1][0], box[2][0], 1])[:3]
        values = values[_slices(box)].astype(np.float64).astype(np.int32)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(values, affine))
    values, affine = np.asanyarray(canonical.dataobj), canonical.affine
    shape_before = values.shape
    zoom = None if spacing_mm is None else _zoom(canonical, spacing_mm)
    if zoom is not None:
        values = linear(values, zoom)
        affine = affine.copy()
        affine[:3, :3] /= zoom
    return Grid(values, affine, original, box, shape_before, zoom is not None)


def exact_values(image: Any) -> NDArray[Any]:
    """The image's voxels, of a type that 64-bit floats hold exactly, with no more memory than that takes."""
    if len(image.shape) != 3:
        raise NotCovered("the image has other than three axes")
    if not isinstance(image.dataobj, np.ndarray):
        whole: NDArray[Any] = image.get_fdata(caching="unchanged")
        return whole
    values = image.dataobj
    if values.dtype.str[1:] not in HELD_EXACTLY:
        return values.astype(np.float64)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def header_zooms(values: NDArray[Any], affine: NDArray[np.float64]) -> tuple[float, ...]:
    """The spacing of an image with this affine as its NIfTI header keeps it."""
    return tuple(nib.Nifti1Image(np.broadcast_to(np.int16(0), values.shape), affine).header.get_zooms())


def _zoom(image: Any, spacing_mm: Any) -> NDArray[np.float64] | None:
    """How many voxels each becomes, by axis; None where the spacing is right already."""
    here = np.array(image.header.get_zooms())
    wanted = np.array([spacing_mm] * 3 if isinstance(spacing_mm, float) else spacing_mm)
    if np.array_equal(here, wanted):
        return None
    zoom: NDArray[np.float64] = here / wanted
    return zoom


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(begin, end) for begin, end in box)
