"""What is read of an object that came in: its header up to the pixel data, and digests of its parts."""

import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import Dataset, config, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    SegmentationStorage,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from converter.reading.header_file import HeaderReader
from converter.results.header import is_our_own
from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE

from .attributes import geometry_digest, header_text, header_texts, identifying
from .elements import check_elements
from .limited_reads import LimitedReads
from .pixels import (
    ELEMENT_HEADER_BYTES,
    IMAGES_OF_USE,
    check_encapsulated_pixels,
    check_may_lack_pixels,
    check_native_pixels,
)
from .refusals import Damaged, NotReadable

FILED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyDescription",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
)
"""The attributes under which an instance is filed."""
_READ_AGAIN = IMAGES_OF_USE | {SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE}
"""Those of which more than what is filed is read later."""

_CHUNK_BYTES = 1 << 20
_DEFER_BYTES = 1 << 20
"""A longer value stays in the file until somebody asks for it."""
INFLATED_LIMIT_BYTES = 512_000_000
"""A deflated data set may become so long: who decodes it later holds all of it in memory."""
_PIXELS_FROM = 0x7FE00008
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")  # PS3.5 9.1
_UID_LETTERS = 64
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_FILE_META_AT = 132
_GROUP_2 = b"\x02\x00"


@dataclass(frozen=True)
class ReadInstance:
    """What is known of one file: what its header says, and digests of its parts."""

    texts: Mapping[str, str]
    """The attributes of `FILED`, as text."""
    identifying: tuple[str, ...]
    """What says whose it is (`attributes.identifying`)."""
    is_our_own: bool
    """Whether this software made it."""
    transfer_syntax_uid: str
    header_sha256: str
    pixel_sha256: str
    geometry_sha256: str
    size_bytes: int

    def text(self, keyword: str) -> str:
        """An attribute as plain text; empty when it is absent or unreadable."""
        return self.texts[keyword]


@dataclass(frozen=True)
class Parsed:
    """A header, and where in its file it stands."""

    header: Dataset
    dataset_at: int
    pixels_at: int | None
    """Where the element of pixel data begins; None where there is none, or the data set is deflated."""
    transfer_syntax: UID
    geometry_sha256: str

    def read(self, header_sha256: str, pixel_sha256: str, size_bytes: int) -> ReadInstance:
        """What is known of the file, with its digests."""
        return ReadInstance(
            texts=header_texts(self.header, FILED),
            identifying=identifying(self.header),
            is_our_own=is_our_own(self.header),
            transfer_syntax_uid=str(self.transfer_syntax),
            header_sha256=header_sha256,
            pixel_sha256=pixel_sha256,
            geometry_sha256=self.geometry_sha256,
            size_bytes=size_bytes,
        )


def read_instance(path: Path) -> ReadInstance:
    """Read a DICOM file's header up to the pixel data, and digest header, pixels and geometry.

    Raises
    ------
    NotReadable
        Not DICOM, empty, or without UIDs.
    Damaged
        Parsable, but with UIDs that are none, an unreadable geometry, or cut short.
    OSError
    """
    with path.open("rb") as file:
        stream = cast(BinaryIO, LimitedReads(file))
        parsed = parse(stream)
        dataset_at, pixels_at, size_bytes = parsed.dataset_at, parsed.pixels_at, _size_of(stream)
        # A deflated data set hides where its pixels begin: its digest stands for both parts.
        deflated = parsed.transfer_syntax == DeflatedExplicitVRLittleEndian
        if not deflated:
            _check_pixels(stream, pixels_at, parsed.header, parsed.transfer_syntax)
        pixels_from = pixels_at or (dataset_at if deflated else size_bytes)
        return parsed.read(
            _digest(stream, dataset_at, pixels_at or size_bytes),
            _digest(stream, pixels_from, size_bytes),
            size_bytes,
        )


