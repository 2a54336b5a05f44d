"""Deliveries in the ledger: which is next, what is put off, for whom they wait, what a person may ask for."""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Final

from gateway.events import DeliveryChanged

from .records import DeliveryRow, utc_in, utc_now
from .results import plan_delivery
from .states import DeliveryEvent, DeliveryState, JobEvent, JobState
from .store import Ledger
from .transaction import NotPossible, StaleRow, Transaction
from .under_way import call_off, is_wanted

MOST_PUT_OFF: Final = 1000
"""So many that are put off are looked at; others have their turn when some of these had theirs."""
_PAGE: Final = 500
_TOGETHER: Final = 100
"""So many may go at once."""
_AT_ONCE: Final = 100
"""Told in one transaction."""
_IS_NOT_HELD: Final = (
    " AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.job_key = d.job_key AND j.state = 'quarantined')"
)


def next_delivery(
    ledger: Ledger, destination: str, resting: Collection[str] = (), due: Collection[str] = ()
) -> DeliveryRow | None:
    """What is to be sent to a destination now: of the most urgent job, but nothing that rests or is held.

    Parameters
    ----------
    due
        Of what was put off, that whose time has come; what was never put off is due.
    """
    sql = (
        "SELECT d.* FROM deliveries d INDEXED BY deliveries_due WHERE state = 'pending'"
        f" AND not_before IS NULL AND destination = ?{_IS_NOT_HELD}"
        " ORDER BY priority DESC, created_at, d.rowid LIMIT ? OFFSET ?"
    )
    found: list[DeliveryRow] = []
    size = _PAGE if resting else 1
    for offset in count(0, size):
        page = [DeliveryRow.of(row) for row in ledger.read(sql, (destination, size, offset))]
        found = [row for row in page if row.key not in resting][:1]
        if found or not page:
            break
    if due:
        rows = ledger.read(
            "SELECT d.* FROM json_each(?) k CROSS JOIN deliveries d ON d.key = k.value"
            f" WHERE d.state = ? AND d.destination = ?{_IS_NOT_HELD}"
            " ORDER BY d.priority DESC, d.created_at, d.rowid LIMIT 1",
            (json.dumps(sorted(due)), DeliveryState.PENDING, destination),
        )
        found += map(DeliveryRow.of, rows)
    return min(found, key=lambda row: (-row.priority, row.created_at), default=None)


def due_of_job(ledger: Ledger, destination: str, job_key: str, resting: Collection[str]) -> list[DeliveryRow]:
    """What is due of one job, in its order, as far as it comes next at a destination; nothing that rests."""
    rows = ledger.read(
        "SELECT * FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending' AND not_before IS NULL"
        " AND destination = ? ORDER BY priority DESC, created_at, rowid LIMIT ?",
        (destination, _TOGETHER),
    )
    return [row for row in map(DeliveryRow.of, rows) if row.job_key == job_key and row.key not in resting]


def is_any_pending(ledger: Ledger, destination: str) -> bool:
    """Whether anything waits for a destination."""
    sql = "SELECT 1 FROM deliveries WHERE state = 'pending' AND destination = ? LIMIT 1"
    return bool(ledger.read(sql, (destination,)))


def still_pending(ledger: Ledger, destination: str, keys: Collection[str]) -> set[str]:
    """Which of these wait for a destination."""
    rows = ledger.read(
        "SELECT d.key FROM json_each(?) k CROSS JOIN deliveries d ON d.key = k.value"
        " WHERE d.state = ? AND d.destination = ?",
        (json.dumps(sorted(keys)), DeliveryState.PENDING, destination),
    )
    return {row["key"] for row in rows}


def pending_deliveries(
    ledger: Ledger, destination: str, after: tuple[str, str] = ("", "")
) -> Iterator[DeliveryRow]:
    """Everything that waits for a destination and is not held, the longest wait first; read in parts.

    Parameters
    ----------
    after
        Since when something waits, and its key: only what comes after that.
    """
    while True:
        rows = ledger.read(
            "SELECT d.* FROM deliveries d INDEXED BY deliveries_pending WHERE state = 'pending'"
            f" AND destination = ? AND (pending_since, key) > (?, ?){_IS_NOT_HELD}"
            " ORDER BY pending_since, key LIMIT ?",
            (destination, *after, _PAGE),
        )
        if not rows:
            return
        after = rows[-1]["pending_since"], rows[-1]["key"]
        yield from map(DeliveryRow.of, rows)


