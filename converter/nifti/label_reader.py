"""Reading a label map: a NIfTI file of whole numbers from 0 to 255."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ..errors import LabelsDoNotFit, is_the_machines
from ..voxels.paged import LettingGo, paged_zeros

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
_PIECE_BYTES = 1 << 22
_MOST_COMPRESSED = 1032
"""So many bytes come out of one at most (RFC 1951: 258 of two bits): a header that says more is wrong."""
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
    """Values and affine."""
    if path.suffix != ".gz":
        image: Any = nib.load(path)
        return np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64)
    compressed = path.read_bytes()
    pieces = _decompressed(compressed)
    begin = b""
    while len(begin) < nib.Nifti2Header.sizeof_hdr and (piece := next(pieces, b"")):
        begin += piece
    is_second = nib.Nifti2Header.sizeof_hdr in [int.from_bytes(begin[:4], o) for o in ("little", "big")]
    header = (nib.Nifti2Header if is_second else nib.Nifti1Header).from_fileobj(BytesIO(begin))
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    wanted = prod(shape) * dtype.itemsize
    if wanted > _MOST_COMPRESSED * len(compressed):
        raise EOFError
    values = _filled(wanted, header.get_data_offset(), chain((begin,), pieces)).view(dtype)
    values = values.reshape(shape, order="F")
    slope, inter = header.get_slope_inter()
    if (slope, inter) not in ((None, None), (1, 0)):
        values = nib.volumeutils.apply_read_scaling(values, slope, inter)
    return values, np.asarray(header.get_best_affine(), np.float64)


def _filled(count: int, offset: int, pieces: Iterable[bytes]) -> NDArray[np.uint8]:
    """So many bytes from an offset on; what follows is read to its end, where the checksum is."""
    content = paged_zeros((count,))
    letting_go = LettingGo(content)
    at = -offset
    for piece in pieces:
        part = np.frombuffer(piece, np.uint8)[max(0, -at) : max(0, count - at)]
        content[max(0, at) : max(0, at) + len(part)] = part
        letting_go.after(part)
        at += len(piece)
    if at < count:
        raise EOFError
    return content


def _decompressed(content: bytes) -> Iterator[bytes]:
    """All members of a gzip file (RFC 1952), piece by piece, checksums compared."""
    while content:
        member = isal_zlib.decompressobj(_GZIP)
        while not member.eof:
            piece = member.decompress(content, _PIECE_BYTES)
            content = member.unconsumed_tail
            if not piece and not member.eof:
                raise EOFError
            yield piece
        content = member.unused_data.lstrip(b"\0")  # files may be padded


def as_labels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of any type as labels.

    Raises
    ------
    LabelsDoNotFit
        They are not whole numbers from 0 to 255.
    """
    if values.dtype == np.uint8:
        return values
    labels = paged_zeros(values.shape, "F")
    letting_go = LettingGo(values), LettingGo(labels)
    for first in range(0, values.shape[2], _PLANES_AT_ONCE):
        planes = values[..., first : first + _PLANES_AT_ONCE]
        with np.errstate(invalid="ignore"):
            fits = planes.size == 0 or (planes.min() >= 0 and planes.max() <= LARGEST_LABEL)
            if not fits or not np.array_equal(planes, np.rint(planes)):
                raise LabelsDoNotFit("the label map holds other values than whole numbers from 0 to 255")
            labels[..., first : first + _PLANES_AT_ONCE] = planes
        for each in letting_go:
            each.after(planes)
    return labels
