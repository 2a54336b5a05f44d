"""One image's header: reading it, and the place of its pixels in the patient; odd data never raises here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from .errors import UnusableSeries

COSINE_TOLERANCE = 0.01
"""How far row and column cosines may be from unit length and from a right angle (PS3.3 C.7.6.2.1.1)."""

DCM2NIIX_READS = frozenset(
    {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        JPEGBaseline8Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEGLSNearLossless,
        JPEG2000Lossless,
        JPEG2000,
        RLELossless,
    }
)
"""Transfer syntaxes that dcm2niix's build on PyPI decodes by itself (tried); others go through pydicom."""

_NATIVE = frozenset({DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian})


@dataclass(frozen=True)
class Finding:
    """Something to know about images or a volume: a code for programs, a sentence for people."""

    code: str
    sentence: str


@dataclass(frozen=True)
class Plane:
    """Where one image's pixels are (PS3.3 C.7.6.2), in LPS.

    Parameters
    ----------
    position_mm
        Centre of the first pixel, shape (3,).
    row_cosine, column_cosine
        Directions of growing column and row index, shape (3,).
    rows, columns
        Size in pixels.
    pixel_spacing_mm
        Between rows, between columns.
    """

    position_mm: NDArray[np.float64]
    row_cosine: NDArray[np.float64]
    column_cosine: NDArray[np.float64]
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """The slice normal: row direction cross column direction."""
        cross: NDArray[np.float64] = np.cross(self.row_cosine, self.column_cosine)
        return np.asarray(cross / np.linalg.norm(cross))


def read_header(path: Path) -> Dataset:
    """Read a DICOM file up to its pixels, values unchecked.

    Raises
    ------
    UnusableSeries
        The file cannot be parsed as DICOM.
    OSError
        It cannot be read.
    """
    try:
        with config.disable_value_validation():
            return dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        raise UnusableSeries("a file is not DICOM (no DICM prefix); leave it out") from None
    except OSError:
        raise
    except Exception:  # whatever a parser raises on bytes from outside
        raise UnusableSeries("a file cannot be parsed as DICOM; look at it at the sender") from None


def text_of(header: Dataset, keyword: str) -> str:
    """An attribute as plain text, several values joined by a backslash; empty when absent or unreadable."""
    value = value_of(header, keyword)
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(item).strip() for item in value)


def numbers_of(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """An attribute as exactly `count` finite numbers; None when it is anything else."""
    value = value_of(header, keyword)
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        values = [float(item) for item in value] if hasattr(value, "__iter__") else [float(value)]
    except (TypeError, ValueError):
        return None
    return tuple(values) if len(values) == count and bool(np.all(np.isfinite(values))) else None


def value_of(header: Dataset, keyword: str) -> Any:
    """An attribute's value; None when it is absent, or malformed so that pydicom cannot convert it."""
    try:
        return header.get(keyword)
    except Exception:  # conversion of a malformed element raises many types
        return None


def transfer_syntax_of(header: Dataset) -> UID:
    """The transfer syntax that the file meta names; implicit little endian where it is silent."""
    meta = getattr(header, "file_meta", None)
    named = value_of(meta, "TransferSyntaxUID") if meta is not None else None
    return UID(str(named)) if named else ImplicitVRLittleEndian


def can_be_decoded(transfer_syntax: UID) -> bool:
    """Whether dcm2niix or an installed plugin of pydicom decodes this transfer syntax."""
    if transfer_syntax in DCM2NIIX_READS or transfer_syntax in _NATIVE:
        return True
    try:
        return bool(get_decoder(transfer_syntax).is_available)
    except NotImplementedError:
        return False


def plane_of(header: Dataset) -> Plane | None:
    """The place of a single-frame image's pixels; None where the header does not give a usable one."""
    position = numbers_of(header, "ImagePositionPatient", 3)
    orientation = numbers_of(header, "ImageOrientationPatient", 6)
    spacing = numbers_of(header, "PixelSpacing", 2)
    rows, columns = numbers_of(header, "Rows", 1), numbers_of(header, "Columns", 1)
    if position is None or orientation is None or spacing is None or rows is None or columns is None:
        return None
    if min(*spacing, *rows, *columns) <= 0:
        return None
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.any(np.abs(lengths - 1) > COSINE_TOLERANCE) or abs(row @ column) > COSINE_TOLERANCE:
        return None
    return Plane(
        position_mm=np.array(position),
        row_cosine=row,
        column_cosine=column,
        rows=int(rows[0]),
        columns=int(columns[0]),
        pixel_spacing_mm=(spacing[0], spacing[1]),
    )


def why_no_slice(header: Dataset) -> Finding | None:
    """Why an image can be no slice of a volume; None when it can, as far as its own header tells."""
    for keyword in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not text_of(header, keyword):
            return Finding("no_uids", f"has no {keyword}; repair it at the sender and send it again")
    frames = numbers_of(header, "NumberOfFrames", 1)
    if (frames is not None and frames[0] > 1) or "PerFrameFunctionalGroupsSequence" in header:
        return Finding(
            "multiframe", "a multi-frame image; this version takes single-frame images only, send those"
        )
    samples = numbers_of(header, "SamplesPerPixel", 1)
    if samples is not None and samples[0] != 1:
        return Finding("colour", "a colour image, not a slice of a volume")
    if plane_of(header) is None:
        return Finding(
            "no_geometry", "its header does not say where its pixels are; a volume cannot be built of it"
        )
    if not can_be_decoded(transfer_syntax_of(header)):
        name = transfer_syntax_of(header).name
        return Finding("undecodable", f"no decoder is installed for {name}; have it sent uncompressed")
    return None
