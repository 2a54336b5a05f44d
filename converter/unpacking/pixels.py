"""The stored values of a volume's frames, read here: a second opinion on what dcm2niix unpacks.

Uncompressed pixels are taken from the end of the file as they lie there; the rest is decoded by pydicom with
the codecs that are installed.
"""

import os
import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from converter.errors import ConversionFailed
from converter.reading.headers import numbers_of, transfer_syntax_of
from converter.series import Frame, Volume

from .decoding import CHANGED, Children, Encoded, decode_here

T = TypeVar("T")

_PIXEL_DATA = struct.pack("<HH", 0x7FE0, 0x0010)
_EXPLICIT_HEADS = tuple(_PIXEL_DATA + vr + b"\0\0" for vr in (b"OW", b"OB"))
_LAYOUT = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_LONGEST_HEAD = 12
"""Bytes of an element before its value, with explicit VR and these VRs (PS3.5 7.1.2); 8 with implicit VR."""
_UID_WITHIN = 1 << 14
"""The SOP Instance UID (0008,0018) stands within so many bytes of a file."""
_IN_PYTHON = frozenset(
    {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    }
)
"""Transfer syntaxes that no codec in C reads."""


@dataclass(frozen=True)
class Layout:
    """How one frame's stored values lie in memory (PS3.5 8.1.1, PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    allocated: int
    stored: int
    is_signed: bool

    @classmethod
    def of(cls, header: Dataset) -> "Layout":
        """Read it; ConversionFailed where the header gives none that the standard allows."""
        numbers = [int(found[0]) if (found := numbers_of(header, keyword, 1)) else 0 for keyword in _LAYOUT]
        rows, columns, allocated, stored, high, signed = numbers
        stored = stored or allocated
        if allocated not in (8, 16, 32) or not 1 < stored <= allocated or high not in (0, stored - 1):
            raise ConversionFailed(
                f"pixels of {stored} bits in {allocated} with high bit {high} are none that the standard "
                "allows; have the headers corrected at the sender"
            )
        return cls(rows, columns, allocated, stored, bool(signed))

    @property
    def bits(self) -> np.dtype[Any]:
        """The type of the bits as they lie in a file, little endian."""
        return np.dtype(f"<u{self.allocated // 8}")

    @property
    def value(self) -> np.dtype[Any]:
        """The type of the values, with their sign."""
        return np.dtype(f"<{'i' if self.is_signed else 'u'}{self.allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """The length of one frame's pixels."""
        return self.rows * self.columns * self.allocated // 8

    def values(self, bits: NDArray[Any]) -> NDArray[Any]:
        """Only the bits that count: others may hold an overlay, or what an encoder left there."""
        unused = self.allocated - self.stored
        if unused == 0:
            return bits.view(self.value)
        if not self.is_signed:
            return np.asarray(bits & bits.dtype.type((1 << self.stored) - 1))
        return np.asarray((bits << unused).view(self.value) >> unused)


class StoredFrames:
    """The stored values of a volume's frames, read when they are asked for: a volume may be large.

    What a codec in C decodes is decoded at the beginning, by child processes into files.

    Parameters
    ----------
    files
        One single-frame file a frame, in the volume's order.
    folder
        For temporary files; what is decoded lies in it.
    timeout_s
        For decoding.

    Raises
    ------
    NoDecoder
        There is no second opinion.
    ConversionFailed
        A file is damaged, gone, or another one than when its header was read; also later on.
    OSError
    """

    def __init__(self, volume: Volume, files: Sequence[Path], folder: Path, timeout_s: float) -> None:
        self._layouts = once_per_value(volume.headers, _LAYOUT, Layout.of)
        self._files = files
        self._uids = [expected_uid(path, frame) for path, frame in zip(files, volume.frames, strict=True)]
        encoded = [
            number
            for number, header in enumerate(volume.headers)
            if transfer_syntax_of(header) not in _IN_PYTHON and self._native(number) is None
        ]
        self._decoded: dict[int, NDArray[Any]] = {}
        if encoded:
            decoded = _decoded([self._encoded(number) for number in encoded], folder, timeout_s)
            self._decoded.update(zip(encoded, decoded, strict=True))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> NDArray[Any]:
        """One frame, (rows, columns), integers."""
        bits = self._decoded.get(number)
        if bits is None:
            bits = self._native(number)
        if bits is None:
            bits = decode_here(self._encoded(number))
        return self._layouts[number].values(bits)

    def _native(self, number: int) -> NDArray[Any] | None:
        return _from_the_end(self._files[number], self._layouts[number], self._uids[number])

    def _encoded(self, number: int) -> Encoded:
        layout = self._layouts[number]
        return Encoded(
            str(self._files[number]), self._uids[number], layout.rows, layout.columns, layout.bits.str
        )


