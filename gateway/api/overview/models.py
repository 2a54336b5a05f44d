"""The shapes of what an operator sees first, and of what the last day or month brought."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from ..models import DestinationName, Mirror


class Level(StrEnum):
    """How bad something is; the worst first."""

    STOPPED = "stopped"  # nothing is taken
    FAILED = "failed"  # studies ended without a result
    WARNING = "warning"  # something is wrong, and studies are still taken
    PERSON = "person"  # something waits for a person
    WELL = "well"


class Finding(BaseModel):
    """One thing that is to be looked at."""

    code: Literal[
        "not_ready", "studies_failed", "trouble", "disk_fills", "studies_held", "objects_put_aside"
    ] = Field(description="What it is, for a program; more may come")
    level: Level
    number: float = Field(
        description="How many, or how many days the disk will do; 0 where nothing is counted"
    )
    sentence: str = Field(description="What is wrong")
    way_out: str = Field(description="What to do; empty where the sentence says it")


class Verdict(BaseModel):
    """Whether all is well, and if not, what to do."""

    level: Level
    sentence: str = Field(description="What is worst, with the way out; or that all is well")
    findings: list[Finding] = Field(description="The worst first")


class Counted(BaseModel):
    """How many there are by state; every state is named."""

    studies: dict[str, int]
    jobs: dict[str, int]
    deliveries: dict[str, int]
    quarantined_objects: int = Field(description="Objects put aside for a person; 0 in the cloud")
    waiting_for_a_person: int = Field(
        description="Jobs that are failed or held, deliveries that are failed, objects put aside"
    )


class ReceivedSince(BaseModel):
    """What came since the day began in the site's time zone."""

    since: str
    studies: int
    instances: int
    bytes: int


class QueueFigures(BaseModel):
    """Jobs on their way to a result."""

    waiting: int = Field(description="Planned, and not running yet")
    running: int
    oldest_wait_s: float = Field(
        description="For how long the first of those at the queue has waited for a machine"
    )
    oldest_open_study_s: float = Field(description="Age of the oldest study that is not done")


class Disk(BaseModel):
    """The disk where images and the ledger lie."""

    free_bytes: int
    size_bytes: int
    reserve_bytes: int = Field(description="Below that nothing is taken any more")
    bytes_a_day: float = Field(description="What images took a day, of the last week")
    days_left: float | None = Field(
        description="Until it is full at that rate, if nothing is removed; null: nothing came"
    )
    is_kept_free: bool = Field(description="Whether what is done longest is removed for want of room")


class WorkerTrouble(BaseModel):
    """A worker and what is wrong with it."""

    name: str
    sentence: str


class Workers(BaseModel):
    """The threads that do the gateway's work."""

    number: int
    troubles: list[WorkerTrouble]


class Associations(BaseModel):
    """The DICOM port, and STOW-RS."""

    open: int
    limit: int
    turned_away: int = Field(description="How many of the last who were not let in are still told of")


class Aws(BaseModel):
    """What of AWS is used; what is empty is not."""

    region: str
    queue: str = Field(description="AWS Batch's job queue")
    bucket: str
    table: str = Field(description="The mirror's")
    troubles: list[str] = Field(description="What is wrong there now, as the workers say that use it")


class Overview(BaseModel):
    """All that an operator asks first. What the cloud cannot know is null."""

    at: str
    version: str
    started: str | None = Field(description="When the gateway was; null in the cloud")
    verdict: Verdict
    counts: Counted
    today: ReceivedSince | None
    queue: QueueFigures
    disk: Disk | None
    workers: Workers | None
    associations: Associations | None
    destinations: list[DestinationName] = Field(description="Empty in the cloud")
    mirror: Mirror
    aws: Aws | None = Field(description="null: nothing of it is used, or in the cloud")


class StageTime(BaseModel):
    """How long a stage took; of what ended in that time."""

    number: int
    median_s: float
    p95_s: float


class PastTime(BaseModel):
    """What one hour or one day brought."""

    begins: str
    local: str = Field(description="The same by the clock of the site, without its zone: 2026-11-30T18:00")
    studies: int = Field(description="Of which the first image came")
    instances: int
    bytes: int
    delivered: int = Field(description="Jobs whose result every destination has")
    failed: int = Field(description="Jobs that failed")
    stages: dict[str, StageTime] = Field(
        description="receive, convert, queue, run, encode, deliver; what did not end then is left out"
    )
    usd: float | None = Field(description="What runs cost that gave a result then; null: no price is known")


class History(BaseModel):
    """The last 24 hours, or the last 30 days, the oldest first; the last one is not over yet."""

    span: Literal["day", "month"]
    items: list[PastTime]


class DestinationCheck(BaseModel):
    """One thing that was tried at a destination."""

    verdict: Literal["ok", "warning", "failed"]
    finding: str
    fix: str = Field(description="What to do; empty where all is well")


class DestinationTried(BaseModel):
    """How a destination answered: the line, and each thing of what its rules send that it does not take."""

    name: str
    checks: list[DestinationCheck]
