"""Delivered objects that do not count any more, and what their destinations are told of that.

One is written down in the transaction that makes it so: by a newer result of the same volume and task, or by
a note that rejects its images. It waits until its destination was told, or it is known that it cannot be.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.config.outputs import NOTE

from .records import JobRow, ResultObjectRow, utc_now
from .results import ResultObject, plan_delivery
from .states import DELIVERY_ARRIVED, DeliveryEvent, DeliveryState, JobState
from .store import Ledger
from .transaction import Transaction

_COUNTS: Final = (JobState.ENCODED, JobState.DELIVERED)
WAITING: Final = (
    "{destination} still has {objects} of an earlier result of this study; that is dealt with as soon as it"
    " has the newer one and can be reached"
)


class Told(StrEnum):
    """How far a withdrawal is."""

    WAITING = "waiting"
    TOLD = "told"  # a note was made, which is delivered as any object is; or it was deleted there
    LEFT = "left"  # it stays there: `reason` says why


@dataclass(frozen=True)
class Withdrawal:
    """One delivered object that does not count any more, at one destination.

    Parameters
    ----------
    job_key
        Whose result takes its place, or whose it is.
    code
        As what it is rejected, where that is known beforehand; empty: it follows from whose it is.
    note_uid
        SOP Instance UID of the note that rejects it.
    """

    sop_instance_uid: str
    destination: str
    study_uid: str
    job_key: str
    state: str
    code: str
    note_uid: str | None
    reason: str
    since: str


def withdraw_earlier(transaction: Transaction, job: JobRow) -> None:
    """Withdraw what arrived of earlier results of a job's volume and task; what counts again is not."""
    _do_not_withdraw(transaction, job)
    transaction.execute(
        "INSERT OR IGNORE INTO withdrawals (sop_instance_uid, destination, study_uid, job_key, since)"
        " SELECT o.sop_instance_uid, d.destination, j.study_uid, ?, ? FROM jobs j"
        " CROSS JOIN result_objects o USING (job_key)"
        " CROSS JOIN deliveries d USING (job_key, sop_instance_uid)"
        " WHERE j.study_uid = ? AND j.slot = ?"
        " AND (d.state IN ('sent', 'committed') OR d.begun_at IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.sop_instance_uid = o.sop_instance_uid)"
        " AND o.output <> ?"
        " AND NOT (o.job_key = ? AND o.is_current = 1)",
        (job.job_key, utc_now(), job.study_uid, job.slot, NOTE, job.job_key),
    )


def counts_again(transaction: Transaction, job: JobRow) -> bool:
    """Let the result of a job be the one that counts, after another one had taken its place.

    What a destination was told to reject, or deleted, is none of its present objects any more: a rejected
    object stays rejected, whoever sends it again.

    Returns
    -------
    Whether there was such a one, so that the result has to be made as a new revision.
    """
    _do_not_withdraw(transaction, job)
    told = transaction.execute(
        "UPDATE result_objects SET is_current = 0 WHERE job_key = ? AND is_current = 1 AND EXISTS"
        " (SELECT 1 FROM withdrawals w WHERE w.sop_instance_uid = result_objects.sop_instance_uid"
        " AND w.state = 'told')",
        (job.job_key,),
    )
    return told.rowcount > 0


def _do_not_withdraw(transaction: Transaction, job: JobRow) -> None:
    """Tell nobody that the present objects of a job do not count, where nobody was told yet."""
    transaction.execute(
        "DELETE FROM withdrawals WHERE state = 'waiting' AND study_uid = ? AND sop_instance_uid IN"
        " (SELECT sop_instance_uid FROM result_objects WHERE job_key = ? AND is_current = 1)",
        (job.study_uid, job.job_key),
    )


def withdraw_result(transaction: Transaction, job: JobRow, code: str) -> None:
    """Withdraw what arrived of a job whose images were rejected; it does not wait for what comes after it."""
    withdrawn = transaction.execute(
        "INSERT OR IGNORE INTO withdrawals (sop_instance_uid, destination, study_uid, job_key, code, since)"
        " SELECT o.sop_instance_uid, d.destination, d.study_uid, d.job_key, ?, ? FROM result_objects o"
        " CROSS JOIN deliveries d USING (job_key, sop_instance_uid)"
        " WHERE o.job_key = ? AND (d.state IN ('sent', 'committed') OR d.begun_at IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.sop_instance_uid = o.sop_instance_uid)"
        " AND o.output <> ?",
        (code, utc_now(), job.job_key, NOTE),
    )
    if withdrawn.rowcount:
        transaction.step("job.result_withdrawn", job, code=code, objects=withdrawn.rowcount)


def waiting_withdrawals(ledger: Ledger) -> list[Withdrawal]:
    """All that nobody was told of yet, the oldest first.

    What is still on its way there is not among them: it would arrive after the note, or the deletion, that is
    to take it away, and stay.
    """
    rows = ledger.read(
        "SELECT * FROM withdrawals INDEXED BY withdrawals_waiting WHERE state = 'waiting' AND NOT EXISTS"
        " (SELECT 1 FROM deliveries d WHERE d.sop_instance_uid = withdrawals.sop_instance_uid"
        " AND d.destination = withdrawals.destination AND d.state = 'pending') ORDER BY since"
    )
    return [Withdrawal(**dict(row)) for row in rows]


