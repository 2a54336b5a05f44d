"""A destination that does not take an object has it made in another form, as another object, once a form."""

from typing import Final

from gateway.config.outputs import Form

from .lost import WITH_OBJECTS
from .states import DeliveryEvent, DeliveryState, JobEvent, JobState
from .transaction import Transaction

ASKED: Final = "job.destination_asked"
"""What a destination gets was decided, by what it takes."""
REFUSED: Final = f"job.{JobEvent.FORM_REFUSED}"


def make_in_another_form(
    transaction: Transaction, key: str, form: Form, reason: str, *, is_one: bool
) -> bool:
    """Take the job of a delivery back to where its objects are made; whether that helps.

    What is not on its way yet to that destination gives way: encoding plans it anew.

    Parameters
    ----------
    is_one
        Whether there is another form. One that was refused before, and was made all the same, is refused
        aloud.

    Raises
    ------
    StaleRow
        The delivery is gone.
    """
    delivery = transaction.delivery(key)
    job = transaction.job(delivery.job_key)
    is_being_made = job.state is JobState.SEGMENTED
    if not is_one or not (is_being_made or job.state in WITH_OBJECTS):
        return False
    if _was_refused(transaction, job.job_key, delivery.destination, form):
        return False
    detail = {"destination": delivery.destination, **form._asdict()}
    if is_being_made:  # for another destination, or another object of this one
        transaction.note(REFUSED, study_uid=job.study_uid, job_key=job.job_key, reason=reason, **detail)
    else:
        transaction.move_job(job.job_key, JobEvent.FORM_REFUSED, expect=job.state, reason=reason, **detail)
    for each in (key, *_not_begun(transaction, job.job_key, delivery.destination, but=key)):
        transaction.move_delivery(each, DeliveryEvent.SUPERSEDED, reason=reason)
    return True


def _was_refused(transaction: Transaction, job_key: str, destination: str, form: Form) -> bool:
    """Whether it refused that, and was given it again after it was asked what it takes."""
    row = transaction.one(
        "SELECT 1 FROM events e WHERE e.job_key = ? AND e.event = ?"
        " AND json_extract(e.detail, '$.destination') = ? AND json_extract(e.detail, '$.sop_class_uid') = ?"
        " AND json_extract(e.detail, '$.transfer_syntax_uid') = ?"
        " AND e.seq > (SELECT coalesce(max(seq), 0) FROM events WHERE job_key = ?"
        " AND event IN ('job.retried', 'job.replanned'))"
        " AND EXISTS (SELECT 1 FROM events a WHERE a.job_key = e.job_key AND a.event = ? AND a.seq > e.seq"
        " AND json_extract(a.detail, '$.destination') = ?) LIMIT 1",
        (job_key, REFUSED, destination, *form, job_key, ASKED, destination),
    )
    return row is not None


def _not_begun(transaction: Transaction, job_key: str, destination: str, *, but: str) -> list[str]:
    rows = transaction.execute(
        "SELECT key FROM deliveries WHERE job_key = ? AND destination = ? AND state = ? AND begun_at IS NULL"
        " AND key <> ?",
        (job_key, destination, DeliveryState.PENDING, but),
    )
    return [row["key"] for row in rows.fetchall()]
