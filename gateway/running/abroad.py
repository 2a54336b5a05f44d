"""Runs in a second region: a copy of the input goes there, the result comes home, and the copy is erased.

What decides stays at home, in the first region's job folder: the claim, and the one manifest. A run is
written down before its input is copied, and copying is a part of handing it over: who is killed in between
finds a run that was never taken in, and hands it over once more. The result is copied home, manifest last and
only where none lies there, before the ledger hears of it: everything after that (API, encoding, other
gateways) knows one job folder only.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from batch_job.contract import MANIFEST_NAME, REQUEST_NAME, ContractError, JobRequest, Manifest
from gateway.adapters.errors import Away, OutsideError, Permanent
from gateway.adapters.objects import ObjectStore, job_object, job_prefix
from gateway.adapters.queue import JobNews, JobQueue, JobTicket, Lane, RunEnded, RunNeverStarted, Waiting
from gateway.events import Bus, Event, JobChanged
from gateway.files.results import FilesGone, JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.records import JobRow, RunRow
from gateway.ledger.runs import (
    JobRun,
    copy_is_gone,
    end_run,
    last_runs_with_copy,
    lost_runs,
    newer_run,
    runs_of,
)
from gateway.ledger.states import AT_THE_QUEUE, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import job as job_of
from gateway.workers.attempts import Blame
from gateway.workers.worker import Worker

from .outcomes import Outcomes

log = structlog.get_logger(__name__)

REFUSALS_ALLOWED: Final = 8
"""So often in a row the second region may refuse a job, within some minutes, before it goes home again."""
AWAY_S: Final = 300.0
"""For so long it may not answer at all."""
LOOK_S: Final = 5.0
"""How soon it is looked again whether nothing is written any more to a copy that is to be erased."""
AGAIN_S: Final = 60.0
IN_USE: Final = AT_THE_QUEUE | {JobState.STAGED}


class ResultsFromAbroad(JobResults):
    """Reads the copy of a job folder, but for the result, which is brought home and read there."""

    def __init__(self, home: ObjectStore, there: ObjectStore, workplace: Workplace) -> None:
        super().__init__(there, workplace)
        self._home = home
        self._at_home = JobResults(home, workplace)

    def is_there(self, job: JobRow) -> bool:
        """Whether there is a result, at home or abroad."""
        return self._at_home.is_there(job) or super().is_there(job)

    def verified(self, job: JobRow) -> tuple[Manifest, str]:
        """The result at home; where none lies there, the one abroad is brought first."""
        if not self._at_home.is_there(job):
            self._bring(job)
        return self._at_home.verified(job)

    def _bring(self, job: JobRow) -> None:
        manifest = self.manifest(job)
        for name in manifest.outputs:
            file = self.fetch(job, manifest, name)
            try:
                self._home.put_file(job_object(job.job_key, manifest.where(name)), file)
            finally:
                file.unlink()
        content = self._manifest_bytes(job)
        if content is None:
            raise FilesGone("its manifest is gone from the job folder")
        if not self._home.settle(job_object(job.job_key, MANIFEST_NAME), content, None):
            log.info("result_is_home_already", job_key=job.job_key)


class QueueAbroad:
    """The `JobQueue` of the second region, which gets a copy of the input with each run that it is handed.

    Parameters
    ----------
    may_be_in
        Whether images of jobs of a rule may be in a region.
    """

    def __init__(
        self,
        queue: JobQueue,
        region: str,
        home: ObjectStore,
        there: ObjectStore,
        may_be_in: Callable[[str, str], bool],
    ) -> None:
        self._queue = queue
        self._region = region
        self._home = home
        self._there = there
        self._may_be_in = may_be_in
        self.lock = threading.Lock()
        """Held while a copy is made, or erased."""

    def submit(self, ticket: JobTicket) -> str:
        """Copy the input there, then hand over the run."""
        if not self._may_be_in(ticket.rule, self._region):
            raise Permanent(f"the rule {ticket.rule} keeps its images out of {self._region}")
        with self.lock:
            self._copy(ticket.job_key)
        return self._queue.submit(ticket)

    def _copy(self, job_key: str) -> None:
        """Copy input and request, the request last; what is there already is left."""
        request = self._home.get(job_object(job_key, REQUEST_NAME))
        try:
            name = JobRequest.from_json(request).input.name if request is not None else ""
        except ContractError:
            name = ""
        if request is None or not name:
            raise Permanent("its request is gone from the job folder")
        source = job_object(job_key, name)
        is_there = self._there.get(job_object(job_key, REQUEST_NAME)) == request
        if is_there and self._there.modified_at(source) is not None:
            return
        try:
            with tempfile.TemporaryDirectory(prefix="iris-abroad-") as folder:
                if not self._home.fetch(source, Path(folder) / name):
                    raise Permanent("its input is gone from the job folder")
                self._there.put_file(source, Path(folder) / name)
        except OSError as error:
            why = f"its input cannot be held here on its way to {self._region} ({error.strerror})"
            raise Away(f"{why}; look at the disk") from None
        self._there.put(job_object(job_key, REQUEST_NAME), request)

    def cancel(self, job_key: str, queue_id: str = "", run: int | None = None) -> None:
        """As the queue there."""
        self._queue.cancel(job_key, queue_id, run)

    def find(self, ticket: JobTicket) -> str | None:
        """As the queue there."""
        return self._queue.find(ticket)

    def look(self, queue_ids: Sequence[str]) -> list[JobNews]:
        """As the queue there."""
        return self._queue.look(queue_ids)

    def withdraw(self, queue_id: str) -> None:
        """As the queue there."""
        self._queue.withdraw(queue_id)

    def why_waiting(self, lane: Lane, priority: int, queue_id: str) -> Waiting:
        """As the queue there."""
        return self._queue.why_waiting(lane, priority, queue_id)


class HomeAgain:
    """What becomes of a job that the second region does not take either: it goes home, and waits there.

    It is tried again abroad when a person retries it.
    """

    after_s: Final = float("inf")
    """Who waits abroad goes on waiting, until the queue there ends it."""

    def __init__(
        self, ledger: Ledger, outcomes: Outcomes, region: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._outcomes = outcomes
        self._region = region
        self._monotonic = monotonic
        self._away_since: dict[str, float] = {}

    def trying(self, submit: Callable[[JobRow], None]) -> Callable[[JobRow], None]:
        """The step submit for jobs that go abroad: one for which nobody answers there goes home again."""

        def submit_abroad(job: JobRow) -> None:
            try:
                submit(job)
            except OutsideError as error:
                since = self._away_since.setdefault(job.job_key, self._monotonic())
                if self._monotonic() - since < AWAY_S:
                    raise
                self._keep(job, str(error))
            self._away_since.pop(job.job_key, None)

        return submit_abroad

    def _keep(self, job: JobRow, reason: str) -> None:
        with self._ledger.transaction() as transaction:
            if transaction.job(job.job_key).state is JobState.STAGED:
                reason = f"back from {self._region} to the main queue: {reason}"
                columns = {"lane": Lane.MAIN, "reason": reason, "not_before": None}
                transaction.update("jobs", "job_key", job.job_key, columns)
                transaction.settle_later(job.study_uid)

    def lose(self, job_key: str, run: int, reason: str, *, blame: Blame = Blame.WORK) -> None:
        """Try again there, a few times: a refusal is no fault of the job's."""
        if len(lost_runs(self._ledger, job_key, Blame.OUTSIDE)) + 1 < REFUSALS_ALLOWED:
            self._outcomes.lose(job_key, run, reason, blame=Blame.OUTSIDE)
        else:
            self._go(job_key, run, reason)

    def fail(self, job_key: str, run: int, reason: str) -> None:
        """Go home."""
        self._go(job_key, run, reason)

    def takes(self, job: JobRow, run: RunRow) -> bool:
        """Whether it is our own affair."""
        return not run.followed

    def move(self, job: JobRow, reason: str) -> None:
        """Go home: the queue there had no machine either."""
        self._go(job.job_key, job.run, reason)

    def _go(self, job_key: str, run: int, reason: str) -> None:
        reason = f"back from {self._region} to the main queue: {reason}"
        with self._ledger.transaction() as transaction:
            if not newer_run(transaction.job(job_key), run):
                return
            end_run(transaction, job_key, run, sentence=reason)
            transaction.move_job(
                job_key,
                JobEvent.RUN_LOST,
                reason=reason,
                columns={"lane": Lane.MAIN, "not_before": None},
                run=run,
                lane=Lane.MAIN,
                blameless=True,
            )
        log.warning("back_from_second_region", job_key=job_key, run=run, reason=reason)


