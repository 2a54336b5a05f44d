"""The table of a summary that says what changed since an earlier result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from converter.results.comparison import Change, NotCompared

from . import ink
from .sheet import Sheet, Tone, fitted

SIZE: Final = 14
LINE: Final = 20
COLUMNS: Final = 2
CUT_NOT_COMPARED: Final = "Volumes of structures that a scan cuts off, now or then, are not compared."

_AT: Final = (0, 78, 156, 234)
"""Where the right edges of change in percent, change in ml, now and then are, in pixels from the right."""
_SHORT: Final = {
    NotCompared.CUT_NOW: "cut off now",
    NotCompared.CUT_THEN: "cut off then",
    NotCompared.CUT_BOTH: "cut off then and now",
    NotCompared.NOT_FOUND_NOW: "not found now",
    NotCompared.NOT_FOUND_THEN: "not found then",
}


@dataclass(frozen=True)
class ChangeRow:
    """A structure's line."""

    name: str
    rgb: ink.Colour
    change: Change


def draw_changes(sheet: Sheet, at: tuple[float, float], width: float, rows: Sequence[ChangeRow]) -> None:
    """Write one column of the table, with its head, its top left corner there."""
    left, top = at
    ends = [left + width - from_right for from_right in _AT]
    heads = ("change %", "change ml", "now ml", "then ml")
    for end, head in zip(ends, heads, strict=True):
        sheet.text((end, top), head, SIZE - 1, Tone.FAINT, is_right=True)
    for number, row in enumerate(rows, start=1):
        y, change = top + number * LINE, row.change
        sheet.box((left, y + 2), (SIZE - 2, SIZE - 2), row.rgb)
        room = ends[3] - left - SIZE - 6 - SIZE * 4.5
        sheet.text((left + SIZE + 6, y), fitted(sheet, row.name, SIZE, room), SIZE, Tone.PLAIN)
        for end, ml in ((ends[3], change.then_ml), (ends[2], change.now_ml)):
            if ml is not None:
                sheet.text((end, y), volume_text(ml), SIZE, Tone.PLAIN, is_right=True)
        if change.why_not is not None:
            sheet.text((ends[0], y), _SHORT[change.why_not], SIZE - 1, Tone.FAINT, is_right=True)
            continue
        if change.ml is not None:
            sheet.text((ends[1], y), _signed(change.ml), SIZE, Tone.PLAIN, is_right=True)
        if change.percent is not None:
            sheet.text(
                (ends[0], y),
                f"{change.percent:{'+' if change.percent else ''}.1f}",
                SIZE,
                Tone.PLAIN,
                is_right=True,
            )


def volume_text(ml: float) -> str:
    """Three figures that count."""
    return f"{ml:.0f}" if ml >= 99.5 else f"{ml:.1f}" if ml >= 9.95 else f"{ml:.2f}"


def _signed(ml: float) -> str:
    return f"{'-' if ml < 0 else '+' if ml else ''}{volume_text(abs(ml))}"
