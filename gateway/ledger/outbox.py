"""The mirror's outbox: what has changed in the ledger and is not shipped yet.

Triggers fill it in the transaction of the change (schema_27.sql), and only while a mirror is configured. A
study or a job stands in it once, however often it changes; every line of a timeline stands in it until it is
shipped. All that waits of a study is due together: at once where its state changes, else `STEP_INTERVAL_S`
after the first change that waits, or `PROGRESS_INTERVAL_S` where a job only got on.

What is shipped has the version `epoch` x 10^12 + `number`. The number grows with every change; the epoch,
milliseconds since 2020, with every start of a gateway that mirrors and with every rebuild: after an older
ledger was put back, or a new one made, the numbers begin lower again, and what it says is newer all the same.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.events import MirrorRebuildBegun

from .records import MirrorRow, OutboxRow, utc_now, utc_text, utc_time
from .states import StudyState
from .store import Ledger
from .transaction import Transaction

EPOCH_FACTOR: Final = 10**12
EPOCHS_BEGIN: Final = datetime(2020, 1, 1, tzinfo=UTC)
STEP_INTERVAL_S: Final = 5.0
"""A step that leaves the study's state as it is goes so long after the first unshipped one."""
PROGRESS_INTERVAL_S: Final = 60.0
"""A job's progress alone is shipped no sooner than this after its first unshipped change."""


@dataclass(frozen=True)
class Backlog:
    """What waits to be shipped."""

    waiting: int
    lag_s: float
    """For how long the first of it has been due; 0 when nothing is."""


def switch_mirror(ledger: Ledger, *, is_on: bool, keep_days: int) -> None:
    """Say at the start whether changes are to be mirrored; called before anything else is written.

    Switched on for the first time, everything that the ledger holds is due; switched off, nothing is.
    """
    with ledger.transaction() as transaction:
        was_on = bool(_mirror(transaction).is_on)
        if is_on:
            _begin_epoch(transaction)
            if not was_on:
                _fill(transaction, keep_days)
        elif was_on:
            transaction.execute("DELETE FROM mirror_outbox")
        transaction.execute("UPDATE mirror SET is_on = ?", (int(is_on),))


def begin_rebuild(transaction: Transaction, keep_days: int) -> None:
    """Make everything due again, under a new epoch; what the table has beyond it is removed at the end."""
    _begin_epoch(transaction)
    _fill(transaction, keep_days)
    transaction.execute("UPDATE mirror SET rebuilding = epoch")
    transaction.publish(MirrorRebuildBegun())


def end_rebuild(transaction: Transaction, epoch: int) -> None:
    """Note that everything is shipped and what was older is removed; a rebuild begun since goes on."""
    transaction.execute("UPDATE mirror SET rebuilding = 0 WHERE rebuilding = ?", (epoch,))


def mirror_of(ledger: Ledger) -> MirrorRow:
    """How the mirror stands."""
    return MirrorRow.of(ledger.read("SELECT * FROM mirror")[0])


def due_changes(ledger: Ledger, limit: int) -> list[OutboxRow]:
    """What should be shipped now, in the order of the changes; also what only a clock set back put off."""
    now = datetime.now(UTC)
    latest = now + timedelta(seconds=PROGRESS_INTERVAL_S)
    rows = ledger.read(
        "SELECT * FROM mirror_outbox WHERE due_at NOT BETWEEN ? AND ? ORDER BY number LIMIT ?",
        (utc_text(now), utc_text(latest), limit),
    )
    return [OutboxRow.of(row) for row in rows]


def seconds_to_next_change(ledger: Ledger) -> float | None:
    """How long until something is due that waits now; None when nothing waits."""
    left_s = _seconds_to_first(ledger)
    return left_s if left_s is None or 0 < left_s <= PROGRESS_INTERVAL_S else 0.0


def mark_shipped(transaction: Transaction, numbers: Collection[int]) -> None:
    """Take these out; what changed again meanwhile has another number by now, and stays."""
    for number in numbers:
        transaction.execute("DELETE FROM mirror_outbox WHERE number = ?", (number,))


def note_newer_epoch(transaction: Transaction, epoch: int) -> None:
    """Remember that the table holds what this ledger has not written: its epoch is later than ours."""
    transaction.execute("UPDATE mirror SET seen_epoch = max(seen_epoch, ?)", (epoch,))


def backlog_of(ledger: Ledger) -> Backlog:
    """Count what waits."""
    row = ledger.read("SELECT count(*) AS waiting FROM mirror_outbox")[0]  # by pages, not by rows
    return Backlog(row["waiting"], lag_of(ledger))


def lag_of(ledger: Ledger) -> float:
    """For how long the first change that waits has been due; 0 when none is."""
    return max(0.0, -(_seconds_to_first(ledger) or 0.0))


def _seconds_to_first(ledger: Ledger) -> float | None:
    """How long until the first change that waits is due, negative where it is; None when none waits."""
    rows = ledger.read("SELECT due_at FROM mirror_outbox ORDER BY due_at LIMIT 1")
    return (utc_time(rows[0]["due_at"]) - datetime.now(UTC)).total_seconds() if rows else None


def kept_since(keep_days: int) -> str:
    """The time before which what is over is not mirrored any more."""
    return utc_text(datetime.now(UTC) - timedelta(days=keep_days))


def _mirror(transaction: Transaction) -> MirrorRow:
    return MirrorRow.of(transaction.execute("SELECT * FROM mirror").fetchone())


def _begin_epoch(transaction: Transaction) -> None:
    now = (datetime.now(UTC) - EPOCHS_BEGIN) // timedelta(milliseconds=1)
    transaction.execute("UPDATE mirror SET epoch = max(epoch + 1, seen_epoch + 1, ?)", (now,))


_FILL: Final = (
    "WITH kept AS (SELECT study_uid, received_at FROM studies WHERE state IN (?, ?, ?, ?)"
    "  UNION ALL SELECT study_uid, received_at FROM studies WHERE done_at >= ?),"
    " things AS ("
    "  SELECT k.*, 'event' AS kind, e.seq AS key, 0 AS rank FROM kept k CROSS JOIN events e USING (study_uid)"
    "   WHERE e.at >= ?"
    "  UNION ALL SELECT k.*, 'job', j.job_key, 1 FROM kept k CROSS JOIN jobs j USING (study_uid)"
    "  UNION ALL SELECT k.*, 'study', k.study_uid, 2 FROM kept k)"
    " INSERT INTO mirror_outbox (study_uid, kind, key, due_at)"
    " SELECT study_uid, kind, key, ? FROM things ORDER BY received_at DESC, study_uid, rank, key"
)
"""Study by study, so that what is too old is not even read."""


def _fill(transaction: Transaction, keep_days: int) -> None:
    """Put everything in that is not too old, the latest studies first."""
    since = kept_since(keep_days)
    open_states = [state for state in StudyState if state is not StudyState.DONE]
    transaction.execute("DELETE FROM mirror_outbox")
    transaction.execute(_FILL, (*open_states, since, since, utc_now()))
