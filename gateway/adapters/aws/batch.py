"""The job queue that is AWS Batch: runs are submitted, found again, asked after, ended.

SubmitJob has no token, so that a request whose answer was lost may have made a job. It is sent once, and what
leaves open whether it was taken in is raised as `Unanswered`; `find` then looks for it. Batch starts a run
again whose machine was taken away, or which asked for it (`RETRIES`); every other end is final for the run.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import structlog
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    SSLError,
)

from batch_job.contract import (
    EXIT_INTERRUPTED,
    EXIT_TRANSIENT,
    RUN_VARIABLE,
    TAKE_FOR_VARIABLE,
    WAITING_VARIABLE,
)
from gateway.adapters.errors import Away, OutsideError, Permanent
from gateway.adapters.queue import JobNews, JobTicket, Lane, Unanswered, Waiting

from .batch_jobs import ENDED_ON_REQUEST, HOST_GONE, WITHDRAWN, BatchJob, NotAJob, news_of_job
from .batch_readings import BatchReader
from .refusals import asking, code_of, refusal
from .session import TAG, AwsSession
from .waiting import Wait, explain

if TYPE_CHECKING:
    from mypy_boto3_batch.type_defs import EvaluateOnExitTypeDef, SubmitJobRequestTypeDef

log = structlog.get_logger(__name__)

JOBS_A_CALL: Final = 100
"""How many jobs DescribeJobs takes."""
RETRIES: Final[Sequence["EvaluateOnExitTypeDef"]] = (
    {"action": "RETRY", "onStatusReason": f"{HOST_GONE}*"},
    {"action": "RETRY", "onExitCode": str(EXIT_TRANSIENT)},
    {"action": "RETRY", "onExitCode": str(EXIT_INTERRUPTED)},
    {"action": "EXIT", "onReason": "*"},
)
"""The first that matches decides; Batch takes five at most, and retries what none matches. A pattern without
an asterisk is the whole exit code. The last stops 2, 70, 78 and whatever else another try will not mend."""
_NOT_WAITING: Final = {
    "STARTING": Waiting("starting", "it has a machine, which fetches the image", ""),
    "RUNNING": Waiting("running", "it waits no longer: it runs", ""),
    **dict.fromkeys(("SUCCEEDED", "FAILED"), Waiting("over", "it waits no longer: Batch has ended it", "")),
}
_HIGHEST_PRIORITY: Final = 9999
TAKE_FOR_S: Final = 900.0
"""For so long a job takes others that wait: then the queue decides again whose turn it is."""
_CUT_OFF: Final = (HTTPClientError, IncompleteReadError, SSLError)
"""A connection that broke or was silent; where none came about, botocore says ConnectionError."""
_NO_TAG_CHARACTER: Final = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")


@dataclass(frozen=True)
class LaneSettings:
    """A job queue and what runs there."""

    job_queue: str
    """Name or ARN."""
    job_definition: str
    """Name, name with revision, or ARN."""


@dataclass(frozen=True)
class BatchSettings:
    """How jobs are handed to Batch."""

    main: LaneSettings
    fallback: LaneSettings | None
    site: str
    urgent_queue: str = ""
    """The job queue of urgent jobs of the main lane; empty: there is none."""
    urgent_priority: int = 1
    """From which priority on a job is urgent."""
    timeout_s: float = 7200.0
    """How long one attempt may run; Batch takes 60 at least."""
    attempts: int = 5
    named: str = "queue.job_queue and aws.region"
    """The keys of the configuration that name queue and region, for sentences."""

    def lane(self, lane: Lane, priority: int) -> LaneSettings:
        """The settings of a lane for a job of this priority.

        Raises
        ------
        Permanent
            There is no fallback.
        """
        found = self.main if lane is Lane.MAIN else self.fallback
        if found is None:
            raise Permanent("there is no fallback queue; set queue.fallback.job_queue")
        is_urgent = bool(self.urgent_queue) and priority >= self.urgent_priority
        return replace(found, job_queue=self.urgent_queue) if is_urgent and lane is Lane.MAIN else found

    def queues(self) -> tuple[str, ...]:
        """The job queues of all lanes, each once."""
        fallback = self.fallback.job_queue if self.fallback is not None else ""
        return tuple(dict.fromkeys(filter(None, (self.main.job_queue, self.urgent_queue, fallback))))


class BatchQueue:
    """A `JobQueue`."""

    def __init__(self, session: AwsSession, settings: BatchSettings) -> None:
        self._settings = settings
        self._batch = session.batch()
        self._submitting = session.batch_for_submitting()
        self._submitting.meta.events.register("before-send.batch.SubmitJob", _on_its_own_connection)
        self._reader = BatchReader(session)
        self._fair_share: dict[str, bool] = {}

    # -- handing over -------------------------------------------------------------------------------------

    def submit(self, ticket: JobTicket) -> str:
        """Hand over one run, once; Batch's id of the job."""
        lane = self._settings.lane(ticket.lane, ticket.priority)
        wish = self._wish(ticket, lane)
        try:
            answer = self._submitting.submit_job(**wish)
        except (ClientError, BotoCoreError) as error:
            if _may_be_taken(error):
                raise Unanswered(f"whether AWS took the run in is not known ({_kind(error)})") from None
            raise self._refused(error, lane) from None
        job_id = answer.get("jobId", "")
        if not job_id:
            raise Unanswered("whether AWS took the run in is not known (an answer without a job)")
        return job_id

    def _wish(self, ticket: JobTicket, lane: LaneSettings) -> "SubmitJobRequestTypeDef":
        given = {**TAG, "rule": ticket.rule, "site": self._settings.site}
        wish: SubmitJobRequestTypeDef = {
            "jobName": ticket.job_key,
            "jobQueue": lane.job_queue,
            "jobDefinition": lane.job_definition,
            "containerOverrides": {
                "command": [ticket.address],
                "environment": [
                    {"name": name, "value": value} for name, value in self._variables(ticket).items()
                ],
            },
            "retryStrategy": {"attempts": self._settings.attempts, "evaluateOnExit": RETRIES},
            "timeout": {"attemptDurationSeconds": max(60, round(self._settings.timeout_s))},
            "propagateTags": True,
        }
        if self._is_shared(lane.job_queue):
            wish["shareIdentifier"] = re.sub(r"[^A-Za-z0-9]", "", self._settings.site)[:255] or "iris"
            wish["schedulingPriorityOverride"] = min(max(ticket.priority, 0), _HIGHEST_PRIORITY)
        elif ticket.priority:
            given["priority"] = str(ticket.priority)
        wish["tags"] = {name: _tag(value) for name, value in given.items() if value}
        return wish

    def _variables(self, ticket: JobTicket) -> dict[str, str]:
        """What the job finds in its environment."""
        take_for_s = min(TAKE_FOR_S, self._settings.timeout_s / 2)
        taking = {WAITING_VARIABLE: ticket.waiting, TAKE_FOR_VARIABLE: f"{take_for_s:g}"}
        return {RUN_VARIABLE: str(ticket.run), **(taking if ticket.waiting else {})}

    def _is_shared(self, queue: str) -> bool:
        """Whether a fair-share policy orders the queue: SubmitJob then wants a share, else refuses it."""
        if queue not in self._fair_share:
            try:
                found = self._reader.queue(queue)
            except OutsideError as error:
                log.warning("job_queue_not_readable", queue=queue, reason=str(error))
                return False
            self._fair_share[queue] = found is not None and found.has_fair_share
        return self._fair_share[queue]

    def _refused(self, error: ClientError | BotoCoreError, lane: LaneSettings) -> OutsideError:
        """Batch says ClientException to whatever it refuses; what an operator can mend is waited for."""
        self._fair_share.pop(lane.job_queue, None)
        refused = refusal(error, "batch:SubmitJob", f"the job queue {lane.job_queue}")
        if code_of(error) != "ClientException":
            return refused
        try:
            queue = self._reader.queue(lane.job_queue)
            if queue is None:
                return Away(f"there is no job queue {lane.job_queue}; look at {self._settings.named}")
            if not queue.is_enabled:
                return Away(
                    f"job queue {queue.name} is disabled; enable it with"
                    f" `aws batch update-job-queue --job-queue {queue.name} --state ENABLED`"
                )
            if self._reader.definition(lane.job_definition) is None:
                return Away(
                    f"there is no active job definition {lane.job_definition}; look at queue.job_definition"
                )
        except OutsideError:
            log.info("refusal_not_explained", queue=lane.job_queue)
        return refused

    # -- looking ------------------------------------------------------------------------------------------

    def find(self, ticket: JobTicket) -> str | None:
        """The job of this run, wherever it was submitted: the earliest that goes on, else the earliest."""
        jobs = self._described(self._listed(ticket.job_key))
        mine = [job for job in jobs if job.job_name == ticket.job_key and job.run == ticket.run]
        found = min(mine, key=lambda job: (job.is_over, job.created_at, job.job_id), default=None)
        return found.job_id if found is not None else None

    def look(self, queue_ids: Sequence[str]) -> list[JobNews]:
        """How these jobs stand now."""
        found = (news_of_job(job) for job in self._described(queue_ids))
        return [news for news in found if news is not None]

    def why_waiting(self, lane: Lane, priority: int, queue_id: str) -> Waiting:
        """Find out why a job gets no machine; what AWS does not tell weakens the answer.

        Raises
        ------
        Permanent
            There is no such lane.
        """
        lane_settings = self._settings.lane(lane, priority)
        refused: list[str] = []
        wait = Wait(lane_settings.job_queue, lane_settings.job_definition)
        try:
            for job in self._described([queue_id]):
                if job.status in _NOT_WAITING:
                    return _NOT_WAITING[job.status]
                wait = replace(wait, status_reason=job.status_reason or "", created_at_ms=job.created_at)
        except OutsideError as error:
            refused.append(str(error))
        return explain(self._reader, wait, refused)

    def _listed(self, job_key: str) -> list[str]:
        """Ids of all jobs of this name, in any state, on all lanes; the name's case is ignored."""
        found: list[str] = []
        paginator = self._batch.get_paginator("list_jobs")
        for queue in self._settings.queues():
            try:
                with asking("batch:ListJobs", f"the job queue {queue}"):
                    for page in paginator.paginate(
                        jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [job_key]}]
                    ):
                        found += [job["jobId"] for job in page["jobSummaryList"] if job["jobName"] == job_key]
            except Permanent as error:  # of the queue, never of the job
                raise Away(f"{error}; look at {self._settings.named}") from None
        return found

    def _described(self, job_ids: Sequence[str]) -> list[BatchJob]:
        """These jobs as Batch shows them; those that it has forgotten are left out."""
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(job_ids), JOBS_A_CALL):
            with asking("batch:DescribeJobs", "the jobs"):
                answer = self._batch.describe_jobs(jobs=job_ids[start : start + JOBS_A_CALL])
            found += answer["jobs"]
        jobs = []
        for each in found:
            try:
                jobs.append(BatchJob.parse(each))
            except NotAJob:
                log.warning("job_not_understood", queue_id=str(each.get("jobId", "")))
        return jobs

    # -- ending -------------------------------------------------------------------------------------------

    def cancel(self, job_key: str, queue_id: str = "", run: int | None = None) -> None:
        """End what is named, and whatever else runs or waits as this run of the job, or as any."""
        if queue_id:
            self._terminate(queue_id)
        for job in self._described(self._listed(job_key)):
            is_meant = job.run is not None and run in (None, job.run)
            if is_meant and not job.is_over and job.job_id != queue_id:
                self._terminate(job.job_id)

    def withdraw(self, queue_id: str) -> None:
        """End a run only if it still waits for a machine; Batch says yes and does nothing once it starts."""
        with self._unless_over("batch:CancelJob", queue_id):
            self._batch.cancel_job(jobId=queue_id, reason=WITHDRAWN)

    def _terminate(self, job_id: str) -> None:
        with self._unless_over("batch:TerminateJob", job_id):
            self._batch.terminate_job(jobId=job_id, reason=ENDED_ON_REQUEST)

    @contextmanager
    def _unless_over(self, action: str, job_id: str) -> Iterator[None]:
        """Ask for the end of a job; that it has ended already is no refusal."""
        try:
            with asking(action, "a job"):
                yield
        except Permanent:
            if any(not job.is_over for job in self._described([job_id])):
                raise


def _on_its_own_connection(request: Any, **_: object) -> None:
    """A connection that lay idle may be dead by now, which would look like a lost answer."""
    request.headers["Connection"] = "close"


def _may_be_taken(error: ClientError | BotoCoreError) -> bool:
    """Whether the request may have had its effect although it was not answered with a yes."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return not 400 <= status < 500 or status == 408
    return isinstance(error, _CUT_OFF)


def _kind(error: ClientError | BotoCoreError) -> str:
    return code_of(error) or type(error).__name__


def _tag(value: str) -> str:
    """A tag's value in the characters that AWS takes."""
    return _NO_TAG_CHARACTER.sub("_", value)[:256]
