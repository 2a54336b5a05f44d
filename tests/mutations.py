"""Data sets that are wrong in ways in which senders, lines and disks make them wrong, or somebody on purpose.

Everything comes from a `random.Random`: the same seed makes the same data sets.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

REPRESENTATIONS = sorted(str(each) for each in STANDARD_VR)
UNKNOWN = ["ZZ", "  ", "\0\0", "ct", "??"]
NASTY = [
    b"",
    b"\0",
    b"\\" * 4000,
    b"1e999\\nan\\-inf",
    b"9" * 400,
    b"-0.",
    b"../../../../etc/passwd",
    b"\xff\xfe\xfd\x80",
    b"\x1b$B\x1b(J\x1b$)C",
    b"%s%n{0}{}\r\n\t",
    b"1.2..3.04.",
    b"1." * 40,
    b"^^^^=^^^=^",
    b"ISO 2022 IR 149\\ISO_IR 999",
    b"A" * 70_000,
]
ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HHL", 0xFFFE, n, 0) for n in (0xE000, 0xE00D, 0xE0DD))
UNDEFINED = 0xFFFFFFFF
DEEP = (1, 2, 5, 40, 400, 3000)
LONGEST = 300_000
"""Bytes; what gets longer is cut there."""


@dataclass(frozen=True)
class Base:
    """A sound data set, plain (not deflated) in the encoding of its transfer syntax."""

    name: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str
    instance_uid: str
    content: bytes

    def in_another_study(self, chance: random.Random) -> "Base":
        """The same with a Study and a Series Instance UID that nobody had before, as long as these."""
        study_uid, series_uid = (
            _uid_as_long_as(self.study_uid, chance),
            _uid_as_long_as(self.series_uid, chance),
        )
        content = self.content.replace(self.study_uid.encode(), study_uid.encode())
        content = content.replace(self.series_uid.encode(), series_uid.encode())
        return replace(self, study_uid=study_uid, series_uid=series_uid, content=content)

    def as_another_instance(self, chance: random.Random) -> "Base":
        """The same with a SOP Instance UID that nobody had before."""
        uid = _uid_as_long_as(self.instance_uid, chance)
        return replace(
            self, instance_uid=uid, content=self.content.replace(self.instance_uid.encode(), uid.encode())
        )

    @property
    def is_deflated(self) -> bool:
        """Whether it is to be deflated before it is sent."""
        return self.transfer_syntax_uid == DeflatedExplicitVRLittleEndian

    @property
    def order(self) -> str:
        """Byte order, as `struct` has it."""
        return ">" if self.transfer_syntax_uid == ExplicitVRBigEndian else "<"


def _uid_as_long_as(uid: str, chance: random.Random) -> str:
    return "2.25." + "".join(chance.choice("123456789") for _ in range(len(uid) - 5))


def plain_bytes(image: Dataset, syntax: str) -> bytes:
    """A data set in the encoding of a transfer syntax, not deflated."""
    uid, stream = UID(syntax), DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = uid.is_little_endian, uid.is_implicit_VR
    write_dataset(stream, image)
    return stream.getvalue()


def deflated(content: bytes) -> bytes:
    """A data set as PS3.5 A.5 has it."""
    deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = deflating.compress(content) + deflating.flush()
    return content + b"\0" * (len(content) % 2)


def bases_of(paths: dict[str, Path]) -> list[Base]:
    """Files in every plain encoding and, images, as RLE; those that are compressed as they are."""
    made = []
    for name, path in paths.items():
        image = dcmread(path)
        syntax = image.file_meta.TransferSyntaxUID
        if syntax.is_compressed and not syntax.is_deflated:
            made.append(_base(name, image, str(syntax)))
            continue
        for other in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
            made.append(_base(name, _in_order_of(other, dcmread(path)), other))
        made.append(_base(name, image, ExplicitVRLittleEndian))
        if "PixelData" in image and image.BitsAllocated == 16:
            image.compress(RLELossless, generate_instance_uid=False)
            made.append(_base(name, image, RLELossless))
    return made


def _in_order_of(syntax: str, image: Dataset) -> Dataset:
    if syntax == ExplicitVRBigEndian and "PixelData" in image and image.BitsAllocated == 16:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    return image


def _base(name: str, image: Dataset, syntax: str) -> Base:
    uids = (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
    return Base(name, str(image.SOPClassUID), syntax, *map(str, uids), plain_bytes(image, syntax))


# -- one change -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where an element stands: its tag, its length field, its value."""

    at: int
    length_at: int
    length_bytes: int
    value_at: int
    length: int

    @property
    def end(self) -> int:
        return self.value_at + self.length


def _places(base: Base) -> Iterator[_Place]:
    """The elements of the data set itself, up to the first that has no length."""
    at, content, order = 0, base.content, base.order
    implicit = UID(base.transfer_syntax_uid).is_implicit_VR
    while at + 8 <= len(content):
        if implicit:
            length_at, length_bytes = at + 4, 4
        elif content[at + 4 : at + 6].decode("latin-1") in EXPLICIT_VR_LENGTH_32:
            length_at, length_bytes = at + 8, 4
        else:
            length_at, length_bytes = at + 6, 2
        value_at = length_at + length_bytes
        length = int.from_bytes(content[length_at:value_at], "big" if order == ">" else "little")
        if length == UNDEFINED or value_at + length > len(content):
            return
        yield _Place(at, length_at, length_bytes, value_at, length)
        at = value_at + length


def _some_place(chance: random.Random, base: Base) -> _Place:
    return chance.choice(list(_places(base)) or [_Place(0, 4, 4, 8, 0)])


