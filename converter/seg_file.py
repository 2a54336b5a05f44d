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
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from .errors import LabelsDoNotFit
from .explicit_vr import Element, MalformedElement, elements, items
from .headers import transfer_syntax_of
from .seg_codecs import DEFLATED_IMAGE_FRAME, UndecodableFrame, decode_plane, inflate_frame
from .seg_settings import SOP_CLASSES, SegmentationType

PREAMBLE_BYTES: Final = 132
FRAME_GROUPS: Final = 0x52009230
PIXEL_DATA: Final = 0x7FE00010
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

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            groups, pixels = _parts(content)
            self.header = dcmread(BytesIO(content[: groups.begin]))
            self.syntax = transfer_syntax_of(self.header)
            self.groups, self.segments = _read_groups(content[groups.begin : groups.end], self.header)
            self._pixels_begin, self._pixels_end = pixels.value_begin, pixels.value_end
        self.type = SegmentationType(self.header.SegmentationType)
        self.shape = (int(self.header.Rows), int(self.header.Columns))
        if int(self.header.NumberOfFrames) != len(self.groups):
            raise LabelsDoNotFit("the segmentation has another number of frames than it describes")

    def planes(self) -> Iterator[NDArray[np.uint8]]:
        """Each frame's pixels, (rows, columns): 0 and 1, or in a label map segment numbers.

        Raises
        ------
        LabelsDoNotFit
            The pixels are damaged, or cut short.
        """
        try:
            if self.syntax == DEFLATED_IMAGE_FRAME or self.syntax.is_encapsulated:
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
                yield decode_plane(frame, self.shape, self.syntax)
            elif self.syntax == DEFLATED_IMAGE_FRAME:
                packed = np.frombuffer(inflate_frame(frame, -(-size // 8)), np.uint8)
                yield np.unpackbits(packed, bitorder="little")[:size].reshape(self.shape)
            else:
                raise UndecodableFrame(f"{self.syntax.name} is not known for single bits")

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
    except InvalidDicomError:
        raise LabelsDoNotFit("the segmentation is no DICOM file") from None
    kind = str(header.get("SegmentationType"))
    if kind not in list(SegmentationType) or header.get("SOPClassUID") not in SOP_CLASSES.values():
        raise LabelsDoNotFit("the object is no BINARY or LABELMAP segmentation")
    with _as_explicit_vr(path, transfer_syntax_of(header)) as stream:
        try:
            file = SegmentationFile(stream)
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
    if syntax not in (DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
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
            while chunk:
                plain.write(decompressor.decompress(chunk, CHUNK_BYTES))
                chunk = decompressor.unconsumed_tail
        plain.write(decompressor.flush())
    except zlib.error:
        raise LabelsDoNotFit("the segmentation is damaged: it cannot be inflated") from None


def _rewrite(path: Path, plain: BinaryIO) -> None:
    seg = dcmread(path)
    seg.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    seg.save_as(plain, implicit_vr=False, little_endian=True, enforce_file_format=True)


def _data_set_begin(content: mmap.mmap) -> int:
    """Where the file meta information ends (PS3.10 7.1)."""
    view = memoryview(content)
    try:
        begin = PREAMBLE_BYTES
        for found in elements(view, PREAMBLE_BYTES, len(view)):
            if found.tag >> 16 != 2:
                break
            begin = found.end
            if found.end == len(view):
                break
        return begin
    finally:
        view.release()


def _parts(content: mmap.mmap) -> tuple[Element, Element]:
    """The functional groups of the frames, and the pixel data."""
    view = memoryview(content)
    try:
        found = {}
        for part in elements(view, PREAMBLE_BYTES, len(view)):
            if part.tag in (FRAME_GROUPS, PIXEL_DATA):
                found[part.tag] = part
        return found[FRAME_GROUPS], found[PIXEL_DATA]
    finally:
        view.release()


# -- functional groups --------------------------------------------------------------------------------------

SEGMENT_IDENTIFICATION: Final = 0x0062000A
PLANE_POSITION: Final = 0x00209113
DERIVATION: Final = 0x00089124
WANTED: Final = (PLANE_POSITION, DERIVATION)


def _read_groups(content: bytes, header: Dataset) -> tuple[list[FrameGroups], list[int]]:
    """Parse each frame's groups; equal bytes, as all segments of a slice have them, are parsed once."""
    whole = next(elements(content, 0, len(content)))
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    is_labelmap = header.SegmentationType == SegmentationType.LABELMAP
    places: dict[tuple[bytes, ...], FrameGroups] = {}
    numbers: dict[bytes, int] = {}
    groups, segments = [], []
    for begin, end in items(content, whole.value_begin, whole.value_end):
        parts = {part.tag: content[part.begin : part.end] for part in elements(content, begin, end)}
        key = tuple(parts.get(tag, b"") for tag in WANTED)
        if key not in places:
            places[key] = _frame_groups(b"".join(key), shared)
        groups.append(places[key])
        identification = parts.get(SEGMENT_IDENTIFICATION, b"")
        if identification not in numbers:
            numbers[identification] = 0 if is_labelmap else _segment_number(identification, shared)
        segments.append(numbers[identification])
    return groups, segments


def _frame_groups(content: bytes, shared: Dataset) -> FrameGroups:
    own = _dataset(content)
    x, y, z = (float(v) for v in _group(own, shared, "PlanePositionSequence").ImagePositionPatient)
    try:
        source = _group(own, shared, "DerivationImageSequence").SourceImageSequence[0]
        uid = str(source.ReferencedSOPInstanceUID)
    except (LookupError, AttributeError):
        return FrameGroups((x, y, z), "", None)
    frame = source.get("ReferencedFrameNumber")
    return FrameGroups((x, y, z), uid, int(frame) if isinstance(frame, int) else None)


def _segment_number(content: bytes, shared: Dataset) -> int:
    return int(_group(_dataset(content), shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def _dataset(content: bytes) -> Dataset:
    return read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)


def _group(own: Dataset, shared: Dataset, keyword: str) -> Dataset:
    """A functional group: the frame's own, or else the one that all share; KeyError where there is none."""
    for groups in (own, shared):
        if keyword in groups:
            item: Dataset = groups[keyword].value[0]
            return item
    raise KeyError(keyword)
