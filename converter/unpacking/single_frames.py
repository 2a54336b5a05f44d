"""Frames of a volume as files and data sets of their own, whatever they are frames of.

A program that reads single-frame images gets exactly the frames of one volume: a link to a file that is one
frame, or a copy with the plane, the rescaling and the pixels of one frame of a multi-frame object, and
nothing of the patient. Compressed frames are taken over as they are, without decoding; of an object of a
thousand frames one frame is read at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import Dataset, config, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.encaps import encapsulate, get_frame, parse_basic_offsets, parse_fragments
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import format_number_as_ds

from converter.errors import ConversionFailed, is_the_machines
from converter.explicit_vr import (
    GROUP_LENGTH,
    PIXEL_DATA,
    PREAMBLE,
    SEQUENCE_END,
    UNDEFINED_LENGTH,
    delimiter,
    element,
    pixel_data_header,
)
from converter.reading.headers import numbers_of, text_of, transfer_syntax_of
from converter.reading.mosaic import Tiles, is_mosaic, tiles_of
from converter.series import Frame, Volume
from converter.uids import derived_uid

_SOP_CLASSES = {"CT": CTImageStorage, "PT": PositronEmissionTomographyImageStorage}
_TAKEN_OVER = (
    "Manufacturer",
    "PatientPosition",
    "SliceThickness",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_RESCALE = ("RescaleIntercept", "RescaleSlope", "RescaleType")
"""What a copy says as the frame's header does (PS3.3 C.7.6.3, C.11.1)."""

_Element = tuple[int, bytes]


class SingleFrames:
    """The frames of one volume, to be placed or looked at one by one.

    Parameters
    ----------
    volume
        Its files must still be there.
    as_stored
        Leave the rescaling out: of a volume whose frames have each its own, for who applies it himself.
    """

    def __init__(self, volume: Volume, *, as_stored: bool = False) -> None:
        self._as_stored = as_stored
        self._headers = {
            frame.name: header for frame, header in zip(volume.frames, volume.headers, strict=True)
        }
        self._place_of = {frame.name: place for place, frame in enumerate(volume.frames, start=1)}
        self._series_uid = volume.series_uid
        self._sources: dict[Path, _Source] = {}

    def place(self, frame: Frame, target: Path) -> None:
        """Put a frame's image at `target`: a link where the file is the frame, else a copy of that frame.

        Raises
        ------
        ConversionFailed
            The frame's pixels cannot be read.
        OSError
        """
        if frame.frame_number is None:
            if self._as_stored:
                self.image(frame).save_as(target)
            else:
                target.symlink_to(frame.path.resolve())
        else:
            target.write_bytes(self._copy(frame, frame.frame_number))

    def image(self, frame: Frame) -> Dataset:
        """A frame as a single-frame image with pixels.

        Raises
        ------
        ConversionFailed, OSError
        """
        with config.disable_value_validation():
            if frame.frame_number is None:
                image = dcmread(frame.path)
                for keyword in _RESCALE:
                    if self._as_stored and keyword in image:
                        del image[keyword]
                return image
            return dcmread(BytesIO(self._copy(frame, frame.frame_number)))

    def _copy(self, frame: Frame, number: int) -> bytes:
        """The file of a copy; explicit VR little endian, compressed or not."""
        try:
            header, source = self._headers[frame.name], self._source(frame.path)
            syntax, pixels = source.pixels(header, number)
            elements = [*self._said_of(frame, number, header), _pixel_element(header, syntax, pixels)]
            content = b"".join(encoded for _, encoded in sorted(elements))
            return _file_meta(syntax) + content
        except Exception as error:  # whatever a parser or a codec raises on bytes from outside
            if is_the_machines(error):
                raise
            raise ConversionFailed("a frame's pixels cannot be read; have the object sent again") from None

    def _said_of(self, frame: Frame, number: int, header: Dataset) -> list[_Element]:
        modality = text_of(header, "Modality") or "MR"
        uids = {
            "SOPClassUID": _SOP_CLASSES.get(modality, MRImageStorage),
            "SOPInstanceUID": derived_uid(frame.sop_instance_uid, "frame", str(number)),
            "SeriesInstanceUID": derived_uid(self._series_uid, "single frames"),
            "StudyInstanceUID": derived_uid(self._series_uid, "study of single frames"),
        }
        place = {
            "ImagePositionPatient": frame.position_lps_mm,
            "ImageOrientationPatient": numbers_of(header, "ImageOrientationPatient", 6) or (),
            "PixelSpacing": numbers_of(header, "PixelSpacing", 2) or (),
        }
        place_in_volume = str(self._place_of[frame.name])
        said = {"Modality": modality, "SeriesNumber": "1", "InstanceNumber": place_in_volume, **uids}
        said |= {keyword: _decimal(values) for keyword, values in place.items()}
        taken_over = _TAKEN_OVER if self._as_stored else (*_TAKEN_OVER, *_RESCALE)
        said |= {keyword: text_of(header, keyword) for keyword in taken_over}
        return [_said(keyword, text) for keyword, text in said.items() if text]

    def _source(self, path: Path) -> "_Source":
        if path not in self._sources:
            self._sources[path] = _Source.of(path)
        return self._sources[path]


