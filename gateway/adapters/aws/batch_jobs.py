"""What AWS Batch says of a job, in an event or as the answer of DescribeJobs, as news of a run.

Both are a JobDetail; an event's tells less (no `isCancelled`), and fields may be added at any time, so that
what is not known is ignored. Times are milliseconds. `attempts` holds those that ended. `docs/aws.md` has the
table of what becomes what.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    EXIT_TRANSIENT,
    RUN_VARIABLE,
)
from gateway.adapters.queue import (
    JobNews,
    RunBlocked,
    RunEnded,
    RunNeverStarted,
    RunQueued,
    RunStarted,
    RunStarting,
)

ENDED_ON_REQUEST: Final = "IRIS no longer needs it"
WITHDRAWN: Final = "IRIS waited long enough for a machine"
"""What we tell Batch when we end a job; it comes back as the job's status reason."""
HOST_GONE: Final = "Host EC2"
TIME_UP: Final = "Job attempt duration exceeded timeout"
CANCELLED_BY_TIME_LIMIT: Final = "Canceled by JobStateTimeLimit action due to reason: "
EXIT_KILLED: Final = 137
"""128 and SIGKILL, as a container's exit code."""

_JOB_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_RUN: Final = re.compile(r"[1-9][0-9]{0,8}")
_BLOCKED: Final = re.compile(r"(CAPACITY|MISCONFIGURATION|ACTION_REQUIRED|UNDETERMINED)\b")
_INSTANCE: Final = re.compile(r"\bi-[0-9a-f]{8,17}\b")
_NO_SUCH_IMAGE: Final = re.compile(
    r"not found|does not exist|unknown|denied|unauthorized|no basic auth|invalid reference", re.IGNORECASE
)
_WAITING: Final = frozenset({"SUBMITTED", "PENDING", "RUNNABLE"})
_OVER: Final = frozenset({"SUCCEEDED", "FAILED"})
_STATUS_REASON_CHARACTERS: Final = 200

_EXITS: Final = {
    EXIT_BAD_INPUT: "the job cannot use its input (exit code 2)",
    EXIT_SOFTWARE_ERROR: "a defect in the job or its engine (exit code 70)",
    EXIT_TRANSIENT: "the job asked to be run again later (exit code 75)",
    EXIT_NOT_SET_UP: "the job's image lacks weights or a licence (exit code 78)",
    EXIT_INTERRUPTED: "it was interrupted (exit code 143)",
    EXIT_KILLED: "it was killed (exit code 137), as happens when memory runs out",
}


class NotAJob(ValueError):
    """It does not look like anything that Batch says of a job."""


