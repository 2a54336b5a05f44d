"""Reading a label map: a NIfTI file of whole numbers from 0 to 255."""

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ..errors import LabelsDoNotFit, UnusableImage
from ..voxels.paged import LettingGo, paged_zeros
from .header import (
    is_gzipped,
    number_type_of,
    read_header,
    require_place,
    shape_of,
    telling_what_is_wrong,
    unpacked,
)

LARGEST_LABEL = 255
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
        It is no 3D NIfTI of integers from 0 to 255 that says where it lies.
    """
    with _as_refusals(), path.open("rb") as source:
        values, affine = _read(source)
    return as_labels(values), affine


def read_grid(path: Path) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Read a label map's shape and its affine to RAS mm, but no values; raises as `read_labels` does."""
    with _as_refusals(), path.open("rb") as source:
        header = read_header(unpacked(source))
        return shape_of(header), _affine_of(header)


@contextmanager
def _as_refusals() -> Iterator[None]:
    try:
        with telling_what_is_wrong():
            yield
    except UnusableImage as unusable:
        raise LabelsDoNotFit(f"the label map cannot be taken: {unusable}") from None


def _affine_of(header: Any) -> NDArray[np.float64]:
    require_place(header)
    affine = np.asarray(header.get_best_affine(), np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise LabelsDoNotFit("the label map's affine is singular")
    return affine


def _read(source: BinaryIO) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values and affine."""
    length = os.fstat(source.fileno()).st_size
    values: NDArray[Any]
    if is_gzipped(source):
        pieces = _decompressed(source.read())
        begin = b""
        while len(begin) < nib.Nifti2Header.sizeof_hdr and (piece := next(pieces, None)) is not None:
            begin += piece
        header = read_header(BytesIO(begin))
        shape, dtype, offset = _layout_of(header, _MOST_COMPRESSED * length)
        content = _filled(prod(shape) * dtype.itemsize, offset, chain((begin,), pieces))
        values = content.view(dtype).reshape(shape, order="F")
    else:
        header = read_header(source)
        shape, dtype, offset = _layout_of(header, length)
        values = np.memmap(source, dtype, "r", offset, shape, order="F")
    affine = _affine_of(header)
    slope, inter = header.get_slope_inter()
    if (slope, inter) not in ((None, None), (1, 0)):
        values = nib.volumeutils.apply_read_scaling(values, slope, inter)
    return values, affine


def _layout_of(header: Any, most_bytes: int) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """Shape, type and beginning of the voxels, in a file of so many bytes at most."""
    shape, dtype, offset = shape_of(header), number_type_of(header), int(header["vox_offset"])
    if offset < header.sizeof_hdr:
        raise UnusableImage("the file's header is damaged: it says that its voxels begin where they cannot")
    if offset + prod(shape) * dtype.itemsize > most_bytes:
        raise UnusableImage("the file ends before its voxels do; it was cut off on its way")
    return shape, dtype, offset


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
    if values.dtype.kind not in "iufb":
        raise LabelsDoNotFit("the labels are no plain numbers but complex, coloured or objects; convert them")
    labels = paged_zeros(values.shape, "F")
    letting_go = LettingGo(values), LettingGo(labels)
    for first in range(0, values.shape[2], _PLANES_AT_ONCE):
        planes = values[..., first : first + _PLANES_AT_ONCE]
        with np.errstate(invalid="ignore"):
            fits = planes.size == 0 or (planes.min() >= 0 and planes.max() <= LARGEST_LABEL)
            if not fits or not np.array_equal(planes, np.rint(planes)):
                raise LabelsDoNotFit(
                    f"the label map holds {_other_than_labels(planes)}; labels are whole numbers from 0 to "
                    f"{LARGEST_LABEL}, write them as those"
                )
            labels[..., first : first + _PLANES_AT_ONCE] = planes
        for each in letting_go:
            each.after(planes)
    return labels


def _other_than_labels(values: NDArray[Any]) -> str:
    """The first value that is no label, in words."""
    are_labels = (values >= 0) & (values <= LARGEST_LABEL) & (values == np.rint(values))
    return f"{values[~are_labels][0]:.7g}"
