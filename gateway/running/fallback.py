"""Where a job goes that waited too long for a machine: the fallback queue, as a new run or as another job.

The same task with the same options is the same job, and its next run goes to the other queue. With other
options (the fast model, on a queue without GPUs) it is another job with a key of its own, which takes the
first one's place; its result says so. Where that queue is in a second region, `abroad.py` has the rest.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from batch_job.contract import canonical_options
from converter.series import parse_frame_name
from gateway.adapters.queue import Lane
from gateway.config import Fallback
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import PlannedJob, images_of, replace_job
from gateway.ledger.instances import current_instances
from gateway.ledger.records import JobRow, RunRow
from gateway.ledger.runs import end_run, newer_run, was_in_lane
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger


class Elsewhere(Protocol):
    """Where jobs of one queue go that got no machine there."""

    @property
    def after_s(self) -> float:
        """How long a run may wait before it is taken back; infinite: for ever."""
        ...

    def takes(self, job: JobRow, run: RunRow) -> bool:
        """Whether the job of this run can go there."""
        ...

    def move(self, job: JobRow, reason: str) -> None:
        """Move a job whose run is over, for this reason."""
        ...


class FallbackQueue:
    """Moves jobs to the fallback queue.

    Parameters
    ----------
    fallback
        As configured; without a job queue nothing is ever moved.
    may_be_in
        Whether images of jobs of a rule may be in a region.
    """

    def __init__(
        self,
        ledger: Ledger,
        fallback: Fallback,
        secret: SiteSecret,
        engine: EngineIdentity,
        may_be_in: Callable[[str, str], bool] = lambda *_: True,
    ) -> None:
        self._ledger = ledger
        self._may_be_in = may_be_in
        self._fallback = fallback
        self._secret = secret
        self._engine = engine

    @property
    def after_s(self) -> float:
        """How long a run may wait on the main queue; infinite where there is no other."""
        is_there = self._fallback.job_queue and self._fallback.after_s
        return self._fallback.after_s if is_there else float("inf")

    def takes(self, job: JobRow, run: RunRow) -> bool:
        """Whether the job can go there: it is our own affair, allowed, and has not been there before."""
        region = self._fallback.region
        if not self._fallback.job_queue or run.lane != Lane.MAIN or run.followed:
            return False
        if region and not self._may_be_in(job.rule, region):
            return False
        return not was_in_lane(self._ledger, job, Lane.FALLBACK)

    def move(self, job: JobRow, reason: str) -> None:
        """Move a job whose run is over to the fallback queue, once."""
        region = self._fallback.region
        reason = f"moved to the fallback queue{f' in {region}' if region else ''}: {reason}"
        options = canonical_options(job.engine, job.task, {**job.options, **self._fallback.options})
        is_same = options == canonical_options(job.engine, job.task, job.options)
        with self._ledger.transaction() as transaction:
            now = transaction.job(job.job_key)
            if not newer_run(now, job.run) or now.lane != Lane.MAIN:
                return
            end_run(transaction, job.job_key, job.run, sentence=reason)
            if is_same:
                transaction.move_job(
                    job.job_key,
                    JobEvent.RUN_LOST,
                    reason=reason,
                    columns={"lane": Lane.FALLBACK},
                    run=job.run,
                    lane=Lane.FALLBACK,
                    blameless=True,
                )
                return
            replace_job(transaction, now, self._planned(job, options), lane=Lane.FALLBACK, reason=reason)

    def _planned(self, job: JobRow, options: Mapping[str, Any]) -> PlannedJob:
        rows = {row.sop_instance_uid: row for row in current_instances(self._ledger, job.study_uid)}
        images = images_of(self._ledger, job.job_key)
        digests = [
            (name, rows[uid].pixel_sha256, rows[uid].geometry_sha256)
            for name in images
            for uid, _ in [parse_frame_name(name)]
        ]
        key = self._secret.job_key(digests, job.task, options, self._engine)
        return PlannedJob.like(job, job_key=key, instance_uids=images, options=dict(options))
