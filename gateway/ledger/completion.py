"""Completion in the ledger: one transaction freezes a study's membership and plans its jobs."""

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from gateway.events import CompletionRequested, JobChanged

from .flags import note_how_it_arrived
from .named import nothing_is_awaited_of
from .records import JobRow, StudyRow, VolumeRow, utc_now
from .slots import (
    GivenUp,
    give_up,
    jobs_beside,
    move_to_slot,
    supersede_beside,
    supersede_deliveries,
    supersede_slot,
)
from .states import JobEvent, JobState, StudyEvent, StudyState
from .store import Ledger
from .transaction import StaleRow, Transaction
from .withdrawals import counts_again

WITHOUT_RELEASE: Final = "timeout without release"
"""The evidence of a study that was closed although its sender never said that it had no more."""
NOTHING_ELSE_NAMED: Final = "nothing else named"
"""The evidence of a study all of whose instances came that somebody named, a PACS for example."""
NAMED_DID_NOT_COME: Final = "timeout with named instances missing"
"""The evidence of a study that was closed although not all of them came."""


@dataclass(frozen=True)
class PlannedJob:
    """One volume x one task that should exist."""

    job_key: str
    series_uid: str
    slot: str
    rule: str
    task: str
    options: dict[str, Any]
    engine: str
    priority: int
    instance_uids: tuple[str, ...]
    send_to: tuple[str, ...]
    outputs: tuple[str, ...]
    header_sha256: str
    hold: str = ""
    """Why a person has to release it first; empty when nothing holds it."""
    volume_sha256: str = ""
    """Digest of its images, by which the volume is known again; empty: only its key tells."""
    is_wished: bool = False
    """A person asks for it now: it is taken up even where it was cancelled."""

    @classmethod
    def like(cls, job: JobRow, **changes: Any) -> Self:
        """What an earlier job was to do, but for these changes: its key and its images at least."""
        same = ("series_uid", "slot", "rule", "task", "options", "engine", "priority", "send_to", "outputs")
        kept = {name: getattr(job, name) for name in (*same, "header_sha256", "volume_sha256")}
        return cls(**kept | changes)


@dataclass(frozen=True)
class DecidedVolume:
    """What was decided about one volume, and why."""

    series_uid: str
    number: int
    images: int
    job_key: str | None
    why: str
    findings: tuple[dict[str, str], ...] = ()
    ranking: tuple[str, ...] = ()
    first_image: str = ""
    """The name of one of its images."""
    can_be_used: bool = False
    """Whether a person may choose it: a rule takes it, or would if another were not preferred."""


@dataclass(frozen=True)
class StudyPlan:
    """Everything that completion writes about a study."""

    study_uid: str
    generation: int
    jobs: tuple[PlannedJob, ...]
    volumes: tuple[DecidedVolume, ...]
    given_up: tuple[GivenUp, ...] = ()
    choices_until: str = ""
    """When the last choice of a person was made that is in it; empty where there is none."""
    planning_s: float = field(default=0.0, compare=False)
    """How long it took."""


def receiving_studies(ledger: Ledger) -> list[StudyRow]:
    """Every study that is not complete yet."""
    return [
        StudyRow.of(row)
        for row in ledger.read("SELECT * FROM studies WHERE state = ?", (StudyState.RECEIVING,))
    ]


def receiving_study(ledger: Ledger, study_uid: str) -> StudyRow | None:
    """One study while it is not complete yet, or None."""
    rows = ledger.read(
        "SELECT * FROM studies WHERE study_uid = ? AND state = ?", (study_uid, StudyState.RECEIVING)
    )
    return StudyRow.of(rows[0]) if rows else None


def jobs_of(ledger: Ledger, study_uid: str) -> list[JobRow]:
    """Every job of a study, oldest first."""
    rows = ledger.read("SELECT * FROM jobs WHERE study_uid = ? ORDER BY created_at", (study_uid,))
    return [JobRow.of(row) for row in rows]


def images_of_jobs(ledger: Ledger, study_uid: str) -> dict[str, tuple[str, ...]]:
    """The frozen membership of each job of a study; see `images_of`."""
    rows = ledger.read(
        "SELECT job_key, name FROM jobs JOIN job_images USING (job_key) WHERE study_uid = ?"
        " ORDER BY job_key, position",
        (study_uid,),
    )
    images: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        images[row["job_key"]].append(row["name"])
    return {job_key: tuple(names) for job_key, names in images.items()}


def images_of(ledger: Ledger, job_key: str) -> tuple[str, ...]:
    """The frozen membership of a job, sorted along the slice normal.

    A name is a SOP Instance UID, of a frame of a multi-frame object with its number: "1.2.3#7".
    """
    rows = ledger.read("SELECT name FROM job_images WHERE job_key = ? ORDER BY position", (job_key,))
    return tuple(row["name"] for row in rows)


