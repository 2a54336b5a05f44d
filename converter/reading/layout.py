"""How stored values lie in memory, as an image's header says; once for all headers that say the same."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import Tag

from converter.errors import ConversionFailed

from .headers import numbers_of

T = TypeVar("T")

_LAYOUT = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")

_OF_WHOLE_NUMBERS = ("BitsStored", "HighBit", "PixelRepresentation")
"""What describes no others (PS3.3 C.7.6.24, C.7.6.25)."""


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
        if allocated >= 32 and not any(keyword in header for keyword in _OF_WHOLE_NUMBERS):
            raise ConversionFailed(
                "pixels are floating-point numbers (Float Pixel Data), which are not read; have the series "
                "sent with whole numbers and Rescale Slope"
            )
        stored = stored or allocated
        if allocated not in (8, 16, 32) or not 1 < stored <= allocated or high not in (0, stored - 1):
            raise ConversionFailed(
                f"pixels of {stored} bits in {allocated} with high bit {high} are none that the standard "
                "allows; have the headers corrected at the sender"
            )
        return cls(rows, columns, allocated, stored, bool(signed))

    @classmethod
    def of_values(cls, values: NDArray[Any]) -> "Layout":
        """That of integers in memory, (rows, columns)."""
        bits = 8 * values.dtype.itemsize
        rows, columns = values.shape
        return cls(rows, columns, bits, bits, values.dtype.kind == "i")

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


def layouts_of(headers: Sequence[Dataset]) -> list[Layout]:
    """Each header's; ConversionFailed as `Layout.of`."""
    return once_per_value(headers, _LAYOUT, Layout.of)


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
