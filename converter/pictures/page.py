"""The layout of a summary: what was found, in pictures and in a table, on as many pages as it takes.

Every structure that was found has its line; nothing is cut but long names, and these keep their sides.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from converter.version import own_version

from . import change_table, ink
from .change_table import ChangeRow, draw_changes, volume_text
from .contours import contours
from .sheet import HEIGHT, WIDTH, Sheet, Tone, fitted, wrapped
from .views import View

MARGIN: Final = 24
HEAD: Final = 106
PICTURES: Final = 700
PICTURES_OF_MANY: Final = 590
"""Pixels of height that the pictures take at most; beside a long table less, so that 117 lines find room."""
CAPTION: Final = 22
GAP: Final = 14
LARGEST_SCALE: Final = 4.0
"""Pixels a millimetre: an image of a few voxels is not blown up further."""
ROOM_FOR_MARKS: Final = 60
ABOUT_AS_LARGE: Final = 0.85
NARROWEST: Final = 110
"""Pixels of a picture's place: its caption must find room."""
FILL: Final = 0.28
FOOT: Final = 30
FEW: Final = 44
"""As many lines of the table stand in two columns; more stand in three, and smaller."""
FEWEST: Final = 3
"""Lines of the table of changes that stand below its head at the end of a page."""
CUT: Final = "*"
FLAGGED: Final = "!"
CUT_SAID: Final = "* cut off at the edge of the scan: the volume is that of the scanned part"

S = TypeVar("S", bound=Sheet)


@dataclass(frozen=True)
class Row:
    """A structure's line."""

    name: str
    rgb: ink.Colour
    volume_ml: float
    mean: float | None
    is_cut: bool
    is_flagged: bool


@dataclass(frozen=True)
class Summary:
    """What there is to say.

    `unit` is that of the means, "" where they have none; `flags` are sentences, `cut` is how many structures
    have a flag that says no more than the mark of their lines: that the scan cuts them.
    """

    algorithm: str
    version: str
    made_at: datetime
    rows: Sequence[Row]
    unit: str
    flags: Sequence[str]
    views: Sequence[View]
    colours: NDArray[np.uint8]
    """By label value, (256, 3)."""
    compared: str = ""
    """With which earlier result, or why with none; empty where that was not asked for."""
    changes: Sequence[ChangeRow] = ()
    cut: int = 0