class _Told(BaseModel):
    """A part of a JobDetail; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class _Variable(_Told):
    name: str
    value: str = ""


class _Container(_Told):
    environment: tuple[_Variable, ...] | None = None
    exit_code: int | None = None
    reason: str | None = None
    log_stream_name: str | None = None


class _Attempt(_Told):
    container: _Container | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    status_reason: str | None = None

    @property
    def exit_code(self) -> int | None:
        return self.container.exit_code if self.container is not None else None

    @property
    def reason(self) -> str:
        """Why the container ended, or never began: `OutOfMemoryError: ...`."""
        return (self.container.reason if self.container is not None else None) or ""

    @property
    def lost_its_machine(self) -> bool:
        """The machine went, or said that it would, and the job ended in time."""
        return (self.status_reason or "").startswith(HOST_GONE) or self.exit_code == EXIT_INTERRUPTED

    def detail(self) -> dict[str, str | int | float]:
        """What is known of it, for the timeline."""
        found: dict[str, str | int | float] = {}
        if self.started_at and self.stopped_at:
            found["seconds"] = round((self.stopped_at - self.started_at) / 1000, 1)
        if self.exit_code is not None:
            found["exit_code"] = self.exit_code
        if self.container is not None and self.container.log_stream_name:
            found["log_stream"] = self.container.log_stream_name
        if instance := _INSTANCE.search(self.status_reason or ""):
            found["instance"] = instance[0]
        return found


class _Strategy(_Told):
    attempts: int = 1


class BatchJob(_Told):
    """A job as Batch shows it."""

    job_id: str
    job_name: str
    status: str
    job_queue: str = ""
    status_reason: str | None = None
    created_at: int = 0
    started_at: int | None = None
    stopped_at: int | None = None
    attempts: tuple[_Attempt, ...] | None = None
    container: _Container | None = None
    retry_strategy: _Strategy | None = None
    is_terminated: bool | None = None

    @classmethod
    def parse(cls, job: Mapping[str, Any]) -> "BatchJob":
        """Read a JobDetail.

        Raises
        ------
        NotAJob
            A field that every job has is missing, or of another kind.
        """
        try:
            return cls.model_validate(job)
        except ValidationError:
            raise NotAJob("a message of Batch lacks what every job has") from None

    @property
    def run(self) -> int | None:
        """The run's number; None: it is not a job of ours."""
        variables = (self.container.environment if self.container is not None else None) or ()
        given = {each.name: each.value for each in variables}.get(RUN_VARIABLE, "")
        return int(given) if _RUN.fullmatch(given) and _JOB_KEY.fullmatch(self.job_name) else None

    @property
    def is_over(self) -> bool:
        """Nothing more will become of it."""
        return self.status in _OVER

    @property
    def ended(self) -> tuple[_Attempt, ...]:
        """The attempts that ended."""
        return self.attempts or ()

    @property
    def was_waiting(self) -> bool:
        """It failed while it waited for a machine: its first one, or the next after one was lost."""
        if not self.ended:
            return not self.started_at
        last = self.ended[-1]
        allowed = self.retry_strategy.attempts if self.retry_strategy is not None else 1
        goes_on = last.lost_its_machine or last.exit_code == EXIT_TRANSIENT
        later = (self.stopped_at or 0) > (last.stopped_at or 0)
        return goes_on and later and len(self.ended) < allowed


def news_of(job: Mapping[str, Any], *, blocked: bool = False) -> JobNews | None:
    """What a JobDetail says, as news.

    Parameters
    ----------
    blocked
        It came as the event that it blocks its queue, whatever its status reason is.

    Returns
    -------
    JobNews or None
        None: it is not a job of ours, or in a state that says nothing.

    Raises
    ------
    NotAJob
    """
    return news_of_job(BatchJob.parse(job), blocked=blocked)


def news_of_job(job: BatchJob, *, blocked: bool = False) -> JobNews | None:
    """The same for one that has been read."""
    run = job.run
    if run is None:
        return None
    news = _present(job, run, blocked=blocked)
    return None if news is None else replace(news, earlier=_went_back(job, news))


def _present(job: BatchJob, run: int, *, blocked: bool) -> JobNews | None:
    if job.status == "FAILED" and job.was_waiting:
        return RunNeverStarted(
            job.job_name,
            run,
            _why_never_started(job),
            attempt=len(job.ended) + 1,
            queue_id=job.job_id,
            detail=_detail(job),
            by_time_limit=(job.status_reason or "").startswith(CANCELLED_BY_TIME_LIMIT),
        )
    if job.is_over:
        return _ended(job, run)
    return _open(job, run, blocked=blocked)


def _open(job: BatchJob, run: int, *, blocked: bool) -> JobNews | None:
    attempt, detail = len(job.ended) + 1, _detail(job)
    reason = job.status_reason or ""
    if job.status in _WAITING and (blocked or _BLOCKED.match(reason)):
        code = reason.partition(" ")[0]
        return RunBlocked(job.job_name, run, code, attempt=attempt, queue_id=job.job_id, detail=detail)
    kinds = {**dict.fromkeys(_WAITING, RunQueued), "STARTING": RunStarting, "RUNNING": RunStarted}
    kind = kinds.get(job.status)
    if kind is None:
        return None
    if kind is RunQueued and job.ended:
        detail = {**detail, **_lost_in(job.ended[-1])}
    return kind(job.job_name, run, attempt=attempt, queue_id=job.job_id, detail=detail)


