"""Whose way is traced: studies that are over, once each time, in the order in which they ended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from .facts import Fact, fact, set_fact
from .happenings import newest_line
from .store import Ledger

LINES_AT_ONCE: Final = 2000


@dataclass(frozen=True)
class Ended:
    """A study that is over, be it done or failed.

    Parameters
    ----------
    seq
        The line of the timeline by which it is (events.seq).
    before
        The line by which it was over the time before; 0: this is the first time.
    timeline
        Its lines until then, as the API has them.
    """

    study_key: str
    event: str
    seq: int
    before: int
    timeline: Sequence[dict[str, Any]]


def switch_traces(ledger: Ledger, *, is_on: bool) -> None:
    """Say at the start whether studies are traced; what ended while they were not never is."""
    known, newest = fact(ledger, Fact.TRACED), newest_line(ledger)
    if known is not None and int(known) > newest:  # a ledger that was rebuilt, or put back, ends before that
        known = None
    if is_on == (known is not None):
        return
    with ledger.transaction() as transaction:
        if is_on:
            set_fact(transaction, Fact.TRACED, str(newest))
        else:
            transaction.execute("DELETE FROM facts WHERE name = ?", (Fact.TRACED,))


def ended_studies(ledger: Ledger) -> tuple[list[Ended], int, bool]:
    """The next studies that ended and are not traced, up to which line that is, and if it is the last."""
    traced, newest = int(fact(ledger, Fact.TRACED) or 0), newest_line(ledger)
    upto = min(newest, traced + LINES_AT_ONCE)
    rows = ledger.read(
        "SELECT e.seq, e.event, e.study_uid, s.study_key FROM events e"
        " JOIN studies s ON s.study_uid = e.study_uid WHERE e.seq > ? AND e.seq <= ?"
        " AND e.event IN ('study.finished', 'study.failed') ORDER BY e.seq",
        (traced, upto),
    )
    found = [_ended(ledger, row) for row in rows]
    return found, upto, upto == newest


def mark_traced(ledger: Ledger, upto: int) -> None:
    """Say that what ended until this line is traced."""
    with ledger.transaction() as transaction:
        set_fact(transaction, Fact.TRACED, str(upto))


def _ended(ledger: Ledger, row: Any) -> Ended:
    lines = ledger.read(
        "SELECT seq, at, job_key, delivery_key, event, detail FROM events"
        " WHERE study_uid = ? AND seq <= ? ORDER BY seq",
        (row["study_uid"], row["seq"]),
    )
    timeline = [{**dict(line), "detail": json.loads(line["detail"])} for line in lines]
    ends = [line["seq"] for line in timeline[:-1] if line["event"] in ("study.finished", "study.failed")]
    return Ended(row["study_key"], row["event"], row["seq"], max(ends, default=0), timeline)
