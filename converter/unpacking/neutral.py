"""What dcm2niix gets of a volume: files that say where the pixels are and what they are, and nothing else.

Fed a series' own headers it sorts, splits and drops images by Instance Number, Study Time, Manufacturer and a
vendor's private elements, and says much of what is of no concern here. So each frame, whatever it is a frame
of, becomes a single-frame image of no vendor and of nobody: plane, pixel description, rescaling, and the UIDs
and the Instance Number that follow from its place in the volume.
"""

import errno
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from converter.explicit_vr import (
    GROUP_LENGTH,
    PREAMBLE,
    SEQUENCE_END,
    UNDEFINED_LENGTH,
    delimiter,
    element,
    pixel_data_header,
)
from converter.reading.headers import text_of
from converter.reading.layout import Layout, once_per_value
from converter.series import Volume

from .encoded_frames import EncodedFrame

_RESCALE = ("RescaleIntercept", "RescaleSlope")

_Elements = dict[int, bytes]
"""Encoded elements by tag."""


class Encoded(Protocol):
    """Frames of a volume with their pixels in some transfer syntax, by place."""

    def __getitem__(self, number: int, /) -> EncodedFrame: ...


class StoredValues(Protocol):
    """Frames of stored values, each (rows, columns), integers, by place."""

    def __getitem__(self, number: int, /) -> NDArray[Any]: ...


class Plain:
    """Stored values as uncompressed frames with only the bits that count, 16 or 32 of them.

    dcm2niix takes signed values of 8 bits for unsigned ones.
    """

    def __init__(self, stored: StoredValues) -> None:
        self._stored = stored

    def __getitem__(self, number: int) -> EncodedFrame:
        values = self._stored[number]
        if values.dtype.itemsize == 1:
            values = values.astype(np.int16)
        little_endian = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        return EncodedFrame(Layout.of_values(values), ExplicitVRLittleEndian, little_endian.data.cast("B"))


class NeutralCopies:
    """Writes frames as files.

    Parameters
    ----------
    placed
        Says where the frames lie.
    frames
        Their pixels.
    """

    def __init__(self, placed: Volume, frames: Encoded) -> None:
        self.placed, self._frames = placed, frames
        self._rescale = once_per_value(placed.headers, _RESCALE, _said_of_rescaling)
        self._of_layout: dict[Layout, _Elements] = {}

    def write(self, number: int, path: Path) -> None:
        """Write the copy of one frame, into the file that is there, where one is.

        Raises
        ------
        ConversionFailed
            The frame cannot be read.
        OSError
        """
        frame = self._frames[number]
        if frame.layout not in self._of_layout:
            self._of_layout[frame.layout] = _said_of_all(self.placed, frame.layout)
        place = _decimal(self.placed.frames[number].position_lps_mm)
        own = _said(
            SOPInstanceUID=f"2.25.{10 + number}", InstanceNumber=f"{number + 1}", ImagePositionPatient=place
        )
        said = sorted((self._of_layout[frame.layout] | self._rescale[number] | own).items())
        header = _file_meta(frame.syntax) + b"".join(encoded for _, encoded in said)
        _write(path, (header, *_pixel_data(frame)))


def _said_of_all(placed: Volume, layout: Layout) -> _Elements:
    return _said(
        SOPClassUID=MRImageStorage,
        StudyInstanceUID="2.25.1",
        SeriesInstanceUID="2.25.2",
        Modality="MR",
        SeriesNumber="1",
        SliceThickness=_decimal([placed.slice_spacing_mm]),
        ImageOrientationPatient=_decimal(placed.orientation_lps),
        PixelSpacing=_decimal(placed.pixel_spacing_mm),
        SamplesPerPixel="1",
        PhotometricInterpretation="MONOCHROME2",
        Rows=f"{layout.rows}",
        Columns=f"{layout.columns}",
        BitsAllocated=f"{layout.allocated}",
        BitsStored=f"{layout.stored}",
        HighBit=f"{layout.stored - 1}",
        PixelRepresentation=f"{int(layout.is_signed)}",
    )


def _said_of_rescaling(header: Dataset) -> _Elements:
    """As the frame's header does (PS3.3 C.11.1)."""
    return _said(**{keyword: text for keyword in _RESCALE if (text := text_of(header, keyword))})


# -- encoding (PS3.5 7.1.2) ---------------------------------------------------------------------------------


def _write(path: Path, pieces: Sequence[bytes | memoryview]) -> None:
    """Over what is there: to write into memory that a file has already takes a quarter of the time."""
    length = sum(map(len, pieces))
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if os.writev(file, pieces) != length:
            raise OSError(errno.ENOSPC, "no room for temporary images")
        os.ftruncate(file, length)
    finally:
        os.close(file)


def _said(**texts: str) -> _Elements:
    """Each keyword's element, by its tag."""
    elements = {}
    for keyword, text in texts.items():
        tag, vr = _known(keyword)
        value = int(text).to_bytes(2, "little") if vr == "US" else text.encode("ascii", "replace")
        elements[tag] = element(tag, vr, value)
    return elements


@cache
def _known(keyword: str) -> tuple[int, str]:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return tag, dictionary_VR(tag)


def _pixel_data(frame: EncodedFrame) -> tuple[bytes | memoryview, ...]:
    if frame.syntax.is_encapsulated:
        return pixel_data_header("OB", UNDEFINED_LENGTH), frame.value, delimiter(SEQUENCE_END)
    vr, length = "OW" if frame.layout.allocated > 8 else "OB", len(frame.value)
    return pixel_data_header(vr, length + length % 2), frame.value, bytes(length % 2)


@cache
def _file_meta(syntax: UID) -> bytes:
    (encoded,) = _said(TransferSyntaxUID=syntax).values()
    return PREAMBLE + element(GROUP_LENGTH, "UL", len(encoded).to_bytes(4, "little")) + encoded


def _decimal(values: Sequence[float]) -> str:
    return "\\".join(format_number_as_ds(float(value)) for value in values)