def decided_volumes(ledger: Ledger, study_uid: str) -> list[VolumeRow]:
    """What was decided about each volume of a study at its last completion."""
    rows = ledger.read("SELECT * FROM volumes WHERE study_uid = ? ORDER BY series_uid, number", (study_uid,))
    return [VolumeRow.of(row) for row in rows]


def request_completion(transaction: Transaction, study_uid: str) -> None:
    """Record that a person says a study is complete; of one that is complete already it changes nothing.

    Raises
    ------
    StaleRow
        There is no such study.
    """
    if transaction.study(study_uid).state is not StudyState.RECEIVING:
        return  # kept, it would close the study at the first instance of a later revision
    transaction.update("studies", "study_uid", study_uid, {"complete_requested": 1})
    transaction.note("study.complete_requested", study_uid=study_uid)
    transaction.publish(CompletionRequested(study_uid))


def complete_study(transaction: Transaction, plan: StudyPlan, *, evidence: str, missing: int = 0) -> None:
    """Freeze the membership and write the plan.

    Jobs that exist already are left alone; a new one takes the place of what its slot held before; one whose
    copied header changed is encoded again.

    Parameters
    ----------
    missing
        How many instances did not come that somebody named.

    Raises
    ------
    StaleRow
        An instance came in since the plan was made: make a new one.
    """
    study = transaction.study(plan.study_uid)
    if study.generation != plan.generation or study.state is not StudyState.RECEIVING:
        raise StaleRow("the study changed while it was planned")
    named: dict[str, Any] = {"missing": missing} if missing else {}
    transaction.move_study(
        plan.study_uid,
        StudyEvent.COMPLETED,
        columns={"complete_requested": 0, "completed_at": utc_now()},
        evidence=evidence,
        jobs=len(plan.jobs),
        planning_s=round(plan.planning_s, 2),
        **named,
    )
    write_plan(transaction, plan)
    note_how_it_arrived(
        transaction,
        study,
        [job.job_key for job in plan.jobs],
        is_by_timeout=evidence == WITHOUT_RELEASE,
        missing=missing,
    )
    nothing_is_awaited_of(transaction, plan.study_uid)


def write_plan(transaction: Transaction, plan: StudyPlan) -> None:
    """Write what was decided about a complete study, and bring its jobs to that.

    Raises
    ------
    StaleRow
        A volume that was to give way was delivered meanwhile: make a new plan.
    """
    transaction.execute("DELETE FROM volumes WHERE study_uid = ?", (plan.study_uid,))
    for volume in plan.volumes:
        transaction.insert(
            "volumes",
            {
                "study_uid": plan.study_uid,
                "series_uid": volume.series_uid,
                "number": volume.number,
                "images": volume.images,
                "job_key": volume.job_key,
                "why": volume.why,
                "findings": volume.findings,
                "ranking": volume.ranking,
                "first_image": volume.first_image,
                "can_be_used": int(volume.can_be_used),
            },
        )
    transaction.execute(
        "UPDATE choices SET is_open = 0 WHERE study_uid = ? AND chosen_at <= ?",
        (plan.study_uid, plan.choices_until),
    )
    for given_up in plan.given_up:
        give_up(transaction, plan.study_uid, given_up)
    # First those that exist: a slot that they left must not count as theirs when a new one takes it.
    new = [planned for planned in plan.jobs if not _keep_job(transaction, planned)]
    for planned in new:
        plan_job(transaction, plan.study_uid, planned)
    transaction.settle_later(plan.study_uid)


def _keep_job(transaction: Transaction, planned: PlannedJob) -> bool:
    """Leave a job that exists where it is, apart from its slot and a corrected header; False: it is new."""
    row = transaction.one("SELECT * FROM jobs WHERE job_key = ?", (planned.job_key,))
    if row is None:
        return False
    job = JobRow.of(row)
    if job.slot != planned.slot:  # further volumes of the series were numbered before it
        move_to_slot(transaction, job, planned.slot)
    if transaction.one("SELECT 1 FROM job_images WHERE job_key = ? LIMIT 1", (job.job_key,)) is None:
        _write_images(transaction, planned)  # they were lost with a ledger
    _correct_header(transaction, job, planned)
    for beside in jobs_beside(transaction, job.study_uid, planned.slot):
        if beside.volume_sha256 == planned.volume_sha256:
            _correct_header(transaction, beside, planned)
    if counts_again(transaction, job):
        _make_new_revision(transaction, job.job_key)
    taken_by = transaction.one("SELECT * FROM jobs WHERE fallback_of = ?", (job.job_key,))
    if taken_by is not None:
        _keep_job(transaction, replace(planned, job_key=taken_by["job_key"]))
        _name_volumes_job(transaction, job, taken_by["job_key"])
    elif job.state is JobState.SUPERSEDED or (planned.is_wished and job.state is JobState.CANCELLED):
        _take_up(transaction, job, planned)
    return True


