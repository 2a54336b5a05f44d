"""Jobs in the ledger: which is next, what is put off, what a person may ask for (retry, cancel, release,
priority).
"""

from collections.abc import Collection
from typing import Final

from gateway.events import JobChanged

from .deliveries import retry_delivery
from .flags import FlagSource, add_flag, released_by_a_person
from .records import JobRow, utc_in, utc_now
from .states import AT_THE_QUEUE, DeliveryState, JobEvent, JobState
from .store import Ledger
from .transaction import NotPossible, Transaction
from .under_way import call_off

_BEFORE_THE_QUEUE: Final = (JobState.PLANNED, JobState.CONVERTED, JobState.STAGED)


def job(ledger: Ledger, job_key: str) -> JobRow | None:
    """One job, or None."""
    rows = ledger.read("SELECT * FROM jobs WHERE job_key = ?", (job_key,))
    return JobRow.of(rows[0]) if rows else None


def study_key_of_job(ledger: Ledger, job_key: str) -> str:
    """The key of a job's study; empty where there is none."""
    rows = ledger.read(
        "SELECT s.study_key FROM jobs j JOIN studies s ON s.study_uid = j.study_uid WHERE j.job_key = ?",
        (job_key,),
    )
    return str(rows[0]["study_key"]) if rows else ""


def next_job(
    ledger: Ledger, state: JobState, resting: Collection[str] = (), *, at_least: int | None = None
) -> JobRow | None:
    """The most urgent job in this state, the oldest of several, but none of those that rest.

    Parameters
    ----------
    at_least
        Only jobs of this priority or a higher one; None: all.
    """
    least = "" if at_least is None else f" AND priority >= {at_least:d}"
    rows = ledger.read(
        f"SELECT job_key FROM jobs WHERE state = ?{least} ORDER BY priority DESC, created_at LIMIT ?",
        (state, len(resting) + 1),
    )
    key = next((row["job_key"] for row in rows if row["job_key"] not in resting), None)
    return None if key is None else job(ledger, key)


def put_off_jobs(ledger: Ledger, state: JobState, *, but_for: str = "") -> dict[str, str]:
    """The jobs in this state that are not to be taken before a time, each with it.

    Parameters
    ----------
    but_for
        Those that are put off for such a reason are left out; a pattern of SQLite's GLOB.
    """
    rows = ledger.read(
        "SELECT job_key, not_before FROM jobs"
        " WHERE state = ? AND not_before IS NOT NULL AND reason NOT GLOB ?",
        (state, but_for),
    )
    return {row["job_key"]: row["not_before"] for row in rows}


def put_off_job(transaction: Transaction, job_key: str, *, delay_s: float, reason: str) -> None:
    """Try this step again later; the state stays, the reason is shown."""
    row = transaction.job(job_key)
    transaction.update(
        "jobs",
        "job_key",
        job_key,
        {
            "failures": row.failures + 1,
            "not_before": utc_in(delay_s),
            "reason": reason,
            "updated_at": utc_now(),
        },
    )
    transaction.note(
        "job.put_off", study_uid=row.study_uid, job_key=job_key, reason=reason, delay_s=round(delay_s, 1)
    )
    transaction.publish(JobChanged(job_key, row.study_uid, "put_off", row.state))
    transaction.settle_later(row.study_uid)


def wait_with_job(transaction: Transaction, job_key: str, *, delay_s: float, reason: str, on: str) -> None:
    """Try this step again later, and hold it against nobody; a new reason is shown, an old one not again.

    Parameters
    ----------
    on
        Whom or what it waits for: "outside", "machine", "turn".
    """
    row = transaction.job(job_key)
    transaction.update("jobs", "job_key", job_key, {"not_before": utc_in(delay_s)})
    if reason != row.reason:
        transaction.update("jobs", "job_key", job_key, {"reason": reason, "updated_at": utc_now()})
        transaction.note(f"job.waits_{on}", study_uid=row.study_uid, job_key=job_key, reason=reason)
        transaction.publish(JobChanged(job_key, row.study_uid, f"waits_{on}", row.state))
        transaction.settle_later(row.study_uid)


