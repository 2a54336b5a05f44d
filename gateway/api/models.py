"""The shapes of the API's answers; OpenAPI is made of them. They may grow, and never change their meaning.

Times are UTC, ISO 8601 with a Z. Reasons are sentences for a person; in the cloud, which knows no sentences,
they are codes. What the cloud does not know is null, empty or 0.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.ledger.steps import Step
from gateway.ledger.waiting import Waits

from .studies.whereabouts import Kind, WaitsFor


class Progress(BaseModel):
    """How far a running job is."""

    stage: str = Field(description="What the job is doing; empty before its run started")
    fraction: float = Field(ge=0, le=1, description="Of the whole run")


class Cost(BaseModel):
    """What a run that gave a result cost (docs/cost.md)."""

    machine: str = Field(description="The machine's type; empty: none of EC2")
    is_spot: bool | None = Field(description="null: not known")
    machine_s: float = Field(description="Seconds that it held the machine")
    gpu_s: float | None = Field(description="Seconds of that with a GPU at work; null: not known")
    shared_s: float | None = Field(
        description="Seconds that the machine was nobody's before it: its start, or since its last run"
    )
    usd_per_hour: float | None = Field(description="null: no price is known")
    is_spot_price: bool = Field(description="Else the configured price, on demand, which Spot is below")
    usd: float | None = Field(description="What the run itself cost, about")
    usd_shared: float | None = Field(description="What the time before it cost, about")
    lost_s: float = Field(description="Seconds of earlier attempts whose machines Spot took away")
    usd_lost: float | None = Field(description="What those cost, about, at this run's price")


class Run(BaseModel):
    """One time that a job was handed to a queue."""

    run: int = Field(description="From 1; one that another gateway had in between may be left out")
    where: Literal["local", "batch"] | None = Field(description="The queue; null: not known any more")
    lane: Literal["main", "fallback"]
    region: str | None = Field(description="The region of AWS that it is in; null: none, or not known")
    queue_id: str | None = Field(description="A remote queue's own name of it")
    run_of: str | None = Field(description="The other gateway whose run it is; null where it is ours")
    submitted: str = Field(description="When it was last handed over")
    started: str | None = Field(description="When it began, the first time; null: it did not, or not known")
    ended: str | None = Field(description="When it ended; null while it may go on")
    exit_code: int | None = Field(description="null: it has none, or is not known")
    how: str = Field(description="How it ended, in a sentence; empty while it may go on")
    cost: Cost | None = Field(description="null: it gave no result, or it is not known")
    log_stream: str | None = Field(description="Of AWS Batch: what it printed, by the name in CloudWatch")
    log_url: str | None = Field(description="Where the AWS console shows that")


class JobFlag(BaseModel):
    """What a person should know before trusting a result (docs/quality.md)."""

    code: str
    structure: str | None = Field(description="The structure; null where it is about all that was segmented")
    number: float = Field(description="What was measured, in `unit`")
    unit: str
    sentence: str = Field(description="The same in words; empty in the cloud")


class StructureChange(BaseModel):
    """One structure in an earlier result and in this one."""

    structure: str
    then_ml: float | None = Field(description="null: it was not found then")
    now_ml: float | None = Field(description="null: it was not found now")
    change_ml: float | None = Field(description="null: it is not compared")
    change_percent: float | None = Field(description="Of the volume then")
    not_compared: Literal["cut_now", "cut_then", "cut_both", "not_found_now", "not_found_then"] | None


class Comparison(BaseModel):
    """How a result differs from the patient's earlier one; chosen when it was first encoded."""

    why_none: str = Field(description="Why it is compared with none; empty where it is")
    prior_study_uid: str | None = Field(description="The earlier study; null without one")
    prior_job_key: str | None
    prior_date: str | None = Field(description="When the earlier images were taken: 2026-03-04")
    interval_days: int | None
    structures: list[StructureChange]


