"""Follows the runs at a remote queue: finds, asks, explains, moves on, prolongs, ends.

News come by themselves (`news.py`); this worker does what they do not: it looks for runs whose submission was
not answered, asks after all of them now and then, reads how far they are, says why one gets no machine, moves
one that waited too long to the fallback queue, keeps our claims alive, and ends what nobody wants any more.
Each duty has its own interval; what fails because nobody answers is tried again with it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from batch_job.contract import PROGRESS_NAME, ContractError, Progress
from gateway.adapters.errors import OutsideError
from gateway.adapters.objects import ObjectStore, job_object
from gateway.adapters.queue import JobQueue, Lane, RunProgressed, Waiting
from gateway.events import Bus, Event, JobChanged
from gateway.ledger.records import JobRow, utc_now, utc_time
from gateway.ledger.states import AT_THE_QUEUE, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import jobs_in, newer_run, open_runs_of_ended_jobs
from gateway.workers.waits import Waits
from gateway.workers.worker import Worker

from .claims import Claims
from .duty import Duty
from .fallback import FallbackQueue
from .hanging import Hanging
from .news import RunNews
from .remote_runs import HandOver
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


_UNSEEN, _EXPLAINED, _MOVED = _WAITS = ("unseen", "explained", "moved")
"""Until what a run waits."""
_Said = tuple[int, int, bytes | None]
"""Run, attempt, and progress."""


class Following(Worker):
    """Watches over everything that is at the queue."""

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        objects: ObjectStore,
        queue: JobQueue,
        claims: Claims,
        runs: Runs,
        hand_over: HandOver,
        news: RunNews,
        fallback: FallbackQueue,
        hanging: Hanging,
        intervals: Intervals,
    ) -> None:
        super().__init__("follow", bus)
        self._ledger = ledger
        self._objects = objects
        self._queue = queue
        self._claims = claims
        self._runs = runs
        self._hand_over = hand_over
        self._news = news
        self._fallback = fallback
        self._hanging = hanging
        self._intervals = intervals
        self._waits = Waits()
        self._further: dict[str, tuple[_Said, float]] = {}
        """What the run of a job said last, and since when, by the monotonic clock."""
        self._end = Duty("end", intervals.end_s, self._end_the_unwanted)
        self._find = Duty("find", intervals.find_s, self._find_the_unanswered)
        self._duties = (
            self._end,
            self._find,
            Duty("reconcile", intervals.reconcile_s, self._ask_after_all),
            Duty("progress", intervals.progress_s, self._read_progress),
            Duty("explain", intervals.explain_s, self._explain_and_move_on),
            Duty("renew", claims.lease_s / 3, self._renew_claims),
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
        jobs = [*jobs_in(self._ledger, AT_THE_QUEUE), *open_runs_of_ended_jobs(self._ledger)]
        self._waits.keep([f"{what} {job.job_key}" for what in _WAITS for job in jobs])
        if not jobs:
            self.trouble = self._hanging.complaint()
            return None
        wait_s = min(duty.run_if_due() for duty in self._duties)
        troubles = [duty.trouble for duty in self._duties if duty.trouble]
        self.trouble = "; ".join(filter(None, (*troubles[:1], self._hanging.complaint())))
        return wait_s

    def _each(self, jobs: list[JobRow], do: Callable[[JobRow], object]) -> None:
        """Do it for every job, also where it fails for one; it is done for that one the next time.

        Raises
        ------
        OutsideError
            Nobody answers: it would be the same for the others.
        """
        failed: list[Exception] = []
        for job in jobs:
            if self.is_stopping:
                return
            try:
                do(job)
            except StaleRow:  # it is somebody else's by now
                log.info("job_moved_meanwhile", step=self.name, job_key=job.job_key)
            except OutsideError:
                raise
            except Exception as error:
                log.exception("following_failed", job_key=job.job_key)
                failed.append(error)
        if failed:
            raise failed[0]

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
        elif self._is_unseen(job) and self._is_ours(job):
            with self._ledger.transaction() as transaction:
                if transaction.job(job.job_key).queue_id:
                    return
                transaction.update("jobs", "job_key", job.job_key, {"submitted_at": utc_now()})
                transaction.step("job.submitted_again", job, run=job.run)
            self._hand_over(ticket)

    def _is_unseen(self, job: JobRow) -> bool:
        """Whether a run did not show up for long enough."""
        return self._is_over(_UNSEEN, job, job.submitted_at, self._intervals.unseen_s)

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
        running = jobs_in(self._ledger, {JobState.RUNNING})
        self._further = {
            job.job_key: self._further[job.job_key] for job in running if job.job_key in self._further
        }
        self._each(running, self._read_progress_of)

    def _read_progress_of(self, job: JobRow) -> None:
        content = self._objects.get(job_object(job.job_key, PROGRESS_NAME))
        still_s = self._still_s(job, content)
        if not job.followed and self._hanging.is_to_end(job, still_s=still_s):
            self._queue.cancel(job.job_key, job.queue_id)
        try:
            progress = Progress.from_json(content) if content is not None else None
        except ContractError:
            log.warning("progress_not_readable", job_key=job.job_key)
            return
        if progress is not None and (progress.stage, progress.fraction) != (job.stage, job.fraction):
            self._news.hear(
                RunProgressed(job.job_key, job.run, progress.stage, progress.fraction, attempt=job.attempt)
            )

    def _still_s(self, job: JobRow, content: bytes | None) -> float:
        """How long a run has said the same of its progress."""
        said = (job.run, job.attempt, content)
        before, since = self._further.get(job.job_key, (None, 0.0))
        if said != before:
            self._further[job.job_key] = said, time.monotonic()
            return 0.0
        return time.monotonic() - since

    def _renew_claims(self) -> None:
        jobs = [job for job in jobs_in(self._ledger, AT_THE_QUEUE) if not job.followed]
        self._each(jobs, self._is_ours)

    # -- waiting for a machine ----------------------------------------------------------------------------

    def _explain_and_move_on(self) -> None:
        waiting = [
            job
            for job in jobs_in(self._ledger, {JobState.SUBMITTED, JobState.RUNNABLE})
            if job.queue_id and self._waits_for(_EXPLAINED, job, self._intervals.explain_s)
        ]
        why: dict[tuple[Lane, int], Waiting] = {}
        for job in waiting:
            if (job.lane, job.priority) not in why:  # one look at the queue explains everybody in it
                why[job.lane, job.priority] = self._queue.why_waiting(job.lane, job.priority, job.queue_id)
        self._each(waiting, lambda job: self._explain(job, why[job.lane, job.priority]))
        late = [job for job in waiting if self._waits_for(_MOVED, job, self._fallback.after_s)]
        self._each(late, self._withdraw)

    def _waits_for(self, what: str, job: JobRow, length_s: float) -> bool:
        return self._is_over(what, job, job.waiting_since, length_s)

    def _is_over(self, what: str, job: JobRow, since: str | None, length_s: float) -> bool:
        """Whether so much time has passed; a clock that is set neither stretches nor cuts that short."""
        if since is None or math.isinf(length_s):
            return False
        return self._waits.left_after_s(f"{what} {job.job_key}", since, length_s) <= 0

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
        if not queue_id and not self._is_unseen(job):
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
