"""The pixels of a volume's frames as they are in their files, one frame at a time.

A file may be one frame, or hold many, or be a mosaic of them. Compressed frames are handed out as they are,
without decoding; of an object of a thousand frames one is read at a time. Whether a file is still the one
whose header was judged is looked at here: its identity, its place, its rescaling.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, get_frame, parse_basic_offsets, parse_fragments
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from converter.errors import ConversionFailed, UnusableSeries
from converter.explicit_vr import PIXEL_DATA
from converter.reading.header_file import HeaderReader
from converter.reading.headers import numbers_of, text_of, transfer_syntax_of
from converter.reading.layout import Layout, layouts_of
from converter.reading.mosaic import Tiles, is_mosaic, tiles_of
from converter.series import Frame, Volume

from .decoding import CHANGED, DAMAGED, from_outside

_IDENTITY = (
    "SOPInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
)
"""What must stand in a file yet as it was when its header was read."""
_IDENTITY_TAGS = tuple(BaseTag(tag_for_keyword(keyword) or 0) for keyword in _IDENTITY)
_IDENTITY_WITHIN = 1 << 14
"""It usually stands within so many bytes of a file."""
_LONGEST_HEAD = 12
"""Bytes of the element before its value, with explicit VR (PS3.5 7.1.2); 8 with implicit VR."""
_LONG_HEAD_VRS = (b"OW", b"OB", b"UN")
"""No length in implicit VR looks like these: it would be odd."""


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """One frame's pixels, as the value of Pixel Data in a transfer syntax: a single-frame image's."""

    layout: Layout
    syntax: UID
    value: bytes | memoryview


class EncodedFrames:
    """The frames of one volume, in its order; the one that was read last is kept.

    Its files must still be there.

    Raises
    ------
    ConversionFailed
        Pixels do not lie as the standard allows; and when a frame is read, where its file is gone, was
        changed, or is damaged.
    OSError
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._layouts = layouts_of(volume.headers)
        self._reader = HeaderReader()
        self._several: dict[Path, _Source] = {}
        self._last: tuple[int, EncodedFrame] | None = None

    def __len__(self) -> int:
        return len(self._volume.frames)

    def __getitem__(self, number: int) -> EncodedFrame:
        last = self._last  # several threads may read
        if last is None or last[0] != number:
            last = self._last = number, self._read(number)
        return last[1]

    def layout(self, number: int) -> Layout:
        """How a frame's pixels lie once they are decoded."""
        return self._layouts[number]

    def is_encapsulated(self, number: int) -> bool:
        """Whether a frame is handed out compressed."""
        header = self._volume.headers[number]
        return transfer_syntax_of(header).is_encapsulated and not is_mosaic(header)

    def _read(self, number: int) -> EncodedFrame:
        frame, header = self._volume.frames[number], self._volume.headers[number]
        layout = self._layouts[number]
        try:
            file = os.open(frame.path, os.O_RDONLY)
        except FileNotFoundError:
            raise ConversionFailed(CHANGED) from None
        try:
            if frame.frame_number is None:
                source = _Source(frame.path, self._unchanged(file, header, frame.path))
            else:
                source = self._of_several(frame)
            return EncodedFrame(layout, *source.pixels(file, layout, frame.frame_number or 1))
        finally:
            os.close(file)

    def _of_several(self, frame: Frame) -> "_Source":
        source = self._several.get(frame.path)
        if source is None:
            source = _Source(frame.path, self._header_again(frame.path))
            if text_of(source.header, "SOPInstanceUID") != frame.sop_instance_uid:
                raise ConversionFailed(CHANGED)
            self._several[frame.path] = source
        return source

    def _unchanged(self, file: int, header: Dataset, path: Path) -> Dataset:
        """Compare the elements' bytes, which nearly always decides; else read the header again.

        Gives one that says where the pixels are.
        """
        if hasattr(header, "pixels_at"):
            before = os.pread(file, min(_IDENTITY_WITHIN, header.pixels_at), 0)
            elements: Iterator[object] = (header.get_item(tag, keep_deferred=True) for tag in _IDENTITY_TAGS)
            if all(
                e is None or (isinstance(e, RawDataElement) and _as_encoded(e) in before) for e in elements
            ):
                return header
        again = self._header_again(path)
        if any(text_of(again, keyword) != text_of(header, keyword) for keyword in _IDENTITY):
            raise ConversionFailed(CHANGED)
        return again

    def _header_again(self, path: Path) -> Dataset:
        try:
            return self._reader.read(path)
        except UnusableSeries:
            raise ConversionFailed(CHANGED) from None


