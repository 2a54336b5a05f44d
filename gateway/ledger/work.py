"""Work in the ledger: what is due, what is put off, what a person may ask for (retry, cancel, release)."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from gateway.events import DeliveryChanged, JobChanged

from .records import DeliveryRow, JobRow, utc_now, utc_text
from .states import (
    AT_THE_QUEUE,
    DeliveryEvent,
    DeliveryState,
    JobEvent,
    JobState,
)
from .store import Ledger
from .transaction import StaleRow, Transaction


class NotPossible(Exception):
    """What a person asked for cannot be done in the present state; the text says why and what can."""


def job(ledger: Ledger, job_key: str) -> JobRow | None:
    """One job, or None."""
    rows = ledger.read("SELECT * FROM jobs WHERE job_key = ?", (job_key,))
    return JobRow.of(rows[0]) if rows else None


def jobs_in(ledger: Ledger, states: Collection[JobState]) -> list[JobRow]:
    """Every job in one of these states, the most urgent first."""
    rows = ledger.read(
        f"SELECT * FROM jobs WHERE state IN ({_marks(states)}) ORDER BY priority DESC, created_at",
        tuple(states),
    )
    return [JobRow.of(row) for row in rows]


def next_job(ledger: Ledger, state: JobState, resting: Collection[str] = ()) -> JobRow | None:
    """The most urgent job in this state, the oldest of several, but none of those that rest."""
    rows = ledger.read(
        "SELECT job_key FROM jobs WHERE state = ? ORDER BY priority DESC, created_at LIMIT ?",
        (state, len(resting) + 1),
    )
    key = next((row["job_key"] for row in rows if row["job_key"] not in resting), None)
    return None if key is None else job(ledger, key)


def put_off_jobs(ledger: Ledger, state: JobState) -> dict[str, str]:
    """The jobs in this state that are not to be taken before a time, each with it."""
    rows = ledger.read(
        "SELECT job_key, not_before FROM jobs WHERE state = ? AND not_before IS NOT NULL", (state,)
    )
    return {row["job_key"]: row["not_before"] for row in rows}


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


def put_off_job(transaction: Transaction, job_key: str, *, delay_s: float, reason: str) -> None:
    """Try this step again later; the state stays, the reason is shown."""
    row = transaction.job(job_key)
    transaction.update(
        "jobs",
        "job_key",
        job_key,
        {"failures": row.failures + 1, "not_before": _in(delay_s), "reason": reason, "updated_at": utc_now()},
    )
    transaction.note(
        "job.put_off", study_uid=row.study_uid, job_key=job_key, reason=reason, delay_s=round(delay_s, 1)
    )
    transaction.publish(JobChanged(job_key, row.study_uid, "put_off", row.state))


def wait_with_job(transaction: Transaction, job_key: str, *, delay_s: float, reason: str, on: str) -> None:
    """Try this step again later, and hold it against nobody; a new reason is shown, an old one not again.

    Parameters
    ----------
    on
        Whom it waits for: "outside", "machine".
    """
    row = transaction.job(job_key)
    transaction.update("jobs", "job_key", job_key, {"not_before": _in(delay_s)})
    if reason != row.reason:
        transaction.update("jobs", "job_key", job_key, {"reason": reason, "updated_at": utc_now()})
        transaction.note(f"job.waits_{on}", study_uid=row.study_uid, job_key=job_key, reason=reason)
        transaction.publish(JobChanged(job_key, row.study_uid, f"waits_{on}", row.state))
        transaction.settle_later(row.study_uid)


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
        {"attempts": row.attempts + 1, "not_before": _in(delay_s), "updated_at": utc_now()},
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
    transaction.note(
        "delivery.put_off",
        study_uid=row.study_uid,
        job_key=row.job_key,
        delivery_key=row.key,
        reason=reason,
        destination=row.destination,
    )
    transaction.publish(DeliveryChanged(row.key, row.study_uid, "put_off", row.state))
    transaction.settle_later(row.study_uid)


def retry(transaction: Transaction, key: str) -> None:
    """Take up what failed under this key: a job, its deliveries, or one delivery.

    Raises
    ------
    NotPossible
        Nothing under this key failed.
    """
    delivery = transaction.one("SELECT state FROM deliveries WHERE key = ?", (key,))
    if delivery is not None:
        if delivery["state"] != DeliveryState.FAILED:
            raise NotPossible(f"this delivery is {delivery['state']}; only a failed one can be retried")
        transaction.move_delivery(key, DeliveryEvent.RETRIED)
        return
    job_row = transaction.job(key)
    failed = transaction.execute(
        "SELECT key FROM deliveries WHERE job_key = ? AND state = ?", (key, DeliveryState.FAILED)
    ).fetchall()
    if job_row.state is JobState.FAILED:
        transaction.move_job(key, JobEvent.RETRIED)
    elif job_row.state is JobState.CANCELLED:
        transaction.move_job(key, JobEvent.REPLANNED)
    elif not failed:
        raise NotPossible(f"this job is {job_row.state}; only a failed or cancelled one can be retried")
    for row in failed:
        transaction.move_delivery(row["key"], DeliveryEvent.RETRIED)


def cancel(transaction: Transaction, job_key: str) -> None:
    """Stop a job and whatever it has not delivered.

    Raises
    ------
    NotPossible
        The job is over.
    """
    row = transaction.job(job_key)
    if row.state in (JobState.DELIVERED, JobState.CANCELLED, JobState.SUPERSEDED):
        raise NotPossible(f"this job is {row.state}; there is nothing to cancel")
    not_arrived = transaction.execute(
        "SELECT key FROM deliveries WHERE job_key = ? AND state IN (?, ?)",
        (job_key, DeliveryState.PENDING, DeliveryState.FAILED),
    ).fetchall()
    transaction.move_job(job_key, JobEvent.CANCELLED)
    for delivery in not_arrived:
        transaction.move_delivery(delivery["key"], DeliveryEvent.CANCELLED)


def release(transaction: Transaction, job_key: str) -> None:
    """Let a held job go on.

    Raises
    ------
    NotPossible
        The job is not held.
    """
    row = transaction.job(job_key)
    if row.state is not JobState.QUARANTINED:
        raise NotPossible(f"this job is {row.state}; only a quarantined one can be released")
    transaction.move_job(job_key, JobEvent.RELEASED)


def runs_lost_in_a_row(ledger: Ledger, job_key: str, on: str = "work") -> int:
    """How many runs of a job were lost since a person last asked for it.

    Parameters
    ----------
    on
        By whose fault: "work", its own; "machine"; "outside", where also that the queue took one begins anew.
    """
    anew = ["job.retried", "job.replanned", *(["job.accepted", "job.adopted"] if on == "outside" else [])]
    rows = ledger.read(
        "SELECT count(*) AS lost FROM events WHERE job_key = ? AND event = 'job.run_lost'"
        " AND coalesce(json_extract(detail, '$.on'),"
        " iif(json_extract(detail, '$.blameless'), '', 'work')) = ?"
        " AND seq > (SELECT coalesce(max(seq), 0)"
        f" FROM events WHERE job_key = ? AND event IN ({_marks(anew)}))",
        (job_key, on, job_key, *anew),
    )
    return int(rows[0]["lost"])


def open_runs_of_ended_jobs(ledger: Ledger) -> list[JobRow]:
    """Jobs that nobody wants any more, whose run may still live at the queue."""
    ended = (JobState.CANCELLED, JobState.SUPERSEDED, JobState.FAILED)
    rows = ledger.read(
        f"SELECT * FROM jobs INDEXED BY jobs_by_open_run WHERE run_open = 1 AND state IN ({_marks(ended)})",
        ended,
    )
    return [JobRow.of(row) for row in rows]


def newer_run(job_row: JobRow, run: int) -> bool:
    """Whether news of `run` still matters: late or repeated news of an older run changes nothing."""
    return job_row.state in AT_THE_QUEUE and run >= job_row.run


def is_next(job_row: JobRow, order: tuple[int, int, int]) -> bool:
    """Whether news of this (run, attempt, rank) come after the last that were taken in."""
    return job_row.state in AT_THE_QUEUE and order > (job_row.run, job_row.attempt, job_row.rank)


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" for _ in values)


def _in(delay_s: float) -> str:
    return utc_text(datetime.now(UTC) + timedelta(seconds=delay_s))
