"""What receivers are told: how far each of them is told, what it is to be told next, and its messages.

What happened becomes an occasion, in the transaction that notes how far the timeline was read; some occasions
become a message, in the transaction that strikes them out; a message is sent under one key until it has
arrived. So a kill loses nothing, and what is sent twice can be known again.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from .happenings import newest_line
from .records import utc_in, utc_now
from .states import JOB_OPEN, DeliveryState, JobState
from .store import Ledger
from .transaction import Transaction

LINES_AT_ONCE: Final = 2000
KEPT_DAYS: Final = 30
"""How long a message is remembered after it has arrived, or was given up."""


class MessageState(StrEnum):
    """Where a message is."""

    PENDING = "pending"  # to be sent, now or at its next time
    SENT = "sent"  # its receiver took it
    FAILED = "failed"  # given up


@dataclass(frozen=True)
class ReceiverRow:
    """How far a receiver is told."""

    name: str
    counted: int
    waiting_upto: str
    standing: Mapping[str, str]
    """What it was told that is not over, by occasion, since when."""
    quiet_until: str
    gap_s: float
    summed_up_at: str
    summed_up: int


@dataclass(frozen=True)
class OccasionRow:
    """What a receiver is to be told."""

    kind: str
    study_key: str
    sentence: str
    since: str
    state: str
    """Of the study now; empty: it is not about one, or is forgotten."""


@dataclass(frozen=True)
class MessageRow:
    """One message."""

    key: str
    receiver: str
    message: str
    state: MessageState
    reason: str
    attempts: int
    not_before: str
    made_at: str
    ended_at: str | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Read one row."""
        return cls(**{**dict(row), "state": MessageState(row["state"])})


@dataclass(frozen=True)
class Stuck:
    """A job or a delivery of which a study tells: keys, names of the configuration, and a code."""

    key: str
    where: str
    """A job's task; a delivery's destination."""
    rule: str
    code: str


# -- who --------------------------------------------------------------------------------------------------


def keep_receivers(transaction: Transaction, names: Collection[str], waiting_upto: str) -> None:
    """Know these and no others: who is new is told what happens from now on."""
    wanted = json.dumps(list(names))
    transaction.execute("DELETE FROM receivers WHERE name NOT IN (SELECT value FROM json_each(?))", (wanted,))
    transaction.execute(  # a ledger that was rebuilt, or put back, may end before that
        "UPDATE receivers SET counted = min(counted, newest), summed_up = min(summed_up, newest)"
        " FROM (SELECT coalesce(max(seq), 0) AS newest FROM events)"
    )
    transaction.execute(
        "INSERT OR IGNORE INTO receivers"
        " (name, counted, waiting_upto, quiet_until, gap_s, summed_up_at, summed_up)"
        " SELECT value, newest, ?, ?, 0, ?, newest FROM json_each(?),"
        " (SELECT coalesce(max(seq), 0) AS newest FROM events)",
        (waiting_upto, utc_now(), utc_now(), wanted),
    )


def receiver(ledger: Ledger, name: str) -> ReceiverRow:
    """How far one is told; StopIteration where there is none of that name."""
    row = next(iter(ledger.read("SELECT * FROM receivers WHERE name = ?", (name,))))
    return ReceiverRow(**{**dict(row), "standing": json.loads(row["standing"])})


# -- what happened ------------------------------------------------------------------------------------------


