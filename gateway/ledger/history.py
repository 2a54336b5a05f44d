"""What hours and days brought: how much was received, what became of it, how long each stage took, its cost.

What was received is counted as it comes; all else is read from the timeline, whose lines stand in the order
of time: the part of it that a span covers is found by halving, and nothing else of it is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.adapters.measures import Measure, Readings

from .happenings import lines_of, newest_line
from .records import utc_text
from .store import Ledger
from .watched import Stretch, happened

TEN_MINUTES: Final = len("2026-11-30T18:2")
"""So much of a time says in which ten minutes it is: the key of `received`."""
TEN: Final = timedelta(minutes=10)
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)


@dataclass(frozen=True)
class Received:
    """What came in a span of time."""

    studies: int
    instances: int
    bytes: int


@dataclass(frozen=True)
class Past:
    """What happened in a span of time.

    Parameters
    ----------
    lines
        Lines of the timeline, by event.
    readings
        See `watched.happened`.
    """

    received: Received
    lines: Mapping[str, int]
    readings: Readings

    def spans_s(self, measure: Measure) -> Sequence[float]:
        """How long each thing took that ended then, in seconds."""
        return self.readings.get(measure, ())

    @property
    def usd(self) -> float | None:
        """What runs cost that gave a result then, with the time before them; None: no price is known."""
        parts = [*self.spans_s(Measure.COST_ESTIMATE), *self.spans_s(Measure.COST_SHARED)]
        return sum(parts) if parts else None


def past(ledger: Ledger, begins: datetime, ends: datetime) -> Past:
    """What happened from a time, aware, until before another."""
    stretch = _between(ledger, begins, ends)
    return Past(received(ledger, begins, ends), lines_of(ledger, stretch), happened(ledger, stretch))


def received(ledger: Ledger, begins: datetime, ends: datetime) -> Received:
    """What came from a time, aware, until before another; both are taken as the ten minutes they are in."""
    row = ledger.read(
        "SELECT coalesce(sum(studies), 0) AS studies, coalesce(sum(instances), 0) AS instances,"
        " coalesce(sum(bytes), 0) AS bytes FROM received WHERE ten_minutes >= ? AND ten_minutes < ?",
        (utc_text(begins)[:TEN_MINUTES], utc_text(ends)[:TEN_MINUTES]),
    )[0]
    return Received(row["studies"], row["instances"], row["bytes"])


def _between(ledger: Ledger, begins: datetime, ends: datetime) -> Stretch:
    counted, upto = (_last_before(ledger, utc_text(at)) for at in (begins, ends))
    return Stretch(counted, max(counted, upto), is_last=False)


def _last_before(ledger: Ledger, at: str) -> int:
    """The last line of the timeline before a time (events.seq); 0 where there is none.

    Where the clock was set back it is one of those times.
    """
    low, high = 0, newest_line(ledger)  # it is neither before the first nor after the second
    while low < high:
        middle = (low + high + 1) // 2
        rows = ledger.read("SELECT seq, at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,))
        if not rows:
            low = middle  # nothing so old stands there any more
        elif rows[0]["at"] < at:
            low = middle
        else:
            high = rows[0]["seq"] - 1
    return low


def bytes_a_day(ledger: Ledger, now: datetime) -> float:
    """How much images took a day, of the last week; of the time since the first image where that is less."""
    begins = now - WEEK
    rows = ledger.read("SELECT ten_minutes FROM received ORDER BY ten_minutes LIMIT 1")
    if not rows:
        return 0.0
    first = datetime.fromisoformat(f"{rows[0]['ten_minutes']}0:00Z")
    days = max((now - max(begins, first)) / DAY, 1.0)  # one study in the first hour says nothing of a day
    return received(ledger, begins, now + TEN).bytes / days