def _went_back(job: BatchJob, news: JobNews) -> tuple[RunQueued, ...]:
    """That it waited again after each attempt that ended, but for what the news themselves say."""
    known = news.attempt - 1 - isinstance(news, RunQueued)
    return tuple(
        RunQueued(
            job.job_name,
            news.run,
            attempt=number,
            queue_id=job.job_id,
            detail={"queue_id": job.job_id, **_lost_in(ended)},
        )
        for number, ended in enumerate(job.ended[:known], start=2)
    )


def _lost_in(ended: _Attempt) -> dict[str, str | int | float]:
    """What the timeline says of an attempt after which the run waits again."""
    return {**ended.detail(), "interruption": "spot"} if ended.lost_its_machine else ended.detail()


def _ended(job: BatchJob, run: int) -> RunEnded:
    last = job.ended[-1] if job.ended else _Attempt(container=job.container)
    code, reason = (EXIT_DONE, "") if job.status == "SUCCEEDED" else _verdict(job, last)
    detail = {**_detail(job), **last.detail()}
    if job.status == "FAILED" and last.lost_its_machine and not job.is_terminated:
        detail["interruption"] = "spot"
    attempt = max(len(job.ended), 1)
    return RunEnded(job.job_name, run, code, reason, attempt=attempt, queue_id=job.job_id, detail=detail)


def _verdict(job: BatchJob, last: _Attempt) -> tuple[int, str]:
    """The exit code by which the gateway judges a failed run, and why it failed, in one sentence."""
    code, kind = last.exit_code, last.reason.partition(":")[0]
    said = job.status_reason or last.status_reason or ""
    if said == ENDED_ON_REQUEST:
        return code or EXIT_INTERRUPTED, "the gateway ended it"
    if kind == "OutOfMemoryError":
        return code or EXIT_KILLED, "memory ran out in the container; give the job definition more memory"
    if kind == "CannotPullContainerError":
        return _not_pulled(last.reason)
    if said.startswith(HOST_GONE):
        times = len(job.ended)
        often = "" if times == 1 else f", {times} attempts were begun"
        return EXIT_INTERRUPTED, f"its machine was taken away{often}"
    if said.startswith(TIME_UP):
        return code or EXIT_KILLED, "it ran longer than queue.timeout_s allows, so Batch ended it"
    if code is not None:
        words = _EXITS.get(code, f"the job ended with exit code {code}")
        return code, f"{words}; its log stream says more"
    if kind.isidentifier():
        return (
            EXIT_TRANSIENT,
            f"its machine could not start the container ({kind}); look at the job definition",
        )
    return EXIT_TRANSIENT, "Batch ended it and gave no exit code; `aws batch describe-jobs` says more"


def _not_pulled(reason: str) -> tuple[int, str]:
    if _NO_SUCH_IMAGE.search(reason):
        return EXIT_NOT_SET_UP, (
            "its machine may not fetch the job's image, or there is none of that name; look at the image in"
            " the job definition, at the repository and at the execution role"
        )
    return EXIT_TRANSIENT, (
        "its machine could not fetch the job's image; look at the way from the subnet to the repository"
    )


def _why_never_started(job: BatchJob) -> str:
    said = job.status_reason or ""
    if said.startswith(CANCELLED_BY_TIME_LIMIT):
        code = said.removeprefix(CANCELLED_BY_TIME_LIMIT).partition(" ")[0]
        return f"the job queue's own time limit for waiting was up ({code})"
    if said == WITHDRAWN:
        return "the gateway withdrew it while it waited for a machine"
    if said == ENDED_ON_REQUEST:
        return "the gateway ended it while it waited for a machine"
    return "it was ended while it waited for a machine, and not by this gateway"


def _detail(job: BatchJob) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {"queue_id": job.job_id}
    if job.status_reason:
        found["status_reason"] = job.status_reason[:_STATUS_REASON_CHARACTERS]
    if job.container is not None and job.container.log_stream_name:
        found["log_stream"] = job.container.log_stream_name
    return found
