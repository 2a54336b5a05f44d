"""A segmentation on disk, read frame by frame: which segment each shows, where it lies, and its pixels.

It reads the bits itself, and what other writers make too, so that it can check a writer. Memory does not grow
with the number of segments.
"""

import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from converter.errors import LabelsDoNotFit, is_the_machines
from converter.explicit_vr import (
    GROUP_LENGTH,
    PIXEL_DATA,
    PREAMBLE,
    Element,
    MalformedElement,
    elements,
    find,
    items,
)
from converter.reading.headers import transfer_syntax_of

from .codecs import DEFLATED_IMAGE_FRAME, UndecodableFrame, decode_plane, inflate_frame, is_encapsulated
from .settings import BYTE_BITS, SOP_CLASSES, SegmentationType

PREAMBLE_BYTES: Final = len(PREAMBLE)
GROUP_LENGTH_BYTES: Final = 12
SHARED_GROUPS: Final = 0x52009229
FRAME_GROUPS: Final = 0x52009230
CHUNK_BYTES: Final = 1 << 20
_DAMAGED: Final = (
    MalformedElement,
    UndecodableFrame,
    LookupError,
    AttributeError,
    ValueError,
    TypeError,
    OverflowError,
)


@dataclass(frozen=True)
class FrameGroups:
    """What one frame's functional groups say; its own come before the shared ones (PS3.3 C.7.6.16)."""

    position_lps_mm: tuple[float, float, float]
    source_uid: str
    """Empty where no source image is named."""
    source_frame: int | None
    """The frame of a multi-frame source image, from 1."""
    are_places_kept: bool = True
    """Whether a pixel lies where it lies in the source image, unless the frame says that it does not."""