def _somewhere(chance: random.Random, content: bytes) -> int:
    """Mostly in the header, where most can be wrong."""
    return chance.randrange(max(min(len(content), 2500 if chance.random() < 0.8 else 1 << 30), 1))


def _with(content: bytes, at: int, end: int, new: bytes) -> bytes:
    return content[:at] + new + content[end:]


def _flip(chance: random.Random, base: Base) -> bytes:
    content = bytearray(base.content)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        content[_somewhere(chance, content) % max(len(content), 1)] = chance.randrange(256)
    return bytes(content)


def _cut(chance: random.Random, base: Base) -> bytes:
    at = _somewhere(chance, base.content)
    if chance.random() < 0.5:
        return base.content[:at]
    return _with(base.content, at, at + chance.choice((1, 2, 8, 100)), b"")


def _insert(chance: random.Random, base: Base) -> bytes:
    at = _somewhere(chance, base.content)
    what = chance.choice(
        (chance.randbytes(chance.choice((1, 2, 8, 500))), *NASTY, ITEM, ITEM_END, SEQUENCE_END)
    )
    return _with(base.content, at, at, what)


def _double(chance: random.Random, base: Base) -> bytes:
    place = _some_place(chance, base)
    if chance.random() < 0.5:
        return _with(base.content, place.end, place.end, base.content[place.at : place.end])
    at = _somewhere(chance, base.content)
    return _with(base.content, at, at, base.content[at : at + chance.choice((1, 2, 8, 100, 5000))])


def _length(chance: random.Random, base: Base) -> bytes:
    place = _some_place(chance, base)
    wrong = chance.choice(
        (0, 1, place.length + 1, place.length - 1, place.length + 2, 0xFFFF, 0x7FFFFFFF, UNDEFINED)
    )
    value = (wrong & (256**place.length_bytes - 1)).to_bytes(
        place.length_bytes, "big" if base.order == ">" else "little"
    )
    return _with(base.content, place.length_at, place.value_at, value)


def _representation(chance: random.Random, base: Base) -> bytes:
    place = _some_place(chance, base)
    wrong = chance.choice(REPRESENTATIONS + 4 * UNKNOWN).encode()
    return _with(base.content, place.at + 4, place.at + 6, wrong)


def _value(chance: random.Random, base: Base) -> bytes:
    """Another value with its right length."""
    place = _some_place(chance, base)
    value = chance.choice((*NASTY, chance.randbytes(16), base.content[place.value_at : place.end] + b"\0\0"))
    value += b" " * (len(value) % 2)
    return _element(base, place, value)


def _element(base: Base, place: _Place, value: bytes) -> bytes:
    if place.length_bytes == 2:
        value = value[:0xFFFE]
    length = len(value).to_bytes(place.length_bytes, "big" if base.order == ">" else "little")
    return _with(base.content, place.length_at, place.end, length + value)


def _tag(chance: random.Random, base: Base) -> bytes:
    place = _some_place(chance, base)
    group = chance.choice((0x0000, 0x0002, 0x0008, 0x0009, 0x0028, 0x5200, 0x7FE0, 0xFFFE, 0xFFFF))
    element = chance.choice((0x0000, 0x0005, 0x0010, 0x0018, 0x1001, 0x9229, 0x9230, 0xE000, 0xE00D, 0xFFFF))
    return _with(base.content, place.at, place.at + 4, struct.pack(base.order + "HH", group, element))


def _swap(chance: random.Random, base: Base) -> bytes:
    one, other = sorted((_some_place(chance, base), _some_place(chance, base)), key=lambda place: place.at)
    if one.at == other.at:
        return base.content
    content = base.content
    return (
        content[: one.at]
        + content[other.at : other.end]
        + content[one.end : other.at]
        + content[one.at : one.end]
        + content[other.end :]
    )


def _nest(chance: random.Random, base: Base) -> bytes:
    """Sequences in sequences, whole and not, with what stands anywhere in the innermost."""
    place = _some_place(chance, base)
    inner = base.content[place.at : place.end]
    has_lengths, implicit = chance.random() < 0.5, UID(base.transfer_syntax_uid).is_implicit_VR
    tag = struct.pack(
        base.order + "HH", *chance.choice(((0x0008, 0x1140), (0x5200, 0x9230), (0x0009, 0x1010)))
    )
    representation = b"" if implicit else chance.choice((b"SQ\0\0", b"UN\0\0"))
    for _ in range(chance.choice(DEEP)):
        if has_lengths:
            inner = struct.pack(base.order + "HHL", 0xFFFE, 0xE000, len(inner)) + inner
            inner = tag + representation + struct.pack(base.order + "L", len(inner)) + inner
        else:
            begin = (
                tag + representation + struct.pack(base.order + "LHHL", UNDEFINED, 0xFFFE, 0xE000, UNDEFINED)
            )
            inner = begin + inner
    if not has_lengths and chance.random() < 0.7:
        ends = struct.pack(base.order + "HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        inner += ends * ((len(inner) - len(base.content[place.at : place.end])) // (20 + len(representation)))
    return _with(base.content, place.at, place.at, inner)


CHANGES: tuple[Callable[[random.Random, Base], bytes], ...] = (
    _flip,
    _cut,
    _insert,
    _double,
    _length,
    _representation,
    _value,
    _tag,
    _swap,
    _nest,
)


def mutated(chance: random.Random, base: Base) -> bytes:
    """One to three changes; of a deflated one to what is inside, or to the deflated bytes."""
    is_outside = base.is_deflated and chance.random() < 0.3
    if is_outside:
        base = replace(base, content=deflated(base.content), transfer_syntax_uid=ImplicitVRLittleEndian)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        base = replace(base, content=chance.choice(CHANGES)(chance, base)[:LONGEST])
    return deflated(base.content) if base.is_deflated and not is_outside else base.content