def put_off_deliveries(ledger: Ledger, destination: str) -> dict[str, str]:
    """What is not to be sent to a destination before a time, each with it; the first of them."""
    rows = ledger.read(
        "SELECT key, not_before FROM deliveries INDEXED BY deliveries_put_off WHERE state = 'pending'"
        " AND not_before IS NOT NULL AND destination = ? ORDER BY not_before LIMIT ?",
        (destination, MOST_PUT_OFF),
    )
    return {row["key"]: row["not_before"] for row in rows}


def put_off_delivery(transaction: Transaction, key: str, *, delay_s: float, reason: str) -> None:
    """Send again later; the state stays, the reason is shown.

    Raises
    ------
    StaleRow
        It does not wait any more.
    """
    row = transaction.delivery(key)
    transaction.update(
        "deliveries",
        "key",
        key,
        {"attempts": row.attempts + 1, "not_before": utc_in(delay_s), "updated_at": utc_now()},
    )
    say_why_it_waits(transaction, key, reason)


def tell_all(
    ledger: Ledger,
    destination: str,
    reason: str,
    is_stopping: Callable[[], bool] = lambda: False,
    *,
    but_who_says_one: bool = False,
) -> int:
    """Show at everything that waits for a destination why it does, some at a time.

    Parameters
    ----------
    but_who_says_one
        What says a reason already keeps it.

    Returns
    -------
    How many were told.
    """
    told = 0
    sides = [("=", "")] if but_who_says_one else [("<", reason), (">", reason)]
    while not is_stopping():
        rows = [
            row
            for side, than in sides
            for row in ledger.read(
                "SELECT key FROM deliveries INDEXED BY deliveries_by_reason WHERE state = 'pending'"
                f" AND destination = ? AND reason {side} ? LIMIT ?",
                (destination, than, _AT_ONCE),
            )
        ]
        if not rows:
            break
        with ledger.transaction() as transaction:
            for row in rows:
                with suppress(StaleRow):  # it moved meanwhile
                    say_why_it_waits(transaction, row["key"], reason)
        told += len(rows)
    return told


def say_why_it_waits(transaction: Transaction, key: str, reason: str) -> None:
    """Show why a delivery waits; what was said already is not said again.

    Raises
    ------
    StaleRow
        It does not wait any more.
    """
    row = transaction.delivery(key)
    if row.state is not DeliveryState.PENDING:
        raise StaleRow(f"the delivery is {row.state}")
    if reason == row.reason:  # a PACS that is away for a day makes one line, not a thousand
        return
    transaction.update("deliveries", "key", row.key, {"reason": reason, "updated_at": utc_now()})
    _note(transaction, "put_off", row, reason=reason)
    transaction.publish(DeliveryChanged(row.key, row.study_uid, "put_off", row.state))
    transaction.settle_later(row.study_uid)


# -- for whom they wait ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backlog:
    """What waits for one destination.

    Parameters
    ----------
    since
        Since when the oldest waits.
    """

    destination: str
    number: int
    since: str


def awaited_destinations(ledger: Ledger) -> list[str]:
    """The names that something waits for, whether they are configured or not."""
    names: list[str] = []
    while True:  # from name to name, not from row to row
        rows = ledger.read(
            "SELECT destination FROM deliveries INDEXED BY deliveries_pending WHERE state = 'pending'"
            " AND destination > ? ORDER BY destination LIMIT 1",
            (names[-1] if names else "",),
        )
        if not rows:
            return names
        names.append(rows[0]["destination"])


def backlog_for(ledger: Ledger, destination: str) -> Backlog | None:
    """What waits for one destination; None where nothing does."""
    row = ledger.read(
        "SELECT count(*) AS number, min(pending_since) AS since FROM deliveries INDEXED BY deliveries_pending"
        " WHERE state = 'pending' AND destination = ?",
        (destination,),
    )[0]
    return Backlog(destination, row["number"], row["since"]) if row["number"] else None


