"""Runs at a remote queue, which go on without this process: claimed, handed over once, found again.

A run that may have been taken in without an answer stays submitted, without the queue's name of it, until it
is found or has stayed unseen for long enough (`Intervals.unseen_s`); only then is it submitted again, under
the same number, so that of two that both took effect one finds the other's `owner.json` and ends without
output.
"""

from gateway.adapters.errors import Away
from gateway.adapters.queue import RemoteQueue
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow

from .claims import Claims
from .run import Runs


class RemoteSubmit:
    """The step submit (staged > submitted) for a remote queue."""

    def __init__(self, runs: Runs, results: JobResults, queue: RemoteQueue, claims: Claims) -> None:
        self._runs = runs
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
            self._runs.hand_over(ticket)
        else:
            self._runs.accepted(ticket, found, "adopted")
