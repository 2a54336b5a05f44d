"""The strip beside a picture: what may be done with it, what drew it, and the names of what is on it.

Nothing in it lies on the image. All pictures of a series have strips of one size, so that they scroll.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .contours import WIDE_FROM
from .ink import BACKGROUND, FAINT, INK, RESEARCH_USE, WARNING, Colour, fitted, line, text_width

Canvas = NDArray[np.uint8]

LEAST_ROWS: Final = 256
"""A picture with its strip is as high at least: a smaller image gets an empty margin below."""
MOST_COLUMNS: Final = 3
WIDEST: Final = 13
"""In heights of the font: longer names are cut, but for their sides."""


@dataclass(frozen=True)
class Entry:
    """A structure in words, in its colour."""

    text: str
    colour: Colour
    is_flagged: bool = False


class Legend:
    """Strips for pictures of one size.

    Parameters
    ----------
    entries
        By label value: all that occur in the series.
    said
        Lines on what found them.
    warning
        What stands before these in the colour of warnings; empty: nothing.
    rows, columns
        Of the images.
    most
        As many are on one picture.
    """

    def __init__(
        self,
        entries: Mapping[int, Entry],
        said: Sequence[str],
        shape: tuple[int, int],
        most: int,
        warning: str = "",
    ) -> None:
        is_large = max(shape) >= WIDE_FROM
        self._size, self._line, self._gap = (12, 15, 8) if is_large else (10, 12, 5)
        self._mark = self._size - 3
        widest = self._size * WIDEST
        texts = [text_width(entry.text, self._size) for entry in entries.values()]
        self._head = [(RESEARCH_USE, self._size + 1, WARNING)]
        self._head += [(warning, self._size, WARNING)] if warning else []
        self._head += [(each, self._size, FAINT) for each in said]
        needed = [*texts, *(text_width(text, size) - self._indent for text, size, _ in self._head)]
        self._text_width = int(min(max(needed), widest)) + 1
        self.height = max(shape[0], LEAST_ROWS)
        self._lines = (self.height - 2 * self._gap) // self._line - len(self._head) - 1
        self._columns = max(1, min(MOST_COLUMNS, -(-most // self._lines)))
        self._column_width = self._indent + self._text_width + self._gap
        self.width = self._gap + self._columns * self._column_width
        self.width += self.width % 2
        self._entries = entries
        self._drawn: dict[int, Canvas] = {}

    @property
    def _indent(self) -> int:
        return self._mark + self._gap

    def draw(self, counts: NDArray[np.int64], canvas: Canvas) -> None:
        """Fill a strip, (height, width, 3); `counts` are the pixels of each label value, (256,)."""
        canvas[:] = self._empty
        there = [int(value) for value in np.flatnonzero(counts) if int(value) in self._entries]
        room = self._lines * self._columns
        shown = there
        if len(there) > room:
            largest = sorted(there, key=lambda value: -int(counts[value]))[: room - 1]
            shown = sorted(largest)
        for place, value in enumerate(shown):
            self._put(canvas, place, self._of(value))
        if len(there) > len(shown):
            self._put(canvas, len(shown), self._text(f"and {len(there) - len(shown)} smaller ones", FAINT))
        elif not there:
            self._put(canvas, 0, self._text("nothing found here", FAINT))

    def _put(self, canvas: Canvas, place: int, drawn: Canvas) -> None:
        column, row = divmod(place, self._lines)
        top = self._gap + (len(self._head) + row) * self._line + self._line // 2
        left = self._gap + column * self._column_width
        canvas[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn

    def _of(self, value: int) -> Canvas:
        """An entry with its mark; drawn once."""
        if value not in self._drawn:
            entry = self._entries[value]
            ink = WARNING if entry.is_flagged else INK
            drawn = self._text(fitted(entry.text, self._size, self._text_width), ink).copy()
            top = (self._line - self._mark) // 2
            drawn[top : top + self._mark, : self._mark] = entry.colour
            self._drawn[value] = drawn
        return self._drawn[value]

    def _text(self, text: str, colour: Colour) -> Canvas:
        written = line(text, self._size, colour, (self._line, self._text_width + self._gap))
        space = np.full((self._line, self._indent, 3), BACKGROUND, np.uint8)
        return np.concatenate([space, written], axis=1)[:, : self._column_width]

    @cached_property
    def _empty(self) -> Canvas:
        """What stands in every strip."""
        canvas = np.empty((self.height, self.width, 3), np.uint8)
        canvas[:] = BACKGROUND
        room = self.width - 2 * self._gap
        for number, (text, size, colour) in enumerate(self._head):
            top = self._gap + number * self._line
            written = line(fitted(text, size, room), size, colour, (self._line, room))
            canvas[top : top + self._line, self._gap : self._gap + room] = written
        return canvas
