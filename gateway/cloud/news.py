"""What Batch's news do to the jobs of uploads; those of gateways and of others are not looked at.

News are ordered by (run, attempt, rank) as at a gateway: what comes late or twice changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from batch_job.contract import EXIT_DONE
from gateway.adapters.errors import OutsideError
from gateway.adapters.mirror import MirrorReader
from gateway.adapters.queue import (
    WAITS_NO_MORE,
    JobNews,
    JobQueue,
    Lane,
    RunBlocked,
    RunEnded,
    RunNeverStarted,
    RunQueued,
    RunStarted,
    RunStarting,
)
from gateway.ledger.records import utc_text
from gateway.ledger.states import AT_THE_QUEUE, JobState, StudyState
from gateway.mirror.codes import event_code

from .jobs import Decision, Line, UploadJob, UploadJobs
from .results import UploadResults
from .runs import UploadRuns

log = structlog.get_logger(__name__)

YOUNG: Final = timedelta(seconds=60)
"""Jobs that changed within this are left to their news."""
_FROM: Final = {
    RunQueued: frozenset({JobState.SUBMITTED, JobState.RUNNING}),
    RunStarted: frozenset({JobState.SUBMITTED, JobState.RUNNABLE}),
}
_TO: Final = {
    RunQueued: (JobState.RUNNABLE, "job.queued"),
    RunStarted: (JobState.RUNNING, "job.started"),
}


@dataclass(frozen=True)
class UploadNews:
    """Hears Batch, and asks it."""

    jobs: UploadJobs
    runs: UploadRuns
    results: UploadResults
    queue: JobQueue
    reader: MirrorReader

    def hear(self, news: JobNews) -> None:
        """Act on news.

        Raises
        ------
        Retriable, Permanent
            They could not be taken in; the same news are safe.
        """
        job = self.jobs.get(news.job_key)
        if job is None or _is_of_another(job, news):
            return
        is_end = isinstance(news, RunEnded | RunNeverStarted)
        if job.state is JobState.CANCELLED and not is_end:
            self.runs.end(replace(job, queue_id=news.queue_id))
        elif is_end and job.state in AT_THE_QUEUE and news.run == job.run:
            self._end(job, news)
        elif isinstance(news, RunBlocked):
            self._move(RunQueued(news.job_key, news.run, attempt=news.attempt, queue_id=news.queue_id))
            self._block(news)
        elif not is_end:
            self._move(news)

    def _move(self, news: JobNews) -> None:
        def decide(now: UploadJob) -> Decision | None:
            order = (news.run, news.attempt, news.rank)
            if now.state not in AT_THE_QUEUE or news.run != now.run or order <= now.order:
                return None
            after = replace(now, attempt=news.attempt, rank=news.rank, queue_id=news.queue_id or now.queue_id)
            detail = {"run": news.run, "attempt": news.attempt, **news.detail}
            if isinstance(news, RunStarting):
                return after, (Line("job.starting", detail),)
            state, event = _TO.get(type(news), (now.state, ""))
            if now.state in _FROM.get(type(news), ()):
                return replace(after, state=state, reason=""), (Line(event, detail),)
            return after, ()

        self.jobs.change(news.job_key, decide)

    def _block(self, news: RunBlocked) -> None:
        """Note once what a queue says of a run that waits."""
        detail = {"run": news.run, "code": news.code}
        code = event_code("job.blocked", detail)

        def decide(now: UploadJob) -> Decision | None:
            if now.state is not JobState.RUNNABLE or now.run != news.run or now.reason == code:
                return None
            return replace(now, reason=code), (Line("job.blocked", detail),)

        self.jobs.change(news.job_key, decide)

    def _end(self, job: UploadJob, news: JobNews) -> None:
        detail = {"run": news.run, **news.detail}
        is_done = isinstance(news, RunEnded) and news.exit_code == EXIT_DONE
        if is_done and self.results.is_there(job.job_key):
            self.runs.take_result(job, detail)
        elif self._goes_on_under_another_name(job, news.queue_id):
            return
        elif isinstance(news, RunEnded) and not is_done:
            self.runs.fail(job, {**detail, "exit_code": news.exit_code})
        else:
            self.runs.fail(job, {"run": news.run})

    def _goes_on_under_another_name(self, job: UploadJob, queue_id: str) -> bool:
        """Whether another Batch job was first to begin this run: then that one is followed."""
        owner = self.results.owner(job.job_key, job.run)
        if owner is None or owner == queue_id:
            return False
        self.runs.accepted(job, owner, "job.owned")
        return True

    # -- what was missed ----------------------------------------------------------------------------------

    def reconcile(self, older_than: timedelta = YOUNG) -> int:
        """Ask Batch after every open job of ours; how many there were.

        Raises
        ------
        Retriable, Permanent
            One job at least could not be settled; the others are.
        """
        jobs = list(self._open(older_than))
        troubles = [trouble for job in jobs if (trouble := self._take_up(job)) is not None]
        named = {job.queue_id: job for job in jobs if job.queue_id}
        seen = set[str]()
        for news in self.queue.look(list(named)) if named else ():
            seen.add(news.queue_id)
            self.hear(news)
        for queue_id, job in named.items():
            if queue_id not in seen and job.state in AT_THE_QUEUE:
                self._forgotten(job)
        self._explain([job for job in named.values() if job.state is JobState.RUNNABLE])
        if troubles:
            raise troubles[0]
        return len(jobs)

    def _explain(self, waiting: Sequence[UploadJob]) -> None:
        """Say why these get no machine; they are all in one queue, so that one look explains them."""
        if not waiting:
            return
        try:
            why = self.queue.why_waiting(Lane.MAIN, 0, waiting[0].queue_id)
        except OutsideError as error:
            log.warning("wait_not_explained", reason=str(error))
            return
        if why.code not in WAITS_NO_MORE:
            for job in waiting:
                self._note_why(job, why.code)

    def _note_why(self, job: UploadJob, why: str) -> None:
        detail = {"run": job.run, "code": why}
        code = event_code("job.waiting", detail)

        def decide(now: UploadJob) -> Decision | None:
            if now.state is not JobState.RUNNABLE or now.run != job.run or now.reason == code:
                return None
            return replace(now, reason=code), (Line("job.waiting", detail),)

        self.jobs.change(job.job_key, decide)

    def _open(self, older_than: timedelta) -> Iterator[UploadJob]:
        until = utc_text(datetime.now(UTC) - older_than)
        for study in self.reader.studies(StudyState.PROCESSING, "0", until, 100):
            if study["site"] == self.jobs.site:
                for item in self.reader.study(study["study_key"]).jobs:
                    job = self.jobs.get(item["job_key"])
                    if job is not None:
                        yield job

    def _take_up(self, job: UploadJob) -> OutsideError | None:
        """Begin what Batch did not take, and find what it did not answer."""
        try:
            if job.state is JobState.STAGED:
                self.runs.begin(job)
            elif job.state in AT_THE_QUEUE and not job.queue_id:
                self.runs.settle(job)
        except OutsideError as error:
            log.warning("reconcile_waits", job_key=job.job_key, reason=str(error))
            return error
        return None

    def _forgotten(self, job: UploadJob) -> None:
        """Settle a run that Batch does not know any more."""
        if self.results.is_there(job.job_key):
            self.runs.take_result(job, {})
        elif not self._goes_on_under_another_name(job, job.queue_id):
            self.runs.fail(job, {"run": job.run})


def _is_of_another(job: UploadJob, news: JobNews) -> bool:
    """Whether news are of a second Batch job under the same number, which does not own the run."""
    return bool(job.queue_id and news.queue_id and news.run == job.run and news.queue_id != job.queue_id)
