"""What is read of an object that came in: its header up to the pixel data, and digests of its parts."""

import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import Dataset, config, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from gateway.ledger.corrections import SEGMENTATIONS

from .attributes import geometry_digest, header_number, header_text
from .elements import check_elements
from .refusals import Damaged, NotReadable

IMAGES_OF_USE = frozenset(
    {
        CTImageStorage,
        MRImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
    }
)
"""SOP classes whose instances can be slices of a volume."""
_READ_AGAIN = IMAGES_OF_USE.union(SEGMENTATIONS)
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
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True)
class ReadInstance:
    """The header of one file and the digests of its parts."""

    header: Dataset
    transfer_syntax_uid: str
    header_sha256: str
    pixel_sha256: str
    geometry_sha256: str
    size_bytes: int

    def text(self, keyword: str) -> str:
        """An attribute as plain text; empty when it is absent or unreadable."""
        return header_text(self.header, keyword)


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
    with path.open("rb") as stream:
        dataset_at = _end_of_file_meta(stream)
        header, pixels_at = _parsed(stream, dataset_at)
        geometry_sha256 = geometry_digest(header)
        transfer_syntax = _transfer_syntax(header)
        size_bytes = os.fstat(stream.fileno()).st_size
        # A deflated data set hides where its pixels begin: its digest stands for both parts.
        deflated = transfer_syntax == DeflatedExplicitVRLittleEndian
        if not deflated:
            _check_pixels(stream, pixels_at, header, transfer_syntax)
        pixels_from = pixels_at or (dataset_at if deflated else size_bytes)
        return ReadInstance(
            header=header,
            transfer_syntax_uid=str(transfer_syntax),
            header_sha256=_digest(stream, dataset_at, pixels_at or size_bytes),
            pixel_sha256=_digest(stream, pixels_from, size_bytes),
            geometry_sha256=geometry_sha256,
            size_bytes=size_bytes,
        )


def uids_of_file_meta(path: Path) -> tuple[str, str]:
    """SOP class and instance UID as a file's meta information has them; empty where it cannot be read."""
    try:
        meta = read_file_meta_info(path)
    except Exception:  # whatever a parser raises on bytes from outside, or there is no such file any more
        return "", ""
    uids = header_text(meta, "MediaStorageSOPClassUID"), header_text(meta, "MediaStorageSOPInstanceUID")
    return uids if all(map(is_valid_uid, uids)) else ("", "")


def _transfer_syntax(header: Dataset) -> UID:
    uid = UID(str(header.file_meta.TransferSyntaxUID))
    if not uid.is_transfer_syntax:
        raise NotReadable(
            "unknown_transfer_syntax",
            "its transfer syntax is not one of DICOM's (PS3.5 10); send it in another one",
        )
    return uid


def _bytes_at(stream: BinaryIO, start: int, length: int) -> bytes:
    stream.seek(start)
    return stream.read(length)


def _digest(stream: BinaryIO, start: int, end: int) -> str:
    """SHA-256 of a part of the file, read in pieces: an instance may be larger than the memory."""
    digest = hashlib.sha256()
    for at in range(start, end, _CHUNK_BYTES):
        digest.update(_bytes_at(stream, at, min(_CHUNK_BYTES, end - at)))
    return digest.hexdigest()


def _parsed(stream: BinaryIO, dataset_at: int) -> tuple[Dataset, int | None]:
    """Parse up to the pixel data; the offset of the pixel data element, or None when there is none.

    A deflated data set, whose length says nothing, is inflated on the disk first; its offset is None.
    """
    with config.disable_value_validation():
        if not _is_deflated(stream, dataset_at):
            stream.seek(0)
            return _parse(stream, lambda: dcmread(stream, stop_before_pixels=True, defer_size=_DEFER_BYTES))
        with tempfile.NamedTemporaryFile() as temporary:
            plain = cast(BinaryIO, temporary)
            _inflate(stream, dataset_at, plain)
            header, pixels_at = _parse(plain, lambda: _read_inflated(plain, _file_meta(stream)))
            _check_pixels(plain, pixels_at, header, ExplicitVRLittleEndian)
            geometry_digest(header)  # takes over what was left in that file
            return header, None


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
    size_bytes = os.fstat(stream.fileno()).st_size
    try:
        header = read()
        at = stream.tell()
        _ = header.file_meta.TransferSyntaxUID
    except Exception:  # whatever a parser raises on bytes from outside
        raise _not_dicom() from None
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
        while piece:
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
    values = {keyword: header_text(header, keyword) for keyword in _UIDS}
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
    if pixels_at is not None:
        _check_pixels_are_whole(stream, pixels_at, header, transfer_syntax)
    elif header_text(header, "SOPClassUID") in IMAGES_OF_USE:
        raise Damaged("no_pixels", "the image has no pixel data; send it again")


def _check_pixels_are_whole(stream: BinaryIO, pixels_at: int, header: Dataset, transfer_syntax: UID) -> None:
    if transfer_syntax.is_encapsulated:
        if not _fragments_are_whole(stream, pixels_at + 12):
            raise Damaged("pixels_cut_short", "the compressed pixel data has no end; send it again")
        return
    order = "little" if transfer_syntax.is_little_endian else "big"
    explicit = not transfer_syntax.is_implicit_VR
    value_at = pixels_at + (12 if explicit else 8)
    length = int.from_bytes(_bytes_at(stream, value_at - 4, 4), order)  # type: ignore[arg-type]
    present = os.fstat(stream.fileno()).st_size - value_at
    expected = _expected_pixel_bytes(header)
    if present < length or (expected is not None and length < expected):
        needed = max(length, expected or 0)
        raise Damaged(
            "pixels_cut_short", f"the pixel data has {min(present, length)} of {needed} bytes; send it again"
        )


def _fragments_are_whole(stream: BinaryIO, at: int) -> bool:
    """Walk the items of encapsulated pixel data to their delimiter (PS3.5 A.4)."""
    while (item := _bytes_at(stream, at, 8))[:4] == _ITEM:
        at += 8 + int.from_bytes(item[4:], "little")
    return item[:4] == _SEQUENCE_DELIMITER


def _expected_pixel_bytes(header: Dataset) -> int | None:
    """How many bytes native pixel data should have (PS3.5 8.1.1); None when the header does not say."""
    numbers = [header_number(header, k) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    if any(n is None for n in numbers):
        return None
    rows, columns, samples, bits = (n or 0 for n in numbers)
    frames = header_number(header, "NumberOfFrames") or 1
    if header_text(header, "PhotometricInterpretation").startswith("YBR_FULL_422"):
        samples = 2
    return rows * columns * samples * frames * bits // 8
