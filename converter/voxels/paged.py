"""Labels of very many slices: in memory where they are few, else in a file without a name, read as needed.

Whoever goes through such an array lets its pages go on the way. They are in the file, or on their way to it,
and come again when they are looked at: memory stays flat however long the scan is.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

IN_MEMORY_BYTES: Final = 96 << 20
"""Up to this size an array lies in memory: 384 slices of 512 x 512."""
LET_GO_BYTES: Final = 32 << 20
"""After so many are looked at, pages are let go."""
AROUND_BYTES: Final = 1 << 16
"""Linux brings in so much at a time (fault_around_bytes), however little is looked at."""


class _Pages(mmap.mmap):
    """Pages of a file of ours: to let them go loses nothing, as it would with a private mapping."""


def paged_zeros(shape: Sequence[int], order: Literal["C", "F"] = "C") -> NDArray[np.uint8]:
    """Zeros, uint8, to be filled.

    Raises
    ------
    OSError
        The folder of temporary files has no room.
    """
    size = prod(shape)
    if size <= IN_MEMORY_BYTES:
        return np.zeros(shape, np.uint8, order)
    with tempfile.TemporaryFile(prefix="iris-labels-") as file:
        # Room that is missing only when a page is written ends the process (SIGBUS).
        os.posix_fallocate(file.fileno(), 0, size)
        pages = _Pages(file.fileno(), size)
    return np.frombuffer(pages, np.uint8).reshape(tuple(shape), order=order)


class LettingGo:
    """Takes the pages of an array out of memory, where they are in a file of ours, as it is gone through."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._pages = _pages_of(array)
        self._seen_bytes = 0

    def after(self, part: NDArray[Any]) -> None:
        """Count a part that was looked at; after many of them none is in memory any more."""
        self._seen_bytes += part.nbytes + AROUND_BYTES
        if self._seen_bytes >= LET_GO_BYTES:
            self._seen_bytes = 0
            if self._pages is not None:
                self._pages.madvise(mmap.MADV_DONTNEED)


def planes_of(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The planes of an array along its first axis, one after the other; each may be written to."""
    letting_go = LettingGo(array)
    for plane in array:
        yield plane
        letting_go.after(plane)


def _pages_of(array: Any) -> _Pages | None:
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return array if isinstance(array, _Pages) else None
