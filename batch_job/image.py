"""The input image: voxels with the affine that says where they lie (RAS, mm)."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import unit_codes
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, ImageDataError
from numpy.typing import NDArray

from .errors import BadInput

LARGEST_VOXELS: Final = 2_000_000_000
"""More than any scanner makes; a header that claims more is damaged, and would take all memory."""
SPACING_MM: Final = (0.05, 50.0)
"""Dental cone-beam CT begins at 0.075 mm, thick slices end at some 20 mm; what lies beyond is given in
another unit, and every volume would be wrong."""
LONGEST_MM: Final = 5000.0
"""Longer than any table moves."""
LEAST_DETERMINANT: Final = 1e-3
"""Of the axes' unit vectors; below it two axes are as good as parallel."""
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


@dataclass(frozen=True)
class ImageSize:
    """How large an image is once it is read."""

    voxels: int
    bytes: int
    """At the peak of `read_image`."""


def read_size(path: Path) -> ImageSize:
    """What a 3D NIfTI's header claims, once all of the header is found sound.

    Raises
    ------
    BadInput
        It is no such file, has no sound geometry, or does not say where left is.
    OSError
        The disk failed.
    """
    with _telling_what_is_wrong():
        nifti = _open(path)
        voxels = int(np.prod(nifti.shape, dtype=np.int64))
        scaled = 0 if _is_plain(nifti.dataobj) else np.dtype(np.float32).itemsize
        return ImageSize(voxels, voxels * (nifti.get_data_dtype().itemsize + scaled))


def read_image(path: Path) -> Image:
    """Read a 3D NIfTI.

    Raises
    ------
    BadInput
        As in `read_size`, or it ends too early or holds what is no number.
    OSError
        The disk failed.
    """
    with _telling_what_is_wrong():
        nifti = _open(path)
        values = _values(nifti)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadInput("the input holds voxels that are not finite (NaN or infinity); convert it anew")
    return Image(values, np.asarray(nifti.affine, np.float64))


@contextmanager
def _telling_what_is_wrong() -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise BadInput("the input is cut off: its compressed bytes end too early; stage it again") from None
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the file's
        raise BadInput("the input is no NIfTI file that could be read") from None


def _open(path: Path) -> Any:
    # Read rather than mapped into memory: a file that changes underneath would end the process.
    nifti: Any = nib.load(path, mmap=False)
    if not isinstance(nifti, nib.Nifti1Image):  # NIfTI-2 is one, too
        raise BadInput("the input is no NIfTI file")
    if len(nifti.shape) != 3:
        raise BadInput(f"the input has {len(nifti.shape)} dimensions; a 3D image is needed")
    if min(nifti.shape) < 1:
        raise BadInput("the input has no voxels: an axis of its grid has the length zero")
    if np.prod(nifti.shape, dtype=np.float64) > LARGEST_VOXELS:
        raise BadInput("the input's header claims more voxels than a scan can have")
    if nifti.get_data_dtype().kind not in "iuf":
        raise BadInput("the input's voxels are no plain numbers")
    _check_geometry(nifti)
    return nifti


def _check_geometry(nifti: Any) -> None:
    affine = np.asarray(nifti.affine, np.float64)
    if not np.isfinite(affine).all():
        raise BadInput("the input's affine is not finite")
    if int(nifti.header["qform_code"]) == 0 and int(nifti.header["sform_code"]) == 0:
        raise BadInput("the input does not say where left and right is (neither qform nor sform is set)")
    unit = _unit_of_length(nifti.header)
    if unit not in ("mm", "unknown"):
        raise BadInput(f"the input's header gives lengths in {unit}; mm are needed")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = SPACING_MM
    if spacing.min() > 0 and not (low <= spacing.min() and spacing.max() <= high):
        told = " x ".join(f"{length:.3g}" for length in spacing)
        raise BadInput(f"the input's voxels are {told} mm; sound ones have {low} to {high:.0f} mm an axis")
    if spacing.min() == 0 or abs(np.linalg.det(affine[:3, :3] / spacing)) < LEAST_DETERMINANT:
        raise BadInput("the input's affine is singular")
    if (spacing * nifti.shape).max() > LONGEST_MM:
        raise BadInput(f"the input claims to be longer than {LONGEST_MM / 1000:.0f} m; its spacing is wrong")


def _unit_of_length(header: Any) -> str:
    """In words; the unit of time, in the upper bits, does not matter here."""
    code = int(header["xyzt_units"]) % 8
    return str(unit_codes.label[code]) if code in unit_codes.label else "a unit that does not exist"


def _values(nifti: Any) -> NDArray[Any]:
    """The voxels in this machine's byte order; scaled ones as float32, which is exact enough for a CT."""
    proxy = nifti.dataobj
    stored: NDArray[Any] = proxy.get_unscaled()
    if _is_plain(proxy):
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    values = stored.astype(np.float32)
    values *= proxy.slope
    values += proxy.inter
    return values


def _is_plain(proxy: Any) -> bool:
    return bool(proxy.slope == 1 and proxy.inter == 0)


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
