"""Data elements as bytes, explicit VR little endian (PS3.5 7.1.2): composed and walked without objects.

A segmentation has thousands of frames with a dozen nested elements each; as pydicom's objects they take most
of the time that writing or reading it takes. What is composed here is byte for byte what pydicom writes.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
LONGEST_VALUE: Final = UNDEFINED_LENGTH - 1
"""An even number of bytes, so 0xFFFFFFFE."""
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
PIXEL_DATA: Final = 0x7FE00010
PREAMBLE: Final = bytes(128) + b"DICM"
GROUP_LENGTH: Final = 0x00020000
"""How a file begins, and the first element of its meta information (PS3.10 7.1)."""

_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_HEADER: Final = Struct("<HH2sH")
_LONG_HEADER: Final = Struct("<HH2s2xI")
_ITEM_HEADER: Final = Struct("<HHI")


class MalformedElement(ValueError):
    """Bytes that are no data elements."""


class Element(NamedTuple):
    """Where one element lies in a buffer; `end` lies behind its delimiter, where it has one."""

    tag: int
    vr: bytes
    begin: int
    value_begin: int
    value_end: int
    end: int


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One element; an odd value is padded as its VR wants it (PS3.5 6.2)."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "OW", "UN") else b" "
    code = vr.encode()
    header = _LONG_HEADER if code in _LONG_VRS else _SHORT_HEADER
    return header.pack(tag >> 16, tag & 0xFFFF, code, len(value)) + value


def pixel_data_header(vr: str, length: int) -> bytes:
    """Make the beginning of Pixel Data; behind one of undefined length a delimiter ends it (PS3.5 A.4)."""
    return _LONG_HEADER.pack(PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF, vr.encode(), length)


def text_element(tag: int, vr: str, *values: str) -> bytes:
    """One element of text in the default repertoire; several values stand between backslashes."""
    return element(tag, vr, "\\".join(values).encode("ascii"))


def sequence(tag: int, items: Iterable[bytes]) -> bytes:
    """A sequence of items, each given as its elements' bytes; lengths are explicit (PS3.5 7.5)."""
    return element(tag, "SQ", b"".join(item(content) for content in items))


def item(content: bytes) -> bytes:
    """One item of a sequence, or one fragment of pixel data."""
    return _ITEM_HEADER.pack(ITEM >> 16, ITEM & 0xFFFF, len(content)) + content


def delimiter(tag: int) -> bytes:
    """The end of a sequence or of pixel data of undefined length."""
    return _ITEM_HEADER.pack(tag >> 16, tag & 0xFFFF, 0)


def elements(buffer: bytes | memoryview, begin: int, end: int) -> Iterator[Element]:
    """Walk the elements of one level, up to `end` or to an item's delimiter.

    Raises
    ------
    MalformedElement
        A length that leads out of the buffer.
    """
    position = begin
    while position + 8 <= end:
        group, number, vr, short = _SHORT_HEADER.unpack_from(buffer, position)
        tag = group << 16 | number
        if tag == ITEM_END:
            return
        value_begin, length = position + 8, short
        if vr in _LONG_VRS:
            if position + 12 > end:
                raise MalformedElement("an element ends before its length")
            value_begin, length = position + 12, _LONG_HEADER.unpack_from(buffer, position)[3]
        if length == UNDEFINED_LENGTH:
            value_end, next_position = _end_of_sequence(buffer, value_begin, end)
        else:
            value_end = next_position = value_begin + length
        if next_position > end:
            raise MalformedElement("an element is longer than what holds it")
        yield Element(tag, vr, position, value_begin, value_end, next_position)
        position = next_position


def items(buffer: bytes | memoryview, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the contents of a sequence's items, or the fragments of pixel data, begin and end.

    Raises
    ------
    MalformedElement
    """
    position = begin
    while position + 8 <= end:
        group, number, length = _ITEM_HEADER.unpack_from(buffer, position)
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            return
        if tag != ITEM:
            raise MalformedElement("something else than an item stands in a sequence")
        content = position + 8
        if length == UNDEFINED_LENGTH:
            content_end = content
            for part in elements(buffer, content, end):
                content_end = part.end
            position = content_end + 8
        else:
            content_end = position = content + length
        if position > end:
            raise MalformedElement("an item is longer than what holds it")
        yield content, content_end


def find(buffer: bytes, *path: int) -> bytes | None:
    """The value at the end of a path of tags, each but the last a sequence whose first item is gone into.

    Raises
    ------
    MalformedElement
    """
    begin, end = 0, len(buffer)
    for depth, tag in enumerate(path, start=1):
        found = next((part for part in elements(buffer, begin, end) if part.tag == tag), None)
        if found is None:
            return None
        begin, end = found.value_begin, found.value_end
        if depth < len(path):
            first = next(items(buffer, begin, end), None)
            if first is None:
                return None
            begin, end = first
    return buffer[begin:end]


def _end_of_sequence(buffer: bytes | memoryview, begin: int, end: int) -> tuple[int, int]:
    """Where the items of a sequence of undefined length end, and where its delimiter ends."""
    last = begin
    for _, content_end in items(buffer, begin, end):
        last = content_end
    for position in (last, last + 8):  # the last item may have a delimiter of its own before the sequence's
        if position + 8 <= end:
            group, number, _ = _ITEM_HEADER.unpack_from(buffer, position)
            if group << 16 | number == SEQUENCE_END:
                return position, position + 8
    raise MalformedElement("a sequence has no end")