@dataclass(frozen=True)
class Standing(Backlog):
    """What waits for one destination, and why: as the one says that waits for the longest."""

    reason: str


def standing_of(ledger: Ledger) -> list[Standing]:
    """How each destination stands that something waits for."""
    found = []
    for name in awaited_destinations(ledger):
        backlog, first = backlog_for(ledger, name), next(pending_deliveries(ledger, name), None)
        if backlog is not None and first is not None:
            found.append(Standing(name, backlog.number, backlog.since, first.reason))
    return found


def failed_by_destination(ledger: Ledger) -> dict[str, int]:
    """How many deliveries are failed, by destination."""
    rows = ledger.read(
        "SELECT destination, count(*) AS number FROM deliveries INDEXED BY deliveries_failed"
        " WHERE state = 'failed' GROUP BY destination"
    )
    return {row["destination"]: row["number"] for row in rows}


# -- what a person may ask for ---------------------------------------------------------------------------


def retry_delivery(transaction: Transaction, key: str) -> None:
    """Send at once what failed or waits.

    Raises
    ------
    NotPossible
        It did neither, or would arrive after what took its place, and after the note that rejects it.
    """
    row = transaction.delivery(key)
    if row.state is DeliveryState.FAILED:
        if not is_wanted(transaction, row):
            raise NotPossible("a newer object took the place of this one; drop it")
        transaction.move_delivery(key, DeliveryEvent.RETRIED)
    elif row.is_open:
        transaction.update("deliveries", "key", key, {"not_before": None, "updated_at": utc_now()})
        _note(transaction, "tried_now", row)
        transaction.publish(DeliveryChanged(key, row.study_uid, "tried_now", row.state))
    else:
        raise NotPossible(f"this delivery is {row.state}; only one that failed or waits can be retried")


def drop_delivery(transaction: Transaction, key: str, *, reason: str = "a person dropped it") -> None:
    """Do not send it any more; a job is over with the last of its deliveries.

    Raises
    ------
    NotPossible
        It arrived, or is over.
    """
    row = transaction.delivery(key)
    if row.state not in (DeliveryState.PENDING, DeliveryState.FAILED):
        raise NotPossible(f"this delivery is {row.state}; only one that failed or waits can be dropped")
    call_off(transaction, key, reason)
    job = transaction.job(row.job_key)
    if job.state is JobState.ENCODED and not _goes_anywhere(transaction, row.job_key):
        transaction.move_job(row.job_key, JobEvent.CANCELLED, reason="every delivery of it was dropped")


def redirect_delivery(transaction: Transaction, key: str, to: str) -> None:
    """Send it elsewhere instead; what is there already is not sent there again.

    Parameters
    ----------
    to
        The name of a destination that is configured.

    Raises
    ------
    NotPossible
        It arrived, is over, goes there anyway, or is only sent to its end for it may be where it goes.
    """
    row = transaction.delivery(key)
    if row.state not in (DeliveryState.PENDING, DeliveryState.FAILED):
        raise NotPossible(f"this delivery is {row.state}; only one that failed or waits can be redirected")
    if row.destination == to:
        raise NotPossible(f"this delivery goes to {to}; name another destination, or retry it")
    if not is_wanted(transaction, row):
        raise NotPossible("a newer object takes the place of this one; resend that, and drop this one")
    plan_delivery(transaction, transaction.job(row.job_key), row.sop_instance_uid, to)
    drop_delivery(transaction, key, reason=f"redirected to {to}")


def _goes_anywhere(transaction: Transaction, job_key: str) -> bool:
    """Whether an object of a job's present result is wanted somewhere, or arrived there."""
    sql = (
        "SELECT 1 FROM deliveries d JOIN result_objects o USING (job_key, sop_instance_uid)"
        " WHERE d.job_key = ? AND o.is_current = 1 AND d.state <> ? LIMIT 1"
    )
    return transaction.one(sql, (job_key, DeliveryState.CANCELLED)) is not None


def _note(transaction: Transaction, what: str, row: DeliveryRow, **detail: str) -> None:
    transaction.note(
        f"delivery.{what}",
        study_uid=row.study_uid,
        job_key=row.job_key,
        delivery_key=row.key,
        destination=row.destination,
        **detail,
    )
