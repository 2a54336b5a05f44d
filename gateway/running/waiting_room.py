"""Runs that wait for a machine, marked in the bucket for runs that are done and have one already.

Who may take each other's runs is a group: those of one site for one job queue and job definition; and
ordinary runs take urgent ones, which would else wait for their machines. The markers' names are in the order
in which they are to be done, the highest priority first, then the oldest. A marker is an offer, no more:
without one a run is done by its own Batch job.
"""

import hashlib
from typing import Final

import structlog

from batch_job.contract import RunWanted
from gateway.adapters.errors import OutsideError
from gateway.adapters.objects import ObjectStore, job_prefix, waiting_prefix
from gateway.adapters.queue import Lane
from gateway.config.sections import Queue
from gateway.ledger.records import JobRow

log = structlog.get_logger(__name__)

HIGHEST_PRIORITY: Final = 9999


class WaitingRoom:
    """The markers of one gateway."""

    def __init__(self, objects: ObjectStore, site: str, queue: Queue) -> None:
        self._objects = objects
        self._urgent_from = queue.urgent.priority if queue.urgent.job_queue else None
        fallback = (queue.fallback.job_queue, queue.fallback.job_definition or queue.job_definition)
        self._ordinary = _group(site, queue.job_queue, queue.job_definition)
        self._urgent = _group(site, queue.urgent.job_queue, queue.job_definition)
        self._fallback = _group(site, *fallback)

    def addresses(self, job: JobRow) -> str:
        """Where a run of this job looks for others, the first one first, with spaces between."""
        own = self._group_of(job)
        ahead = [self._urgent] if own == self._ordinary and self._urgent_from is not None else []
        return " ".join(self._objects.address(waiting_prefix(group)) for group in [*ahead, own])

    def enter(self, job: JobRow, run: int) -> None:
        """Mark a run that the queue has taken in."""
        address = self._objects.address(job_prefix(job.job_key))
        try:
            self._objects.put(self._marker(job, run), RunWanted(address=address, run=run).to_json())
        except OutsideError as error:
            log.warning("run_not_marked", job_key=job.job_key, run=run, reason=str(error))

    def leave(self, job: JobRow, run: int) -> None:
        """Take a marker away.

        Raises
        ------
        Retriable, Permanent
        """
        self._objects.remove(self._marker(job, run))

    def _group_of(self, job: JobRow) -> str:
        if job.lane == Lane.FALLBACK:
            return self._fallback
        is_urgent = self._urgent_from is not None and job.priority >= self._urgent_from
        return self._urgent if is_urgent else self._ordinary

    def _marker(self, job: JobRow, run: int) -> str:
        priority = HIGHEST_PRIORITY - min(max(job.priority, 0), HIGHEST_PRIORITY)
        age = "".join(character for character in job.created_at if character.isdigit())
        return f"{waiting_prefix(self._group_of(job))}{priority:04d}-{age}-{job.job_key}-{run}"


def _group(*names: str) -> str:
    """A name of its own that says nothing of these."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