def parse(stream: BinaryIO, reader: HeaderReader | None = None) -> Parsed:
    """Parse a DICOM file, which lies on the disk or in memory, up to its pixel data.

    Parameters
    ----------
    reader
        Of what is short enough for the memory, as a whole; None: it need not be.

    Raises
    ------
    NotReadable, OSError
        As `read_instance`.
    """
    dataset_at = _end_of_file_meta(stream)
    header, pixels_at = _parsed(stream, dataset_at, reader)
    geometry_sha256 = geometry_digest(header)
    return Parsed(header, dataset_at, pixels_at, _transfer_syntax(header), geometry_sha256)


def uids_of_file_meta(path: Path) -> tuple[str, str]:
    """SOP class and instance UID as a file's meta information has them; empty where it cannot be read."""
    try:
        meta = read_file_meta_info(path)
    except Exception:  # whatever a parser raises on bytes from outside, or there is no such file any more
        return "", ""
    uids = header_text(meta, "MediaStorageSOPClassUID"), header_text(meta, "MediaStorageSOPInstanceUID")
    return uids if all(map(is_valid_uid, uids)) else ("", "")


def _transfer_syntax(header: Dataset) -> UID:
    uid = UID(header_text(header.file_meta, "TransferSyntaxUID"))
    if not uid.is_transfer_syntax:
        raise NotReadable(
            "unknown_transfer_syntax",
            "its transfer syntax is not one of DICOM's (PS3.5 10); send it in another one",
        )
    return uid


def _bytes_at(stream: BinaryIO, start: int, length: int) -> bytes:
    stream.seek(start)
    return stream.read(length)


def _size_of(stream: BinaryIO) -> int:
    at = stream.tell()
    size_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(at)
    return size_bytes


def _digest(stream: BinaryIO, start: int, end: int) -> str:
    """SHA-256 of a part of the file, read in pieces: an instance may be larger than the memory."""
    digest = hashlib.sha256()
    for at in range(start, end, _CHUNK_BYTES):
        digest.update(_bytes_at(stream, at, min(_CHUNK_BYTES, end - at)))
    return digest.hexdigest()


def _parsed(stream: BinaryIO, dataset_at: int, reader: HeaderReader | None) -> tuple[Dataset, int | None]:
    """Parse up to the pixel data; the offset of the pixel data element, or None when there is none.

    A deflated data set, whose length says nothing, is inflated on the disk first; its offset is None.
    """
    with config.disable_value_validation():
        if not _is_deflated(stream, dataset_at):
            return _parse(stream, lambda: _read(stream, reader))
        with tempfile.NamedTemporaryFile() as temporary:
            plain = cast(BinaryIO, LimitedReads(cast(BinaryIO, temporary)))
            _inflate(stream, dataset_at, plain)
            header, pixels_at = _parse(plain, lambda: _read_inflated(plain, _file_meta(stream)))
            _check_pixels(plain, pixels_at, header, ExplicitVRLittleEndian)
            geometry_digest(header)  # takes over what was left in that file
            return header, None


def _read(stream: BinaryIO, reader: HeaderReader | None) -> Dataset:
    """Read it, and leave the stream where its pixel data begin."""
    header = None if reader is None else reader.usual(stream)
    if header is not None:
        stream.seek(header.pixels_at)
        return header
    stream.seek(0)
    return dcmread(stream, stop_before_pixels=True, defer_size=_DEFER_BYTES)


def _is_deflated(stream: BinaryIO, dataset_at: int) -> bool:
    if DeflatedExplicitVRLittleEndian.encode() not in _bytes_at(stream, 0, dataset_at):
        return False
    return bool(_file_meta(stream).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian)


def _file_meta(stream: BinaryIO) -> FileMetaDataset:
    try:
        return read_file_meta_info(str(stream.name))
    except Exception:  # whatever a parser raises on bytes from outside
        raise _not_dicom() from None


def _read_inflated(plain: BinaryIO, meta: FileMetaDataset) -> Dataset:
    content = read_dataset(
        plain, False, True, stop_when=lambda tag, *_: tag >= _PIXELS_FROM, defer_size=_DEFER_BYTES
    )
    return FileDataset(plain, content, b"", meta, False, True)


