"""The input image: voxels with the affine that says where they lie (RAS, mm)."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, ImageDataError
from numpy.typing import NDArray

from .errors import BadInput

LARGEST_VOXELS: Final = 2_000_000_000
"""More than any scanner makes; a header that claims more is damaged, and would take all memory."""
GEOMETRY: Final = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
"""The header's fields that say where voxels lie."""

_UNREADABLE: Final = (
    OSError, ValueError, EOFError, OverflowError, zlib.error,
    ImageFileError, HeaderDataError, HeaderTypeError, ImageDataError,
)  # fmt: skip


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
        It is none, has no sound geometry, does not say where left is, or holds what is no number.
    """
    try:
        nifti: Any = nib.load(path)
        _check_header(nifti)
        values = _values(nifti)
    except _UNREADABLE:
        raise BadInput("the input is no NIfTI file that could be read") from None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadInput("the input holds voxels that are not finite")
    return Image(values, np.asarray(nifti.affine, np.float64))


def _check_header(nifti: Any) -> None:
    if not isinstance(nifti, nib.Nifti1Image):  # NIfTI-2 is one, too
        raise BadInput("the input is no NIfTI file")
    if len(nifti.shape) != 3 or min(nifti.shape) < 1:
        raise BadInput(f"the input has {len(nifti.shape)} dimensions; a 3D image is needed")
    if np.prod(nifti.shape, dtype=np.float64) > LARGEST_VOXELS:
        raise BadInput("the input's header claims more voxels than a scan can have")
    if nifti.get_data_dtype().kind not in "iuf":
        raise BadInput("the input's voxels are no plain numbers")
    affine = np.asarray(nifti.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise BadInput("the input's affine is singular")
    if int(nifti.header["qform_code"]) == 0 and int(nifti.header["sform_code"]) == 0:
        raise BadInput("the input does not say where left and right is (neither qform nor sform is set)")


def _values(nifti: Any) -> NDArray[Any]:
    """The voxels in this machine's byte order; scaled ones as float32, which is exact enough for a CT."""
    proxy = nifti.dataobj
    stored: NDArray[Any] = proxy.get_unscaled()
    if proxy.slope == 1 and proxy.inter == 0:
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    values = stored.astype(np.float32)
    values *= proxy.slope
    values += proxy.inter
    return values


def write_labels(labels: NDArray[np.uint8], grid_of: Path, out: Path) -> None:
    """Write a label map with the geometry of another NIfTI, field for field, and nothing else of its header.

    Parameters
    ----------
    labels
        (i, j, k), uint8, on the grid of `grid_of`.
    out
        Ends with `.nii.gz` or `.nii`; equal labels give equal bytes.
    """
    source: Any = nib.load(grid_of)
    header = type(source.header)()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(labels.shape)
    for field in GEOMETRY:
        header[field] = source.header[field]
    nib.save(type(source)(labels, None, header), out)


def to_ras(image: Image) -> tuple[Image, NDArray[Any]]:
    """The same image with axes that run to the right, front and top, and the way back for `from_ras`."""
    orientation = nib.orientations.io_orientation(image.affine)
    values = nib.orientations.apply_orientation(image.values, orientation)
    affine = image.affine @ nib.orientations.inv_ornt_aff(orientation, image.values.shape)
    return Image(values, affine), orientation


def from_ras(values: NDArray[np.uint8], orientation: NDArray[Any]) -> NDArray[np.uint8]:
    """Voxels in RAS order back in the order of the image that `to_ras` was given."""
    identity = np.array([[0, 1], [1, 1], [2, 1]])
    back = nib.orientations.ornt_transform(identity, orientation)
    restored: NDArray[np.uint8] = nib.orientations.apply_orientation(values, back)
    return np.asfortranarray(restored)  # as NIfTI stores it
