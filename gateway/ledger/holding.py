"""Results that are held since their destination has the study for another patient's."""

from .records import DeliveryRow
from .slots import supersede_deliveries
from .states import DeliveryState, JobEvent, JobState, StudyState
from .store import Ledger
from .transaction import StaleRow, Transaction
from .under_way import call_off, fail


def hold_result(transaction: Transaction, delivery: DeliveryRow, reason: str) -> None:
    """Send nothing more of a job until a person releases it, or its images come with another header.

    What was delivered once and is sent again fails instead: its job is over. An object that a newer one has
    taken the place of, and that would only be sent to its end, is not sent any more.

    Raises
    ------
    StaleRow
        The delivery does not wait any more.
    """
    if transaction.delivery(delivery.key).state is not DeliveryState.PENDING:
        raise StaleRow("the delivery does not wait any more")
    job = transaction.job(delivery.job_key)
    made = transaction.one(
        "SELECT is_current FROM result_objects WHERE sop_instance_uid = ?", (delivery.sop_instance_uid,)
    )
    if made is None or not made["is_current"]:
        call_off(transaction, delivery.key, reason)
    elif job.state is JobState.ENCODED:
        transaction.move_job(job.job_key, JobEvent.HELD, reason=reason)
    elif job.state is not JobState.QUARANTINED:  # for the same at another destination
        fail(transaction, delivery.key, reason)


def ask_again_whose(transaction: Transaction, job_key: str) -> bool:
    """Have the destinations of a held result asked anew, since its images came again as they are here.

    It may have been held since the PACS was not corrected yet.

    Returns
    -------
    Whether it was held for that; what a person has to look at for another reason stays.
    """
    job = transaction.job(job_key)
    if job.state is not JobState.QUARANTINED or job.resume_state is not JobState.ENCODED:
        return False
    reason = "its study came again: destinations are asked anew whose it is"
    transaction.move_job(job_key, JobEvent.HEADER_CORRECTED, reason=reason)
    supersede_deliveries(transaction, job_key)
    return True


def is_released(ledger: Ledger, job_key: str) -> bool:
    """Whether a person released a job since its present result was made: it is to go as it is."""
    rows = ledger.read(
        "SELECT 1 FROM events WHERE job_key = ? AND event = 'job.released' AND seq >"
        " (SELECT coalesce(max(seq), 0) FROM events WHERE job_key = ? AND event = 'job.encoded') LIMIT 1",
        (job_key, job_key),
    )
    return bool(rows)


def may_be_corrected(ledger: Ledger, study_uid: str) -> bool:
    """Whether images of a study are coming in, whose headers may be other ones."""
    rows = ledger.read(
        "SELECT 1 FROM studies WHERE study_uid = ? AND state = ?", (study_uid, StudyState.RECEIVING)
    )
    return bool(rows)