def retry(transaction: Transaction, key: str) -> None:
    """Take up what failed under this key, or try now what waits: a job, its deliveries, or one delivery.

    Raises
    ------
    NotPossible
        Nothing under this key failed or waits.
    """
    if transaction.one("SELECT 1 FROM deliveries WHERE key = ?", (key,)) is not None:
        retry_delivery(transaction, key)
        return
    row = transaction.job(key)
    failed, waiting = (
        transaction.execute(
            f"SELECT key FROM deliveries WHERE job_key = ? AND {condition}", (key, state)
        ).fetchall()
        for condition, state in (
            ("state = ?", DeliveryState.FAILED),
            ("(state = ? OR unkept_since IS NOT NULL)", DeliveryState.PENDING),
        )
    )
    if row.state is JobState.FAILED:
        transaction.move_job(key, JobEvent.RETRIED)
    elif row.state is JobState.CANCELLED:
        transaction.move_job(key, JobEvent.REPLANNED)
    elif row.not_before is not None:
        _try_now(transaction, row)
    elif not (failed or waiting):
        raise NotPossible(
            f"this job is {row.state}; only one that failed, waits or was cancelled can be retried"
        )
    for delivery in (*failed, *waiting):
        retry_delivery(transaction, delivery["key"])


def _try_now(transaction: Transaction, row: JobRow) -> None:
    """Do not wait any longer with the step that a job stands before."""
    transaction.update("jobs", "job_key", row.job_key, {"not_before": None, "updated_at": utc_now()})
    transaction.step("job.tried_now", row)


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
        call_off(transaction, delivery["key"], "")


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
    if row.resume_state is JobState.PLANNED:
        add_flag(transaction, job_key, FlagSource.ARRIVAL, released_by_a_person(row.reason))
    # Only flags are about the labels: what is held behind them is released for what it is held for.
    of_flags = {} if row.resume_state is JobState.ENCODED else {"released_labels": row.labels_sha256 or ""}
    transaction.move_job(job_key, JobEvent.RELEASED, columns=of_flags)


def set_priority(transaction: Transaction, job_key: str, priority: int | None) -> None:
    """Say how soon a job has its turn among those that are not handed to the queue yet; no plan changes it.

    Parameters
    ----------
    priority
        The higher, the sooner; None: before every job that waits now.

    Raises
    ------
    NotPossible
        The job does not wait to be handed to the queue.
    """
    row = transaction.job(job_key)
    if row.state not in _BEFORE_THE_QUEUE:
        raise NotPossible(f"this job is {row.state}; {_why_it_has_no_turn(row.state)}")
    if priority is None:
        others = (_highest_but_for(transaction, state, job_key) for state in _BEFORE_THE_QUEUE)
        priority = max([row.priority, *(other + 1 for other in others if other is not None)])
    transaction.update("jobs", "job_key", job_key, {"priority": priority, "updated_at": utc_now()})
    transaction.step("job.priority_set", row, priority=priority, before=row.priority)


def _highest_but_for(transaction: Transaction, state: JobState, job_key: str) -> int | None:
    """The highest priority of the other jobs in this state; None where there is none."""
    row = transaction.one(
        "SELECT priority FROM jobs WHERE state = ? AND job_key <> ? ORDER BY priority DESC LIMIT 1",
        (state, job_key),
    )
    return None if row is None else int(row["priority"])


def _why_it_has_no_turn(state: JobState) -> str:
    if state in AT_THE_QUEUE:
        return "the queue has it, where its place is settled; cancel it, then retry it, to hand it over anew"
    if state in (JobState.FAILED, JobState.QUARANTINED, JobState.CANCELLED):
        return "retry or release it first, then set its priority"
    return "nothing of it waits for the queue any more"


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" for _ in values)
