"""How far everybody was told what happened, and what of it somebody missed who comes back."""

from dataclasses import dataclass
from typing import Final

from .happenings import newest_line
from .store import Ledger

MOST_MISSED: Final = 1000
"""So many lines are told one by one; whoever missed more reads everything anew."""


@dataclass(frozen=True)
class MissedLine:
    """A line of the timeline, with the states as they are now of what it is about; null: of nothing such."""

    seq: int
    at: str
    event: str
    study_key: str | None
    study_state: str | None
    job_key: str | None
    job_state: str | None
    delivery_key: str | None
    delivery_state: str | None
    put_aside: str | None
    """The key of an object in quarantine."""
    reason: str | None
    """Why that is there."""


_LINES: Final = (
    "SELECT e.seq, e.at, e.event, s.study_key, s.state AS study_state, e.job_key, j.state AS job_state,"
    " e.delivery_key, d.state AS delivery_state, q.key AS put_aside, q.reason FROM events e"
    " LEFT JOIN studies s USING (study_uid) LEFT JOIN jobs j ON j.job_key = e.job_key"
    " LEFT JOIN deliveries d ON d.key = e.delivery_key"
    " LEFT JOIN quarantine q ON q.key = json_extract(e.detail, '$.key')"
    " WHERE e.seq >= ? AND e.seq <= ? ORDER BY e.seq"
)


def told_line(ledger: Ledger) -> int:
    """The last line (events.seq) that was told with all before it."""
    newest = newest_line(ledger)  # before it is asked who is about to tell: what is committed later is later
    return ledger.telling.upto(newest)


def missed_lines(ledger: Ledger, after: int, upto: int) -> list[MissedLine] | None:
    """The lines after one, in their order.

    None where they do not say all that happened: they are too many, there is no such line, or a study was
    erased since.
    """
    if after > upto or upto - after > MOST_MISSED:
        return None
    lines = [MissedLine(**dict(row)) for row in ledger.read(_LINES, (after, upto))]
    is_whole = len(lines) == upto - after + (after > 0)  # seq has gaps only where a study was erased
    since = lines[0].at if lines and after else ""
    if not is_whole or ledger.read("SELECT 1 FROM tombstones WHERE removed_at >= ? LIMIT 1", (since,)):
        return None
    return [line for line in lines if line.seq > after]
