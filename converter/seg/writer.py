"""Writes a segmentation as a stream, frame by frame: its memory does not grow with the number of segments."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from converter.errors import EncodingFailed
from converter.explicit_vr import (
    LONGEST_VALUE,
    PREAMBLE,
    SEQUENCE_END,
    UNDEFINED_LENGTH,
    delimiter,
    element,
    pixel_data_header,
    sequence,
    text_element,
)
from converter.results.bytes import (
    SEGMENTATION,
    coded,
    element_bytes,
    instances_of,
    meta_bytes,
    reference,
    referenced_series,
    source_image,
)
from converter.series import Frame, Volume

from .codecs import deflate_frame, encode_plane, is_encapsulated, raw_deflate
from .header import Header
from .planes import LabelPlanes, MaskedRows, Planes
from .segments import SEGMENT_SEQUENCE
from .settings import BYTE_BITS, SegmentationType


class Writable(Protocol):
    """What bytes can be written to."""

    def write(self, content: bytes, /) -> int:
        """Take bytes, which do not change afterwards."""
        ...


@dataclass(frozen=True)
class FrameOrder:
    """Which segment and which of the volume's frames each frame shows, in the order of writing.

    Segment by segment, and in each against the slice normal, as highdicom does; a label map shows all
    segments at once, and `segments` is then all 0. Both arrays are (frames,).
    """

    segments: NDArray[np.int64]
    frames: NDArray[np.int64]

    @property
    def used_frames(self) -> NDArray[np.int64]:
        """The volume's frames on which anything is, in the order of writing."""
        return np.unique(self.frames)[::-1]


def frame_order(presence: NDArray[np.bool_], kind: SegmentationType) -> FrameOrder:
    """Put frames in order; those on which nothing is are left out (PS3.3 C.8.20.2.5.1).

    Parameters
    ----------
    presence
        (segments, frames of the volume).
    """
    if kind is SegmentationType.LABELMAP:
        frames = np.flatnonzero(presence.any(axis=0))[::-1]
        return FrameOrder(np.zeros_like(frames), frames)
    segments, backwards = np.nonzero(presence[:, ::-1])
    return FrameOrder(segments, presence.shape[1] - 1 - backwards)


def write_segmentation(
    stream: Writable, header: Header, planes: Planes, volume: Volume, order: FrameOrder
) -> None:
    """Write a whole object.

    Raises
    ------
    EncodingFailed
        More pixel data than an element can have.
    OSError
    """
    header.elements.NumberOfFrames = len(order.frames)
    syntax = header.elements.file_meta.TransferSyntaxUID
    sink = _Sink(stream)
    sink.write(PREAMBLE + meta_bytes(header.elements.file_meta))
    if syntax == DeflatedExplicitVRLittleEndian:
        sink.begin_deflating()
    for part in _data_set(header, planes, volume, order):
        sink.write(part)
    sink.finish()


class _Sink:
    """A stream whose bytes are deflated from `begin_deflating` on (PS3.5 A.5)."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self._compressor: zlib._Compress | None = None
        self._deflated = 0

    def begin_deflating(self) -> None:
        self._compressor = raw_deflate()

    def write(self, content: bytes) -> None:
        if self._compressor is not None:
            content = self._compressor.compress(content)
            self._deflated += len(content)
        self._stream.write(content)

    def finish(self) -> None:
        if self._compressor is not None:
            rest = self._compressor.flush()
            self._stream.write(rest + bytes((self._deflated + len(rest)) % 2))


def _data_set(header: Header, planes: Planes, volume: Volume, order: FrameOrder) -> Iterator[bytes]:
    """The data set's bytes in order: elements that pydicom writes, and between them those made here."""
    references = [reference(frame) for frame in instances_of(header.source)]
    made_here = {
        0x00081115: [referenced_series(header.source, references)],
        0x00082112: [sequence(0x00082112, references)],
        SEGMENT_SEQUENCE: [header.segments],
        0x52009230: [_frame_groups(header, planes, volume, order)],
        0x7FE00010: _pixel_data(header.elements, planes, order),
    }
    begin = 0
    for tag, parts in made_here.items():
        yield element_bytes(header.elements[Tag(begin) : Tag(tag)], header.encodings)
        yield from parts
        begin = tag + 1


# -- references and functional groups -----------------------------------------------------------------------


def _frame_groups(header: Header, planes: Planes, volume: Volume, order: FrameOrder) -> bytes:
    """Per-frame functional groups (PS3.3 C.7.6.16).

    Frames are indexed by segment too (PS3.3 C.7.6.17), and say theirs: but in a label map, and where there is
    only one, which the shared groups name.
    """
    used = order.used_frames.tolist()
    derivation = {number: _derivation(volume, number, header.are_places_kept) for number in used}
    position = {number: _position(volume.frames[number]) for number in used}
    index = {number: place for place, number in enumerate(used, start=1)}
    is_by_segment = header.elements.SegmentationType == SegmentationType.BINARY
    dimensions = Struct("<2I" if is_by_segment else "<I")
    content = sequence(0x00209111, [element(0x00209157, "UL", bytes(dimensions.size))])[: -dimensions.size]
    count = len(planes.extents.begin)
    segments = [_identification(n) if is_by_segment and count > 1 else b"" for n in range(count + 1)]
    groups = []
    for segment, number in zip((order.segments + 1).tolist(), order.frames.tolist(), strict=True):
        place = (segment, index[number]) if is_by_segment else (index[number],)
        parts = (derivation[number], content, dimensions.pack(*place), position[number], segments[segment])
        groups.append(b"".join(parts))
    return sequence(0x52009230, groups)


