"""Follows the runs at a remote queue: finds, asks, explains, moves on, prolongs, ends.

News come by themselves (`news.py`); this worker does what they do not: it looks for runs whose submission was
not answered, asks after all of them now and then, reads how far they are, says why one gets no machine, moves
one that waited too long to the fallback queue, keeps our claims alive, and ends what nobody wants any more.
Each duty has its own interval; what fails because nobody answers is tried again with it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from batch_job.contract import PROGRESS_NAME, ContractError, Progress
from gateway.adapters.errors import OutsideError
from gateway.adapters.objects import ObjectStore, job_object
from gateway.adapters.queue import Lane, RemoteQueue, RunProgressed, Waiting
from gateway.events import Bus, Event, JobChanged
from gateway.ledger.records import JobRow, utc_now, utc_time
from gateway.ledger.states import AT_THE_QUEUE, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import jobs_in, newer_run, open_runs_of_ended_jobs
from gateway.workers.worker import Worker

from .claims import Claims
from .fallback import FallbackQueue
from .news import RunNews
from .run import Runs

log = structlog.get_logger(__name__)

ENDED = frozenset({JobState.CANCELLED, JobState.SUPERSEDED, JobState.FAILED})


@dataclass(frozen=True)
class Intervals:
    """How often each duty is done, in seconds."""

    find_s: float = 5.0
    end_s: float = 5.0
    reconcile_s: float = 180.0
    progress_s: float = 15.0
    explain_s: float = 60.0
    """Also how long a run may wait before it is explained."""
    unseen_s: float = 60.0
    """How long a run whose submission was not answered may stay unseen before it is submitted again."""


class _Duty:
    """One thing to do every so often."""

    def __init__(self, name: str, every_s: float, do: Callable[[], None]) -> None:
        self.name = name
        self._every_s = every_s
        self._do = do
        self._next_at = 0.0
        self.trouble = ""

    def run_if_due(self) -> float:
        """Do it when it is time; the seconds until it is again."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + self._every_s
            self.trouble = ""
            try:
                self._do()
            except OutsideError as error:
                self.trouble = str(error)
                log.warning("following_waits", duty=self.name, reason=self.trouble)
        return max(0.0, self._next_at - time.monotonic())

    def is_due(self) -> None:
        """Do it at the next look."""
        self._next_at = 0.0


