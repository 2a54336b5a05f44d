"""Reads an instance while it comes: its header from its first bytes, its digests from all that follow.

Whoever read the file afterwards would find the same (`header.read_instance`), but its sender would wait for
that. Nearly every image can be read so; of the others nothing is known before all of it is there.
"""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Final

from converter.reading.header_file import HeaderReader

from .header import Parsed, ReadInstance, parse
from .pixels import ELEMENT_HEADER_BYTES, check_encapsulated_pixels, check_native_pixels
from .refusals import NotReadable

LONGEST_HEADER_BYTES: Final = 1 << 20
"""What is longer is read afterwards."""
_LOOK_BYTES: Final = 1 << 14
"""So much is copied to look for the header's end; most are shorter."""
_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"
"""Its tag, little-endian: (7FE0,0010)."""


def header_reader() -> HeaderReader:
    """What reads the headers of one sender's objects, which have much in common, one at a time."""
    return HeaderReader(forgets_after_bytes=4 * LONGEST_HEADER_BYTES)


class ComingInstance:
    """One of them."""

    def __init__(self, reader: HeaderReader | None = None) -> None:
        self._reader = reader or header_reader()
        self._first = bytearray()
        self._is_looked_for = True
        self._parsed: Parsed | None = None
        self._element_header = b""
        self._header_sha256 = ""
        self._pixels = hashlib.sha256()
        self._size_bytes = 0

    def feed(self, piece: bytes | memoryview) -> None:
        """More of its file, as it follows."""
        self._size_bytes += len(piece)
        while self._is_looked_for and piece:
            self._look_in(piece[:_LOOK_BYTES])
            piece = piece[_LOOK_BYTES:]
        if self._parsed is not None:
            self._pixels.update(piece)

    def read(self, path: Path) -> ReadInstance | None:
        """What is known of it now that all of it lies there; None where it has to be read.

        Raises
        ------
        Damaged, OSError
            As `header.read_instance`.
        """
        parsed = self._parsed
        if parsed is None or parsed.pixels_at is None:
            return None
        if parsed.transfer_syntax.is_encapsulated:
            with path.open("rb") as stream:
                check_encapsulated_pixels(stream, parsed.pixels_at)
        else:
            element_bytes = self._size_bytes - parsed.pixels_at
            check_native_pixels(parsed.header, parsed.transfer_syntax, self._element_header, element_bytes)
        return parsed.read(self._header_sha256, self._pixels.hexdigest(), self._size_bytes)

    def _look_in(self, piece: bytes | memoryview) -> None:
        """Parse the header once it is here; a tag that stands in some value is no end of it."""
        looked_at = max(0, len(self._first) - len(_PIXEL_DATA) - ELEMENT_HEADER_BYTES)
        self._first += piece
        at = self._first.find(_PIXEL_DATA, looked_at, 4 - ELEMENT_HEADER_BYTES)
        if at >= 0:
            self._is_looked_for = False
            self._parse()
        if not self._is_looked_for or len(self._first) > LONGEST_HEADER_BYTES:
            self._is_looked_for = False
            self._first = bytearray()

    def _parse(self) -> None:
        try:
            parsed = parse(BytesIO(self._first), self._reader)
        except NotReadable:  # it may be here in part only; who reads the file says what is wrong
            return
        at, first = parsed.pixels_at, memoryview(self._first)
        if at is None or at + ELEMENT_HEADER_BYTES > len(first):
            return
        self._element_header = bytes(first[at : at + ELEMENT_HEADER_BYTES])
        self._header_sha256 = hashlib.sha256(first[parsed.dataset_at : at]).hexdigest()
        self._pixels.update(first[at:])
        self._parsed = parsed