def said_of_waiting(ledger: Ledger, study_uids: Sequence[str]) -> Mapping[str, list[str]]:
    """What destinations still have of these studies although it does not count any more, in words, by job."""
    rows = ledger.read(
        "SELECT job_key, destination, count(*) AS number FROM withdrawals INDEXED BY withdrawals_by_study"
        " WHERE study_uid IN (SELECT value FROM json_each(?)) AND state = 'waiting'"
        " GROUP BY job_key, destination",
        (json.dumps(list(study_uids)),),
    )
    said = defaultdict[str, list[str]](list)
    for row in rows:
        objects = "1 object" if row["number"] == 1 else f"{row['number']} objects"
        said[row["job_key"]].append(WAITING.format(destination=row["destination"], objects=objects))
    return said


def successors(ledger: Ledger, row: Withdrawal) -> list[ResultObjectRow]:
    """The objects that count now in the place of one that does not; none where there are none (yet)."""
    rows = ledger.read(
        "SELECT o.* FROM jobs w CROSS JOIN jobs j ON j.study_uid = w.study_uid AND j.slot = w.slot"
        " CROSS JOIN result_objects o ON o.job_key = j.job_key AND o.is_current = 1"
        " WHERE w.job_key = ? AND w.study_uid = ? AND j.state IN (?, ?) AND NOT EXISTS"
        " (SELECT 1 FROM withdrawals x WHERE x.sop_instance_uid = o.sop_instance_uid)",
        (row.job_key, row.study_uid, *_COUNTS),
    )
    return [ResultObjectRow.of(each) for each in rows]


def has_arrived(ledger: Ledger, sop_instance_uids: Sequence[str], destination: str) -> bool:
    """Whether a destination has all of these that are to go there, and one of them at least."""
    rows = ledger.read(
        "SELECT d.state FROM json_each(?) CROSS JOIN deliveries d"
        " ON d.sop_instance_uid = value AND d.destination = ? AND d.state <> ?",
        (json.dumps(list(sop_instance_uids)), destination, DeliveryState.CANCELLED),
    )
    return bool(rows) and all(DeliveryState(row["state"]) in DELIVERY_ARRIVED for row in rows)


def record_note(
    transaction: Transaction, job: JobRow, made: ResultObject, code: str, rows: Sequence[Withdrawal]
) -> None:
    """Have a note of this title delivered that rejects these at their destination; it stands for itself."""
    destination = rows[0].destination
    transaction.execute(
        "INSERT OR IGNORE INTO result_objects"
        " (sop_instance_uid, job_key, output, sop_class_uid, path, sha256, is_current, made_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
        (
            made.sop_instance_uid,
            job.job_key,
            made.output,
            made.sop_class_uid,
            made.path,
            made.sha256,
            utc_now(),
        ),
    )
    plan_delivery(transaction, job, made.sop_instance_uid, destination)
    settle_withdrawals(transaction, rows, Told.TOLD, note_uid=made.sop_instance_uid)
    transaction.step("job.earlier_rejected", job, destination=destination, code=code, objects=len(rows))


def settle_withdrawals(
    transaction: Transaction,
    rows: Sequence[Withdrawal],
    state: Told,
    *,
    reason: str = "",
    note_uid: str | None = None,
) -> None:
    """Write down how it ended with these."""
    for row in rows:
        transaction.execute(
            "UPDATE withdrawals SET state = ?, reason = ?, note_uid = ?"
            " WHERE sop_instance_uid = ? AND destination = ?",
            (state, reason, note_uid, row.sop_instance_uid, row.destination),
        )


def deleted_there(transaction: Transaction, job: JobRow, rows: Sequence[Withdrawal]) -> None:
    """Write down that a destination does not have these any more."""
    settle_withdrawals(transaction, rows, Told.TOLD)
    transaction.step("job.earlier_deleted", job, destination=rows[0].destination, objects=len(rows))


def left_there(transaction: Transaction, job: JobRow, rows: Sequence[Withdrawal], reason: str) -> None:
    """Write down that a destination keeps these, and say so with the job, where a person looks."""
    settle_withdrawals(transaction, rows, Told.LEFT, reason=reason)
    warnings = [*dict.fromkeys((*transaction.job(job.job_key).warnings, reason))]
    transaction.update("jobs", "job_key", job.job_key, {"warnings": warnings})
    transaction.step("job.earlier_left", job, destination=rows[0].destination, objects=len(rows), why=reason)


def make_note_again(transaction: Transaction, delivery_key: str) -> None:
    """Have a note made once more whose file is gone."""
    row = transaction.delivery(delivery_key)
    transaction.execute(
        "UPDATE withdrawals SET state = 'waiting' WHERE study_uid = ? AND note_uid = ? AND destination = ?",
        (row.study_uid, row.sop_instance_uid, row.destination),
    )
    transaction.move_delivery(
        delivery_key, DeliveryEvent.SUPERSEDED, reason="its file is gone: the note is made again"
    )
