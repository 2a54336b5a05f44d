"""Slots: what a revision is a revision of, and how what stands in one gives way."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from gateway.config.outputs import NOTE

from .records import JobRow
from .states import DELIVERY_ARRIVED, DeliveryState, JobEvent, JobState
from .store import Ledger
from .transaction import StaleRow, Transaction
from .under_way import give_way

_BESIDE: Final = "+"
"""Stands in no UID, task or key."""


def slot_beside(slot: str, task: str) -> str:
    """The slot of a further task on the volume of a slot, which a person asks for and no plan knows."""
    return f"{slot.partition(_BESIDE)[0]}{_BESIDE}{task}"


def is_beside(job: JobRow) -> bool:
    """Whether a person asked for that job, beside what rules plan."""
    return _BESIDE in job.slot


def jobs_beside(transaction: Transaction, study_uid: str, slot: str) -> list[JobRow]:
    """The further tasks on the volumes of a slot."""
    begins = f"{slot}{_BESIDE}"
    rows = transaction.execute(
        "SELECT * FROM jobs WHERE study_uid = ? AND substr(slot, 1, ?) = ?", (study_uid, len(begins), begins)
    )
    return [JobRow.of(row) for row in rows.fetchall()]


def move_to_slot(transaction: Transaction, job: JobRow, slot: str) -> None:
    """Let a job, with what stands beside it, be in another slot."""
    for each in jobs_beside(transaction, job.study_uid, job.slot):
        transaction.update("jobs", "job_key", each.job_key, {"slot": slot + each.slot[len(job.slot) :]})
    transaction.update("jobs", "job_key", job.job_key, {"slot": slot})


@dataclass(frozen=True)
class GivenUp:
    """A slot whose volume gives way to another of the same scan, and why.

    Parameters
    ----------
    is_by_choice
        A person decided it; else only a slot of which nothing is delivered gives way.
    """

    slot: str
    reason: str
    is_by_choice: bool = False


def give_up(transaction: Transaction, study_uid: str, given_up: GivenUp) -> None:
    """Let a volume give way.

    Raises
    ------
    StaleRow
        Something of it was delivered meanwhile, and nobody decided that it gives way all the same.
    """
    if not given_up.is_by_choice and given_up.slot in _delivered_slots(transaction.execute, study_uid):
        raise StaleRow("it was delivered while the study was planned")
    supersede_slot(transaction, study_uid, given_up.slot, given_up.reason)


def delivered_slots(ledger: Ledger, study_uid: str) -> frozenset[str]:
    """The slots of a study of which something has arrived somewhere, or may have, of whatever revision."""
    return _delivered_slots(ledger.read, study_uid)


def _delivered_slots(
    read: Callable[[str, tuple[Any, ...]], Iterable[sqlite3.Row]], study_uid: str
) -> frozenset[str]:
    rows = read(
        "SELECT DISTINCT j.slot FROM jobs j JOIN deliveries d USING (job_key)"
        " WHERE j.study_uid = ? AND (d.state IN (?, ?) OR d.begun_at IS NOT NULL)",
        (study_uid, *DELIVERY_ARRIVED),
    )
    return frozenset(row["slot"] for row in rows)


def supersede_slot(transaction: Transaction, study_uid: str, slot: str, reason: str) -> None:
    """Whatever was planned in this slot and is not delivered yet is not delivered any more."""
    rows = transaction.execute(
        "SELECT * FROM jobs WHERE study_uid = ? AND slot = ?", (study_uid, slot)
    ).fetchall()
    for row in rows:
        _supersede(transaction, JobRow.of(row), reason)


def supersede_beside(transaction: Transaction, study_uid: str, slot: str, volume: str, reason: str) -> None:
    """Let give way what is beside a slot, of other images than those of the volume with this digest."""
    for job in jobs_beside(transaction, study_uid, slot):
        if job.volume_sha256 != volume:
            _supersede(transaction, job, reason)


def _supersede(transaction: Transaction, job: JobRow, reason: str) -> None:
    supersede_deliveries(transaction, job.job_key)
    if job.state not in (JobState.DELIVERED, JobState.CANCELLED, JobState.SUPERSEDED):
        transaction.move_job(job.job_key, JobEvent.SUPERSEDED, reason=reason)


def supersede_deliveries(transaction: Transaction, job_key: str) -> None:
    """End every delivery of a job that has not arrived; what may have is carried to its end first.

    A note that rejects what was delivered before holds whatever comes after it.
    """
    rows = transaction.execute(
        "SELECT key FROM deliveries d WHERE job_key = ? AND state IN (?, ?) AND NOT EXISTS"
        " (SELECT 1 FROM result_objects o WHERE o.sop_instance_uid = d.sop_instance_uid AND o.output = ?)",
        (job_key, DeliveryState.PENDING, DeliveryState.FAILED, NOTE),
    ).fetchall()
    for row in rows:
        give_way(transaction, row["key"])