class CorrectedStructure(BaseModel):
    """One structure before and after a person edited it."""

    structure: str
    is_new: bool = Field(description="Whether it is none of the result's: then what the person called it")
    dice: float | None = Field(description="Of both; null where it is on one side only")
    volume_ml: float | None = Field(description="As it was made here; null: it was not")
    corrected_ml: float | None = Field(description="As it came back; null: it was left out")
    change_ml: float | None = Field(description="How much larger it became; null: it was left out")


class Correction(BaseModel):
    """A segmentation that somebody edited and that was routed back; it is never an input."""

    key: str
    state: Literal["waiting", "compared", "unreadable"]
    evidence: Literal["reference", "tracking", "equipment", "labels"] = Field(
        description="By what it is known as a correction of this result"
    )
    reason: str = Field(description="Why it could not be compared, or not yet; empty where it was")
    received: str
    structures: list[CorrectedStructure] = Field(description="The result's in their order, then new ones")


class StudyJob(BaseModel):
    """One volume x one task."""

    job_key: str
    task: str
    state: str
    reason: str
    goes_on_from: str | None = Field(
        description="The state from which a failed or held job goes on; null: it is neither, or not known"
    )
    progress: Progress
    attempts: int = Field(description="Runs begun so far")
    runs: list[Run] = Field(description="The last 20 of them, the first one first; empty in the cloud")
    lane: Literal["main", "fallback"] = Field(description="The job queue that its runs go to")
    region: str | None = Field(description="The region of AWS of the present run; null: none, or not known")
    queue_id: str | None = Field(description="A remote queue's own name of the present run")
    run_of: str | None = Field(description="The other gateway whose run it is; null where it is ours")
    waiting_since: str | None = Field(description="Since when it waits for a machine; null while it does not")
    results_removed: str | None = Field(description="When its results were removed; null: they are here")
    fallback_of: str | None = Field(description="The job whose place it took on the fallback queue")
    series_uid: str
    rule: str = Field(description="The rule that chose it")
    priority: int = Field(
        description="The higher, the sooner: its rule's, or a person's; what was backfilled is far below 0"
    )
    engine: str
    flags: list[JobFlag] = Field(description="Doubts about the result: of its arrival first, then its own")
    comparison: Comparison | None = Field(
        description="null: not asked for, not encoded yet, in lists, or in the cloud"
    )
    corrections: list[Correction] = Field(description="The latest first; empty in the cloud")
    warnings: list[str] = Field(description="What the encoder noted about the result")
    files: list[str] = Field(description="Names of the files that can be fetched below the job")
    next_try: str | None = Field(
        description="When the present step is tried again, where it was put off; null: when its turn comes"
    )
    created: str
    updated: str


class StudyDelivery(BaseModel):
    """One object on its way to one destination."""

    key: str
    output: str = Field(description="What it is: seg, sr, ...; empty where that is not known any more")
    destination: str
    state: str
    reason: str
    job_key: str
    attempts: int
    waiting_since: str | None = Field(
        description="Since when it is to be sent, or to be kept; null where it does not wait"
    )
    next_try: str | None
    updated: str


class TimelineLine(BaseModel):
    """Something that happened."""

    at: str
    event: str
    sentence: str = Field(description="The same in words")
    detail: dict[str, Any]
    job_key: str | None
    delivery_key: str | None


class Volume(BaseModel):
    """What was decided about one volume of a series, and why."""

    number: int
    images: int
    job_key: str | None = Field(description="The job that works on it; null where none does")
    why: str
    findings: list[dict[str, Any]] = Field(description="What is odd about its geometry: code and sentence")
    ranking: list[str] = Field(description="The volumes of the same scan, best first, one sentence each")
    can_be_used: bool = Field(description="Whether a person may choose it: a rule takes it, or would")


class VolumeChoice(BaseModel):
    """The volume of a study that a person wants used."""

    series_uid: str = Field(max_length=64)
    number: int = Field(ge=1, description="The volume's number in its series")


class NewDestination(BaseModel):
    """Where a delivery is to go instead."""

    to: str = Field(min_length=1, max_length=100, description="The name of a configured destination")


class NewPriority(BaseModel):
    """How soon a job is to have its turn."""

    model_config = ConfigDict(extra="forbid")

    priority: int | None = Field(
        None, ge=-9999, le=9999, description="The higher, the sooner; null: before every job that waits now"
    )