def _identification(segment: int) -> bytes:
    """The Segmentation macro (PS3.3 C.8.20.3.1)."""
    return sequence(0x0062000A, [element(0x0062000B, "US", segment.to_bytes(2, "little"))])


def _derivation(volume: Volume, number: int, are_places_kept: bool) -> bytes:
    """The Derivation Image macro (PS3.3 C.7.6.16.2.6): the source image of a frame that lies on one."""
    if not volume.frames[number].sop_instance_uid:
        return sequence(0x00089124, [])
    kept = text_element(0x0028135A, "CS", "YES" if are_places_kept else "NO")
    source = source_image(volume, number, kept)
    return sequence(0x00089124, [sequence(0x00082112, [source]) + coded(0x00089215, SEGMENTATION)])


def _position(frame: Frame) -> bytes:
    """The Plane Position macro (PS3.3 C.7.6.16.2.3)."""
    numbers = [format_number_as_ds(value) for value in frame.position_lps_mm]
    return sequence(0x00209113, [text_element(0x00200032, "DS", *numbers)])


# -- pixels -------------------------------------------------------------------------------------------------


def _pixel_data(header: Dataset, planes: Planes, order: FrameOrder) -> Iterator[bytes]:
    """Pixel Data (PS3.5 8), native or encapsulated."""
    syntax = header.file_meta.TransferSyntaxUID
    size = header.Rows * header.Columns
    is_labelmap = header.SegmentationType == SegmentationType.LABELMAP
    if is_encapsulated(syntax) and is_labelmap:
        yield from _encapsulated([encode_plane(plane, syntax) for plane in _numbers(planes, order)])
    elif is_encapsulated(syntax):
        yield from _encapsulated([deflate_frame(bits) for bits in _packed_frames(planes, order)])
    elif is_labelmap:
        yield from _native(size * len(order.frames), (p.tobytes() for p in _numbers(planes, order)))
    else:
        length = -(-size * len(order.frames) // BYTE_BITS)
        is_whole = size % BYTE_BITS == 0
        frames = _packed_frames(planes, order) if is_whole else _packed_together(planes, order)
        yield from _native(length, frames)


def _numbers(planes: Planes, order: FrameOrder) -> Iterator[NDArray[np.uint8]]:
    if not isinstance(planes, LabelPlanes):
        raise EncodingFailed("masks may overlap, and a label map cannot hold that; encode them as BINARY")
    for frame in order.frames.tolist():
        yield planes.numbers(frame)


def _masks(planes: Planes, order: FrameOrder) -> Iterator[MaskedRows]:
    for segment, frame in zip(order.segments.tolist(), order.frames.tolist(), strict=True):
        yield planes.masked_rows(segment, frame)


def _packed(pixels: NDArray[np.bool_]) -> bytes:
    """Eight pixels a byte, the first one in the lowest bit (PS3.5 8.1.1)."""
    return np.packbits(pixels.reshape(-1), bitorder="little").tobytes()


def _packed_frames(planes: Planes, order: FrameOrder) -> Iterator[bytes]:
    """Each frame in bytes of its own."""
    length = -(-planes.shape[0] * planes.shape[1] // BYTE_BITS)
    for first_row, mask in _masks(planes, order):
        before, bits = bytes(first_row * planes.shape[1] // BYTE_BITS), _packed(mask)
        yield b"".join((before, bits, bytes(length - len(before) - len(bits))))


def _packed_together(planes: Planes, order: FrameOrder) -> Iterator[bytes]:
    """Frames that follow each other without padding, so that a byte may hold bits of two (PS3.5 8.1.1)."""
    waiting: list[NDArray[np.bool_]] = []
    for first_row, mask in _masks(planes, order):
        whole = np.zeros(planes.shape, bool)
        whole[first_row : first_row + len(mask)] = mask
        waiting.append(whole.reshape(-1))
        if len(waiting) == BYTE_BITS:  # eight frames of any size fill whole bytes
            yield _packed(np.concatenate(waiting))
            waiting.clear()
    if waiting:
        yield _packed(np.concatenate(waiting))


def _native(length: int, parts: Iterator[bytes]) -> Iterator[bytes]:
    if length + length % 2 > LONGEST_VALUE:
        raise EncodingFailed(
            f"{length / 1e9:.1f} GB of pixels are more than a DICOM element can have; encode a label map"
        )
    yield pixel_data_header("OB", length + length % 2)
    yield from parts
    yield bytes(length % 2)


def _encapsulated(frames: list[bytes]) -> Iterator[bytes]:
    """Fragments behind a table of their offsets (PS3.5 A.4)."""
    yield pixel_data_header("OB", UNDEFINED_LENGTH)
    yield encapsulate(frames)
    yield delimiter(SEQUENCE_END)
