"""The job queue: who runs `python -m batch_job ADDRESS`, and the news that come of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class JobTicket:
    """One run of one job, as it is handed to the queue."""

    job_key: str
    run: int
    address: str
    priority: int


@dataclass(frozen=True)
class JobNews:
    """Something the queue says about one run of one job."""

    job_key: str
    run: int


@dataclass(frozen=True)
class RunQueued(JobNews):
    """It waits for a machine."""


@dataclass(frozen=True)
class RunStarted(JobNews):
    """It runs."""


@dataclass(frozen=True)
class RunProgressed(JobNews):
    """It got further; `fraction` is 0 to 1 of the whole job."""

    stage: str
    fraction: float


@dataclass(frozen=True)
class RunEnded(JobNews):
    """It ended with this exit code (contract.EXIT_...; negative: killed by that signal).

    `reason` is the last line that it wrote to standard error.
    """

    exit_code: int
    reason: str


class JobQueue(Protocol):
    """Takes runs and tells news of them, in any thread."""

    def start(self, on_news: Callable[[JobNews], None]) -> None:
        """Begin; news go to `on_news`."""
        ...

    def submit(self, ticket: JobTicket) -> None:
        """Hand over one run; `Retriable` or `Permanent` when the queue does not take it."""
        ...

    def cancel(self, job_key: str) -> None:
        """End whatever runs or waits for this job; unknown ones are no error."""
        ...

    def stop(self) -> None:
        """Take no more; local runs end with `EXIT_INTERRUPTED`."""
        ...