class AnotherTask(BaseModel):
    """A further task on the images of a job."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(min_length=1, max_length=64, description="One of `GET /api/v1/tasks`")
    options: dict[str, str | int | float | bool | list[str]] = Field({}, description="As those of a rule")


class NotTaken(BaseModel):
    """What a destination refuses."""

    what: str = Field(description="A SOP class, or one in a transfer syntax, by name and UID")
    way_out: str = Field(description="What makes it take that, as far as it says who it is")


class DestinationName(BaseModel):
    """Somewhere results can be sent, or still wait to be."""

    name: str
    is_configured: bool = Field(description="false: what waits for it waits for nobody")
    waiting: int = Field(description="Deliveries that are to be sent there")
    waiting_since: str | None = Field(description="Since when the first of them waits; null: none does")
    failed: int = Field(description="Deliveries that failed there, and that nobody has settled yet")
    reason: str = Field(description="Why they wait, as the one that waits for the longest says")
    address: str = Field(
        description="Where it is; of one that is not configured any more where it was, or empty"
    )
    implementation: str = Field(description="What it says that it is; empty: it cannot be asked")
    asked: str | None = Field(
        description="When it last said what it takes; null: never, or it cannot be asked"
    )
    takes: list[str] = Field(description="Of what its rules send: SOP classes in transfer syntaxes")
    refuses: list[NotTaken]


class DestinationList(BaseModel):
    """Where results go, and a delivery can be redirected to where that is configured; empty in the cloud."""

    items: list[DestinationName]


class Series(BaseModel):
    """One series; it has no volumes before its study is complete."""

    series_uid: str
    number: int | None
    description: str
    modality: str
    images: int
    volumes: list[Volume]


class Whereabouts(BaseModel):
    """Where a study is, why, and what to do now: what the page, `iris study` and `iris studies` say first."""

    kind: Kind
    where: str
    why: str = Field(description="Empty where `where` says it all")
    what_to_do: str
    waits_for: WaitsFor = Field(description="Who has to do something next")
    since: str = Field(description="Since when it is there")
    job_key: str | None = Field(description="The job by which it is told of; null: none")
    delivery_key: str | None = Field(description="The delivery by which it is told of; null: none")
    next_try: str | None = Field(description="When that is tried again by itself; null: when its turn comes")


class LastStep(BaseModel):
    """The newest line of a timeline."""

    at: str
    event: str
    sentence: str


class StudySummary(BaseModel):
    """One study in a list; in the cloud without its UID and what is the patient's."""

    study_uid: str | None = Field(description="The Study Instance UID; null in the cloud")
    study_key: str
    state: str
    reason: str
    whereabouts: Whereabouts
    received: str
    updated: str
    patient_id: str
    accession_number: str
    study_date: str
    study_description: str
    images: int = Field(description="Instances stored, of use or not")
    modalities: list[str] = Field(description="Of its images; empty in the cloud")
    senders: list[str] = Field(description="AE titles, or tokens of STOW-RS; empty in the cloud")
    flags: list[str] = Field(description="The codes of its results' flags, each once")
    waits: list[Waits] = Field(description="For what it waits, the most urgent first; empty: for nothing")
    last_step: LastStep | None = Field(description="What happened last; null in the cloud")
    destinations: int = Field(description="To how many destinations results of it go or went")
    destinations_reached: int = Field(description="How many of them have all that goes to them")
    images_removed: str | None = Field(description="When images of it were removed here; null: all are here")
    results_removed: str | None = Field(
        description="When results of it were removed here; null: all are here"
    )
    viewer_url: str | None = Field(
        description="Where the site's viewer shows it; null: there is none, or it lacks what the address says"
    )
    jobs: list[StudyJob]
    deliveries: list[StudyDelivery]


class StudyStep(BaseModel):
    """A stretch of time that a study, or one of its jobs, was in one step of its way."""

    step: Step
    job_key: str | None = Field(description="null: the study itself, before it was complete")
    begun: str
    ended: str | None = Field(description="null: it goes on")