class Following(Worker):
    """Watches over everything that is at the queue."""

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        objects: ObjectStore,
        queue: RemoteQueue,
        claims: Claims,
        runs: Runs,
        news: RunNews,
        fallback: FallbackQueue,
        intervals: Intervals,
    ) -> None:
        super().__init__("follow", bus)
        self._ledger = ledger
        self._objects = objects
        self._queue = queue
        self._claims = claims
        self._runs = runs
        self._news = news
        self._fallback = fallback
        self._intervals = intervals
        self._end = _Duty("end", intervals.end_s, self._end_the_unwanted)
        self._find = _Duty("find", intervals.find_s, self._find_the_unanswered)
        self._duties = (
            self._end,
            self._find,
            _Duty("reconcile", intervals.reconcile_s, self._ask_after_all),
            _Duty("progress", intervals.progress_s, self._read_progress),
            _Duty("explain", intervals.explain_s, self._explain_and_move_on),
            _Duty("renew", claims.lease_s / 3, self._renew_claims),
        )

    def is_woken_by(self, event: Event) -> bool:
        """Whether something has to be looked for or ended at once."""
        if not isinstance(event, JobChanged):
            return False
        if event.state in ENDED:
            self._end.is_due()
        elif event.event in ("unanswered", "owned"):
            self._find.is_due()
        return event.state in ENDED | AT_THE_QUEUE

    def work(self) -> float | None:
        """Do what is due; nothing is asked while nothing is at the queue."""
        if not jobs_in(self._ledger, AT_THE_QUEUE) and not open_runs_of_ended_jobs(self._ledger):
            self.trouble = ""
            return None
        wait_s = min(duty.run_if_due() for duty in self._duties)
        self.trouble = next((duty.trouble for duty in self._duties if duty.trouble), "")
        return wait_s

    def _each(self, jobs: list[JobRow], do: Callable[[JobRow], object]) -> None:
        """Do it for every job; one that moved meanwhile is somebody else's by now."""
        for job in jobs:
            if self.is_stopping:
                return
            try:
                do(job)
            except StaleRow:
                log.info("job_moved_meanwhile", step=self.name, job_key=job.job_key)

    # -- runs whose submission was not answered -----------------------------------------------------------

    def _find_the_unanswered(self) -> None:
        jobs = [job for job in jobs_in(self._ledger, AT_THE_QUEUE) if not job.queue_id]
        self._each(jobs, self._find_or_submit_again)

    def _find_or_submit_again(self, job: JobRow) -> None:
        ticket = self._runs.ticket(job)
        found = self._queue.find(ticket)
        if found is not None:
            self._runs.accepted(ticket, found, "adopted")
            self._ask_after([found])
        elif job.followed:
            holder = self._claims.holder(job.job_key)
            if holder is None or holder.gateway == self._claims.gateway:
                self._lose(job, f"the gateway {job.followed} gave the job up")
        elif _seconds_since(job.submitted_at) > self._intervals.unseen_s and self._is_ours(job):
            with self._ledger.transaction() as transaction:
                if transaction.job(job.job_key).queue_id:
                    return
                transaction.update("jobs", "job_key", job.job_key, {"submitted_at": utc_now()})
                transaction.step("job.submitted_again", job, run=job.run)
            self._runs.hand_over(ticket)

    def _is_ours(self, job: JobRow) -> bool:
        """Prolong our claim; where another gateway has taken it over, that one is followed from now on."""
        claim = self._claims.take(job.job_key, job.run)
        if claim.gateway == self._claims.gateway:
            return True
        with self._ledger.transaction() as transaction:
            transaction.update("jobs", "job_key", job.job_key, {"followed": claim.gateway})
            transaction.step("job.taken_over", job, gateway=claim.gateway)
        return False

    def _lose(self, job: JobRow, reason: str) -> None:
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job.job_key), job.run):
                transaction.move_job(
                    job.job_key, JobEvent.RUN_LOST, reason=reason, columns={"run_open": 0}, blameless=True
                )

    # -- all others ---------------------------------------------------------------------------------------

    def _ask_after_all(self) -> None:
        jobs = [job for job in jobs_in(self._ledger, AT_THE_QUEUE) if job.queue_id]
        seen = self._ask_after([job.queue_id for job in jobs])
        self._each([job for job in jobs if job.queue_id not in seen], self._news.forgotten)

    def _ask_after(self, queue_ids: list[str]) -> set[str]:
        """Hear how these runs stand; those that the queue knows."""
        news = self._queue.look(queue_ids) if queue_ids else []
        for item in news:
            self._news.hear(item)
        return {item.queue_id for item in news}

    def _read_progress(self) -> None:
        self._each(jobs_in(self._ledger, {JobState.RUNNING}), self._read_progress_of)

    def _read_progress_of(self, job: JobRow) -> None:
        content = self._objects.get(job_object(job.job_key, PROGRESS_NAME))
        try:
            progress = Progress.from_json(content) if content is not None else None
        except ContractError:
            log.warning("progress_not_readable", job_key=job.job_key)
            return
        if progress is not None and (progress.stage, progress.fraction) != (job.stage, job.fraction):
            self._news.hear(
                RunProgressed(job.job_key, job.run, progress.stage, progress.fraction, attempt=job.attempt)
            )

    def _renew_claims(self) -> None:
        jobs = [job for job in jobs_in(self._ledger, AT_THE_QUEUE) if not job.followed]
        self._each(jobs, self._is_ours)

    # -- waiting for a machine ----------------------------------------------------------------------------

    def _explain_and_move_on(self) -> None:
        waiting = [
            job
            for job in jobs_in(self._ledger, {JobState.SUBMITTED, JobState.RUNNABLE})
            if job.queue_id and _seconds_since(job.waiting_since) >= self._intervals.explain_s
        ]
        why: dict[tuple[Lane, int], Waiting] = {}
        for job in waiting:
            if (job.lane, job.priority) not in why:  # one look at the queue explains everybody in it
                why[job.lane, job.priority] = self._queue.why_waiting(job.lane, job.priority, job.queue_id)
        self._each(waiting, lambda job: self._explain(job, why[job.lane, job.priority]))
        late = [job for job in waiting if _seconds_since(job.waiting_since) >= self._fallback.after_s]
        self._each(late, self._withdraw)

    def _explain(self, job: JobRow, why: Waiting) -> None:
        if why.code == job.waiting_code:
            return
        reason = f"{why.sentence}; {why.fix}" if why.fix else why.sentence
        with self._ledger.transaction() as transaction:
            now = transaction.job(job.job_key)
            if (now.state, now.run) != (job.state, job.run):
                return
            transaction.update("jobs", "job_key", job.job_key, {"waiting_code": why.code, "reason": reason})
            transaction.step("job.waiting", job, run=job.run, code=why.code, reason=reason)
            transaction.settle_later(job.study_uid)

    def _withdraw(self, job: JobRow) -> None:
        """Take a run back that waited too long; it is moved on when the queue says that it ended."""
        if not self._fallback.takes(job):
            return
        if job.withdrawn_at is None:
            with self._ledger.transaction() as transaction:
                transaction.update("jobs", "job_key", job.job_key, {"withdrawn_at": utc_now()})
                waited_s = round(_seconds_since(job.waiting_since))
                transaction.step("job.withdrawn", job, run=job.run, waited_s=waited_s)
        self._queue.withdraw(job.queue_id)

    # -- what nobody wants any more -----------------------------------------------------------------------

    def _end_the_unwanted(self) -> None:
        self._each(open_runs_of_ended_jobs(self._ledger), self._end_run)

    def _end_run(self, job: JobRow) -> None:
        queue_id = job.queue_id or self._queue.find(self._runs.ticket(job)) or ""
        if not queue_id and _seconds_since(job.submitted_at) <= self._intervals.unseen_s:
            return  # it may still show up
        if not job.followed:
            if queue_id:
                self._queue.cancel(job.job_key, queue_id)
            self._claims.release(job.job_key)
        with self._ledger.transaction() as transaction:
            now = transaction.job(job.job_key)
            if (now.run, now.state) == (job.run, job.state):
                transaction.update("jobs", "job_key", job.job_key, {"run_open": 0})


def _seconds_since(at: str | None) -> float:
    return (datetime.now(UTC) - utc_time(at)).total_seconds() if at is not None else 0.0
