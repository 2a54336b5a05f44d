"""Results in the ledger: the encoded object and its deliveries, written in one transaction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.events import DeliveryChanged

from .records import DeliveryRow, JobRow, utc_now
from .states import DELIVERY_ARRIVED, DeliveryState, JobEvent, JobState
from .store import Ledger
from .transaction import StaleRow, Transaction


@dataclass(frozen=True)
class Result:
    """One encoded object that lies, durable, under `path` (below data_dir)."""

    path: str
    sha256: str
    sop_class_uid: str
    sop_instance_uid: str
    header_sha256: str
    warnings: tuple[str, ...]


def record_result(transaction: Transaction, job: JobRow, result: Result, destinations: Sequence[str]) -> None:
    """Move a segmented job to encoded, with one delivery for each destination.

    An object that a destination has already is not sent there again.

    Raises
    ------
    StaleRow
        The job is not segmented any more, or its header was corrected since `job` was read.
    """
    wanted = transaction.job(job.job_key).header_sha256
    if wanted not in (job.header_sha256, result.header_sha256):
        raise StaleRow("its header was corrected while it was encoded; encode it again")
    transaction.move_job(
        job.job_key,
        JobEvent.ENCODED,
        expect=JobState.SEGMENTED,
        columns={
            "encoded_path": result.path,
            "encoded_sha256": result.sha256,
            "encoded_uid": result.sop_instance_uid,
            "header_sha256": result.header_sha256,
            "warnings": result.warnings,
        },
    )
    for destination in destinations:
        _plan_delivery(transaction, job, result, destination)
    transaction.deliver_job_when_all_arrived(job.job_key)


def _plan_delivery(transaction: Transaction, job: JobRow, result: Result, destination: str) -> None:
    key = hashlib.sha256(f"{result.sop_instance_uid} {destination}".encode()).hexdigest()[:32]
    row = transaction.one("SELECT * FROM deliveries WHERE key = ?", (key,))
    if row is not None:
        if DeliveryRow.of(row).state in DELIVERY_ARRIVED:
            return
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
            "path": result.path,
            "sop_class_uid": result.sop_class_uid,
            "sop_instance_uid": result.sop_instance_uid,
            "state": DeliveryState.PENDING,
            "created_at": now,
            "pending_since": now,
            "updated_at": now,
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


def delivered_before(ledger: Ledger, job: JobRow) -> set[str]:
    """The SOP Instance UIDs that arrived somewhere for this volume and task, of whatever revision."""
    rows = ledger.read(
        "SELECT DISTINCT d.sop_instance_uid FROM deliveries d JOIN jobs j ON j.job_key = d.job_key"
        " WHERE j.study_uid = ? AND j.slot = ? AND d.state IN (?, ?)",
        (job.study_uid, job.slot, *DELIVERY_ARRIVED),
    )
    return {row["sop_instance_uid"] for row in rows}
