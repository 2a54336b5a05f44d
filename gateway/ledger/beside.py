"""Further tasks on the volume of a job, as a person asks for them: jobs beside those that rules plan.

No plan knows them, so a later completion keeps what the rules say. One gives way when its volume does, to one
of other images, and its header is corrected with its volume's (`completion`); all else is as of any job.
"""

from .completion import PlannedJob, plan_job
from .flags import copy_arrival_flags
from .records import JobRow, StudyRow
from .slots import is_beside, supersede_slot
from .states import JobEvent, JobState, StudyState
from .transaction import NotPossible, Transaction


def plan_beside(transaction: Transaction, job_key: str, planned: PlannedJob) -> None:
    """Plan a further job on the volume of this one; one that exists already is left, or taken up again.

    Raises
    ------
    NotPossible
        The volume is not to be segmented now, or that is what a rule's job did, which is over.
    """
    job = transaction.job(job_key)
    if why := _why_not_now(job, transaction.study(job.study_uid)):
        raise NotPossible(why)
    row = transaction.one("SELECT * FROM jobs WHERE job_key = ?", (planned.job_key,))
    if row is None:
        plan_job(transaction, job.study_uid, planned)
        copy_arrival_flags(transaction, job_key, planned.job_key)
    else:
        _take_up(transaction, JobRow.of(row))
    transaction.settle_later(job.study_uid)


def _take_up(transaction: Transaction, job: JobRow) -> None:
    if job.state not in (JobState.CANCELLED, JobState.SUPERSEDED):
        return
    if not is_beside(job):
        raise NotPossible(
            f"that is what the rule {job.rule} asks for, in the job {job.job_key[:16]}, which is {job.state};"
            " `iris retry` takes up what was cancelled"
        )
    why = "a person asked for it again"
    supersede_slot(transaction, job.study_uid, job.slot, why)
    transaction.move_job(job.job_key, JobEvent.REPLANNED, reason=why)


def _why_not_now(job: JobRow, study: StudyRow) -> str:
    """Why nothing can be made of the volume of a job now, with the way out; empty where it can."""
    if study.state is StudyState.RECEIVING:
        return "this study is receiving; wait until it is complete, or say that it is (`iris complete`)"
    if study.images_removed_at is not None:
        return (
            f"images of this study were removed here on {study.images_removed_at[:10]}; send it again from"
            " the PACS, then ask once more"
        )
    if job.state is JobState.SUPERSEDED:
        return "another job took the place of this one; ask for the task on that one (`iris study` shows it)"
    if job.state is JobState.QUARANTINED and job.resume_state is JobState.PLANNED:
        return "this job's volume is held for a person; release it first, then ask once more"
    return ""
