"""Deliveries in the ledger: which is next, what is put off, for whom they wait, what a person may ask for."""

from collections.abc import Collection
from dataclasses import dataclass

from gateway.events import DeliveryChanged

from .records import DeliveryRow, utc_in, utc_now
from .results import plan_delivery
from .states import DeliveryEvent, DeliveryState, JobEvent, JobState
from .store import Ledger
from .transaction import NotPossible, StaleRow, Transaction


def next_delivery(ledger: Ledger, destination: str, resting: Collection[str] = ()) -> DeliveryRow | None:
    """What is to be sent to a destination now: of the most urgent job, but nothing that rests."""
    rows = ledger.read(
        "SELECT d.key FROM deliveries d JOIN jobs j USING (job_key)"
        " WHERE d.state = ? AND d.destination = ? ORDER BY j.priority DESC, d.created_at, d.rowid LIMIT ?",
        (DeliveryState.PENDING, destination, len(resting) + 1),
    )
    key = next((row["key"] for row in rows if row["key"] not in resting), None)
    rows = ledger.read("SELECT * FROM deliveries WHERE key = ?", (key,)) if key is not None else []
    return DeliveryRow.of(rows[0]) if rows else None


def pending_deliveries(ledger: Ledger, destination: str) -> list[DeliveryRow]:
    """Everything that waits for a destination, oldest first."""
    rows = ledger.read(
        "SELECT * FROM deliveries WHERE state = ? AND destination = ? ORDER BY created_at",
        (DeliveryState.PENDING, destination),
    )
    return [DeliveryRow.of(row) for row in rows]


def put_off_deliveries(ledger: Ledger, destination: str) -> dict[str, str]:
    """What is not to be sent to a destination before a time, each with it."""
    rows = ledger.read(
        "SELECT key, not_before FROM deliveries"
        " WHERE state = ? AND destination = ? AND not_before IS NOT NULL",
        (DeliveryState.PENDING, destination),
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


def backlogs(ledger: Ledger) -> list[Backlog]:
    """What waits, by the name of the destination, whether it is configured or not."""
    rows = ledger.read(
        "SELECT destination, count(*) AS number, min(pending_since) AS since FROM deliveries"
        " WHERE state = ? GROUP BY destination",
        (DeliveryState.PENDING,),
    )
    return [Backlog(row["destination"], row["number"], row["since"]) for row in rows]


# -- what a person may ask for ---------------------------------------------------------------------------


def retry_delivery(transaction: Transaction, key: str) -> None:
    """Send at once what failed or waits.

    Raises
    ------
    NotPossible
        It did neither.
    """
    row = transaction.delivery(key)
    if row.state is DeliveryState.FAILED:
        transaction.move_delivery(key, DeliveryEvent.RETRIED)
    elif row.state is DeliveryState.PENDING:
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
    transaction.move_delivery(key, DeliveryEvent.CANCELLED, reason=reason)
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
        It arrived, is over, or goes there anyway.
    """
    row = transaction.delivery(key)
    if row.state not in (DeliveryState.PENDING, DeliveryState.FAILED):
        raise NotPossible(f"this delivery is {row.state}; only one that failed or waits can be redirected")
    if row.destination == to:
        raise NotPossible(f"this delivery goes to {to}; name another destination, or retry it")
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
