"""What the queue's news do to a job: it waits, runs, is segmented, or needs another run.

News are ordered by (run, attempt, rank): what comes late or twice changes nothing, so that whoever has them
tells them again until the ledger took them in.
"""

import signal
from typing import Any

import structlog

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    EXIT_TRANSIENT,
)
from gateway.adapters.errors import Permanent
from gateway.adapters.queue import (
    JobNews,
    RunBlocked,
    RunEnded,
    RunNeverStarted,
    RunProgressed,
    RunQueued,
    RunStarted,
    RunStarting,
)
from gateway.events import JobProgressed
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow, RunRow, utc_now
from gateway.ledger.runs import end_run, is_next, newer_run, run_of, written_run
from gateway.ledger.states import JobEvent, JobState, UnknownTransition
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow, Transaction
from gateway.ledger.work import job as job_of
from gateway.workers.attempts import Blame, CannotGoOn

from .fallback import Elsewhere
from .outcomes import Outcomes
from .run import Runs

log = structlog.get_logger(__name__)

FINAL_EXITS = frozenset({EXIT_BAD_INPUT, EXIT_SOFTWARE_ERROR, EXIT_NOT_SET_UP})
"""The same would happen again: a person looks at it first."""
THE_MACHINES_EXITS = frozenset({EXIT_TRANSIENT, EXIT_INTERRUPTED, -signal.SIGTERM, -signal.SIGINT})
"""Not now, or not to the end: no fault of the run's."""