# -- encoding (PS3.5 7.1.2) ---------------------------------------------------------------------------------


def _said(keyword: str, text: str) -> _Element:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr = dictionary_VR(tag)
    value = int(text).to_bytes(2, "little") if vr == "US" else text.encode("ascii", "replace")
    return tag, element(tag, vr, value)


def _pixel_element(header: Dataset, syntax: UID, pixels: bytes) -> _Element:
    if syntax.is_encapsulated:
        return PIXEL_DATA, pixel_data_header("OB", UNDEFINED_LENGTH) + pixels + delimiter(SEQUENCE_END)
    is_wide = (numbers_of(header, "BitsAllocated", 1) or (16,))[0] > 8
    return PIXEL_DATA, element(PIXEL_DATA, "OW" if is_wide else "OB", pixels)


def _file_meta(syntax: UID) -> bytes:
    _, encoded = _said("TransferSyntaxUID", str(syntax))
    return PREAMBLE + element(GROUP_LENGTH, "UL", len(encoded).to_bytes(4, "little")) + encoded


def _decimal(values: Sequence[float]) -> str:
    return "\\".join(format_number_as_ds(float(value)) for value in values)


# -- pixels -------------------------------------------------------------------------------------------------


@dataclass
class _Source:
    """A file of several frames, and where in it each of them is."""

    path: Path
    syntax: UID
    count: int
    starts_at: int = 0
    """Of the value of Pixel Data."""
    fragments: list[tuple[int, int]] = field(default_factory=list)
    """Of compressed frames: where each begins and how long it is; empty where that is not clear at once."""
    tiles: Tiles | None = None
    decoded: Any = None

    @classmethod
    def of(cls, path: Path) -> "_Source":
        """Find the frames of a file."""
        with path.open("rb") as stream:
            header = dcmread(stream, stop_before_pixels=True)
            syntax = transfer_syntax_of(header)
            source = cls(path, syntax, int((numbers_of(header, "NumberOfFrames", 1) or (1,))[0]))
            if is_mosaic(header):
                source.tiles = tiles_of(header)
            source.starts_at = stream.tell() + (8 if syntax.is_implicit_VR else 12)
            if syntax.is_encapsulated:
                source.fragments = _fragments(stream, source.starts_at, source.count)
            return source

    def pixels(self, header: Dataset, number: int) -> tuple[UID, bytes]:
        """One frame's pixels as the value of Pixel Data, and the transfer syntax that they are then in."""
        if self.tiles is not None or self.syntax == DeflatedExplicitVRLittleEndian:
            return ExplicitVRLittleEndian, self._decoded(number)
        if self.syntax.is_encapsulated:
            return self.syntax, encapsulate([self._compressed(number)])
        return ExplicitVRLittleEndian, self._native(header, number)

    def _native(self, header: Dataset, number: int) -> bytes:
        sizes = [numbers_of(header, keyword, 1) for keyword in ("Rows", "Columns", "BitsAllocated")]
        rows, columns, bits = (int(size[0]) for size in sizes if size is not None)
        length = rows * columns * bits // 8
        with self.path.open("rb") as stream:
            stream.seek(self.starts_at + (number - 1) * length)
            content = stream.read(length)
        if len(content) != length:
            raise EOFError("the file is shorter than its header says")
        if self.syntax == ExplicitVRBigEndian:
            return np.frombuffer(content, f">u{bits // 8}").astype(f"<u{bits // 8}").tobytes()
        return content

    def _compressed(self, number: int) -> bytes:
        with self.path.open("rb") as stream:
            if not self.fragments:
                stream.seek(self.starts_at)
                return bytes(get_frame(stream, number - 1, number_of_frames=self.count))
            start, length = self.fragments[number - 1]
            stream.seek(start)
            return stream.read(length)

    def _decoded(self, number: int) -> bytes:
        """Of a mosaic, whose tiles are one image, and of a deflated object, which cannot be read in part."""
        if self.decoded is None:
            self.decoded = dcmread(self.path).pixel_array
        pixels = self.decoded if self.count == 1 else self.decoded[number - 1]
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
