"""The input image: voxels with the affine that says where they lie (RAS, mm)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


class BadInput(Exception):
    """The input cannot be segmented; one sentence without patient data."""


@dataclass(frozen=True)
class Image:
    """Voxels (i, j, k) and the 4 x 4 affine from their indices to RAS mm."""

    values: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each axis."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_ml(self) -> float:
        """A voxel's volume."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def read_image(path: Path) -> Image:
    """Read a 3D NIfTI.

    Raises
    ------
    BadInput
        It is none, has no sound geometry, or holds no number.
    """
    try:
        nifti: Any = nib.load(path)
        values = np.asanyarray(nifti.dataobj)
        affine = np.asarray(nifti.affine, np.float64)
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError):
        raise BadInput("the input is no NIfTI file that could be read") from None
    if values.ndim != 3 or min(values.shape) < 1:
        raise BadInput(f"the input has {values.ndim} dimensions; a 3D image is needed")
    if values.dtype.kind not in "iuf":
        raise BadInput("the input's voxels are no plain numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadInput("the input holds voxels that are not finite")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise BadInput("the input's affine is singular")
    return Image(values, affine)


def to_ras(image: Image) -> tuple[Image, NDArray[Any]]:
    """The same image with axes to the right, to the front and up, and the way back for `from_ras`."""
    orientation = nib.orientations.io_orientation(image.affine)
    values = nib.orientations.apply_orientation(image.values, orientation)
    affine = image.affine @ nib.orientations.inv_ornt_aff(orientation, image.values.shape)
    return Image(values, affine), orientation


def from_ras(values: NDArray[np.uint8], orientation: NDArray[Any]) -> NDArray[np.uint8]:
    """Voxels in RAS order back in the order of the image that `to_ras` was given."""
    identity = np.array([[0, 1], [1, 1], [2, 1]])
    back = nib.orientations.ornt_transform(identity, orientation)
    restored: NDArray[np.uint8] = nib.orientations.apply_orientation(values, back)
    return np.ascontiguousarray(restored)
