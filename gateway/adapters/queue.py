"""The job queue: who runs `python -m batch_job ADDRESS`, and the news that come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from .errors import Away

Detail = Mapping[str, Any]
"""What the queue says beside the state, for the timeline: `log_stream`, `exit_code`; no patient data."""


class Lane(StrEnum):
    """Which of the configured job queues a run goes to."""

    MAIN = "main"
    FALLBACK = "fallback"


@dataclass(frozen=True)
class JobTicket:
    """One run of one job, as it is handed to the queue."""

    job_key: str
    run: int
    address: str
    priority: int
    rule: str = ""
    lane: Lane = Lane.MAIN
    waiting: str = ""
    """Where runs that it may take afterwards are marked; empty: it takes none."""


@dataclass(frozen=True)
class JobNews:
    """Something the queue says about one run of one job.

    News are ordered by (run, attempt, rank): what is not after the last that was taken in changes nothing.
    """

    rank: ClassVar[int]

    job_key: str
    run: int
    attempt: int = field(default=1, kw_only=True)
    """The queue's own attempts within a run, from 1: it starts a run again whose machine was taken away."""
    queue_id: str = field(default="", kw_only=True)
    """The queue's own name of the run; empty where it has none."""
    detail: Detail = field(default_factory=dict, kw_only=True)
    earlier: tuple["RunQueued", ...] = field(default=(), kw_only=True)
    """That it went back to wait, for each attempt before this one: news that may have been missed."""


@dataclass(frozen=True)
class RunQueued(JobNews):
    """It waits for a machine."""

    rank = 1


@dataclass(frozen=True)
class RunBlocked(JobNews):
    """It waits at the head of its queue, and the queue says that no machine will come as things are."""

    rank = 1

    code: str
    """The queue's own reason, up to its first space: `MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT`."""


@dataclass(frozen=True)
class RunStarting(JobNews):
    """It has a machine, which fetches the image."""

    rank = 2


@dataclass(frozen=True)
class RunStarted(JobNews):
    """It runs."""

    rank = 3


@dataclass(frozen=True)
class RunProgressed(JobNews):
    """It got further; `fraction` is 0 to 1 of the whole job."""

    rank = 4

    stage: str
    fraction: float


@dataclass(frozen=True)
class RunEnded(JobNews):
    """It ended with this exit code (contract.EXIT_...; negative: killed by that signal).

    `reason` is one sentence: the last line that it wrote to standard error, or what the queue says.
    """

    rank = 5

    exit_code: int
    reason: str


@dataclass(frozen=True)
class RunNeverStarted(JobNews):
    """It ended while it waited for a machine: withdrawn, or the queue's own time limit was up."""

    rank = 5

    reason: str
    by_time_limit: bool = field(default=False, kw_only=True)


class Unanswered(Away):
    """Whether the run was taken in is not known: it is looked for before another is submitted."""


WAITING_CODES = (
    *("queue_missing", "queue_disabled", "queue_invalid", "environment_disabled", "environment_invalid"),
    *("max_vcpus", "job_too_large", "quota", "service_role", "machine_unsupported", "undetermined"),
    *("capacity", "line", "machine", "unknown", "starting", "running", "over"),
)
WAITS_NO_MORE = frozenset({"starting", "running", "over"})
"""Of these what says that a run does not wait for a machine any more."""


@dataclass(frozen=True)
class Waiting:
    """Why a run waits for a machine."""

    code: str
    """One of `WAITING_CODES`: for the mirror, and to tell one explanation from the next."""
    sentence: str
    """For the operator: what is wrong, with its numbers."""
    fix: str
    """The way out: a command where there is one; empty where there is nothing to do but wait."""


class JobQueue(Protocol):
    """A queue elsewhere: takes runs, which go on without this process, are found again, and asked after."""

    def submit(self, ticket: JobTicket) -> str:
        """Hand over one run, once; the queue's own name of it.

        Raises
        ------
        Unanswered
            It may have been taken in, or not.
        Retriable, Permanent
            It was not.
        """
        ...

    def cancel(self, job_key: str, queue_id: str = "", run: int | None = None) -> None:
        """End whatever runs or waits for this job, or only as this run of it; unknown ones are no error.

        Raises
        ------
        Retriable, Permanent
            The queue did not take the wish.
        """
        ...

    def find(self, ticket: JobTicket) -> str | None:
        """Its name of a run that it took in under this ticket, over or not; None where it knows of none."""
        ...

    def look(self, queue_ids: Sequence[str]) -> list[JobNews]:
        """How these runs stand now, as news; those that it has forgotten are left out."""
        ...

    def withdraw(self, queue_id: str) -> None:
        """End a run only if it still waits for a machine; whether it did is told as news."""
        ...

    def why_waiting(self, lane: Lane, priority: int, queue_id: str) -> Waiting:
        """Find out why a run gets no machine that is in this lane with this priority."""
        ...