def gather_lines(ledger: Ledger, name: str, events: Mapping[str, str], rules: Sequence[str]) -> bool:
    """Make occasions of the next part of the timeline; whether it was the last.

    Parameters
    ----------
    events
        Those that matter, each with its kind of occasion.
    rules
        Only of studies with a job of one of these; none: of all.
    """
    counted = receiver(ledger, name).counted
    newest = newest_line(ledger)
    upto = min(newest, counted + LINES_AT_ONCE)
    found = ledger.read(
        "SELECT e.event, e.at, s.study_key FROM events e JOIN studies s ON s.study_uid = e.study_uid"
        " WHERE e.seq > ? AND e.seq <= ? AND e.event IN (SELECT value FROM json_each(?))"
        " AND (? = '[]' OR EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = e.study_uid"
        "  AND j.rule IN (SELECT value FROM json_each(?))))",
        (counted, upto, json.dumps(list(events)), json.dumps(list(rules)), json.dumps(list(rules))),
    )
    if found or upto < newest:  # else the same part is read once more, which costs less than a commit
        with ledger.transaction() as transaction:
            for row in found:
                add_occasion(transaction, name, events[row["event"]], row["study_key"], since=row["at"])
            transaction.update("receivers", "name", name, {"counted": upto})
            transaction.transitions.append("messages.gathered")
    return upto == newest


def gather_waiting(ledger: Ledger, name: str, kind: str, rules: Sequence[str], still_since: str) -> None:
    """Make occasions of open studies that got no further since a time, and were not told yet."""
    told = receiver(ledger, name).waiting_upto
    found = ledger.read(
        "SELECT s.study_key, s.updated_at FROM studies s WHERE s.state IN ('receiving', 'processing')"
        " AND s.updated_at > ? AND s.updated_at <= ?"
        " AND (? = '[]' OR EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = s.study_uid"
        "  AND j.rule IN (SELECT value FROM json_each(?))))",
        (told, still_since, json.dumps(list(rules)), json.dumps(list(rules))),
    )
    if found:
        with ledger.transaction() as transaction:
            for row in found:
                add_occasion(transaction, name, kind, row["study_key"], since=row["updated_at"])
            transaction.update("receivers", "name", name, {"waiting_upto": still_since})


def add_occasion(
    transaction: Transaction,
    name: str,
    kind: str,
    study_key: str = "",
    *,
    sentence: str = "",
    since: str = "",
) -> None:
    """Have a receiver told; what it is to be told already is told once."""
    transaction.execute(
        "INSERT OR REPLACE INTO occasions (receiver, kind, study_key, sentence, since)"
        " VALUES (?, ?, ?, ?, ?)",
        (name, kind, study_key, sentence, since or utc_now()),
    )


def occasions_of(ledger: Ledger, name: str) -> list[OccasionRow]:
    """What a receiver is to be told, the first first."""
    rows = ledger.read(
        "SELECT o.kind, o.study_key, o.sentence, o.since, coalesce(s.state, '') AS state FROM occasions o"
        " LEFT JOIN studies s ON s.study_key = o.study_key WHERE o.receiver = ? ORDER BY o.since",
        (name,),
    )
    return [OccasionRow(**dict(row)) for row in rows]


def lines_by_event(ledger: Ledger, after: int) -> tuple[dict[str, int], int]:
    """How often each event stands in the timeline after a line, and where it ends for now."""
    newest = newest_line(ledger)
    rows = ledger.read(
        "SELECT event, count(*) AS number FROM events WHERE seq > ? AND seq <= ? GROUP BY event",
        (after, newest),
    )
    return {row["event"]: row["number"] for row in rows}, newest


# -- what a study says of itself ----------------------------------------------------------------------------

_STUCK_JOBS: Final = {"failed": (JobState.FAILED,), "held": (JobState.QUARANTINED,)}
_STUCK_DELIVERIES: Final = {
    "failed": (DeliveryState.FAILED,), "held": (), "processing": (DeliveryState.PENDING,)
}  # fmt: skip


