"""A file of which a parser may read so many times only: an object of 8 MB can hold a million elements.

Each of them is an object for the parser: a million empty items take 16 s and 660 MB.
"""

from typing import Any, BinaryIO, Final

from .refusals import NotReadable

MOST_READS: Final = 3_000_000
"""Two or three an element; an enhanced object of 10,000 frames takes a million."""


def too_many() -> NotReadable:
    """Why an object is not filed that has too many."""
    return NotReadable(
        "too_many_elements", "its header has more than a million elements or items; look at it at the sender"
    )


class LimitedReads:
    """It."""

    def __init__(self, stream: BinaryIO, most: int = MOST_READS) -> None:
        self._stream = stream
        self._left = most

    def read(self, size: int = -1) -> bytes:
        """Read as the file does.

        Raises
        ------
        NotReadable
            It was read too often.
        """
        self._left -= 1
        if self._left < 0:
            raise too_many()
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
