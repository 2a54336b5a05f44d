"""Runs at the local queue, which die with this process."""

import structlog

from gateway.adapters.errors import Permanent, Retriable
from gateway.adapters.queue import JobQueue
from gateway.events import Bus, Event, JobChanged
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow
from gateway.ledger.states import AT_THE_QUEUE, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import jobs_in
from gateway.workers.attempts import CannotGoOn

from .outcomes import Outcomes
from .run import Runs

log = structlog.get_logger(__name__)

STOPPED = frozenset({JobState.CANCELLED, JobState.SUPERSEDED})


class LocalRuns:
    """The step submit (staged > submitted), what an earlier process left, and ending what nobody wants."""

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        results: JobResults,
        outcomes: Outcomes,
        runs: Runs,
        queue: JobQueue,
    ) -> None:
        self._ledger = ledger
        self._results = results
        self._outcomes = outcomes
        self._runs = runs
        self._queue = queue
        bus.subscribe(self._on_event)

    def submit(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        StaleRow, Retriable, Permanent
        """
        if self._runs.is_done_already(job):
            return
        ticket = self._runs.ticket(job, job.run + 1)
        self._runs.write_down(ticket)
        self._runs.hand_over(ticket)

    def settle(self) -> None:
        """Decide about the runs that an earlier process handed over: they died with it."""
        for job in jobs_in(self._ledger, AT_THE_QUEUE):
            self._settle(job)

    def _settle(self, job: JobRow) -> None:
        """Decide about a run that an earlier process of ours handed over: it died with that process."""
        try:
            if self._results.is_there(job):
                self._outcomes.take(job, {})
                return
        except (CannotGoOn, Permanent) as error:
            self._outcomes.fail(job.job_key, job.run, str(error))
            return
        except (Retriable, OSError):
            log.warning("result_not_readable", job_key=job.job_key)
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key, JobEvent.RUN_LOST, reason="the gateway was restarted", blameless=True
            )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, JobChanged) and event.state in STOPPED:
            self._queue.cancel(event.job_key)
