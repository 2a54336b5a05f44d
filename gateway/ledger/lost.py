"""What was made of a job and is gone from the disk or the bucket is made again, from what it was made of."""

from typing import Final

from gateway.config.outputs import NOTE

from .records import JobRow
from .results import MADE_AGAIN
from .states import DeliveryEvent, DeliveryState, JobEvent, JobState
from .transaction import StaleRow, Transaction

TIMES_ALLOWED: Final = 3
"""So often in a row is something made again; what is gone even then is taken away by somebody."""
WITH_OBJECTS: Final = frozenset({JobState.ENCODED, JobState.DELIVERED})


def make_again(transaction: Transaction, job: JobRow, what: str) -> None:
    """Take a job back to where what is gone is made: staged or segmented to planned, else to segmented.

    After several times in a row it fails instead, so that a person looks at who takes it away.

    Parameters
    ----------
    what
        What is gone, as the beginning of a sentence: "its job folder is gone".

    Raises
    ------
    StaleRow
        The job is elsewhere by now.
    """
    if transaction.job(job.job_key).state is not job.state:
        raise StaleRow("the job moved meanwhile")
    times = 1 + _times_in_a_row(transaction, job.job_key)
    if times > TIMES_ALLOWED and job.state is not JobState.DELIVERED:
        reason = f"{what}, and was made again {TIMES_ALLOWED} times; see who removes it, then retry"
        transaction.move_job(job.job_key, JobEvent.FAILED, expect=job.state, reason=reason)
        return
    transaction.move_job(
        job.job_key, JobEvent.FILES_GONE, expect=job.state, reason=f"{what}: it is made again"
    )
    if job.state in WITH_OBJECTS:  # encoding plans them anew
        for key in _not_arrived(transaction, job.job_key):
            transaction.move_delivery(key, DeliveryEvent.SUPERSEDED, reason=MADE_AGAIN)


def _not_arrived(transaction: Transaction, job_key: str) -> list[str]:
    rows = transaction.execute(
        "SELECT key FROM deliveries d WHERE job_key = ? AND state IN (?, ?) AND NOT EXISTS"
        " (SELECT 1 FROM result_objects o WHERE o.sop_instance_uid = d.sop_instance_uid AND o.output = ?)",
        (job_key, DeliveryState.PENDING, DeliveryState.FAILED, NOTE),
    )
    return [row["key"] for row in rows.fetchall()]


def _times_in_a_row(transaction: Transaction, job_key: str) -> int:
    row = transaction.one(
        "SELECT count(*) AS times FROM events WHERE job_key = ? AND event = 'job.files_gone'"
        " AND seq > (SELECT coalesce(max(seq), 0) FROM events WHERE job_key = ?"
        " AND event IN ('job.retried', 'job.replanned', 'job.delivered'))",
        (job_key, job_key),
    )
    return int(row["times"]) if row is not None else 0
