"""Runs that take too long, or get no further: told by name, ended, and held against their job.

How long a run goes on, and how long it stands still, is measured by the monotonic clock of this process; a
gateway that was restarted begins to count anew.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from gateway.ledger.records import JobRow, RunRow
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


@dataclass(frozen=True)
class _Further:
    """What a run of a process said last of how far it is, in which attempt, and since when."""

    queue_id: str
    said: tuple[int, bytes | None]
    since: float


class Stillness:
    """How long runs have said the same of their progress, by the monotonic clock.

    A process that took a run gets further as long as any of its runs does: what it reads early waits for what
    it computes.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._further: dict[int, _Further] = {}

    def keep(self, runs: Iterable[RunRow]) -> None:
        """Forget all but these; a process of which one is over has got further."""
        ids = {run.id for run in runs}
        moved = {each.queue_id for key, each in self._further.items() if key not in ids}
        now = self._monotonic()
        self._further = {
            key: replace(each, since=now) if each.queue_id in moved else each
            for key, each in self._further.items()
            if key in ids
        }

    def lasts_s(self, run: RunRow, content: bytes | None) -> float:
        """For how long this run, and every other of the same process, has got no further.

        Parameters
        ----------
        content
            What it says of its progress now; None: nothing yet.
        """
        said = run.attempt, content
        before = self._further.get(run.id)
        if before is None or said != before.said:
            self._further[run.id] = _Further(run.queue_id, said, self._monotonic())
        process = [each.since for each in self._further.values() if each.queue_id == run.queue_id]
        return self._monotonic() - max(process)


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