def _as_encoded(element: RawDataElement) -> bytes:
    """An element as it stands in a file, explicit or implicit VR little endian."""
    tag, value = element.tag, element.value or b""
    if element.is_implicit_VR:
        return struct.pack("<HHL", tag.group, tag.element, len(value)) + value
    return struct.pack("<HH2sH", tag.group, tag.element, str(element.VR).encode(), len(value)) + value


# -- pixels -------------------------------------------------------------------------------------------------


@dataclass
class _Source:
    """A file of one frame or several, and where in it each of them is."""

    path: Path
    header: Dataset
    syntax: UID = field(init=False)
    count: int = field(init=False)
    tiles: Tiles | None = field(init=False)
    _fragments: list[tuple[int, int]] | None = field(default=None, init=False)
    _decoded: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.syntax = transfer_syntax_of(self.header)
        self.count = max(1, int((numbers_of(self.header, "NumberOfFrames", 1) or (1,))[0]))
        self.tiles = tiles_of(self.header) if is_mosaic(self.header) else None

    def pixels(self, file: int, layout: Layout, number: int) -> tuple[UID, bytes | memoryview]:
        """One frame's, counted from 1: the transfer syntax that they are then in, and the value."""
        if self.tiles is not None or self.syntax == DeflatedExplicitVRLittleEndian:
            return ExplicitVRLittleEndian, self._of_the_whole(number)
        starts_at, length = self._value(file)
        if self.syntax.is_encapsulated:
            return self.syntax, encapsulate([self._compressed(file, starts_at, number)])
        return ExplicitVRLittleEndian, self._native(file, layout, starts_at, length, number)

    def _value(self, file: int) -> tuple[int, int]:
        """Where the value of Pixel Data begins, and how long it says that it is."""
        begin = self.header.pixels_at
        head = os.pread(file, _LONGEST_HEAD, begin).ljust(_LONGEST_HEAD, b"\0")
        order = ">" if self.syntax == ExplicitVRBigEndian else "<"
        group, number = struct.unpack_from(f"{order}HH", head)
        if group << 16 | number != PIXEL_DATA:
            raise ConversionFailed(CHANGED)
        at = 8 if head[4:6] in _LONG_HEAD_VRS else 4
        (length,) = struct.unpack_from(f"{order}L", head, at)
        return begin + at + 4, length

    def _native(self, file: int, layout: Layout, starts_at: int, length: int, number: int) -> memoryview:
        wanted = self.count * layout.frame_bytes
        if length - wanted not in (0, 1):  # of an even length (PS3.5 7.1.1)
            raise ConversionFailed(DAMAGED)
        bits = np.empty(layout.frame_bytes // layout.bits.itemsize, layout.bits)
        place = starts_at + (number - 1) * layout.frame_bytes
        if os.preadv(file, [bits.data.cast("B")], place) != layout.frame_bytes:
            raise ConversionFailed(DAMAGED)
        if self.syntax == ExplicitVRBigEndian:
            bits = bits.byteswap()
        return bits.data.cast("B")

    def _compressed(self, file: int, starts_at: int, number: int) -> bytes:
        with from_outside(), open(file, "rb", closefd=False) as stream:
            if self._fragments is None:
                self._fragments = _fragments(stream, starts_at, self.count)
            if not self._fragments:
                stream.seek(starts_at)
                return bytes(get_frame(stream, number - 1, number_of_frames=self.count))
        start, length = self._fragments[number - 1]
        return os.pread(file, length, start)

    def _of_the_whole(self, number: int) -> bytes:
        """Of a mosaic, whose tiles are one image, and of a deflated object, which cannot be read in part."""
        if self._decoded is None:
            with from_outside():
                self._decoded = dcmread(self.path).pixel_array
        pixels = self._decoded if self.count == 1 else self._decoded[number - 1]
        if self.tiles is not None:
            pixels = self.tiles.tile(pixels, number)
        little_endian: bytes = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        return little_endian


def _fragments(stream: BinaryIO, starts_at: int, count: int) -> list[tuple[int, int]]:
    """Where each compressed frame begins and how long it is, where each is one fragment (PS3.5 A.4)."""
    stream.seek(starts_at)
    parse_basic_offsets(stream)
    fragments, offsets = parse_fragments(stream)
    if fragments != count:
        return []
    places = []
    for offset in offsets:
        stream.seek(offset + 4)
        places.append((offset + 8, int.from_bytes(stream.read(4), "little")))
    return places
