"""Runs, wherever they run: written down in the ledger before the queue hears of them.

A crash between the two leaves a run that was lost, never one that nobody knows. What local and remote queues
do not share is in `local_runs.py` and `remote_runs.py`.
"""

import structlog

from gateway.adapters.objects import ObjectStore, job_prefix
from gateway.adapters.queue import JobTicket, Lane
from gateway.files.results import JobResults
from gateway.ledger.records import JobRow
from gateway.ledger.runs import begin_run, lost_runs, written_run
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.workers.attempts import CannotGoOn

from .outcomes import Outcomes
from .waiting_room import WaitingRoom

log = structlog.get_logger(__name__)


class Runs:
    """What is written down of runs before they end.

    Parameters
    ----------
    backend
        The queue that they are handed to, as `queue.backend` names it.
    room
        Where those are marked that wait; None: none takes another.
    region
        The region of AWS that they take place in; empty: none.
    is_abroad
        Whether it is the second one, which gets a copy of the job folder.
    """

    def __init__(
        self,
        ledger: Ledger,
        results: JobResults,
        outcomes: Outcomes,
        objects: ObjectStore,
        backend: str,
        room: WaitingRoom | None = None,
        region: str = "",
        *,
        is_abroad: bool = False,
    ) -> None:
        self._ledger = ledger
        self._results = results
        self._outcomes = outcomes
        self._objects = objects
        self._backend = backend
        self._room = room
        self._region = region
        self._is_abroad = is_abroad

    def ticket(self, job: JobRow, run: int | None = None) -> JobTicket:
        """What the queue is told of a run of a job, its present one unless it is said."""
        lane = Lane(job.lane)
        return JobTicket(
            job.job_key,
            run or job.run,
            self._objects.address(job_prefix(job.job_key)),
            job.priority,
            rule=job.rule,
            lane=lane,
            waiting=self._room.addresses(job) if self._room is not None else "",
        )

    def write_down(self, ticket: JobTicket, followed: str = "") -> None:
        """Move a job to submitted with its new run.

        Parameters
        ----------
        followed
            The other gateway whose run it is; empty: ours.

        Raises
        ------
        StaleRow
        """
        detail = {"followed": followed} if followed else {}
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                ticket.job_key,
                JobEvent.SUBMITTED,
                expect=JobState.STAGED,
                columns={"run": ticket.run, "stage": "", "fraction": 0.0},
                run=ticket.run,
                **detail,
            )
            begin_run(
                transaction,
                ticket.job_key,
                ticket.run,
                ticket.lane,
                followed,
                self._backend,
                region=self._region,
                has_copy=self._is_abroad and not followed,
            )

    def accepted(self, ticket: JobTicket, queue_id: str, how: str) -> None:
        """Write down under which name the queue has a run.

        Parameters
        ----------
        how
            "accepted", "adopted", "owned" or "taken".
        """
        with self._ledger.transaction() as transaction:
            job = transaction.job(ticket.job_key)
            run = written_run(transaction, job, ticket.run)
            if job.run != ticket.run or run.queue_id == queue_id:
                return
            transaction.update("runs", "id", run.id, {"queue_id": queue_id, "attempt": 0, "rank": 0})
            transaction.step(f"job.{how}", job, run=job.run, queue_id=queue_id)
        # One that was lost by a fault of its own is not done beside others.
        if self._room is not None and how == "accepted" and not lost_runs(self._ledger, job.job_key):
            self._room.enter(job, job.run)

    def is_done_already(self, job: JobRow) -> bool:
        """Take the result of an earlier run, or of another gateway, where there is a sound one.

        Raises
        ------
        StaleRow, Retriable, Permanent
        """
        if not self._results.is_there(job):
            return False
        try:
            self._outcomes.take(job, {})
        except CannotGoOn as error:
            log.warning("earlier_result_unusable", job_key=job.job_key, reason=str(error))
            return False
        return True
