"""One image's header: values as text and numbers, and the place of its pixels; odd data never raises here."""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag
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

COSINE_TOLERANCE = 0.01
"""How far row and column cosines may be from unit length and from a right angle (PS3.3 C.7.6.2.1.1)."""

PIXEL_MM = (0.001, 50.0)
"""Micro-CT begins at some thousandths; what lies beyond is given in another unit."""
FARTHEST_MM = 1e5
"""No table moves so far, and a NIfTI's float32 holds no hundredth of a mm beyond."""

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
_ASCII_TEXT = frozenset({"CS", "DA", "DS", "DT", "IS", "TM", "UI"})
"""Value representations that are ASCII, whatever the character set (PS3.5 6.2)."""

one_tag = lru_cache(maxsize=1 << 14)(BaseTag)
"""One object for each tag: where a data set's keys are these, it need not compare them, which takes long."""


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


# -- values -------------------------------------------------------------------------------------------------


def text_of(header: Dataset, keyword: str) -> str:
    """An attribute as plain text, several values joined by a backslash; empty when absent or unreadable."""
    vr, encoded = _as_in_file(header, keyword)
    if encoded is not None and vr in _ASCII_TEXT and encoded.isascii():
        text = encoded.decode("ascii").strip(" \0")
        return "\\".join(part.strip(" \0") for part in text.split("\\")) if "\\" in text else text
    value = value_of(header, keyword)
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(item).strip() for item in value)


def numbers_of(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """An attribute as exactly `count` finite numbers; None when it is anything else."""
    vr, encoded = _as_in_file(header, keyword)
    value: Any = None
    if encoded is None or vr not in ("DS", "IS", "US"):
        value = value_of(header, keyword)
    elif vr == "US":
        is_whole = len(encoded) > 0 and len(encoded) % 2 == 0
        value = np.frombuffer(encoded, "<u2").tolist() if is_whole else None
    else:
        value = encoded.strip(b" \0").split(b"\\")
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        values = tuple(map(float, value)) if hasattr(value, "__iter__") else (float(value),)
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def value_of(header: Dataset, keyword: str) -> Any:
    """An attribute's value; None when it is absent, or malformed so that pydicom cannot convert it."""
    try:
        return header.get(keyword)
    except Exception:  # conversion of a malformed element raises many types
        return None


def _as_in_file(header: Dataset, keyword: str) -> tuple[str, bytes | None]:
    """An attribute's value representation, and its bytes in the file where pydicom has not converted them:
    converting takes ten times as long, and a series has thousands of values to look at.
    """
    tag, vr = _known(keyword)
    try:
        element: object = header.get_item(tag, keep_deferred=True)
    except Exception:  # whatever a parser raises on a malformed element
        return vr, None
    if not isinstance(element, RawDataElement) or element.VR not in (None, vr):
        return vr, None
    return vr, element.value if element.is_little_endian else None


@cache
def _known(keyword: str) -> tuple[BaseTag, str]:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of PS3.6")
    return one_tag(tag), dictionary_VR(tag)


# -- pixels and their place ---------------------------------------------------------------------------------


def transfer_syntax_of(header: Dataset) -> UID:
    """The transfer syntax that the file meta names; implicit little endian where it is silent."""
    meta = getattr(header, "file_meta", None)
    named = text_of(meta, "TransferSyntaxUID") if meta is not None else ""
    return UID(named) if named else ImplicitVRLittleEndian


@cache
def can_be_decoded(transfer_syntax: UID) -> bool:
    """Whether dcm2niix or an installed plugin of pydicom decodes this transfer syntax."""
    if transfer_syntax in DCM2NIIX_READS or transfer_syntax in _NATIVE:
        return True
    try:
        return bool(get_decoder(transfer_syntax).is_available)
    except NotImplementedError:
        return False


def plane_of(header: Dataset) -> Plane | Finding:
    """The place of a single-frame image's pixels, or what its header lacks or contradicts."""
    numbers: dict[str, tuple[float, ...]] = {}
    for keyword, count, words in _PLACE:
        found = numbers_of(header, keyword, count)
        if found is None:
            return _no_place(f"does not say {words}")
        numbers[keyword] = found
    size, spacing = (*numbers["Rows"], *numbers["Columns"]), numbers["PixelSpacing"]
    if min(size) < 2:
        return _no_place(f"speaks of {size[0]:.0f} rows and {size[1]:.0f} columns of pixels")
    if min(spacing) <= 0:
        return _no_place("speaks of pixels without extent (Pixel Spacing is zero or negative)")
    if not (PIXEL_MM[0] <= min(spacing) and max(spacing) <= PIXEL_MM[1]):
        return _no_place(
            f"speaks of pixels of {spacing[0]:.3g} x {spacing[1]:.3g} mm, which are in another unit"
        )
    if max(map(abs, numbers["ImagePositionPatient"])) > FARTHEST_MM:
        return _no_place(f"says that it lies more than {FARTHEST_MM / 1000:.0f} m away")
    row, column = numbers["ImageOrientationPatient"][:3], numbers["ImageOrientationPatient"][3:]
    contradiction = _why_no_axes(row, column)
    if contradiction is not None:
        return _no_place(contradiction)
    return Plane(
        position_mm=np.array(numbers["ImagePositionPatient"]),
        row_cosine=np.array(row),
        column_cosine=np.array(column),
        rows=int(size[0]),
        columns=int(size[1]),
        pixel_spacing_mm=(spacing[0], spacing[1]),
    )


_PLACE = (
    ("Rows", 1, "how many rows of pixels it has"),
    ("Columns", 1, "how many columns of pixels it has"),
    ("ImagePositionPatient", 3, "where it lies (Image Position (Patient) is missing or not three numbers)"),
    (
        "ImageOrientationPatient",
        6,
        "how it lies (Image Orientation (Patient) is missing or not six numbers)",
    ),
    ("PixelSpacing", 2, "how large its pixels are (Pixel Spacing is missing or not two numbers)"),
)


def _no_place(what: str) -> Finding:
    return Finding("no_geometry", f"an image's header {what}; a volume cannot be built of it")


def _why_no_axes(row: tuple[float, ...], column: tuple[float, ...]) -> str | None:
    lengths = [math.hypot(*cosines) for cosines in (row, column)]
    if any(abs(length - 1) > COSINE_TOLERANCE for length in lengths):
        return (
            "contradicts itself: the directions of rows and columns have the lengths "
            f"{lengths[0]:.3g} and {lengths[1]:.3g} instead of 1"
        )
    product = sum(r * c for r, c in zip(row, column, strict=True))
    if abs(product) > COSINE_TOLERANCE:
        degrees = math.degrees(math.acos(max(-1.0, min(1.0, product / (lengths[0] * lengths[1])))))
        return f"contradicts itself: rows and columns meet at {degrees:.1f} degrees instead of 90"
    return None
