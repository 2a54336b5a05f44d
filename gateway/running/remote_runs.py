"""Runs at a remote queue, which go on without this process: claimed, handed over once, found again.

A run that may have been taken in without an answer stays submitted, without the queue's name of it, until it
is found or has stayed unseen for long enough (`Intervals.unseen_s`); only then is it submitted again, under
the same number, so that of two that both took effect one finds the other's `owner.json` and ends without
output.
"""

from typing import Protocol

import structlog

from gateway.adapters.errors import Away, Permanent, Retriable
from gateway.adapters.queue import JobQueue, JobTicket, Unanswered
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow
from gateway.ledger.store import Ledger
from gateway.workers.attempts import Blame

from .claims import Claims
from .run import Runs

log = structlog.get_logger(__name__)


class Refusals(Protocol):
    """What becomes of a run that the queue does not take."""

    def lose(self, job_key: str, run: int, reason: str, *, blame: Blame = Blame.WORK) -> None:
        """It may be taken another time."""
        ...

    def fail(self, job_key: str, run: int, reason: str) -> None:
        """It will not be taken as it is."""
        ...


class HandOver:
    """Hands runs that the ledger knows of to the queue."""

    def __init__(self, ledger: Ledger, outcomes: Refusals, runs: Runs, queue: JobQueue) -> None:
        self._ledger = ledger
        self._outcomes = outcomes
        self._runs = runs
        self._queue = queue

    def __call__(self, ticket: JobTicket) -> None:
        """Submit a run, and write down what the queue answered."""
        try:
            queue_id = self._queue.submit(ticket)
        except Unanswered as error:
            log.warning("submit_unanswered", job_key=ticket.job_key, run=ticket.run, reason=str(error))
            with self._ledger.transaction() as transaction:
                job = transaction.job(ticket.job_key)
                transaction.step("job.unanswered", job, run=ticket.run, reason=str(error))
        except Away as error:
            self._outcomes.lose(ticket.job_key, ticket.run, str(error), blame=Blame.OUTSIDE)
        except Retriable as error:
            self._outcomes.lose(ticket.job_key, ticket.run, str(error))
        except Permanent as error:
            self._outcomes.fail(ticket.job_key, ticket.run, str(error))
        else:
            self._runs.accepted(ticket, queue_id, "accepted")


class RemoteSubmit:
    """The step submit (staged > submitted) for a remote queue."""

    def __init__(
        self, runs: Runs, hand_over: HandOver, results: JobResults, queue: JobQueue, claims: Claims
    ) -> None:
        self._runs = runs
        self._hand_over = hand_over
        self._results = results
        self._queue = queue
        self._claims = claims

    def __call__(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        StaleRow, Retriable, Permanent
        """
        if self._runs.is_done_already(job):
            return
        claim = self._claims.take(job.job_key, job.run + 1)
        if claim.gateway != self._claims.gateway:
            if claim.run <= job.run:
                raise Away(f"the gateway {claim.gateway} has this job, and plans its next run")
            self._runs.write_down(self._runs.ticket(job, claim.run), followed=claim.gateway)
            return
        ticket = self._runs.ticket(job, claim.run)
        found = self._queue.find(ticket)
        if found is None and self._results.owner(job.job_key, claim.run) is not None:
            # The queue has forgotten that run; nobody else could begin under its number.
            ticket = self._runs.ticket(job, self._claims.take(job.job_key, claim.run + 1).run)
        self._runs.write_down(ticket)
        if found is None:
            self._hand_over(ticket)
        else:
            self._runs.accepted(ticket, found, "adopted")
