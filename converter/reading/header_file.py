"""Reading headers, up to the pixels: what pydicom would read, in a fraction of the time.

A series has hundreds of files with hundreds of elements each, and pydicom's reader, which has to be ready for
everything at each element, takes most of the time of judging a series. Here the two usual encodings, explicit
and implicit VR little endian, are walked in memory, and what stands in one file of a series as in another is
only compared; sequences without a length, and files in which anything is out of the ordinary, are left to
pydicom. A test holds the two against each other.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple, cast

from pydicom import Dataset, config, dcmread
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element, empty_value_for_VR
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from converter.errors import UnusableSeries, is_the_machines

from .headers import one_tag

PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, double float and plain pixel data (PS3.3 C.7.6.24, C.7.6.25, C.7.6.3)."""

_DATA_SET_AT = 132
"""Preamble and prefix (PS3.10 7.1)."""
_READ_BYTES = 1 << 16
_SHORTEST_HEAD, _LONGEST_HEAD = 8, 12
"""Tag, value representation and length of one element, in bytes (PS3.5 7.1)."""
_NOT_OF_A_DATA_SET = (0x0000, 0xFFFE)
"""Groups of commands and of items."""
_UNDEFINED = 0xFFFFFFFF
_CHARACTER_SET = BaseTag(0x00080005)
_TRANSFER_SYNTAX = BaseTag(0x00020010)
_UNUSUAL = (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
_EXPLICIT = Struct("<HH2sH").unpack_from
_IMPLICIT = Struct("<HHL").unpack_from
_LENGTH_32 = Struct("<L").unpack_from
_NAME_OF_VR = {str(vr).encode(): str(vr) for vr in VR if len(str(vr)) == 2}
_HAS_LENGTH_32 = {str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32}
_EMPTY = {vr: cast(bytes | None, empty_value_for_VR(vr, raw=True)) for vr in (*_NAME_OF_VR.values(), None)}

_Elements = dict[BaseTag, DataElement | RawDataElement]
_Following = dict[BaseTag | None, tuple[bytes, BaseTag, DataElement | RawDataElement]]
"""What came behind an element (None: at the beginning) in another file: its bytes, its tag, and itself."""
_ReadHead = Callable[[bytes, int], tuple[int, str | None, int, int]]


class _Known(NamedTuple):
    """What stood in other files; the same bytes are something else in another encoding."""

    meta: _Following
    explicit: _Following
    implicit: _Following


class _LeaveIt(Exception):
    """Something out of the ordinary: pydicom shall read this file."""


class HeaderReader:
    """Reads the headers of files that have much in common, as those of one series have.

    An element that stands as it is in another file, behind the same one, is that file's (its `value_tell`
    too). Most of a series is such elements; they take an eighth of the time, and no memory.

    Parameters
    ----------
    forgets_after_bytes
        Of headers, what stood in which is remembered; None: never.
    """

    def __init__(self, forgets_after_bytes: int | None = None) -> None:
        self._forgets_after_bytes = forgets_after_bytes
        self._known = _Known({}, {}, {})
        self._known_bytes = 0

    def read(self, path: Path) -> Dataset:
        """Read a DICOM file up to its pixels, values unchecked.

        The data set's `file_meta` is that of the file; its attribute `has_pixels` says whether pixels follow,
        and `pixels_at` where in the file their element begins.

        Raises
        ------
        UnusableSeries
            The file cannot be parsed as DICOM.
        OSError
            It cannot be read.
        """
        try:
            with config.disable_value_validation(), path.open("rb") as stream:
                header = self.usual(stream)
                return _as_pydicom_reads(stream) if header is None else header
        except InvalidDicomError:
            raise UnusableSeries("a file is not DICOM (no DICM prefix); leave it out") from None
        except Exception as error:  # whatever a parser raises on bytes from outside
            if is_the_machines(error):
                raise
            raise UnusableSeries("a file cannot be parsed as DICOM; look at it at the sender") from None

    def usual(self, stream: BinaryIO) -> Dataset | None:
        """The same of a file that is open, or in memory; None where it is for pydicom to read."""
        if self._forgets_after_bytes is not None and self._known_bytes > self._forgets_after_bytes:
            self._known, self._known_bytes = _Known({}, {}, {}), 0
        try:
            header = _Walk(stream, self._known).header()
        except (_LeaveIt, struct.error, EOFError):
            return None
        self._known_bytes += header.pixels_at
        return header


def read_header(path: Path) -> Dataset:
    """Read one DICOM file up to its pixels, as `HeaderReader.read` does."""
    return HeaderReader().read(path)


def _as_pydicom_reads(stream: BinaryIO) -> Dataset:
    stream.seek(0)
    header = dcmread(stream, stop_before_pixels=True)
    deflated = header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    header.pixels_at = stream.tell()
    header.has_pixels = deflated or bool(stream.read(1))
    return header


def _explicit_head(piece: bytes, offset: int) -> tuple[int, str | None, int, int]:
    """Tag, value representation (None: an unknown one), length, where the value begins (PS3.5 7.1.2)."""
    group, number, encoded_vr, length = _EXPLICIT(piece, offset)
    vr = _NAME_OF_VR.get(encoded_vr)
    if encoded_vr in _HAS_LENGTH_32:
        return group << 16 | number, vr, _LENGTH_32(piece, offset + 8)[0], offset + 12
    return group << 16 | number, vr, length, offset + 8


def _implicit_head(piece: bytes, offset: int) -> tuple[int, str | None, int, int]:
    """The same without value representation (PS3.5 7.1.3)."""
    group, number, length = _IMPLICIT(piece, offset)
    return group << 16 | number, None, length, offset + 8


class _Walk:
    """Walks the elements of a file, of which it has a piece in memory."""

    def __init__(self, stream: BinaryIO, known: _Known) -> None:
        self._stream, self._known = stream, known
        self._size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        self._starts_at = 0  # where in the file the piece begins
        self._piece = stream.read(_READ_BYTES)
        if self._piece[_DATA_SET_AT - 4 : _DATA_SET_AT] != b"DICM":
            raise _LeaveIt

    def header(self) -> Dataset:
        """Read the file meta information, then the data set up to its pixels."""
        meta: _Elements = {}
        at, _ = self._read(meta, _DATA_SET_AT, _explicit_head, self._known.meta, is_meta=True)
        syntax = meta.get(_TRANSFER_SYNTAX)
        if not isinstance(syntax, RawDataElement) or not syntax.value:
            raise _LeaveIt
        uid = syntax.value.rstrip(b"\0 ").decode("ascii", "replace")
        if uid in _UNUSUAL or not uid.startswith("1.2.840.10008."):
            raise _LeaveIt
        is_implicit = uid == ImplicitVRLittleEndian
        if is_implicit:
            self._check_is_implicit(at)
        elements: _Elements = {}
        if is_implicit:
            pixels_at, has_pixels = self._read(elements, at, _implicit_head, self._known.implicit)
        else:
            pixels_at, has_pixels = self._read(elements, at, _explicit_head, self._known.explicit)
        header = Dataset(elements)
        header.set_original_encoding(is_implicit, True, _encoding(elements))
        header.file_meta = FileMetaDataset(meta)
        header.file_meta.set_original_encoding(False, True, default_encoding)
        header.has_pixels, header.pixels_at = has_pixels, pixels_at
        return header

    def _check_is_implicit(self, at: int) -> None:
        """Where letters stand in the place of a length, the file is explicit, whatever it says."""
        piece, starts_at = self._fetch(at, _LONGEST_HEAD)
        if piece[at - starts_at + 4 : at - starts_at + 6].isalpha():
            raise _LeaveIt

    def _read(
        self, elements: _Elements, at: int, read_head: _ReadHead, before: _Following, *, is_meta: bool = False
    ) -> tuple[int, bool]:
        """Read elements from a place in the file to the pixels, the end, or that of the file meta.

        Gives where it ended, and whether pixels are there.
        """
        make, is_implicit = RawDataElement._make, read_head is _implicit_head
        piece, starts_at = self._fetch(at, _LONGEST_HEAD)
        last: BaseTag | None = None
        while True:
            offset = at - starts_at
            known = before.get(last)
            if known is not None and piece.startswith(known[0], offset):
                encoded, last, element = known
                elements[last] = element
                at += len(encoded)
                continue
            if offset + _LONGEST_HEAD > len(piece):
                piece, starts_at = self._fetch(at, _LONGEST_HEAD)
                offset = 0
                if len(piece) < _SHORTEST_HEAD:
                    return at, False
            tag, vr, length, value_at = read_head(piece, offset)
            group = tag >> 16
            if tag in PIXELS or (is_meta and group != 2):
                return at, not is_meta
            if group in _NOT_OF_A_DATA_SET or (vr is None and not is_implicit):
                raise _LeaveIt
            key = one_tag(tag)
            if length == _UNDEFINED:
                at = self._read_undefined(elements, at, is_implicit)
                piece, starts_at = self._fetch(at, _LONGEST_HEAD)
            else:
                head_length = value_at - offset
                if value_at + length > len(piece):
                    piece, starts_at = self._fetch(at, head_length + length)
                    value_at = head_length
                end = value_at + length
                value = piece[value_at:end] if length else _EMPTY[vr]
                element = make((key, vr, length, value, starts_at + value_at, is_implicit, True, True, False))
                elements[key] = element
                if end <= len(piece):  # else the file is cut short, and another one may go on
                    before[last] = piece[value_at - head_length : end], key, element
                at = starts_at + end
            last = key

    def _fetch(self, at: int, length: int) -> tuple[bytes, int]:
        """Have a piece of the file in memory in which so many bytes begin here; gives it and its place."""
        if not (self._starts_at <= at and at + length <= self._starts_at + len(self._piece)):
            self._stream.seek(at)
            wanted = max(length, _READ_BYTES)  # a damaged length may be far beyond what there is
            self._piece = self._stream.read(max(0, min(wanted, self._size - at)))
            self._starts_at = at
        return self._piece, self._starts_at

    def _read_undefined(self, elements: _Elements, at: int, is_implicit: bool) -> int:
        """Have pydicom read one element without a length; gives where it ends."""
        self._stream.seek(at)
        element = next(
            data_element_generator(self._stream, is_implicit, True, encoding=_encoding(elements)), None
        )
        if element is None:
            raise _LeaveIt
        elements[element.tag] = element
        return self._stream.tell()


def _encoding(elements: _Elements) -> str | list[str]:
    """What the texts of a data set are encoded in (PS3.3 C.12.1.1.2)."""
    element = elements.get(_CHARACTER_SET)
    if not isinstance(element, RawDataElement):
        return default_encoding
    return convert_encodings(convert_raw_data_element(element).value)