class RunNews:
    """Hears the queue.

    Parameters
    ----------
    fallback
        Where runs go that never got a machine; None for a local queue, which has machine and line in one.
    """

    def __init__(
        self,
        ledger: Ledger,
        results: JobResults,
        outcomes: Outcomes,
        runs: Runs,
        fallback: Elsewhere | None = None,
    ) -> None:
        self._ledger = ledger
        self._results = results
        self._outcomes = outcomes
        self._runs = runs
        self._fallback = fallback
        self._ended_for: dict[tuple[str, int], str] = {}

    def hear(self, news: JobNews) -> None:
        """Act on news; what is late changes nothing. Whatever it raises, it was not taken in."""
        try:
            self._act_on(news)
        except (StaleRow, UnknownTransition):
            log.info("news_came_late", job_key=news.job_key, run=news.run)

    def will_be_ended(self, job_key: str, run: int, reason: str) -> None:
        """Know why a run is about to be ended: of a fault of its own, whatever it then says itself."""
        self._ended_for[job_key, run] = reason

    def is_being_ended(self, job_key: str, run: int) -> bool:
        """Whether it is known why this run is about to be ended."""
        return (job_key, run) in self._ended_for

    def _act_on(self, news: JobNews) -> None:
        job = job_of(self._ledger, news.job_key)
        run = run_of(self._ledger, news.job_key, news.run)
        if job is None or _is_of_another(run, news):
            return
        for missed in news.earlier:
            if is_next(job, run, _order(missed)):
                self._wait(missed)
        match news:
            case RunProgressed():
                self._progress(job, news)
            case RunBlocked():
                self._wait(news)
                self._block(news)
            case RunEnded() | RunNeverStarted():
                self._end(job, run, news)
            case _ if not is_next(job, run, _order(news)):  # known already, as most of what is told again
                return
            case RunQueued():
                self._wait(news)
            case RunStarted():
                started = {} if run is not None and run.started_at else {"started_at": utc_now()}
                self._move(news, JobEvent.STARTED, {JobState.SUBMITTED, JobState.RUNNABLE}, **started)
            case RunStarting():
                self._note_machine(news)

    def _note(self, transaction: Transaction, news: JobNews, **columns: Any) -> JobRow | None:
        """Note how far the news of a run are; its job, or None where they came late."""
        job = transaction.job(news.job_key)
        run = written_run(transaction, job, news.run) if newer_run(job, news.run) else None
        if run is None or not is_next(job, run, _order(news)):
            return None
        marks = {"attempt": news.attempt, "rank": news.rank, "queue_id": news.queue_id or run.queue_id}
        transaction.update("runs", "id", run.id, {**marks, **columns})
        transaction.update("jobs", "job_key", job.job_key, {"run": news.run})
        return job

    def _move(self, news: JobNews, event: JobEvent, states: set[JobState], **columns: Any) -> None:
        with self._ledger.transaction() as transaction:
            job = self._note(transaction, news, **columns)
            if job is not None and job.state in states:  # elsewhere: it was missed that it went back before
                transaction.move_job(news.job_key, event, run=news.run, **news.detail)

    def _wait(self, news: RunQueued | RunBlocked) -> None:
        waiting = {"waiting_since": utc_now(), "waiting_code": "", "blocked_code": "", "withdrawn_at": None}
        self._move(news, JobEvent.QUEUED, {JobState.SUBMITTED, JobState.RUNNING}, **waiting)

    def _block(self, news: RunBlocked) -> None:
        """Note once what a queue says of a run that waits; the follower explains it in words."""
        with self._ledger.transaction() as transaction:
            job = transaction.job(news.job_key)
            if job.state is not JobState.RUNNABLE or job.run != news.run:
                return
            run = written_run(transaction, job, news.run)
            if run.blocked_code != news.code:
                transaction.update("runs", "id", run.id, {"blocked_code": news.code})
                transaction.step("job.blocked", job, run=news.run, code=news.code, **news.detail)

    def _note_machine(self, news: RunStarting) -> None:
        """Note that it has a machine, which is no state of its own."""
        with self._ledger.transaction() as transaction:
            job = self._note(transaction, news)
            if job is not None:
                transaction.step("job.starting", job, run=news.run, **news.detail)

    def _progress(self, job: JobRow, news: RunProgressed) -> None:
        if (job.stage, job.fraction) == (news.stage, news.fraction):
            return
        with self._ledger.transaction() as transaction:
            job = transaction.job(news.job_key)
            if not newer_run(job, news.run):
                return
            columns = {"stage": news.stage, "fraction": news.fraction}
            transaction.update("jobs", "job_key", news.job_key, columns)
            transaction.publish(JobProgressed(news.job_key, job.study_uid, news.stage, news.fraction))

    # -- the end of a run ---------------------------------------------------------------------------------

    def _end(self, job: JobRow, run: RunRow | None, news: RunEnded | RunNeverStarted) -> None:
        if not newer_run(job, news.run):
            self.close(run, news)
            return
        is_done = isinstance(news, RunEnded) and news.exit_code == EXIT_DONE
        if is_done and self._results.is_there(job):
            self._take_result(job, news)
        elif self._goes_on_under_another_name(job, news):
            return
        elif is_done:
            reason = "the run ended without a manifest"
            self._outcomes.lose(news.job_key, news.run, reason, detail=news.detail)
        elif isinstance(news, RunNeverStarted):
            self._never_started(job, run, news)
        else:
            self._ended_without_a_result(news)
        self._ended_for.pop((news.job_key, news.run), None)

    def _ended_without_a_result(self, news: RunEnded) -> None:
        key, run, detail = news.job_key, news.run, {"exit_code": news.exit_code, **news.detail}
        ended_for = self._ended_for.get((key, run))
        if ended_for is not None:
            self._outcomes.lose(key, run, ended_for, detail=detail)
        elif news.exit_code in FINAL_EXITS:
            reason = news.reason or f"the job ended with exit code {news.exit_code}"
            self._outcomes.fail(key, run, reason, detail=detail)
        else:
            reason = f"the run ended with exit code {news.exit_code}: {news.reason or 'it said nothing'}"
            blame = Blame.MACHINE if news.exit_code in THE_MACHINES_EXITS else Blame.WORK
            self._outcomes.lose(key, run, reason, blame=blame, detail=detail)

    def _take_result(self, job: JobRow, news: JobNews) -> None:
        """Where it cannot be read now, that is raised: it is there, and nobody computes it again."""
        try:
            self._outcomes.take(job, news.detail)
        except (CannotGoOn, Permanent) as error:
            self._outcomes.fail(news.job_key, news.run, str(error))

    def _never_started(self, job: JobRow, run: RunRow | None, news: RunNeverStarted) -> None:
        moved = run is not None and (run.withdrawn_at is not None or news.by_time_limit)
        if run is not None and moved and self._fallback is not None and self._fallback.takes(job, run):
            self._fallback.move(job, job.reason or news.reason)
        else:
            self._outcomes.lose(news.job_key, news.run, news.reason, detail=news.detail)

    def _goes_on_under_another_name(self, job: JobRow, news: JobNews) -> bool:
        """Whether another run at the queue was first to begin this run number: then that one is followed."""
        if not news.queue_id:
            return False
        owner = self._results.owner(job.job_key, news.run)
        if owner is None or owner == news.queue_id:
            return False
        self._runs.accepted(self._runs.ticket(job, news.run), owner, "owned")
        return True

    def close(self, run: RunRow | None, news: RunEnded | RunNeverStarted) -> None:
        """Write down that a run is over for which its job does not wait any more."""
        self._ended_for.pop((news.job_key, news.run), None)
        if run is not None and run.is_open:
            exit_code = news.exit_code if isinstance(news, RunEnded) else None
            with self._ledger.transaction() as transaction:
                end_run(transaction, run.job_key, run.run, exit_code=exit_code, sentence=news.reason)

    def forgotten(self, job: JobRow, queue_id: str) -> None:
        """Settle a run that the queue does not know any more.

        Raises
        ------
        Retriable, Permanent, OSError, StaleRow
        """
        if not self._came_to_something(job, queue_id):
            self._outcomes.lose(job.job_key, job.run, "the queue does not know the run any more")

    def is_known_by_what_it_left(self, job: JobRow) -> bool:
        """Settle a run that the queue does not show, if its folder does: by its result, or who began it.

        Raises
        ------
        Retriable, Permanent, OSError, StaleRow
        """
        if self._came_to_something(job):
            return True
        owner = self._results.owner(job.job_key, job.run)
        if owner is not None:
            self._runs.accepted(self._runs.ticket(job), owner, "owned")
        return owner is not None

    def died_with_the_gateway(self, job: JobRow) -> None:
        """Settle a run that an earlier process had; nothing is wrong with it.

        Raises
        ------
        Retriable, Permanent, OSError, StaleRow
        """
        if not self._came_to_something(job):
            self._outcomes.run_anew(job.job_key, job.run, "the gateway was restarted")

    def _came_to_something(self, job: JobRow, queue_id: str = "") -> bool:
        """Whether a run of which nothing was heard left a result, or goes on under another name."""
        news = RunEnded(job.job_key, job.run, EXIT_DONE, "", queue_id=queue_id)
        if self._results.is_there(job):
            self._take_result(job, news)
            return True
        return self._goes_on_under_another_name(job, news)


def _order(news: JobNews) -> tuple[int, int, int]:
    return news.run, news.attempt, news.rank


def _is_of_another(run: RunRow | None, news: JobNews) -> bool:
    """Whether news are of a second run under the same number, which does not own it."""
    return run is not None and bool(run.queue_id and news.queue_id) and run.queue_id != news.queue_id
