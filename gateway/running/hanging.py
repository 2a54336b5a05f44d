"""Runs that take too long, or get no further: told by name, ended, and held against their job.

How long a run goes on, and how long it stands still, is measured by the monotonic clock of this process; a
gateway that was restarted begins to count anew.
"""

from dataclasses import dataclass

import structlog

from gateway.ledger.records import JobRow
from gateway.ledger.runs import newer_run
from gateway.ledger.store import Ledger

from .complaints import Complaints
from .news import RunNews

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long a run may take, and how long it may get no further, in seconds; 0: for ever."""

    timeout_s: float = 0.0
    stall_s: float = 0.0


class Hanging:
    """Judges runs that go on."""

    def __init__(self, ledger: Ledger, news: RunNews, limits: Limits, complaints: Complaints) -> None:
        self._ledger = ledger
        self._news = news
        self._limits = limits
        self._complaints = complaints

    def is_to_end(self, job: JobRow, *, for_s: float = 0.0, still_s: float = 0.0) -> bool:
        """Whether the present run of a job has to be ended; the first time that is written down.

        Parameters
        ----------
        for_s
            How long it goes on.
        still_s
            How long it got no further.
        """
        if self._news.is_being_ended(job.job_key, job.run):
            return True
        limits = self._limits
        if 0 < limits.timeout_s <= for_s:
            reason = f"the run took longer than queue.local_timeout_s allows, {limits.timeout_s:g} s"
            return self._tell(job, "timed_out", reason, limits.timeout_s)
        if 0 < limits.stall_s <= still_s:
            where = f"in its stage {job.stage}" if job.stage else "since it began"
            reason = f"the run got no further for {limits.stall_s:g} s {where}"
            if self._tell(job, "stalled", reason, limits.stall_s):
                self._complaints.say(job.job_key, f"{reason}; it is started anew")
                return True
        return False

    def _tell(self, job: JobRow, what: str, reason: str, limit_s: float) -> bool:
        with self._ledger.transaction() as transaction:
            now = transaction.job(job.job_key)
            if not newer_run(now, job.run):
                return False
            transaction.step(f"job.{what}", now, run=job.run, reason=reason, limit_s=limit_s)
        log.warning("run_hangs", job_key=job.job_key, run=job.run, reason=reason)
        self._news.will_be_ended(job.job_key, job.run, reason)
        return True
