"""Runs at the local queue: one worker brings ledger and queue together, one job after the other.

It alone talks to the queue. For each job it looks what the ledger wants (this run, or none) and what the
queue has, and starts, ends, or writes down what has become of a run; what the ledger does not take in now
stays at the queue, and is looked at again. Runs die with this process: those of an earlier one are settled by
what they left in the job folder.
"""

import queue
import sqlite3
import time
from contextlib import suppress
from typing import Final

import structlog

from batch_job.contract import EXIT_INTERRUPTED
from gateway.adapters.queue import RunEnded
from gateway.adapters.subprocess_queue import KnownRun, SubprocessQueue
from gateway.events import Bus, Event, JobChanged
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow
from gateway.ledger.runs import end_run, jobs_at_the_queue, open_runs, open_runs_of
from gateway.ledger.states import AT_THE_QUEUE
from gateway.ledger.store import Ledger, LedgerError
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import job as job_of
from gateway.ledger.work import wait_with_job
from gateway.workers import attempts
from gateway.workers.attempts import Blame, fault_of
from gateway.workers.waits import Rests
from gateway.workers.worker import IDLE_S, Worker

from .complaints import Complaints
from .hanging import Hanging
from .news import RunNews
from .run import Runs

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""How often runs that go on are looked at."""


class LocalRuns(Worker):
    """The step submit (staged > submitted), and everything that comes of it."""

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        results: JobResults,
        runs: Runs,
        news: RunNews,
        local_queue: SubprocessQueue,
        hanging: Hanging,
        complaints: Complaints,
    ) -> None:
        super().__init__("run", bus)
        self._ledger = ledger
        self._results = results
        self._runs = runs
        self._news = news
        self._queue = local_queue
        self._hanging = hanging
        self._complaints = complaints
        self._changed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._due: set[str] = set()
        self._look_at_all_at = 0.0
        self._rests = Rests()
        self._of_an_earlier_process: set[tuple[str, int]] = set()

    def submit(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        StaleRow, Retriable, Permanent
        """
        if not self._runs.is_done_already(job):
            self._runs.write_down(self._runs.ticket(job, job.run + 1))

    def begin(self) -> None:
        """Start the queue; what the ledger has there now died with an earlier process."""
        self._of_an_earlier_process = {(each.job.job_key, each.run.run) for each in open_runs(self._ledger)}
        self._queue.start(self.look_again)

    def is_woken_by(self, event: Event) -> bool:
        """Whether a run may be wanted, or not any more, or a person wants it looked at now."""
        if isinstance(event, JobChanged):
            if event.event == "tried_now":
                self._rests.try_now(event.job_key)
            self._changed.put(event.job_key)
        return isinstance(event, JobChanged)

    def work(self) -> float | None:
        """Look at every job that something may have happened to."""
        self._note_what_changed()
        resting = self._rests.left_s()
        for job_key in sorted((self._due | self._queue.begun()) - resting.keys()):
            if self.is_stopping:
                break
            with self.at_job(job_key):
                self._look_at(job_key)
        self.trouble = "; ".join(filter(None, (self._rests.complaint(), str(self._complaints))))
        return LOOK_S if self._due or self._queue.begun() else None

    def _note_what_changed(self) -> None:
        while not self._changed.empty():
            self._due.add(self._changed.get())
        if time.monotonic() >= self._look_at_all_at:
            self._due |= {each.job.job_key for each in open_runs(self._ledger)}
            self._due |= jobs_at_the_queue(self._ledger)  # also one whose run was taken for over
            self._look_at_all_at = time.monotonic() + IDLE_S

    def _look_at(self, job_key: str) -> None:
        """Bring ledger and queue together for one job; where that fails it is due still."""
        self._due.add(job_key)
        try:
            self._bring_together(job_key)
        except StaleRow:
            log.info("job_moved_meanwhile", step=self.name, job_key=job_key)
        except Exception as error:
            fault = fault_of(error, "taking in what became of a run")
            if fault.is_defect:
                log.exception("run_not_taken_in", job_key=job_key)
            delay_s = self._rests.put_off(job_key, attempts.POLICY.machine, fault.sentence)
            self._say(job_key, fault.sentence, delay_s)
        else:
            self._due.discard(job_key)
            self._rests.resume(job_key)

    def _say(self, job_key: str, reason: str, delay_s: float) -> None:
        """Show at the job what it waits for; where the ledger is what fails, only the worker says it."""
        with suppress(StaleRow, LedgerError, sqlite3.Error), self._ledger.transaction() as transaction:
            if transaction.job(job_key).state in AT_THE_QUEUE:
                wait_with_job(transaction, job_key, delay_s=delay_s, reason=reason, on=Blame.MACHINE)

    def _bring_together(self, job_key: str) -> None:
        # Before the job: a run that is submitted between the two is none that nobody waits for.
        are_open = open_runs_of(self._ledger, job_key)
        job = job_of(self._ledger, job_key)
        known = {run.run: run for run in self._queue.look(job_key)}
        wanted = job.run if job is not None and job.state in AT_THE_QUEUE else None
        for run in known.values():
            if run.run != wanted:
                self._end(run)
        self._close(job_key, are_open - {wanted, *known})
        if job is None or wanted is None:
            return
        if wanted in known:
            self._take_in(job, known[wanted])
        elif (job_key, wanted) in self._of_an_earlier_process:
            self._settle(job)
        else:
            self._queue.submit(self._runs.ticket(job))

    def _end(self, run: KnownRun) -> None:
        """End a run that nobody wants, and forget it once it has ended, and that is written down."""
        if run.is_over:
            self._news.hear(run.news[-1])
            self._queue.forget(run.job_key, run.run)
        else:
            self._queue.cancel(run.job_key, run.run)

    def _close(self, job_key: str, runs: set[int]) -> None:
        """What the ledger took for open, but nobody wants and the queue never had, or had before a crash."""
        for run in runs:
            with self._ledger.transaction() as transaction:
                end_run(transaction, job_key, run, sentence="nobody waited for it any more")

    def _take_in(self, job: JobRow, run: KnownRun) -> None:
        """Write down what has become of a run, as far as that is new."""
        if not run.is_over and self._hanging.is_to_end(job, for_s=run.for_s, still_s=run.still_s):
            self._queue.cancel(job.job_key, run.run)
        for news in run.news:
            self._news.hear(news)

    def _settle(self, job: JobRow) -> None:
        """Decide about a run that died with an earlier process, by what it left."""
        left = self._results.exit_of(job.job_key, job.run)
        if left is None or left.code == EXIT_INTERRUPTED:
            self._news.died_with_the_gateway(job)
        else:
            self._news.hear(RunEnded(job.job_key, job.run, left.code, left.sentence))
