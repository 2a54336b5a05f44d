"""Runs of uploads: written down in the table, then handed to Batch once; their end is taken in.

As at a gateway (`docs/aws.md`, One effective run): the table knows of a run before Batch does. One that may
have been taken in without an answer stays submitted, without Batch's name of it, until it is found or has
stayed unseen for long enough; of two that both took effect one finds the other's `owner.json` and ends
without output.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from batch_job.contract import REQUEST_NAME, JobInput, JobRequest, Manifest
from gateway.adapters.errors import OutsideError, Permanent
from gateway.adapters.objects import job_object, job_prefix
from gateway.adapters.queue import JobQueue, JobTicket, RunEnded, RunNeverStarted, Unanswered
from gateway.ledger.records import utc_now, utc_time
from gateway.ledger.states import AT_THE_QUEUE, JobState
from gateway.mirror.codes import event_code

from .jobs import RULE, Decision, Line, UploadJob, UploadJobs
from .results import Unusable, UploadResults

if TYPE_CHECKING:
    from gateway.adapters.aws.s3 import BucketStore

log = structlog.get_logger(__name__)

INPUT_NAME = "input.nii.gz"


@dataclass(frozen=True)
class UploadRuns:
    """Begins, finds and ends runs.

    Parameters
    ----------
    unseen_s
        How long a run whose submission was not answered is looked for before it is submitted again.
    """

    jobs: UploadJobs
    objects: "BucketStore"
    queue: JobQueue
    results: UploadResults
    unseen_s: float

    def begin(self, job: UploadJob, *why: Line) -> UploadJob:
        """Begin the next run, unless a result is there, or another was quicker; the job as it is then.

        Parameters
        ----------
        job
            As it was read; of several that read the same one begins.
        why
            Lines before those of the run.

        Raises
        ------
        Retriable, Permanent
            Batch, the bucket or the table refuses; the job says so, and can be begun again.
        """
        if self._has_result(job.job_key):
            return self.take_result(job, {})
        run = self.results.next_run(job.job_key, job.run)
        self.objects.put(job_object(job.job_key, REQUEST_NAME), _request(job).to_json())
        now = utc_now()
        after = replace(
            job, state=JobState.SUBMITTED, reason="", run=run, attempt=0, rank=0, queue_id="",
            submitted_at=now, completed_at=job.completed_at or now,
        )  # fmt: skip
        whole = Line("study.completed", {"evidence": "uploaded", "jobs": 1})
        lines = (*(() if job.completed_at else (whole,)), *why, Line("job.submitted", {"run": run}))
        begun = self.jobs.write(job, after, lines)
        if begun is None:
            return self.jobs.get(job.job_key) or job
        return self._hand_over(begun)

    def settle(self, job: UploadJob) -> UploadJob:
        """Find a run whose submission was not answered, or submit it again when it stayed unseen."""
        found = self.queue.find(self._ticket(job))
        if found is not None:
            return self.accepted(job, found, "job.adopted")
        if _seconds_since(job.submitted_at) <= self.unseen_s:
            return job
        again = replace(job, submitted_at=utc_now())
        written = self.jobs.write(job, again, (Line("job.submitted_again", {"run": job.run}),))
        return job if written is None else self._hand_over(written)

    def accepted(self, job: UploadJob, queue_id: str, event: str) -> UploadJob:
        """Write down under which name Batch has a run; `event` says how that is known."""

        def decide(now: UploadJob) -> Decision | None:
            if now.run != job.run or now.state not in AT_THE_QUEUE or now.queue_id == queue_id:
                return None
            after = replace(now, queue_id=queue_id, attempt=0, rank=0)
            return after, (Line(event, {"run": job.run}),)

        return self.jobs.change(job.job_key, decide)[0] or job

    def end(self, job: UploadJob) -> None:
        """End whatever runs or waits for a job."""
        self.queue.cancel(job.job_key, job.queue_id)

    def may_still_write(self, job: UploadJob) -> bool:
        """Whether a run of a job goes on, or may yet show up at the queue."""
        if not job.run:
            return False
        queue_id = job.queue_id or self.queue.find(self._ticket(job))
        if queue_id:
            said = self.queue.look([queue_id])
            return any(not isinstance(news, RunEnded | RunNeverStarted) for news in said)
        return not job.submitted_at or (
            datetime.now(UTC) - utc_time(job.submitted_at) < timedelta(seconds=self.unseen_s)
        )

    # -- the end of a run ---------------------------------------------------------------------------------

    def take_result(self, job: UploadJob, detail: Mapping[str, Any]) -> UploadJob:
        """Take a result that is there; one that is not whole fails the job."""
        try:
            manifest = self.results.manifest(job.job_key)
        except Unusable as error:
            log.error("result_unusable", job_key=job.job_key, reason=str(error))
            return self.fail(job, {"run": job.run})
        if manifest is None:
            return self.fail(job, {"run": job.run})

        def decide(now: UploadJob) -> Decision | None:
            if now.run != job.run or now.state not in {*AT_THE_QUEUE, job.state}:
                return None
            at = utc_now()
            after = replace(
                now,
                state=JobState.DELIVERED,
                reason="delivered",
                segmented_at=at,
                completed_at=now.completed_at or at,
            )
            lines = (Line("job.segmented", _of(manifest, {**detail, "run": job.run})), Line("job.delivered"))
            return after, (*lines, Line("study.finished"))

        return self.jobs.change(job.job_key, decide)[0] or job

    def fail(self, job: UploadJob, detail: Mapping[str, Any]) -> UploadJob:
        """Give up until a person asks again; what the queue said stands in the timeline, in numbers."""

        def decide(now: UploadJob) -> Decision | None:
            if now.run != job.run or now.state not in AT_THE_QUEUE:
                return None
            after = replace(now, state=JobState.FAILED, reason=event_code("job.failed", detail))
            return after, (Line("job.failed", detail), Line("study.failed"))

        return self.jobs.change(job.job_key, decide)[0] or job

    # -- handing over -------------------------------------------------------------------------------------

    def _hand_over(self, job: UploadJob) -> UploadJob:
        """Submit a run that the table knows of.

        Raises
        ------
        Retriable, Permanent
            Batch did not take it.
        """
        try:
            queue_id = self.queue.submit(self._ticket(job))
        except Unanswered as error:
            log.warning("submit_unanswered", job_key=job.job_key, run=job.run, reason=str(error))
            return self.jobs.write(job, job, (Line("job.unanswered", {"run": job.run}),)) or job
        except Permanent:
            self.fail(job, {"run": job.run})
            raise
        except OutsideError:
            self._put_back(job)
            raise
        return self.accepted(job, queue_id, "job.accepted")

    def _put_back(self, job: UploadJob) -> None:
        """Batch is away, or an operator has to mend something: the run is begun again later."""

        def decide(now: UploadJob) -> Decision | None:
            if now.run != job.run or now.state is not JobState.SUBMITTED or now.queue_id:
                return None
            line = Line("job.run_lost", {"run": job.run, "blameless": True})
            return replace(now, state=JobState.STAGED, reason=event_code(line.event, line.detail)), (line,)

        self.jobs.change(job.job_key, decide)

    def _ticket(self, job: UploadJob) -> JobTicket:
        return JobTicket(job.job_key, job.run, self.objects.address(job_prefix(job.job_key)), 0, rule=RULE)

    def _has_result(self, job_key: str) -> bool:
        try:
            return self.results.manifest(job_key) is not None
        except Unusable:
            return False


def _request(job: UploadJob) -> JobRequest:
    return JobRequest.model_validate(
        {
            "job_key": job.job_key,
            "task": job.task,
            "engine": job.engine,
            "options": job.decoded_options,
            "input": JobInput(name=INPUT_NAME, sha256=job.sha256),
        }
    )


def _of(manifest: Manifest, detail: Mapping[str, Any]) -> dict[str, Any]:
    machine = {"machine": manifest.machine} if manifest.machine else {}
    said = {"stages_s": dict(manifest.seconds), "peak_rss_mb": manifest.peak_rss_mb}
    return {**detail, **machine, **said}


def _seconds_since(at: str) -> float:
    return (datetime.now(UTC) - utc_time(at)).total_seconds()