def expected_uid(path: Path, frame: Frame) -> str:
    """The UID that a placed file must have: the image itself its own, a copy any ("")."""
    return frame.sop_instance_uid if path.is_symlink() or path == frame.path.absolute() else ""


def _decoded(encoded: Sequence[Encoded], folder: Path, timeout_s: float) -> list[NDArray[Any]]:
    with Children(encoded, folder, timeout_s) as children:
        return children.decoded()


def _uid_elements(uid: str) -> Iterator[bytes]:
    """The SOP Instance UID as it stands in a file, with explicit and with implicit VR."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    tag = struct.pack("<HH", 0x0008, 0x0018)
    yield tag + b"UI" + struct.pack("<H", len(value)) + value
    yield tag + struct.pack("<L", len(value)) + value


def once_per_value(
    headers: Sequence[Dataset], keywords: Sequence[str], describe: Callable[[Dataset], T]
) -> list[T]:
    """Describe each header by some of its attributes, but only once for the same values of them.

    Most headers of a series say the same, and converting what they say takes longer than reading pixels.
    """
    tags = [Tag(keyword) for keyword in keywords]
    same: dict[Hashable, T] = {}  # headers share the elements that are the same in all of them
    kept: list[Any] = []  # so that no other element gets the identity of one that is gone
    known: dict[Hashable, T] = {}
    described = []
    for header in headers:
        elements = [header.get_item(tag) for tag in tags]
        objects = tuple(map(id, elements))
        if objects not in same:
            key = tuple(
                (repr(e.value), getattr(e, "is_little_endian", None)) if e else None for e in elements
            )
            if key not in known:
                known[key] = describe(header)
            same[objects] = known[key]
            kept.append(elements)
        described.append(same[objects])
    return described


def _from_the_end(path: Path, layout: Layout, uid: str) -> NDArray[Any] | None:
    """The pixels where a file's last element is native pixel data of the right length; else None.

    None as well where the UID does not stand where it should: pydicom then finds it, or finds another one.
    """
    length = layout.frame_bytes + layout.frame_bytes % 2  # values have an even length (PS3.5 7.1.1)
    try:
        stream = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise ConversionFailed(CHANGED) from None
    with stream:
        begin = stream.seek(0, os.SEEK_END) - length
        if begin < _LONGEST_HEAD:
            return None
        stream.seek(0)
        before = stream.read(min(begin, _UID_WITHIN))
        stream.seek(begin - _LONGEST_HEAD)
        head = stream.read(_LONGEST_HEAD)
        said = struct.pack("<L", length)
        is_explicit = head[:8] in _EXPLICIT_HEADS and head[8:] == said
        if not is_explicit and head[4:] != _PIXEL_DATA + said:
            return None
        if uid and not any(element in before for element in _uid_elements(uid)):
            return None
        bits = np.empty((layout.rows, layout.columns), layout.bits)
        if stream.readinto(bits.data.cast("B")) != layout.frame_bytes:
            raise ConversionFailed(CHANGED)
        return bits