def _make_new_revision(transaction: Transaction, job_key: str) -> None:
    """Make a result anew that its destinations hold for rejected; what runs, or will, makes it anyway."""
    if transaction.job(job_key).state in (JobState.ENCODED, JobState.DELIVERED):
        reason = "it counts again, and was rejected where it had been delivered"
        transaction.move_job(job_key, JobEvent.HEADER_CORRECTED, reason=reason)
        supersede_deliveries(transaction, job_key)


def _take_up(transaction: Transaction, job: JobRow, planned: PlannedJob) -> None:
    """Begin anew with a job that had given way, since its volume is the one after all."""
    why = "its volume is again as it was before"
    supersede_slot(transaction, job.study_uid, planned.slot, why)
    supersede_beside(transaction, job.study_uid, planned.slot, planned.volume_sha256, why)
    transaction.move_job(job.job_key, JobEvent.REPLANNED, reason="its volume is the one that is wanted again")
    if planned.hold:
        transaction.move_job(job.job_key, JobEvent.HELD, reason=planned.hold)


def plan_job(transaction: Transaction, study_uid: str, planned: PlannedJob) -> None:
    """Write a new job; what its slot held before is superseded."""
    why = "a person asked for its volume anew" if planned.is_wished else "an instance came in later"
    supersede_slot(transaction, study_uid, planned.slot, why)
    supersede_beside(transaction, study_uid, planned.slot, planned.volume_sha256, why)
    now = utc_now()
    transaction.insert(
        "jobs",
        {
            "job_key": planned.job_key,
            "study_uid": study_uid,
            "series_uid": planned.series_uid,
            "slot": planned.slot,
            "rule": planned.rule,
            "task": planned.task,
            "options": planned.options,
            "engine": planned.engine,
            "priority": planned.priority,
            "send_to": planned.send_to,
            "outputs": planned.outputs,
            "state": JobState.PLANNED,
            "header_sha256": planned.header_sha256,
            "volume_sha256": planned.volume_sha256,
            "created_at": now,
            "updated_at": now,
        },
    )
    _write_images(transaction, planned)
    transaction.note(
        "job.planned", study_uid=study_uid, job_key=planned.job_key, rule=planned.rule, task=planned.task
    )
    transaction.publish(JobChanged(planned.job_key, study_uid, "planned", JobState.PLANNED))
    if planned.hold:
        transaction.move_job(planned.job_key, JobEvent.HELD, reason=planned.hold)


def _write_images(transaction: Transaction, planned: PlannedJob) -> None:
    transaction.execute(
        "INSERT INTO job_images (job_key, position, name) SELECT ?, key, value FROM json_each(?)",
        (planned.job_key, json.dumps(planned.instance_uids)),
    )


def replace_job(
    transaction: Transaction, old: JobRow, planned: PlannedJob, *, lane: str, reason: str
) -> None:
    """Let another job take the place of one whose options do not fit where it goes.

    A job of that key that exists already (the study came again) is left as it is.
    """
    transaction.move_job(
        old.job_key, JobEvent.SUPERSEDED, reason=reason, replaced_by=planned.job_key, lane=lane
    )
    if transaction.one("SELECT 1 FROM jobs WHERE job_key = ?", (planned.job_key,)) is None:
        plan_job(transaction, old.study_uid, planned)
        transaction.update("jobs", "job_key", planned.job_key, {"lane": lane, "fallback_of": old.job_key})
    _name_volumes_job(transaction, old, planned.job_key)


def _name_volumes_job(transaction: Transaction, old: JobRow, job_key: str) -> None:
    """Show another job as the one of the volume that `old` had."""
    transaction.execute(
        "UPDATE volumes SET job_key = ? WHERE study_uid = ? AND job_key = ?",
        (job_key, old.study_uid, old.job_key),
    )


def _correct_header(transaction: Transaction, job: JobRow, planned: PlannedJob) -> None:
    if job.header_sha256 == planned.header_sha256:
        return
    transaction.update("jobs", "job_key", job.job_key, {"header_sha256": planned.header_sha256})
    state = job.resume_state if job.state is JobState.QUARANTINED else job.state
    if state in (JobState.ENCODED, JobState.DELIVERED) and transaction.has_result(job.job_key):
        transaction.move_job(job.job_key, JobEvent.HEADER_CORRECTED)
    supersede_deliveries(transaction, job.job_key)