class Pages(Generic[S]):
    """Lays a summary out on sheets of one kind."""

    def __init__(self, summary: Summary, blank: Callable[[], S]) -> None:
        self._summary, self._blank = summary, blank
        self.sheets: list[S] = []
        self._is_long = len(summary.rows) > FEW
        self._size, self._line, self._columns = (14, 19, 3) if self._is_long else (16, 23, 2)
        self._lay_out()

    def _lay_out(self) -> None:
        top = self._begin() + self._draw_views(MARGIN + HEAD)
        rows = list(self._summary.rows)
        while rows or not self.sheets:
            top, rows = self._table(top, rows)
            if rows:
                top = self._begin()
        top = self._notes(top)
        top = self._over_time(top)
        if any(row.change.is_cut for row in self._summary.changes):
            self._lines(top, change_table.CUT_NOT_COMPARED, Tone.FAINT)
        for number, sheet in enumerate(self.sheets, start=1):
            place = f"page {number} of {len(self.sheets)}, " if len(self.sheets) > 1 else ""
            text = f"{place}IRIS Gateway {own_version()}"
            sheet.text((MARGIN, HEIGHT - FOOT), text, 13, Tone.FAINT)
            sheet.text((WIDTH - MARGIN, HEIGHT - FOOT), ink.RESEARCH_USE, 13, Tone.WARNING, is_right=True)

    @property
    def _sheet(self) -> S:
        return self.sheets[-1]

    def _begin(self) -> float:
        """A new page with its head; where it may go on."""
        self.sheets.append(self._blank())
        summary, sheet = self._summary, self._sheet
        sheet.text((MARGIN, MARGIN), fitted(sheet, summary.algorithm, 28, 780), 28, Tone.PLAIN)
        said = f"{ink.RESEARCH_USE}, not for diagnosis"
        sheet.text((WIDTH - MARGIN, MARGIN + 4), said, 20, Tone.WARNING, is_right=True)
        made = summary.made_at.strftime("%Y-%m-%d %H:%M UTC%z").removesuffix("+0000")
        version = fitted(sheet, f"version {summary.version}", 16, 700)
        sheet.text((MARGIN, MARGIN + 42), version, 16, Tone.FAINT)
        sheet.text((WIDTH - MARGIN, MARGIN + 42), f"made {made}", 16, Tone.FAINT, is_right=True)
        tone = Tone.WARNING if summary.flags or summary.cut else Tone.PLAIN
        sheet.text((MARGIN, MARGIN + 68), self._in_a_line(), 18, tone)
        return MARGIN + HEAD

    def _in_a_line(self) -> str:
        """What was found, and how much of it is to be looked at twice."""
        count, flags, cut = len(self._summary.rows), len(self._summary.flags), self._summary.cut
        said = [f"{count} structure{'' if count == 1 else 's'} found" if count else "Nothing was found"]
        said += [ink.remarks(flags)] if flags else []
        said += [f"{cut} organ{'' if cut == 1 else 's'} cut off"] if cut else []
        return ", ".join(said)

    def _draw_views(self, top: float) -> float:
        """The pictures, in one row where that shows them about as large as two; the height that they take."""
        height = PICTURES_OF_MANY if self._is_long else PICTURES
        rows, scale = arranged(self._summary.views, height)
        used = 0.0
        for row in rows:
            sizes = [(max(1, round(w * scale)), max(1, round(h * scale))) for w, h in _sizes(row)]
            left = MARGIN
            for view, size in zip(row, sizes, strict=True):
                self._sheet.text((left, top + used), view.caption, 15, Tone.FAINT)
                pixels = _drawn(view, size, self._summary.colours)
                self._sheet.picture((left, round(top + used + CAPTION)), pixels)
                left += max(size[0], NARROWEST) + GAP
            used += CAPTION + max(high for _, high in sizes) + GAP
        return used

    def _table(self, top: float, rows: list[Row]) -> tuple[float, list[Row]]:
        """As many lines as there is room for; where they end, and what is left."""
        if not rows:
            return top, []
        room = int((HEIGHT - FOOT - GAP - top) // self._line) - 1
        each = min(room, -(-len(rows) // self._columns))
        width = (WIDTH - 2 * MARGIN - GAP * (self._columns - 1)) / self._columns
        shown = rows[: each * self._columns]
        for column in range(self._columns):
            part = shown[column * each : (column + 1) * each]
            left = MARGIN + column * (width + GAP)
            if part:
                self._column(left, width, top, part)
        return top + (each + 1) * self._line + GAP, rows[len(shown) :]

    def _column(self, left: float, width: float, top: float, rows: Sequence[Row]) -> None:
        sheet, size = self._sheet, self._size
        unit = self._summary.unit
        at_mean, at_volume = left + width - 18, left + width - 18 - size * 5.6
        sheet.text((at_volume, top), "ml", size - 1, Tone.FAINT, is_right=True)
        if unit or any(row.mean is not None for row in rows):
            sheet.text((at_mean, top), f"mean {unit}".strip(), size - 1, Tone.FAINT, is_right=True)
        for number, row in enumerate(rows, start=1):
            y = top + number * self._line
            sheet.box((left, y + 2), (size - 2, size - 2), row.rgb)
            name = fitted(sheet, row.name, size, at_volume - left - size * 5.2)
            tone = Tone.WARNING if row.is_flagged else Tone.PLAIN
            sheet.text((left + size + 6, y), name, size, tone)
            sheet.text((at_volume, y), volume_text(row.volume_ml), size, Tone.PLAIN, is_right=True)
            if row.mean is not None:
                sheet.text((at_mean, y), _mean(row.mean), size, Tone.PLAIN, is_right=True)
            mark = FLAGGED * row.is_flagged + CUT * row.is_cut
            sheet.text((at_mean + 4, y), mark, size, Tone.WARNING)

    def _over_time(self, top: float) -> float:
        """What changed since the earlier result; where it ends."""
        rows = list(self._summary.changes)
        width = (WIDTH - 2 * MARGIN - GAP * (change_table.COLUMNS - 1)) / change_table.COLUMNS
        if self._summary.compared and not rows:
            return self._lines(top, self._summary.compared, Tone.PLAIN)
        while rows:
            room = int((HEIGHT - FOOT - GAP - top) // change_table.LINE) - 2
            if room < min(len(rows), FEWEST):
                top = self._begin()
                continue
            top = self._lines(top, self._summary.compared, Tone.PLAIN) + 4
            each = min(room, -(-len(rows) // change_table.COLUMNS))
            for column in range(change_table.COLUMNS):
                part = rows[column * each : (column + 1) * each]
                if part:
                    left = MARGIN + column * (width + GAP)
                    draw_changes(self._sheet, (left, top), width, part)
            rows = rows[each * change_table.COLUMNS :]
            top += (each + 1) * change_table.LINE + GAP
        return top

    def _lines(self, top: float, text: str, tone: Tone) -> float:
        """Write a remark; on a page more where there is no room."""
        for line in wrapped(self._sheet, text, 15, WIDTH - 2 * MARGIN):
            if top + 20 > HEIGHT - FOOT - GAP:
                top = self._begin()
            self._sheet.text((MARGIN, top), line, 15, tone)
            top += 20
        return top

    def _notes(self, top: float) -> float:
        """What the marks mean, and the flags, before all else; where they end."""
        remarks = list(self._remarks())
        for text, tone in remarks:
            top = self._lines(top, text, tone)
        return top + (GAP if remarks else 0)

    def _remarks(self) -> Iterator[tuple[str, Tone]]:
        if any(row.is_cut for row in self._summary.rows):
            yield CUT_SAID, Tone.FAINT
        for sentence in self._summary.flags:
            yield f"{FLAGGED} {sentence}", Tone.WARNING


def arranged(views: Sequence[View], height: int) -> tuple[list[Sequence[View]], float]:
    """Pictures in rows that are so high at most, and for all of them the pixels a millimetre."""
    rows, two = [views], [views[:2], views[2:]]
    if _scale(rows, height) < ABOUT_AS_LARGE * _scale(two, height):
        rows = two
    return rows, _scale(rows, height)


def _sizes(views: Sequence[View]) -> list[tuple[float, float]]:
    return [view.size_mm for view in views]


def _scale(rows: Sequence[Sequence[View]], height: int) -> float:
    """Pixels a millimetre, one for all pictures, in this arrangement."""
    room = [WIDTH - 2 * MARGIN - GAP * (len(row) - 1) for row in rows]
    by_width = min(
        width / wide
        for width, row in zip(room, rows, strict=True)
        for wide in [sum(wide for wide, _ in _sizes(row))]
    )
    high = sum(max(high for _, high in _sizes(row)) for row in rows)
    return min(by_width, (height - (CAPTION + GAP) * len(rows)) / high, LARGEST_SCALE)


def _drawn(view: View, size: tuple[int, int], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One picture with true proportions: structures as lines with a tint of their colour over the grey."""
    grey = Image.fromarray(np.ascontiguousarray(view.grey)).resize(size, Image.Resampling.BICUBIC)
    marked = Image.fromarray(np.ascontiguousarray(view.labels)).resize(size, Image.Resampling.NEAREST)
    labels = np.asarray(marked)
    weight = np.where(labels > 0, np.float32(FILL), np.float32(0))
    weight[contours(labels, 1)] = 1
    weight = weight[..., np.newaxis]
    mixed = np.asarray(grey, np.float32)[..., np.newaxis] * (1 - weight) + colours[labels] * weight
    picture = Image.fromarray(np.rint(mixed).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    wide, high = picture.size
    left, right, above, below = view.sides
    marks = []
    if wide >= ROOM_FOR_MARKS:
        marks += [((4, high // 2), "lm", left), ((wide - 4, high // 2), "rm", right)]
    if high >= ROOM_FOR_MARKS:
        marks += [((wide // 2, 3), "mt", above), ((wide // 2, high - 3), "mb", below)]
    for at, anchor, side in marks:
        draw.text(at, side, ink.INK, ink.font(17), anchor=anchor, stroke_width=2, stroke_fill=ink.BACKGROUND)
    return np.asarray(picture)


def _mean(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.1f}"