def _parse(stream: BinaryIO, read: Callable[[], Dataset]) -> tuple[Dataset, int | None]:
    size_bytes = _size_of(stream)
    try:
        header = read()
        at = stream.tell()
    except NotReadable:
        raise
    except Exception:  # whatever a parser raises on bytes from outside
        raise _not_dicom() from None
    if "TransferSyntaxUID" not in header.file_meta:
        raise _not_dicom()
    if len(header) == 0:
        raise NotReadable("empty", "the data set is empty; send it again from the sender")
    _check_uids(header)
    is_read_again = header_text(header, "SOPClassUID") in _READ_AGAIN
    check_elements(header, size_bytes, is_read_again=is_read_again)
    return header, at if at < size_bytes else None


def _not_dicom() -> NotReadable:
    return NotReadable(
        "not_dicom", "the object cannot be parsed as DICOM; look at it at the sender and send it again"
    )


def _inflate(stream: BinaryIO, dataset_at: int, plain: BinaryIO) -> None:
    """Write the inflated data set, piece by piece (PS3.5 A.5, RFC 1951).

    Raises
    ------
    NotReadable
        It is no deflated data set.
    Damaged
        It becomes longer than anybody could decode, or has no end.
    """
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    stream.seek(dataset_at)
    while not inflating.eof and (piece := stream.read(_CHUNK_BYTES)):
        while piece and not inflating.eof:  # a byte of padding may follow (PS3.5 A.5)
            try:
                plain.write(inflating.decompress(piece, _CHUNK_BYTES))
            except zlib.error:
                raise _not_dicom() from None
            if plain.tell() > INFLATED_LIMIT_BYTES:
                raise Damaged(
                    "inflates_too_far",
                    f"the deflated data set has more than {INFLATED_LIMIT_BYTES // 1_000_000} MB; send it in"
                    " another transfer syntax",
                )
            piece = inflating.unconsumed_tail
    if not inflating.eof:
        raise Damaged("cut_short", "the deflated data set has no end; send it again")
    plain.flush()
    plain.seek(0)


def _check_uids(header: Dataset) -> None:
    values = header_texts(header, _UIDS)
    missing = [keyword for keyword, value in values.items() if not value]
    if missing:
        raise NotReadable(
            "no_uids", f"the object has no {', '.join(missing)}; it cannot be filed: repair it at the sender"
        )
    wrong = [keyword for keyword, value in values.items() if not is_valid_uid(value)]
    if wrong:
        raise Damaged(
            "invalid_uid", f"{', '.join(wrong)} is not a valid UID (PS3.5 9.1); repair it at the sender"
        )


def is_valid_uid(value: str) -> bool:
    """Whether it is a UID by PS3.5 9.1."""
    return len(value) <= _UID_LETTERS and _UID.fullmatch(value) is not None


def _end_of_file_meta(stream: BinaryIO) -> int:
    """Where the data set begins: behind 128 bytes, DICM, and the elements of group 2 (PS3.10 7.1).

    Their group length is not relied on: a file that its sender wrote may have a wrong one, or none.

    Raises
    ------
    NotReadable
        They are not in explicit VR little endian.
    """
    at = _FILE_META_AT
    while (element := _bytes_at(stream, at, 12))[:2] == _GROUP_2:
        representation = element[4:6].decode("latin-1")
        if representation not in STANDARD_VR:
            raise _not_dicom()
        is_long = representation in EXPLICIT_VR_LENGTH_32
        at += (
            12 + int.from_bytes(element[8:], "little")
            if is_long
            else 8 + int.from_bytes(element[6:8], "little")
        )
    return at


def _check_pixels(stream: BinaryIO, pixels_at: int | None, header: Dataset, transfer_syntax: UID) -> None:
    if pixels_at is None:
        check_may_lack_pixels(header)
    elif transfer_syntax.is_encapsulated:
        check_encapsulated_pixels(stream, pixels_at)
    else:
        element_header = _bytes_at(stream, pixels_at, ELEMENT_HEADER_BYTES)
        check_native_pixels(header, transfer_syntax, element_header, _size_of(stream) - pixels_at)
