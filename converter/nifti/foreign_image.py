"""A NIfTI image that somebody gives: read as a stream, judged, and written anew with nothing of a patient.

What is kept of its header is geometry, type and scaling. Descriptions, names, dates, calibration, extensions
and whatever else a tool may have put there do not reach the new file, and gzip's own name and time neither.
Memory stays flat, however large the image is; what a file unpacks to is bounded before it is unpacked.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from nibabel.spatialimages import HeaderDataError

from ..errors import ImageTooLarge, LabelsDoNotFit, UnusableImage
from ..staged_file import StagedFile
from .file import stage_bytes
from .header import (
    exactly,
    number_type_of,
    read_header,
    require_place,
    shape_of,
    telling_what_is_wrong,
    unpacked,
)
from .label_reader import read_grid

SPACING_MM: Final = (0.05, 50.0)
"""Dental cone-beam CT begins at 0.075 mm, thick slices end at some 20 mm; what lies beyond is given in
another unit, and every volume would be wrong."""
LONGEST_MM: Final = 5000.0
"""Longer than any table moves."""
LEAST_DETERMINANT: Final = 1e-3
"""Of the axes' unit vectors; below it two axes are as good as parallel."""
MOST_EXTENSION_BYTES: Final = 1 << 26
"""What may stand between header and voxels, and is passed over."""
MOST_TRAILING_BYTES: Final = 1 << 20
"""What may follow the voxels: some tools pad."""
LAST_SPACE_CODE: Final = 5
"""NIFTI_XFORM_TEMPLATE_OTHER of nifti1.h; 1 is the scanner's own space."""
GRID_TOLERANCE_MM: Final = 1e-3

