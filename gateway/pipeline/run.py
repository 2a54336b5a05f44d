"""The step submit (staged > submitted), and what the queue's news do to a job: running, segmented, lost.

The ledger knows of a run before the queue does: a crash between the two leaves a run that was lost, never one
that nobody knows. News are ordered by the run number, so what comes late or twice changes nothing.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    LABELS_NAME,
    MANIFEST_NAME,
    ContractError,
    Manifest,
)
from gateway.adapters.durable import file_digest
from gateway.adapters.errors import Permanent, Retriable
from gateway.adapters.objects import ObjectStore, job_object, job_prefix
from gateway.adapters.queue import (
    JobNews,
    JobQueue,
    JobTicket,
    RunEnded,
    RunProgressed,
    RunQueued,
    RunStarted,
)
from gateway.events import Bus, Event, JobChanged, JobProgressed
from gateway.ledger.records import JobRow, utc_text
from gateway.ledger.states import AT_THE_QUEUE, JobEvent, JobState, UnknownTransition
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import job as job_of
from gateway.ledger.work import jobs_in, newer_run, runs_lost_in_a_row

from .steps import CannotGoOn
from .workplace import Workplace

log = structlog.get_logger(__name__)

RUNS_ALLOWED = 3
FIRST_DELAY_S = 2.0
FINAL_EXITS = frozenset({EXIT_BAD_INPUT, EXIT_SOFTWARE_ERROR, EXIT_NOT_SET_UP})
"""The same would happen again: a person looks at it first."""
STOPPED = frozenset({JobState.CANCELLED, JobState.SUPERSEDED})


class Runs:
    """Hands runs to the queue and follows their news."""

    def __init__(
        self, ledger: Ledger, bus: Bus, workplace: Workplace, objects: ObjectStore, queue: JobQueue
    ) -> None:
        self._ledger = ledger
        self._bus = bus
        self._workplace = workplace
        self._objects = objects
        self._queue = queue
        bus.subscribe(self._on_event)

    def start(self) -> None:
        """Settle what an earlier process left at the queue, then begin to take news."""
        for job in jobs_in(self._ledger, AT_THE_QUEUE):
            self._settle(job)
        self._queue.start(self.hear)

    def submit(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        StaleRow, Retriable, Permanent
        """
        if self._is_done_already(job):
            return
        run = job.run + 1
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key,
                JobEvent.SUBMITTED,
                expect=JobState.STAGED,
                columns={"run": run, "stage": "", "fraction": 0.0},
                run=run,
            )
        ticket = JobTicket(job.job_key, run, self._objects.address(job_prefix(job.job_key)), job.priority)
        try:
            self._queue.submit(ticket)
        except Retriable as error:
            self._lose(job.job_key, run, str(error))
        except Permanent as error:
            self._fail(job.job_key, run, str(error))

    def hear(self, news: JobNews) -> None:
        """Act on news; what is late changes nothing, and a failure here never ends the queue's thread."""
        try:
            self._act_on(news)
        except (StaleRow, UnknownTransition):
            log.info("news_came_late", job_key=news.job_key, run=news.run)
        except Exception:
            log.exception("news_failed", job_key=news.job_key, kind=type(news).__name__)
            self._lose(news.job_key, news.run, "its news could not be taken in; the log names the place")

    def _is_done_already(self, job: JobRow) -> bool:
        """Take the result of an earlier run, or of another gateway, where there is a sound one."""
        if self._manifest_bytes(job) is None:
            return False
        try:
            self._verify(job)
        except CannotGoOn as error:
            log.warning("earlier_result_unusable", job_key=job.job_key, reason=str(error))
            return False
        return True

    # -- news ---------------------------------------------------------------------------------------------

    def _act_on(self, news: JobNews) -> None:
        match news:
            case RunQueued():
                self._move(news, JobEvent.QUEUED, {JobState.SUBMITTED})
            case RunStarted():
                self._move(news, JobEvent.STARTED, {JobState.SUBMITTED, JobState.RUNNABLE})
            case RunProgressed():
                self._progress(news)
            case RunEnded(exit_code=code) if code == EXIT_DONE:
                self._finish(news)
            case RunEnded(exit_code=code) if code in FINAL_EXITS:
                self._fail(news.job_key, news.run, news.reason or f"the job ended with exit code {code}")
            case RunEnded():
                reason = news.reason or "it said nothing"
                self._lose(news.job_key, news.run, f"the run ended with exit code {news.exit_code}: {reason}")

    def _move(self, news: JobNews, event: JobEvent, states: set[JobState]) -> None:
        with self._ledger.transaction() as transaction:
            job = transaction.job(news.job_key)
            if newer_run(job, news.run) and job.state in states:
                transaction.move_job(news.job_key, event, run=news.run)

    def _progress(self, news: RunProgressed) -> None:
        with self._ledger.transaction() as transaction:
            job = transaction.job(news.job_key)
            if not newer_run(job, news.run):
                return
            columns = {"stage": news.stage, "fraction": news.fraction}
            transaction.update("jobs", "job_key", news.job_key, columns)
            transaction.publish(JobProgressed(news.job_key, job.study_uid, news.stage, news.fraction))

    def _finish(self, news: RunEnded) -> None:
        job = job_of(self._ledger, news.job_key)
        if job is None or not newer_run(job, news.run):
            return
        if self._manifest_bytes(job) is None:
            self._lose(news.job_key, news.run, "the run ended without a manifest")
            return
        try:
            self._verify(job)
        except (CannotGoOn, Permanent) as error:
            self._fail(news.job_key, news.run, str(error))
        except (Retriable, OSError):
            self._lose(news.job_key, news.run, "its result could not be read")

    # -- outcomes -----------------------------------------------------------------------------------------

    def _verify(self, job: JobRow) -> None:
        """Check manifest and labels, and move the job to segmented.

        Raises
        ------
        CannotGoOn, Retriable, Permanent, OSError, StaleRow
        """
        manifest = self.manifest(job)
        labels = self.fetch_labels(job, manifest)
        labels.unlink()
        made_at = self._objects.modified_at(job_object(job.job_key, MANIFEST_NAME))
        assert made_at is not None
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key,
                JobEvent.SEGMENTED,
                columns={
                    "labels_sha256": manifest.outputs[LABELS_NAME].sha256,
                    "segmented_at": utc_text(made_at),
                    "fraction": 1.0,
                },
                engine=f"{manifest.engine.name} {manifest.engine.version}",
                seconds=dict(manifest.seconds),
                peak_rss_mb=manifest.peak_rss_mb,
            )

    def manifest(self, job: JobRow) -> Manifest:
        """The job's manifest, checked.

        Raises
        ------
        CannotGoOn
            It is not there, or not as the contract says.
        Retriable, Permanent
        """
        content = self._manifest_bytes(job)
        if content is None:
            raise CannotGoOn("its manifest is gone from the job folder; retry the job")
        try:
            manifest = Manifest.from_json(content)
        except ContractError as error:
            raise CannotGoOn(f"its manifest cannot be used: {error}") from None
        if manifest.job_key != job.job_key or LABELS_NAME not in manifest.outputs:
            raise CannotGoOn("its manifest belongs to another job or names no labels; look at the engine")
        return manifest

    def fetch_labels(self, job: JobRow, manifest: Manifest) -> Path:
        """Copy the label map into the work folder and compare its digest with the manifest's.

        Raises
        ------
        CannotGoOn, Retriable, Permanent, OSError
        """
        target = self._workplace.work_folder(job) / LABELS_NAME
        if not self._objects.fetch(job_object(job.job_key, manifest.where(LABELS_NAME)), target):
            raise CannotGoOn("its label map is gone from the job folder; retry the job")
        if file_digest(target) != manifest.outputs[LABELS_NAME].sha256:
            raise CannotGoOn("its label map is not the one that the manifest names; retry the job")
        return target

    def _manifest_bytes(self, job: JobRow) -> bytes | None:
        return self._objects.get(job_object(job.job_key, MANIFEST_NAME))

    def _lose(self, job_key: str, run: int, reason: str) -> None:
        """Plan another run, or give up after several."""
        lost = runs_lost_in_a_row(self._ledger, job_key) + 1
        if lost >= RUNS_ALLOWED:
            self._fail(job_key, run, f"{reason} ({lost} runs were lost; retry when it is settled)")
            return
        log.warning("run_lost", job_key=job_key, run=run, reason=reason)
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job_key), run):
                again_at = datetime.now(UTC) + timedelta(seconds=FIRST_DELAY_S * 4.0 ** (lost - 1))
                columns = {"not_before": utc_text(again_at)}
                transaction.move_job(job_key, JobEvent.RUN_LOST, reason=reason, columns=columns, run=run)

    def _fail(self, job_key: str, run: int, reason: str) -> None:
        log.error("run_failed", job_key=job_key, run=run, reason=reason)
        with self._ledger.transaction() as transaction:
            if newer_run(transaction.job(job_key), run):
                transaction.move_job(job_key, JobEvent.FAILED, reason=reason, run=run)

    def _settle(self, job: JobRow) -> None:
        """Decide about a run that an earlier process of ours handed over: it died with that process."""
        try:
            if self._manifest_bytes(job) is not None:
                self._verify(job)
                return
        except (CannotGoOn, Permanent) as error:
            self._fail(job.job_key, job.run, str(error))
            return
        except (Retriable, OSError):
            log.warning("result_not_readable", job_key=job.job_key)
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key, JobEvent.RUN_LOST, reason="the gateway was restarted", by_restart=True
            )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, JobChanged) and event.state in STOPPED:
            self._queue.cancel(event.job_key)
