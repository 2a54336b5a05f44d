"""The ledger's rows as frozen records, read by everybody, written by the ledger alone."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Json

from gateway.adapters.mirror import ItemKind
from gateway.adapters.queue import Lane
from gateway.config import UPLOAD_RULE

from .run_cost import RunCost
from .states import CorrectionState, DeliveryState, JobState, StudyState


def utc_text(at: datetime) -> str:
    """A time as the ledger keeps it: UTC, fixed width, so that text order is time order."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def age_s(since: str | None) -> float:
    """Seconds since then, by the clock of this machine; 0 for None."""
    return max(0.0, (datetime.now(UTC) - utc_time(since)).total_seconds()) if since else 0.0


def utc_time(text: str) -> datetime:
    """The time behind a ledger text."""
    return datetime.fromisoformat(text)


def utc_now() -> str:
    """The present as the ledger keeps it."""
    return utc_text(datetime.now(UTC))


def utc_in(delay_s: float) -> str:
    """A time to come as the ledger keeps it."""
    return utc_text(datetime.now(UTC) + timedelta(seconds=delay_s))


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


_FROM_JSON: Final = BeforeValidator(_parsed)
"""For rows that are also made here, of values, not only read of the ledger's text."""
Volumes = dict[str, tuple[float, bool]]
"""Structure to its ml, and whether the scan cuts it."""


class _Row(BaseModel):
    """Reads itself from a row of the same columns; JSON columns are parsed, states become their enums."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, row: sqlite3.Row) -> Self:
        """Read one row."""
        # Not dict(row): that looks for each column by its name, among forty.
        return cls.model_validate(dict(zip(row.keys(), row, strict=True)))


class StudyRow(_Row):
    """One study."""

    study_uid: str
    study_key: str
    state: StudyState
    reason: str
    patient_id: str
    accession_number: str
    study_date: str
    study_description: str
    received_at: str
    last_instance_at: str
    updated_at: str
    completed_at: str | None
    evidence: str | None
    evidence_at: str | None
    complete_requested: int
    generation: int
    images: int
    done_at: str | None
    images_removed_at: str | None
    images_here: int
    results_here: int
    is_upload: int
    forget_at: str | None


class InstanceRow(_Row):
    """One revision of one instance."""

    sop_instance_uid: str
    revision: int
    is_current: int
    study_uid: str
    series_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    series_number: int | None
    series_description: str
    path: str
    size_bytes: int
    header_sha256: str
    pixel_sha256: str
    geometry_sha256: str
    of_use: int
    why_not: str
    sender: str
    received_at: str
    removed_at: str | None
    identifying_sha256: str


class JobRow(_Row):
    """One volume x one task."""

    job_key: str
    study_uid: str
    series_uid: str
    slot: str
    rule: str
    task: str
    options: Json[dict[str, Any]]
    engine: str
    priority: int
    send_to: Json[tuple[str, ...]]
    state: JobState
    resume_state: JobState | None
    reason: str
    run: int
    failures: int
    not_before: str | None
    stage: str
    fraction: float
    header_sha256: str
    labels_sha256: str | None
    segmented_at: str | None
    warnings: Json[tuple[str, ...]]
    created_at: str
    updated_at: str
    lane: Lane
    fallback_of: str | None
    outputs: Json[tuple[str, ...]]
    volume_sha256: str
    results_removed_at: str | None
    counted_after: int
    released_labels: str

    @property
    def is_upload(self) -> bool:
        """Whether it works on a NIfTI that a person uploaded: no DICOM goes in or comes out."""
        return self.rule == UPLOAD_RULE

    @property
    def model_name(self) -> str:
        """What a result of a fallback job says of its model: the options that are switched on."""
        chosen = [n for n, value in sorted(self.options.items()) if value is True and n != "statistics"]
        return ", ".join([*chosen, "fallback"])


class RunRow(_Row):
    """One run of a job."""

    id: int
    job_key: str
    run: int
    lane: Lane
    queue_id: str
    followed: str
    is_open: int
    submitted_at: str
    attempt: int
    rank: int
    waiting_since: str | None
    waiting_code: str
    blocked_code: str
    withdrawn_at: str | None
    ended_at: str | None
    exit_code: int | None
    sentence: str
    backend: str
    started_at: str | None
    lost_on: str
    instance: str
    held_until: str | None
    cost: Annotated[RunCost | None, _FROM_JSON]
    region: str
    has_copy: int


class CorrectedStructure(BaseModel):
    """One structure before and after a person edited it; volumes are None where there is none."""

    model_config = ConfigDict(frozen=True)

    structure: str
    is_new: bool
    """It is none of ours: `structure` is what the person called it."""
    dice: float | None
    volume_ml: float | None
    corrected_ml: float | None

    @property
    def change_ml(self) -> float | None:
        """How much larger it became."""
        if self.corrected_ml is None:
            return None
        return round(self.corrected_ml - (self.volume_ml or 0.0), 3)


class JobFlagRow(_Row):
    """What a person should know before trusting a job's result."""

    job_key: str
    source: str
    position: int
    code: str
    structure: str | None
    number: float
    unit: str
    sentence: str