class Copies(Worker):
    """Erases what lies of a job abroad, with all versions, as soon as it has no business there any more."""

    def __init__(self, ledger: Ledger, bus: Bus, queue: QueueAbroad, there: ObjectStore, region: str) -> None:
        super().__init__(f"copies-{region}", bus)
        self._ledger = ledger
        self._queue = queue
        self._there = there
        self._region = region

    def is_woken_by(self, event: Event) -> bool:
        """Whether a job has left the queue."""
        return isinstance(event, JobChanged) and event.state not in AT_THE_QUEUE

    def work(self) -> float | None:
        """Erase all that may be; what cannot be now is tried again."""
        found = last_runs_with_copy(self._ledger, self._region)
        self.trouble = ""
        unwanted = [each for each in found if not _has_business_there(each.job)]
        for each in unwanted:
            if self.is_stopping:
                break
            try:
                self._erase(each)
            except OutsideError as error:  # it would be the same for the others
                self.trouble = f"copies in {self._region} cannot be erased: {error}"
                log.warning("copies_not_erased", region=self._region, reason=str(error))
                return AGAIN_S
        return LOOK_S if unwanted else None

    def _erase(self, each: JobRun) -> None:
        key = each.job.job_key
        if not self._is_over(each.run):
            return
        with self._queue.lock:
            job = job_of(self._ledger, key)
            if job is None or _has_business_there(job):  # forgotten with its folder, or retried meanwhile
                return
            self._there.remove(job_prefix(key))
            with self._ledger.transaction() as transaction:
                copy_is_gone(transaction, each.run)
        log.info("copy_erased", job_key=key, region=self._region)

    def _is_over(self, run: RunRow) -> bool:
        """Whether nothing writes there any more: its result was the last, or its process has ended."""
        if any(one.is_open and one.region == self._region for one in runs_of(self._ledger, run.job_key)):
            return False
        if not run.queue_id or self._there.get(job_object(run.job_key, MANIFEST_NAME)) is not None:
            return True
        return all(isinstance(news, RunEnded | RunNeverStarted) for news in self._queue.look([run.queue_id]))


def _has_business_there(job: JobRow) -> bool:
    return job.state in IN_USE and job.lane == Lane.FALLBACK