_CHUNK_BYTES: Final = 1 << 20
_GEOMETRY: Final = (
    "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
_QFORM: Final = tuple(name for name in _GEOMETRY if name.startswith("q"))


@dataclass(frozen=True)
class ForeignImage:
    """An image that was written anew, to be committed, and what tells it from others."""

    staged: StagedFile
    shape: tuple[int, int, int]
    voxels_sha256: str
    """Of the voxels' bytes as stored, little-endian."""
    geometry_sha256: str
    """Of the new header: dimensions, geometry, type and scaling."""


def stage_image(source: BinaryIO, out: Path, *, most_bytes: int) -> ForeignImage:
    """Read a NIfTI-1 or NIfTI-2 image and write it anew beside `out`; the same image gives the same bytes.

    Parameters
    ----------
    source
        The file from its beginning, gzipped or not; it can seek.
    out
        What it will be called, `.nii.gz`.
    most_bytes
        How many bytes its voxels may take, unpacked.

    Raises
    ------
    UnusableImage
        One sentence that says what is wrong; nothing is left of `out`.
    OSError
        The disk failed.
    """
    with telling_what_is_wrong():
        stream = unpacked(source)
        header = read_header(stream)
        new = _rebuilt(header)
        length = _voxel_bytes(header, most_bytes)
        _skip(stream, int(header["vox_offset"]) - header.template_dtype.itemsize)
        voxels = _Voxels(stream, length, header.get_data_dtype())
        written = bytes(new.binaryblock) + bytes(4)  # no extension follows
        staged = stage_bytes(written, voxels.pieces(), out)
    i, j, k = new.get_data_shape()
    return ForeignImage(staged, (i, j, k), voxels.digest.hexdigest(), hashlib.sha256(written).hexdigest())


def require_grid_of(labels: Path, image: Path) -> None:
    """Make sure that a label map lies voxel for voxel on an image.

    Raises
    ------
    LabelsDoNotFit
    """
    shape, affine = read_grid(labels)
    wanted_shape, wanted_affine = read_grid(image)
    if shape != wanted_shape or np.abs(affine - wanted_affine).max() > GRID_TOLERANCE_MM:
        raise LabelsDoNotFit("the label map is not on the image's own grid; look at the engine, then retry")


# -- reading ------------------------------------------------------------------------------------------------


def _skip(stream: BinaryIO, count: int) -> None:
    if not 4 <= count <= MOST_EXTENSION_BYTES and count != 0:
        raise UnusableImage("the file's header is damaged: it says that its voxels begin where they cannot")
    while count:
        count -= len(exactly(stream, min(count, _CHUNK_BYTES)))


class _Voxels:
    """The voxels' bytes, little-endian, checked and digested as they come."""

    def __init__(self, stream: BinaryIO, length: int, dtype: np.dtype[Any]) -> None:
        self._stream = stream
        self._left = length
        self._dtype = dtype
        self.digest = hashlib.sha256()

    def pieces(self) -> Iterator[bytes]:
        """All of them, piece by piece."""
        while self._left:
            piece = exactly(self._stream, min(self._left, _CHUNK_BYTES))
            self._left -= len(piece)
            values = np.frombuffer(piece, self._dtype)
            if self._dtype.kind == "f" and not np.isfinite(values).all():
                raise UnusableImage("the image has voxels that are not finite (NaN or infinity)")
            if values.dtype.newbyteorder("<") != values.dtype:
                piece = values.astype(values.dtype.newbyteorder("<")).tobytes()
            self.digest.update(piece)
            yield piece
        if len(self._stream.read(MOST_TRAILING_BYTES + 1)) > MOST_TRAILING_BYTES:  # the checksum comes last
            raise UnusableImage("the file holds more than its header says; it may be several images")


# -- judging ------------------------------------------------------------------------------------------------


def _voxel_bytes(header: Any, most_bytes: int) -> int:
    length = int(np.prod(shape_of(header), dtype=object)) * int(number_type_of(header).itemsize)
    if length > most_bytes:
        raise ImageTooLarge(
            f"the image takes {length / 1e6:.0f} MB unpacked; at most {most_bytes / 1e6:.0f} MB are taken"
        )
    return length


def _rebuilt(header: Any) -> Any:
    """A new header with this one's dimensions, geometry, type and scaling, little-endian."""
    shape = shape_of(header)
    dtype = number_type_of(header)
    new: Any = type(header)(endianness="<")
    new.set_data_shape(shape)
    new.set_data_dtype(dtype.newbyteorder("<"))
    _take_scaling(new, header)
    _take_geometry(new, header, shape)
    new["vox_offset"] = new.single_vox_offset
    new["magic"] = new.single_magic
    return new


def _take_scaling(new: Any, header: Any) -> None:
    """Slope and intercept; a slope of 0, or one that is no number, says that there is no scaling."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        slope, intercept = 1.0, 0.0
    if not np.isfinite(intercept):
        raise UnusableImage("the image's scaling is not finite")
    new["scl_slope"], new["scl_inter"] = slope, intercept


def _take_geometry(new: Any, header: Any, shape: tuple[int, int, int]) -> None:
    """The fields that say where voxels lie, as they are; an unsound qform beside a sound sform goes."""
    for name in _GEOMETRY:
        new[name] = header[name]
    for code in ("qform_code", "sform_code"):
        new[code] = _code(header[code])
    new["pixdim"] = [_qfac(header), *header["pixdim"][1:4], 1, 1, 1, 1]
    spatial_unit = header.get_xyzt_units()[0]
    if spatial_unit not in ("mm", "unknown"):
        raise UnusableImage(f"the image's header gives lengths in {spatial_unit}; mm are needed")
    new.set_xyzt_units(spatial_unit)  # not the unit of time
    require_place(new)
    if new["sform_code"]:
        _require_sound(np.asarray(new.get_sform(), np.float64), shape)
        if not _has_sound_qform(new):
            _drop_qform(new)
    else:
        for row in ("srow_x", "srow_y", "srow_z"):
            new[row] = 0
        _require_sound(_qform_of(new), shape)


def _code(code: Any) -> int:
    """What space the coordinates are in; a code that NIfTI does not have says at least that there is one."""
    return 0 if int(code) <= 0 else int(code) if int(code) <= LAST_SPACE_CODE else 1


def _qfac(header: Any) -> float:
    return -1.0 if float(header["pixdim"][0]) == -1 else 1.0


def _qform_of(header: Any) -> Any:
    try:
        return np.asarray(header.get_qform(), np.float64)
    except (HeaderDataError, ValueError):
        raise UnusableImage("the image's qform is no rotation, and it has no sform") from None


def _has_sound_qform(header: Any) -> bool:
    pixdim = np.asarray(header["pixdim"][1:4], np.float64)
    if not header["qform_code"] or not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        return False
    try:
        return bool(np.isfinite(header.get_qform()).all())
    except (HeaderDataError, ValueError):
        return False


def _drop_qform(header: Any) -> None:
    for name in _QFORM:
        header[name] = 0
    spacing_mm = np.linalg.norm(header.get_sform()[:3, :3], axis=0)
    header["pixdim"] = [1, *spacing_mm, 1, 1, 1, 1]


def _require_sound(affine_ras: Any, shape: tuple[int, int, int]) -> None:
    if not np.isfinite(affine_ras).all():
        raise UnusableImage("the image's affine is not finite")
    spacing_mm = np.linalg.norm(affine_ras[:3, :3], axis=0)
    if spacing_mm.min() == 0 or abs(np.linalg.det(affine_ras[:3, :3] / spacing_mm)) < LEAST_DETERMINANT:
        raise UnusableImage("the image's affine is singular")
    low, high = SPACING_MM
    if not (low <= spacing_mm.min() and spacing_mm.max() <= high):
        told = " x ".join(f"{length:.3g}" for length in spacing_mm)
        raise UnusableImage(
            f"the image's voxels are {told} mm; sound ones have {low} to {high:.0f} mm an axis"
        )
    if (spacing_mm * shape).max() > LONGEST_MM:
        raise UnusableImage(
            f"the image claims to be longer than {LONGEST_MM / 1000:.0f} m; its spacing is wrong"
        )
