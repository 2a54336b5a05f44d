"""Results in the ledger: the objects that were made of a job and their deliveries, in one transaction."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.outputs import NOTE
from gateway.events import DeliveryChanged

from .records import DeliveryRow, JobRow, ResultObjectRow, utc_now
from .rejected import is_rejected
from .states import DELIVERY_ARRIVED, DeliveryEvent, DeliveryState, JobEvent, JobState
from .store import Ledger
from .transaction import StaleRow, Transaction
from .under_way import GAVE_WAY

MADE_AGAIN: Final = "its file is gone: it is made again"
"""Why a delivery ended of an object that is to be made again."""


@dataclass(frozen=True)
class ResultObject:
    """One encoded object that lies, durable, under `path` (below data_dir)."""

    output: str
    """What it is: "seg"."""
    path: str
    sha256: str
    sop_class_uid: str
    sop_instance_uid: str
    form: str = ""
    """Which of several forms of its output; who gets that gets one of them. Not recorded."""
    series_uid: str = ""


@dataclass(frozen=True)
class Result:
    """All that was made of a job: one set, of which either everything is recorded or nothing."""

    objects: tuple[ResultObject, ...]
    header_sha256: str
    warnings: tuple[str, ...]


def record_result(
    transaction: Transaction, job: JobRow, result: Result, where: Callable[[ResultObject], Sequence[str]]
) -> None:
    """Move a segmented job to encoded, with one delivery for each object and destination.

    An object that a destination has already is not sent there again, nor is one that was rejected.

    Parameters
    ----------
    where
        Names the destinations of an object.

    Raises
    ------
    StaleRow
        The job is not segmented any more, or its header was corrected since `job` was read.
    """
    wanted = transaction.job(job.job_key).header_sha256
    if wanted not in (job.header_sha256, result.header_sha256):
        raise StaleRow("its header was corrected while it was encoded; encode it again")
    made_at = _made_at(transaction, job, result)
    transaction.execute("UPDATE result_objects SET is_current = 0 WHERE job_key = ?", (job.job_key,))
    for made in result.objects:
        _record_object(transaction, job, made, made_at)
    transaction.move_job(
        job.job_key,
        JobEvent.ENCODED,
        expect=JobState.SEGMENTED,
        columns={"header_sha256": result.header_sha256, "warnings": result.warnings},
    )
    for made in result.objects:
        to = () if is_rejected(transaction, made.sop_instance_uid) else where(made)
        for destination in dict.fromkeys((*to, *_waited_for_it(transaction, made.sop_instance_uid))):
            plan_delivery(transaction, job, made.sop_instance_uid, destination)
    _forget_refused(transaction, job.job_key)
    for key in _of_earlier_objects(transaction, job.job_key):
        transaction.move_delivery(key, DeliveryEvent.SUPERSEDED, reason=GAVE_WAY)
    transaction.deliver_job_when_all_arrived(job.job_key)


def _forget_refused(transaction: Transaction, job_key: str) -> None:
    """Who refused a present object, which others get, does not want it any more: the timeline tells that."""
    transaction.execute(
        "DELETE FROM deliveries WHERE job_key = ? AND state = ? AND begun_at IS NULL AND sop_instance_uid IN"
        " (SELECT sop_instance_uid FROM result_objects WHERE job_key = ? AND is_current = 1 AND output <> ?)",
        (job_key, DeliveryState.SUPERSEDED, job_key, NOTE),
    )


def _of_earlier_objects(transaction: Transaction, job_key: str) -> list[str]:
    """What waits to be sent of a job, is not under way, and is none of its present objects any more."""
    rows = transaction.execute(
        "SELECT d.key FROM deliveries d JOIN result_objects o USING (job_key, sop_instance_uid)"
        " WHERE d.job_key = ? AND d.state = ? AND d.begun_at IS NULL AND o.is_current = 0 AND o.output <> ?",
        (job_key, DeliveryState.PENDING, NOTE),
    )
    return [row["key"] for row in rows.fetchall()]


def _made_at(transaction: Transaction, job: JobRow, result: Result) -> str:
    """One for the set: it tells one result of a job from the next. Further forms are of the present one."""
    row = transaction.one(
        "SELECT min(made_at) AS made_at FROM result_objects WHERE job_key = ? AND is_current = 1"
        " AND sop_instance_uid IN (SELECT value FROM json_each(?))",
        (job.job_key, json.dumps([made.sop_instance_uid for made in result.objects])),
    )
    return str(row["made_at"]) if row is not None and row["made_at"] else utc_now()


def _record_object(transaction: Transaction, job: JobRow, made: ResultObject, made_at: str) -> None:
    """Make it one of the job's present objects; the same bytes have the same UID, so it may be known."""
    transaction.execute(
        "INSERT INTO result_objects"
        " (sop_instance_uid, job_key, output, sop_class_uid, path, sha256, is_current, made_at, series_uid)"
        " VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (sop_instance_uid) DO UPDATE"
        " SET is_current = 1, path = excluded.path, sha256 = excluded.sha256,"
        " sop_class_uid = excluded.sop_class_uid",
        (
            made.sop_instance_uid,
            job.job_key,
            made.output,
            made.sop_class_uid,
            made.path,
            made.sha256,
            made_at,
            made.series_uid,
        ),
    )


