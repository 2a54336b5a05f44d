"""Runs that wait for a machine: why, in words, and on to the fallback queue where it takes too long."""

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from gateway.adapters.queue import JobQueue, Lane, Waiting
from gateway.ledger.records import utc_now, utc_time
from gateway.ledger.runs import JobRun, written_run
from gateway.ledger.states import JobState
from gateway.ledger.store import Ledger
from gateway.workers.waits import Waits

from .duty import for_each
from .fallback import Elsewhere

WITHOUT_A_MACHINE = frozenset({JobState.SUBMITTED, JobState.RUNNABLE})


class MachineWaits:
    """Explains waits, and ends those that last too long.

    Parameters
    ----------
    explain_s
        How long a run may wait before it is explained.
    """

    def __init__(
        self, ledger: Ledger, queue: JobQueue, fallback: Elsewhere, waits: Waits, explain_s: float
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._fallback = fallback
        self._waits = waits
        self._explain_s = explain_s

    def look_at(self, runs: Iterable[JobRun], is_enough: Callable[[], bool]) -> None:
        """Explain those of these runs that wait, and move on those that waited too long.

        Raises
        ------
        OutsideError
        """
        waiting = [
            each
            for each in runs
            if each.job.state in WITHOUT_A_MACHINE
            and each.run.queue_id
            and self._is_over(each, self._explain_s)
        ]
        why: dict[tuple[Lane, int], Waiting] = {}
        for each in waiting:
            place = each.run.lane, each.job.priority
            if place not in why:  # one look at the queue explains everybody in it
                why[place] = self._queue.why_waiting(*place, each.run.queue_id)
        for_each(waiting, lambda each: self._explain(each, why[each.run.lane, each.job.priority]), is_enough)
        late = [each for each in waiting if self._is_over(each, self._fallback.after_s)]
        for_each(late, self._withdraw, is_enough)

    def _is_over(self, each: JobRun, length_s: float) -> bool:
        """Whether it waits for so long; a clock that is set neither stretches nor cuts that short."""
        if each.run.waiting_since is None or math.isinf(length_s):
            return False
        key = f"{each.run.id} for {length_s:g} s"
        return self._waits.left_after_s(key, each.run.waiting_since, length_s) <= 0

    def _explain(self, each: JobRun, why: Waiting) -> None:
        if why.code == each.run.waiting_code:
            return
        job = each.job
        reason = f"{why.sentence}; {why.fix}" if why.fix else why.sentence
        with self._ledger.transaction() as transaction:
            now = transaction.job(job.job_key)
            if (now.state, now.run) != (job.state, job.run):
                return
            transaction.update("jobs", "job_key", job.job_key, {"reason": reason})
            transaction.update("runs", "id", each.run.id, {"waiting_code": why.code})
            transaction.step("job.waiting", job, run=job.run, code=why.code, reason=reason)
            transaction.settle_later(job.study_uid)

    def _withdraw(self, each: JobRun) -> None:
        """Take a run back that waited too long; it is moved on when the queue says that it ended."""
        if not self._fallback.takes(each.job, each.run):
            return
        with self._ledger.transaction() as transaction:
            if written_run(transaction, each.job, each.run.run).withdrawn_at is None:
                transaction.update("runs", "id", each.run.id, {"withdrawn_at": utc_now()})
                waited = datetime.now(UTC) - utc_time(each.run.waiting_since or each.run.submitted_at)
                waited_s = round(waited.total_seconds())
                transaction.step("job.withdrawn", each.job, run=each.run.run, waited_s=waited_s)
        self._queue.withdraw(each.run.queue_id)