class MeasuredRow(_Row):
    """What was measured of a result, and whose it is."""

    job_key: str
    subject: str
    name: str
    birth_date: str
    acquired: str
    volumes: Annotated[Volumes, _FROM_JSON]


class ComparisonRow(_Row):
    """What a job's result was compared with."""

    job_key: str
    chosen_for: str
    why_none: str
    prior_job_key: str | None = None
    prior_study_uid: str | None = None
    prior_date: str | None = None
    interval_days: int = 0
    prior_object: Annotated[dict[str, str], _FROM_JSON] = {}
    changes: Annotated[tuple[dict[str, Any], ...], _FROM_JSON] = ()


class CorrectionRow(_Row):
    """One segmentation that came in, and may be an edited result of ours; by then `key` and `job_key`."""

    sop_instance_uid: str
    study_uid: str
    state: CorrectionState
    key: str | None
    job_key: str | None
    evidence: str
    sentence: str
    structures: Json[tuple[CorrectedStructure, ...]]
    received_at: str


class DeliveryRow(_Row):
    """One object on its way to one destination."""

    key: str
    job_key: str
    study_uid: str
    destination: str
    sop_instance_uid: str
    state: DeliveryState
    reason: str
    attempts: int
    not_before: str | None
    priority: int
    created_at: str
    pending_since: str
    updated_at: str
    begun_at: str | None
    unkept_since: str | None

    @property
    def is_open(self) -> bool:
        """Whether it is to be sent, or its destination is still to say that it keeps it."""
        return self.state is DeliveryState.PENDING or self.unkept_since is not None


class SentOutputRow(DeliveryRow):
    """A delivery, with what its object is; `output` is empty where that is not known any more."""

    output: str


class ResultObjectRow(_Row):
    """One object that was made of a job."""

    sop_instance_uid: str
    job_key: str
    output: str
    sop_class_uid: str
    path: str
    sha256: str
    is_current: int
    made_at: str
    series_uid: str
    """Empty: only its file says it."""


class RevisitRow(_Row):
    """A study that came again in full, and a destination that has, or had, its results."""

    study_uid: str
    destination: str
    noted_at: str
    not_before: str | None
    asked: int
    resent: Json[tuple[str, ...]]


class QuarantineRow(_Row):
    """One object that was put aside."""

    key: str
    reason: str
    sentence: str
    path: str
    study_uid: str | None
    sop_instance_uid: str | None
    sender: str
    times: int
    first_at: str
    last_at: str
    dismissed_at: str | None
    dismissed_by: str


class EventRow(_Row):
    """One line of a timeline."""

    seq: int
    at: str
    study_uid: str | None
    job_key: str | None
    delivery_key: str | None
    event: str
    detail: Json[dict[str, Any]]


class VolumeRow(_Row):
    """What was decided about one volume, and why."""

    study_uid: str
    series_uid: str
    number: int
    images: int
    job_key: str | None
    why: str
    findings: Json[tuple[dict[str, Any], ...]]
    ranking: Json[tuple[str, ...]]
    first_image: str
    can_be_used: int


class ChoiceRow(_Row):
    """One volume that a person chose, known by one of its images, or by its number where that is empty."""

    study_uid: str
    series_uid: str
    number: int
    image: str
    chosen_at: str
    is_open: int


class OutboxRow(_Row):
    """One thing that has to be shipped to the mirror: a study, a job or a line of a timeline, by its key."""

    number: int
    study_uid: str
    kind: ItemKind
    key: str
    due_at: str


class RemovalRow(_Row):
    """Something that is to be removed from here."""

    number: int
    kind: str
    name: str
    job_key: str
    since: str


class TombstoneRow(_Row):
    """What is left of a study that is gone."""

    study_key: str
    job_keys: Json[tuple[str, ...]]
    received_at: str
    done_at: str | None
    removed_at: str
    why: str


class MirrorRow(_Row):
    """How the mirror stands; one row."""

    id: int
    is_on: int
    epoch: int
    seen_epoch: int
    rebuilding: int