def stuck_of(ledger: Ledger, study_key: str, state: str, most: int) -> tuple[list[Stuck], list[Stuck]]:
    """The jobs and deliveries by which a study is in a state; `most` of each."""
    of_jobs = json.dumps(_STUCK_JOBS.get(state, tuple(JOB_OPEN)))
    jobs = ledger.read(
        "SELECT j.job_key, j.task, j.rule, j.state FROM studies s JOIN jobs j ON j.study_uid = s.study_uid"
        " WHERE s.study_key = ? AND j.state IN (SELECT value FROM json_each(?)) LIMIT ?",
        (study_key, of_jobs, most),
    )
    deliveries = ledger.read(
        "SELECT d.key, d.destination, d.state, d.attempts, j.rule FROM studies s"
        " JOIN deliveries d ON d.study_uid = s.study_uid JOIN jobs j ON j.job_key = d.job_key"
        " WHERE s.study_key = ? AND d.state IN (SELECT value FROM json_each(?)) LIMIT ?",
        (study_key, json.dumps(_STUCK_DELIVERIES.get(state, ())), most),
    )
    return (
        [Stuck(row["job_key"], row["task"], row["rule"], _code(ledger, row)) for row in jobs],
        [
            Stuck(row["key"], row["destination"], row["rule"], f"{row['state']} attempts={row['attempts']}")
            for row in deliveries
        ],
    )


def _code(ledger: Ledger, job: Any) -> str:
    """A job's state with the event that last gave a reason, and an exit code where it had one."""
    rows = ledger.read(
        "SELECT event, json_extract(detail, '$.exit_code') AS exit_code FROM events WHERE job_key = ?"
        " AND json_extract(detail, '$.reason') IS NOT NULL ORDER BY seq DESC LIMIT 1",
        (job["job_key"],),
    )
    said = [rows[0]["event"].removeprefix("job.")] if rows else []
    exits = [f"exit={rows[0]['exit_code']}"] if rows and isinstance(rows[0]["exit_code"], int) else []
    return " ".join(dict.fromkeys([job["state"], *said, *exits]))


# -- messages -----------------------------------------------------------------------------------------------


def strike_out_occasions(transaction: Transaction, name: str, told: Sequence[OccasionRow]) -> None:
    """Say that these are told, or not worth it any more; what came again since stays."""
    for each in told:
        transaction.execute(
            "DELETE FROM occasions WHERE receiver = ? AND kind = ? AND study_key = ? AND since = ?",
            (name, each.kind, each.study_key, each.since),
        )


def add_message(transaction: Transaction, key: str, name: str, message: str) -> None:
    """Write a message down, and forget the old ones that have ended."""
    transaction.execute(
        "INSERT INTO messages (key, receiver, message, state, made_at) VALUES (?, ?, ?, 'pending', ?)",
        (key, name, message, utc_now()),
    )
    transaction.execute(
        "DELETE FROM messages WHERE receiver = ? AND made_at < ? AND state <> 'pending'",
        (name, utc_in(-KEPT_DAYS * 86400.0)),
    )
    transaction.transitions.append("messages.made")


def pending_message(ledger: Ledger, name: str) -> MessageRow | None:
    """The message that a receiver is to have next, or None."""
    rows = ledger.read(
        "SELECT * FROM messages WHERE receiver = ? AND state = 'pending' ORDER BY made_at LIMIT 1", (name,)
    )
    return MessageRow.of(rows[0]) if rows else None


def last_message(ledger: Ledger, name: str) -> MessageRow | None:
    """The last that was made for a receiver, or None."""
    rows = ledger.read("SELECT * FROM messages WHERE receiver = ? ORDER BY made_at DESC LIMIT 1", (name,))
    return MessageRow.of(rows[0]) if rows else None


def end_message(transaction: Transaction, key: str, state: MessageState, reason: str = "") -> None:
    """Say that it arrived, or that it is given up."""
    transaction.update("messages", "key", key, {"state": state, "reason": reason, "ended_at": utc_now()})
    transaction.transitions.append(f"messages.{state}")


def put_off_message(transaction: Transaction, message: MessageRow, reason: str, delay_s: float) -> None:
    """Say why it did not arrive, and when it is sent again."""
    values = {"reason": reason, "attempts": message.attempts + 1, "not_before": utc_in(delay_s)}
    transaction.update("messages", "key", message.key, values)
