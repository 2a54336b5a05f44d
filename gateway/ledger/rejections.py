"""What a rejection note does (IHE RAD TF-2 4.66), to what is here and what still comes.

What is named is kept, and is no slice of a volume any more; jobs that have it give way, and are planned anew
of what remains. A result of ours that is named is not sent again by itself.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from .deliveries import drop_delivery
from .instances import ArrivedInstance, look_again
from .records import DeliveryRow, InstanceRow, JobRow, utc_now
from .rejected import EXPIRED, PATIENT_SAFETY, QUALITY, why_not, why_rejected
from .slots import supersede_deliveries
from .states import JOB_TRANSITIONS, DeliveryState, JobEvent, StudyEvent, StudyState
from .store import Ledger
from .transaction import Transaction
from .withdrawals import withdraw_result


@dataclass(frozen=True)
class Rejection:
    """What one note says.

    Parameters
    ----------
    note_uid
        The note's own SOP Instance UID.
    patient_id
        As the note has it; empty: it says none.
    """

    note_uid: str
    study_uid: str
    patient_id: str
    code: str
    instance_uids: tuple[str, ...]


def studies_of(ledger: Ledger, instance_uids: Collection[str]) -> set[str]:
    """The studies under which these are kept here, or were made."""
    rows = ledger.read(
        "SELECT i.study_uid FROM json_each(?) CROSS JOIN instances i"
        " ON i.sop_instance_uid = value AND i.is_current = 1"
        " UNION SELECT j.study_uid FROM json_each(?) CROSS JOIN result_objects o"
        " ON o.sop_instance_uid = value JOIN jobs j USING (job_key)",
        (json.dumps(sorted(instance_uids)),) * 2,
    )
    return {row["study_uid"] for row in rows}


def patient_of(ledger: Ledger, study_uid: str) -> str:
    """The Patient ID of the images that are here; empty where there are none, or they have none."""
    rows = ledger.read(
        "SELECT patient_id FROM studies WHERE study_uid = ? AND EXISTS"
        " (SELECT 1 FROM instances i WHERE i.study_uid = studies.study_uid AND i.of_use = 1)",
        (study_uid,),
    )
    return str(rows[0]["patient_id"]) if rows else ""


def reject(transaction: Transaction, rejection: Rejection) -> None:
    """Let a note take effect, on what is here and what is still to come; twice, it does nothing more."""
    now, uids = utc_now(), json.dumps(rejection.instance_uids)
    transaction.execute(
        "INSERT OR IGNORE INTO rejections"
        " (sop_instance_uid, note_uid, study_uid, patient_id, code, received_at)"
        " SELECT value, ?, ?, ?, ?, ? FROM json_each(?)",
        (rejection.note_uid, rejection.study_uid, rejection.patient_id, rejection.code, now, uids),
    )
    here = transaction.execute(
        "UPDATE instances SET of_use = 0, why_not = ? WHERE is_current = 1 AND study_uid = ?"
        " AND sop_instance_uid IN (SELECT value FROM json_each(?))",
        (why_not(rejection.code), rejection.study_uid, uids),
    ).rowcount
    transaction.note(
        "study.instances_rejected",
        study_uid=rejection.study_uid,
        code=rejection.code,
        named=len(rejection.instance_uids),
        here=here,
    )
    for job in _jobs_with_any_of(transaction, rejection):
        supersede_deliveries(transaction, job.job_key)
        if rejection.code != EXPIRED:
            withdraw_result(transaction, job, _result_is_rejected_as(rejection.code))
        if (job.state, JobEvent.SUPERSEDED) in JOB_TRANSITIONS:
            transaction.move_job(
                job.job_key, JobEvent.SUPERSEDED, reason=f"an image of it: {why_not(rejection.code)}"
            )
    _reject_results(transaction, rejection)
    transaction.settle_later(rejection.study_uid)


def use_again(
    transaction: Transaction, known: InstanceRow, arrived: ArrivedInstance, association: int
) -> None:
    """Take an instance for an input once more that came again after its retention period had expired."""
    uid, study_uid = known.sop_instance_uid, known.study_uid
    rejected = why_rejected(transaction, uid, study_uid, arrived.study.patient_id)
    transaction.execute(
        "UPDATE instances SET of_use = ?, why_not = ? WHERE sop_instance_uid = ? AND revision = ?",
        (int(arrived.of_use and rejected is None), rejected or arrived.why_not, uid, known.revision),
    )
    if transaction.study(study_uid).state is not StudyState.RECEIVING:
        transaction.move_study(study_uid, StudyEvent.INSTANCE_STORED, sender=arrived.sender)
    look_again(transaction, known, association)


def _result_is_rejected_as(code: str) -> str:
    """What was made of images of another patient, or order, is another's as well."""
    return QUALITY if code == QUALITY else PATIENT_SAFETY


def _jobs_with_any_of(transaction: Transaction, rejection: Rejection) -> list[JobRow]:
    """The jobs whose volume has one of the images; frames are named by their object's UID and a number."""
    rows = transaction.execute(
        "SELECT job_key, name FROM jobs JOIN job_images USING (job_key) WHERE study_uid = ?",
        (rejection.study_uid,),
    )
    named = set(rejection.instance_uids)
    keys = {row["job_key"]: None for row in rows if row["name"].partition("#")[0] in named}
    return [transaction.job(key) for key in keys]


def _reject_results(transaction: Transaction, rejection: Rejection) -> None:
    """What of our results is named: what waits is not sent, and what arrived says that it was rejected."""
    rows = transaction.execute(
        "SELECT d.* FROM json_each(?) CROSS JOIN deliveries d ON d.sop_instance_uid = value"
        " WHERE d.study_uid = ?",
        (json.dumps(rejection.instance_uids), rejection.study_uid),
    ).fetchall()
    reason = why_not(rejection.code)
    for delivery in map(DeliveryRow.of, rows):
        if delivery.state in (DeliveryState.PENDING, DeliveryState.FAILED):
            drop_delivery(transaction, delivery.key, reason=reason)
        else:
            transaction.update("deliveries", "key", delivery.key, {"reason": reason, "updated_at": utc_now()})
    for job_key in {row["job_key"]: None for row in rows}:
        transaction.step("job.result_rejected", transaction.job(job_key), code=rejection.code)