class Study(StudySummary):
    """One study with everything that is known of it."""

    series: list[Series] = Field(description="Empty in the cloud")
    steps: list[StudyStep] = Field(description="In the order in which they began, as the timeline shown says")
    timeline: list[TimelineLine] = Field(description="The oldest first")
    timeline_left_out: int = Field(description="Older lines of a very long timeline that are not shown")


class Job(StudyJob):
    """One job with what happened to it."""

    study_uid: str | None = Field(description="The Study Instance UID; null in the cloud")
    study_key: str
    deliveries: list[StudyDelivery]
    timeline: list[TimelineLine]


class StudyList(BaseModel):
    """One page of studies."""

    items: list[StudySummary]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last")
    total: int | None = Field(description="How many they are on all pages; null unless `count` asks for it")


class StudyTraits(BaseModel):
    """What studies can be found by: every value that one of them has; nothing in the cloud."""

    is_searched: bool = Field(
        description="Whether studies are found by these and by `q`, in every order; not in the cloud"
    )
    modality: list[str]
    sender: list[str]
    rule: list[str]
    destination: list[str]
    flag: list[str]


class Outcome(BaseModel):
    """What a request of a person led to."""

    kind: Literal["study", "job", "delivery", "object"]
    key: str
    state: str = Field(description="The state right after the request")
    sentence: str = Field(
        "", description="What was done, where that is over already", exclude_if=lambda said: not said
    )


class Task(BaseModel):
    """Something that the engine can be asked for."""

    task: str
    modality: str = Field(description="The DICOM Modality of the images it works on")
    is_licensed: bool = Field(description="Whether its weights need a licence from the engine's maker")
    variants: list[str] = Field(description="The options that choose another model: fast, fastest")


class TaskList(BaseModel):
    """What can be asked for with a NIfTI file."""

    engine: str
    default_task: str
    takes: Literal["file", "put"] = Field(
        description="file: send it with the request; put: ask without it, put it where the answer says, start"
    )
    max_bytes: int | None = Field(None, description="The largest file that is taken; null: not known here")
    items: list[Task]


class Put(BaseModel):
    """Where and how to put a file: one PUT request with exactly these headers and the file as its body."""

    url: str = Field(description="Good until `expires`, for whoever has it, for exactly that file")
    headers: dict[str, str]
    expires: str


class Upload(BaseModel):
    """An image that was given to segment."""

    job_key: str
    study_key: str = Field(description="Of the study of its own that it gets")
    state: str = Field(description="The job's state")
    put: Put | None = Field(description="In the cloud: where to put the file; null where it is there already")


class Mirror(BaseModel):
    """How far the mirror is; in the cloud, which is one itself, `on` is false."""

    on: bool = Field(description="Whether anything is mirrored")
    waiting: int = Field(description="Changes that the table does not have yet")
    lag_s: float = Field(description="For how long the first of them has been due; 0 when none is")
    rebuilding: bool = Field(description="Whether everything is being written anew")
    trouble: str = Field(description="Why the table does not have everything; empty when all is well")


class TurnedAway(BaseModel):
    """Somebody who was not let in, or whose association was ended."""

    at: str = Field(description="UTC")
    what: str = Field(
        description="rejected, aborted, turned_away (no association was asked for) or declined (let in, but"
        " without storage commitment)"
    )
    calling_ae_title: str = Field(description="Empty where it did not come to that")
    address: str
    sentence: str = Field(description="Why")


class Door(BaseModel):
    """The DICOM port of this gateway, and STOW-RS; in the cloud there is none, and all is 0."""

    associations: int = Field(description="Open now, STOW-RS requests among them")
    limit: int = Field(description="`dicom.max_associations`")
    turned_away: list[TurnedAway] = Field(description="The last of them since the start, the newest first")


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Whether instances can be accepted."""

    ready: bool
    reasons: list[str] = Field(description="Why not")
    degraded: list[str] = Field(description="What is wrong while instances are still accepted")


class Problem(BaseModel):
    """An error, by RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