def _waited_for_it(transaction: Transaction, sop_instance_uid: str) -> list[str]:
    """The destinations that the very same object was on its way to when its file was gone.

    A person may have sent it where no rule does.
    """
    rows = transaction.execute(
        "SELECT destination FROM deliveries WHERE sop_instance_uid = ? AND state = ? AND reason = ?",
        (sop_instance_uid, DeliveryState.SUPERSEDED, MADE_AGAIN),
    )
    return [row["destination"] for row in rows]


def plan_delivery(transaction: Transaction, job: JobRow, sop_instance_uid: str, destination: str) -> None:
    """Have an object sent to a destination, unless that has it, or it is on its way there."""
    key = hashlib.sha256(f"{sop_instance_uid} {destination}".encode()).hexdigest()[:32]
    row = transaction.one("SELECT * FROM deliveries WHERE key = ?", (key,))
    begun_at = None
    if row is not None:
        if DeliveryRow.of(row).state in DELIVERY_ARRIVED | {DeliveryState.PENDING}:
            return
        begun_at = row["begun_at"]
        # Superseded or cancelled, and now wanted again: its history stays in the timeline.
        transaction.execute("DELETE FROM deliveries WHERE key = ?", (key,))
    now = utc_now()
    transaction.insert(
        "deliveries",
        {
            "key": key,
            "job_key": job.job_key,
            "study_uid": job.study_uid,
            "destination": destination,
            "sop_instance_uid": sop_instance_uid,
            "state": DeliveryState.PENDING,
            "priority": job.priority,
            "created_at": now,
            "pending_since": now,
            "updated_at": now,
            "begun_at": begun_at,
        },
    )
    transaction.note(
        "delivery.planned",
        study_uid=job.study_uid,
        job_key=job.job_key,
        delivery_key=key,
        destination=destination,
    )
    transaction.publish(DeliveryChanged(key, job.study_uid, "planned", DeliveryState.PENDING))


def result_object(ledger: Ledger, sop_instance_uid: str) -> ResultObjectRow | None:
    """One object that was made, or None."""
    rows = ledger.read("SELECT * FROM result_objects WHERE sop_instance_uid = ?", (sop_instance_uid,))
    return ResultObjectRow.of(rows[0]) if rows else None


def current_objects(ledger: Ledger, job_key: str) -> list[ResultObjectRow]:
    """The objects of a job's present result, in order of their output and UID."""
    rows = ledger.read(
        "SELECT * FROM result_objects WHERE job_key = ? AND is_current = 1 ORDER BY output, sop_instance_uid",
        (job_key,),
    )
    return [ResultObjectRow.of(row) for row in rows]


def revisions_delivered(ledger: Ledger, job: JobRow) -> tuple[int, int]:
    """How many results of this volume and task arrived somewhere, or may have, of whatever job and header.

    Returns
    -------
    tuple of int
        Of those that were made before the job's present result, all where it has none; and of all.
    """
    present = "SELECT min(made_at) FROM result_objects WHERE job_key = ? AND is_current = 1"
    # In this order: the planner would begin with every delivery that ever arrived.
    sql = (
        "SELECT count(DISTINCT o.job_key || o.made_at) AS number, count(DISTINCT CASE WHEN"
        f" o.made_at < coalesce(({present}), 'later') THEN o.job_key || o.made_at END) AS earlier FROM jobs j"
        " CROSS JOIN result_objects o USING (job_key)"
        " CROSS JOIN deliveries d USING (job_key, sop_instance_uid)"
        " WHERE j.study_uid = ? AND j.slot = ? AND (d.state IN (?, ?) OR d.begun_at IS NOT NULL)"
        " AND o.output <> ?"
    )
    rows = ledger.read(sql, (job.job_key, job.study_uid, job.slot, *DELIVERY_ARRIVED, NOTE))
    return int(rows[0]["earlier"]), int(rows[0]["number"])