class SegmentationFile:
    """An open segmentation.

    Attributes
    ----------
    header
        The object without functional groups of frames and without pixels.
    groups
        For each frame where it lies.
    segments
        For each frame the segment's number; 0 in a label map, whose pixels say it.
    """

    def __init__(self, stream: BinaryIO, syntax: UID) -> None:
        self._stream = stream
        self._syntax = syntax
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            parts = _parts(content)
            groups, pixels = parts[FRAME_GROUPS], parts[PIXEL_DATA]
            head = BytesIO(content[_data_set_begin(content) : groups.begin])
            self.header = read_dataset(head, is_implicit_VR=False, is_little_endian=True)
            self.type = SegmentationType(self.header.SegmentationType)
            self.groups, self.segments = _read_groups(
                content[groups.begin : groups.end],
                _first_item(content, parts.get(SHARED_GROUPS)),
                is_labelmap=self.type is SegmentationType.LABELMAP,
            )
            self._pixels_begin, self._pixels_end = pixels.value_begin, pixels.value_end
        self.shape = (int(self.header.Rows), int(self.header.Columns))
        self._bits_a_pixel = int(self.header.BitsAllocated)
        if self._bits_a_pixel not in self._known_bits():
            raise LabelsDoNotFit(
                f"the segmentation has {self._bits_a_pixel} bits a pixel; that cannot be read here"
            )
        if int(self.header.NumberOfFrames) != len(self.groups):
            raise LabelsDoNotFit("the segmentation has another number of frames than it describes")

    def _known_bits(self) -> tuple[int, ...]:
        """What can be read; a BINARY one that is compressed by run lengths may have 8, as dcmjs writes it."""
        if self.type is SegmentationType.LABELMAP:
            return (8,)
        return (1, 8) if self._syntax == RLELossless else (1,)

    @property
    def is_packed_by_frame(self) -> bool:
        """Whether each frame's bits stand in bytes of their own, as `packed_frames` gives them."""
        is_native = not is_encapsulated(self._syntax)
        return self.type is SegmentationType.BINARY and is_native and self.shape[0] * self.shape[1] % 8 == 0

    def packed_frames(self) -> Iterator[bytes]:
        """Each frame's bits, the first pixel in the lowest bit of the first byte (PS3.5 8.1.1).

        Raises
        ------
        LabelsDoNotFit
            The pixels are cut short.
        """
        length = self.shape[0] * self.shape[1] // 8
        for number in range(len(self.groups)):
            yield self._read(number * length, length)

    def planes(self) -> Iterator[NDArray[np.uint8]]:
        """Each frame's pixels, (rows, columns): 0 and 1, or in a label map segment numbers.

        Raises
        ------
        LabelsDoNotFit
            The pixels are damaged, or cut short.
        """
        try:
            if is_encapsulated(self._syntax):
                yield from self._encapsulated()
            elif self.type is SegmentationType.LABELMAP:
                for number in range(len(self.groups)):
                    size = self.shape[0] * self.shape[1]
                    yield np.frombuffer(self._read(number * size, size), np.uint8).reshape(self.shape)
            else:
                yield from self._bits()
        except UndecodableFrame as error:
            raise LabelsDoNotFit(f"the segmentation's pixel data is damaged: {error}") from None

    def _bits(self) -> Iterator[NDArray[np.uint8]]:
        """Native frames of one bit a pixel follow each other without padding (PS3.5 8.1.1)."""
        size = self.shape[0] * self.shape[1]
        for number in range(len(self.groups)):
            first, last = number * size, (number + 1) * size
            packed = np.frombuffer(self._read(first // 8, -(-last // 8) - first // 8), np.uint8)
            bits = np.unpackbits(packed, bitorder="little")
            yield bits[first % 8 : first % 8 + size].reshape(self.shape)

    def _encapsulated(self) -> Iterator[NDArray[np.uint8]]:
        content = os.pread(self._stream.fileno(), self._pixels_end - self._pixels_begin, self._pixels_begin)
        size = self.shape[0] * self.shape[1]
        for frame in generate_frames(BytesIO(content), number_of_frames=len(self.groups)):
            if self.type is SegmentationType.LABELMAP:
                yield decode_plane(frame, self.shape, self._syntax)
            elif self._syntax == DEFLATED_IMAGE_FRAME:
                packed = np.frombuffer(inflate_frame(frame, -(-size // 8)), np.uint8)
                yield np.unpackbits(packed, bitorder="little")[:size].reshape(self.shape)
            elif self._bits_a_pixel == BYTE_BITS:
                yield (decode_plane(frame, self.shape, self._syntax) > 0).view(np.uint8)
            elif self._syntax == RLELossless:  # of single bits packed into bytes
                packed = decode_plane(frame, (1, -(-size // BYTE_BITS)), self._syntax).reshape(-1)
                yield np.unpackbits(packed, bitorder="little")[:size].reshape(self.shape)
            else:
                raise UndecodableFrame(f"{self._syntax.name} is not known for single bits")

    def _read(self, offset: int, count: int) -> bytes:
        begin = self._pixels_begin + offset
        content = os.pread(self._stream.fileno(), min(count, self._pixels_end - begin), begin)
        if len(content) != count:
            raise LabelsDoNotFit("the segmentation's pixel data is cut short")
        return content


@contextmanager
def open_segmentation(path: Path) -> Iterator[SegmentationFile]:
    """Open a BINARY or LABELMAP segmentation.

    Raises
    ------
    LabelsDoNotFit
        It is none, or damaged.
    OSError
    """
    try:
        header = dcmread(path, specific_tags=["SOPClassUID", "SegmentationType"], stop_before_pixels=True)
    except Exception as error:  # whatever a parser raises on bytes from outside
        if is_the_machines(error):
            raise
        raise LabelsDoNotFit("the segmentation is no DICOM file that could be read") from None
    kind = str(header.get("SegmentationType"))
    if kind not in list(SegmentationType) or header.get("SOPClassUID") not in SOP_CLASSES.values():
        raise LabelsDoNotFit("the object is no BINARY or LABELMAP segmentation")
    syntax = transfer_syntax_of(header)
    with _as_explicit_vr(path, syntax) as stream:
        try:
            file = SegmentationFile(stream, syntax)
        except LabelsDoNotFit:
            raise
        except _DAMAGED:
            raise LabelsDoNotFit(
                "the segmentation does not say which segment a frame shows, and where"
            ) from None
        yield file


# -- one form for all transfer syntaxes ---------------------------------------------------------------------


@contextmanager
def _as_explicit_vr(path: Path, syntax: UID) -> Iterator[BinaryIO]:
    """The file, with a data set in explicit VR little endian that is not deflated as a whole."""
    if syntax == ExplicitVRBigEndian:
        raise LabelsDoNotFit("the segmentation is big endian; have it sent in another transfer syntax")
    if syntax not in (DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian):
        with path.open("rb") as stream:
            yield stream
        return
    with tempfile.TemporaryFile(prefix="iris-seg-") as plain:
        if syntax == DeflatedExplicitVRLittleEndian:
            with path.open("rb") as stream:
                _inflate(stream, plain)
        else:
            _rewrite(path, plain)
        plain.flush()
        yield plain


def _inflate(deflated: BinaryIO, plain: BinaryIO) -> None:
    """Inflate a data set (PS3.5 A.5); the file meta information before it is as it was."""
    with mmap.mmap(deflated.fileno(), 0, access=mmap.ACCESS_READ) as content:
        begin = _data_set_begin(content)
        plain.write(content[:begin])
    deflated.seek(begin)
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in iter(partial(deflated.read, CHUNK_BYTES), b""):
            while chunk and not decompressor.eof:  # behind the end a padding byte stays unconsumed
                plain.write(decompressor.decompress(chunk, CHUNK_BYTES))
                chunk = decompressor.unconsumed_tail
        plain.write(decompressor.flush())
    except zlib.error:
        raise LabelsDoNotFit("the segmentation is damaged: it cannot be inflated") from None


def _rewrite(path: Path, plain: BinaryIO) -> None:
    seg = dcmread(path)
    seg.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg.save_as(plain, implicit_vr=False, enforce_file_format=True)


def _data_set_begin(content: mmap.mmap) -> int:
    """Where the file meta information ends, by the length that its first element says (PS3.10 7.1)."""
    first = next(
        elements(content[PREAMBLE_BYTES : PREAMBLE_BYTES + GROUP_LENGTH_BYTES], 0, GROUP_LENGTH_BYTES)
    )
    if first.tag != GROUP_LENGTH:
        raise MalformedElement("the file meta information does not say its length")
    begin = PREAMBLE_BYTES + GROUP_LENGTH_BYTES
    return begin + int.from_bytes(content[begin - 4 : begin], "little")


def _parts(content: mmap.mmap) -> dict[int, Element]:
    """Functional groups, the frames' and the shared ones, and pixel data."""
    view = memoryview(content)
    try:
        parts = elements(view, PREAMBLE_BYTES, len(view))
        return {part.tag: part for part in parts if part.tag in (SHARED_GROUPS, FRAME_GROUPS, PIXEL_DATA)}
    finally:
        view.release()


def _first_item(content: mmap.mmap, sequence: Element | None) -> bytes:
    """The first item of a sequence; empty where there is none."""
    if sequence is None:
        return b""
    value = content[sequence.value_begin : sequence.value_end]
    begin, end = next(items(value, 0, len(value)), (0, 0))
    return value[begin:end]


# -- functional groups --------------------------------------------------------------------------------------

PLANE_POSITION: Final = (0x00209113, 0x00200032)
SOURCE_IMAGE: Final = (0x00089124, 0x00082112)
SOURCE_UID: Final = (*SOURCE_IMAGE, 0x00081155)
SOURCE_FRAME: Final = (*SOURCE_IMAGE, 0x00081160)
PLACES_KEPT: Final = (*SOURCE_IMAGE, 0x0028135A)
SEGMENT: Final = (0x0062000A, 0x0062000B)
"""Where in a frame's groups its values stand (PS3.3 C.7.6.16.2, C.8.20.3)."""


def _read_groups(content: bytes, shared: bytes, *, is_labelmap: bool) -> tuple[list[FrameGroups], list[int]]:
    """Parse each frame's groups; equal bytes, as all segments of a slice have them, are parsed once."""
    whole = next(elements(content, 0, len(content)))
    places: dict[tuple[bytes, bytes], FrameGroups] = {}
    numbers: dict[bytes, int] = {}
    groups, segments = [], []
    for begin, end in items(content, whole.value_begin, whole.value_end):
        parts = {part.tag: content[part.begin : part.end] for part in elements(content, begin, end)}
        place = parts.get(PLANE_POSITION[0], b""), parts.get(SOURCE_IMAGE[0], b"")
        if place not in places:
            places[place] = _frame_groups(b"".join(place), shared)
        groups.append(places[place])
        segment = parts.get(SEGMENT[0], b"")
        if segment not in numbers:
            numbers[segment] = (
                0 if is_labelmap else int.from_bytes(_value(segment, shared, SEGMENT), "little")
            )
        segments.append(numbers[segment])
    return groups, segments


def _frame_groups(own: bytes, shared: bytes) -> FrameGroups:
    x, y, z = (float(number) for number in _value(own, shared, PLANE_POSITION).split(b"\\"))
    uid = find(own, *SOURCE_UID) or find(shared, *SOURCE_UID) or b""
    frame = find(own, *SOURCE_FRAME)
    kept = (find(own, *PLACES_KEPT) or b"").strip() != b"NO"
    return FrameGroups((x, y, z), uid.decode("ascii").rstrip("\0 "), int(frame) if frame else None, kept)


def _value(own: bytes, shared: bytes, path: tuple[int, ...]) -> bytes:
    """A value of a frame's own groups, or else of those that all share; LookupError where there is none."""
    for groups in (own, shared):
        value = find(groups, *path)
        if value:
            return value
    raise LookupError(path)
