"""Reading a label map: a NIfTI file of whole numbers from 0 to 255."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from .errors import LabelsDoNotFit, is_the_machines

LARGEST_LABEL = 255
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    zlib.error,
    cast(type[Exception], isal_zlib.error),  # its stubs call it an instance
    nib.filebasedimages.ImageFileError,
    nib.wrapstruct.WrapStructError,
)
_GZIP = 16 + zlib.MAX_WBITS
"""Where a window size is wanted: with gzip's header and checksum."""
_PLANES_AT_ONCE = 16
"""Values of another type are checked and converted so many planes at a time, which keeps memory flat."""


def read_labels(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Read a label map: its values (i, j, k) and its affine to RAS mm.

    Raises
    ------
    LabelsDoNotFit
        It is no 3D NIfTI of integers from 0 to 255.
    """
    with _as_refusals():
        values, affine = _read(path)
    _require_volume(values.shape, affine)
    return as_labels(values), affine


def read_grid(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Read a label map's shape and its affine to RAS mm, but no values; raises as `read_labels` does."""
    with _as_refusals():
        image: Any = nib.load(path)
        shape, affine = tuple(map(int, image.shape)), np.asarray(image.affine, np.float64)
    _require_volume(shape, affine)
    return shape, affine


@contextmanager
def _as_refusals() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        if is_the_machines(error):
            raise
        raise LabelsDoNotFit("the label map is no NIfTI file that could be read") from None


def _require_volume(shape: tuple[int, ...], affine: NDArray[np.float64]) -> None:
    if len(shape) != 3:
        raise LabelsDoNotFit(f"the label map has {len(shape)} dimensions instead of 3")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise LabelsDoNotFit("the label map's affine is singular")


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values and affine; a compressed file is decompressed at once, several times faster than in pieces."""
    if path.suffix != ".gz":
        image: Any = nib.load(path)
        return np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64)
    content = _decompressed(path.read_bytes())
    is_second = nib.Nifti2Header.sizeof_hdr in [int.from_bytes(content[:4], o) for o in ("little", "big")]
    image = (nib.Nifti2Image if is_second else nib.Nifti1Image).from_bytes(content)
    stored, affine = image.dataobj, np.asarray(image.affine, np.float64)
    if (stored.slope, stored.inter) != (1, 0):
        return np.asanyarray(stored), affine
    voxels = np.frombuffer(content, stored.dtype, int(np.prod(stored.shape)), stored.offset)
    return voxels.reshape(stored.shape, order="F"), affine


def _decompressed(content: bytes) -> bytes:
    """All members of a gzip file (RFC 1952), checksums compared; `igzip.decompress` takes twice as long."""
    members = []
    while content:
        member = isal_zlib.decompressobj(_GZIP)
        members.append(member.decompress(content))
        if not member.eof:
            raise EOFError
        content = member.unused_data.lstrip(b"\0")  # files may be padded
    return members[0] if len(members) == 1 else b"".join(members)


def as_labels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of any type as labels.

    Raises
    ------
    LabelsDoNotFit
        They are not whole numbers from 0 to 255.
    """
    if values.dtype == np.uint8:
        return values
    labels = np.empty(values.shape, np.uint8, order="F")
    for first in range(0, values.shape[2], _PLANES_AT_ONCE):
        planes = values[..., first : first + _PLANES_AT_ONCE]
        with np.errstate(invalid="ignore"):
            fits = planes.size == 0 or (planes.min() >= 0 and planes.max() <= LARGEST_LABEL)
            if not fits or not np.array_equal(planes, np.rint(planes)):
                raise LabelsDoNotFit("the label map holds other values than whole numbers from 0 to 255")
            labels[..., first : first + _PLANES_AT_ONCE] = planes
    return labels
