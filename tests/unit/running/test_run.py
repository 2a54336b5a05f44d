"""Runs: handed to the queue once the ledger knows of them; late or repeated news change nothing."""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from batch_job.contract import EngineInfo, Manifest, OutputFile
from gateway.adapters.errors import Permanent, Retriable
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.adapters.queue import JobNews, JobTicket, RunEnded, RunProgressed, RunQueued, RunStarted
from gateway.backends.job_folders import JobFolderFiles
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.states import JobEvent, JobState
from gateway.running.local_runs import LocalRuns
from gateway.running.news import RunNews
from gateway.running.outcomes import RUNS_ALLOWED, Outcomes
from gateway.running.run import Runs

LABELS = b"labels"


@dataclass
class RecordingQueue:
    """Takes tickets, or raises what it is told to."""

    tickets: list[JobTicket] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    error: Exception | None = None

    def start(self, on_news: Callable[[JobNews], None]) -> None:
        pass

    def submit(self, ticket: JobTicket) -> str:
        if self.error is not None:
            raise self.error
        self.tickets.append(ticket)
        return ""

    def cancel(self, job_key: str, queue_id: str = "") -> None:
        self.cancelled.append(job_key)

    def stop(self) -> None:
        pass


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


@pytest.fixture
def store(site: Any) -> FolderStore:
    return FolderStore(site.data_dir / "objects")


class LocalQueueParts(LocalRuns):
    """What the gateway does about a local queue: submits, settles, and hears."""

    def __init__(self, site: Any, store: FolderStore, queue: RecordingQueue) -> None:
        results = JobResults(store, Workplace(site.ledger, site.data_dir))
        outcomes = Outcomes(site.ledger, results, {})
        runs = Runs(site.ledger, results, outcomes, store, queue)
        super().__init__(site.ledger, site.bus, results, outcomes, runs, queue)
        self.hear = RunNews(site.ledger, results, outcomes, runs).hear


@pytest.fixture
def runs(site: Any, store: FolderStore, queue: RecordingQueue) -> LocalQueueParts:
    site.move(JobEvent.STAGED)
    return LocalQueueParts(site, store, queue)


@pytest.fixture
def submitted(site: Any, runs: LocalQueueParts) -> LocalQueueParts:
    runs.submit(site.job())
    return runs


def write_result(
    store: FolderStore, job_key: str, labels: bytes = LABELS, named: bytes = LABELS, path: str | None = None
) -> None:
    store.put(job_object(job_key, path or "labels.nii.gz"), labels)
    output = OutputFile(sha256=hashlib.sha256(named).hexdigest(), bytes=len(named), path=path)
    manifest = Manifest(
        job_key=job_key,
        outputs={"labels.nii.gz": output},
        labels={1: "bone"},
        engine=EngineInfo(name="threshold", version="1", weights=""),
        seconds={"segment": 1.0},
        peak_rss_mb=1.0,
        attempt=1,
    )
    store.put(job_object(job_key, "manifest.json"), manifest.to_json())


def test_submit_hands_over_a_numbered_run_that_the_ledger_knows(
    site: Any, submitted: LocalQueueParts, queue: RecordingQueue, store: FolderStore
) -> None:
    job = site.job()
    assert (job.state, job.run) == (JobState.SUBMITTED, 1)
    assert queue.tickets == [JobTicket(job.job_key, 1, f"{store.root}/jobs/{job.job_key}/", 0, rule=job.rule)]


def test_submit_of_a_job_whose_result_is_there_runs_nothing(
    site: Any, runs: LocalQueueParts, queue: RecordingQueue, store: FolderStore
) -> None:
    write_result(store, site.job().job_key)
    runs.submit(site.job())
    assert site.job().state is JobState.SEGMENTED
    assert queue.tickets == []


def test_submit_of_a_job_whose_result_is_spoiled_runs_it(
    site: Any, runs: LocalQueueParts, queue: RecordingQueue, store: FolderStore
) -> None:
    write_result(store, site.job().job_key, named=b"other labels")
    runs.submit(site.job())
    assert site.job().state is JobState.SUBMITTED
    assert len(queue.tickets) == 1


def test_result_is_taken_from_where_the_manifest_says(
    site: Any, submitted: LocalQueueParts, store: FolderStore
) -> None:
    key = site.job().job_key
    store.put(job_object(key, "labels.nii.gz"), b"another attempt's")
    write_result(store, key, path="attempts/2/labels.nii.gz")
    submitted.hear(RunEnded(key, 1, 0, ""))
    assert site.job().state is JobState.SEGMENTED


def test_files_for_the_api_are_those_that_the_manifest_names(store: FolderStore) -> None:
    files = JobFolderFiles(store)
    store.put(job_object("key", "labels.nii.gz"), b"of a run that is not done")
    assert files.located("key", "labels.nii.gz") is None
    write_result(store, "key", path="attempts/2/labels.nii.gz")
    assert files.located("key", "labels.nii.gz") == store.path("jobs/key/attempts/2/labels.nii.gz")
    assert files.located("key", "preview.png") is None


def test_submit_that_the_queue_refuses_for_now_plans_another_run(
    site: Any, runs: LocalQueueParts, queue: RecordingQueue
) -> None:
    queue.error = Retriable("the queue is away")
    runs.submit(site.job())
    job = site.job()
    assert job.state is JobState.STAGED
    assert job.not_before is not None
    assert job.reason == "the queue is away"


def test_submit_that_the_queue_refuses_for_good_fails_the_job(
    site: Any, runs: LocalQueueParts, queue: RecordingQueue
) -> None:
    queue.error = Permanent("there is no such queue")
    runs.submit(site.job())
    assert (site.job().state, site.job().reason) == (JobState.FAILED, "there is no such queue")


def test_news_of_a_good_run_lead_to_segmented_in_any_order(
    site: Any, submitted: LocalQueueParts, store: FolderStore
) -> None:
    key = site.job().job_key
    write_result(store, key)
    for news in (RunStarted(key, 1), RunProgressed(key, 1, "segment", 0.5), RunQueued(key, 1)):
        submitted.hear(news)
    assert site.job().state is JobState.RUNNING
    assert (site.job().stage, site.job().fraction) == ("segment", 0.5)
    submitted.hear(RunEnded(key, 1, 0, ""))
    job = site.job()
    assert job.state is JobState.SEGMENTED
    assert job.labels_sha256 == hashlib.sha256(LABELS).hexdigest()
    for news in (RunStarted(key, 1), RunEnded(key, 1, 0, ""), RunEnded(key, 1, 75, "late")):
        submitted.hear(news)
    assert site.job() == job


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_news_of_a_lost_run_change_nothing_about_the_next_one(
    site: Any, submitted: LocalQueueParts, order: tuple[int, ...]
) -> None:
    key = site.job().job_key
    submitted.hear(RunEnded(key, 1, 75, "busy"))
    submitted.submit(site.job())
    before = site.job()
    assert (before.state, before.run) == (JobState.SUBMITTED, 2)
    old = [RunStarted(key, 1), RunProgressed(key, 1, "segment", 0.9), RunEnded(key, 1, 2, "bad")]
    for index in order:
        submitted.hear(old[index])
    assert site.job() == before


@pytest.mark.parametrize("exit_code", [2, 70, 78])
def test_run_with_bad_input_or_a_defect_fails_the_job_with_its_reason(
    site: Any, submitted: LocalQueueParts, exit_code: int
) -> None:
    submitted.hear(RunEnded(site.job().job_key, 1, exit_code, "no Hounsfield units"))
    assert (site.job().state, site.job().reason) == (JobState.FAILED, "no Hounsfield units")


@pytest.mark.parametrize("exit_code", [75, 143, -9, 1])
def test_run_that_was_lost_is_run_again_and_given_up_in_the_end(
    site: Any, submitted: LocalQueueParts, queue: RecordingQueue, exit_code: int
) -> None:
    key = site.job().job_key
    for run in range(1, RUNS_ALLOWED + 1):
        assert site.job().run == run
        submitted.hear(RunEnded(key, run, exit_code, "gone"))
        if site.job().state is JobState.STAGED:
            submitted.submit(site.job())
    assert site.job().state is JobState.FAILED
    assert len(queue.tickets) == RUNS_ALLOWED
    assert f"{RUNS_ALLOWED} runs were lost" in site.job().reason


def test_run_that_ends_well_without_a_manifest_is_lost(site: Any, submitted: LocalQueueParts) -> None:
    submitted.hear(RunEnded(site.job().job_key, 1, 0, ""))
    assert site.job().state is JobState.STAGED


def test_run_whose_labels_are_not_those_of_its_manifest_fails(
    site: Any, submitted: LocalQueueParts, store: FolderStore
) -> None:
    write_result(store, site.job().job_key, labels=b"cut short")
    submitted.hear(RunEnded(site.job().job_key, 1, 0, ""))
    assert site.job().state is JobState.FAILED
    assert "not the one that the manifest names" in site.job().reason


def test_start_after_a_crash_takes_the_result_that_is_there(
    site: Any, submitted: LocalQueueParts, store: FolderStore
) -> None:
    write_result(store, site.job().job_key)
    submitted.settle()
    assert site.job().state is JobState.SEGMENTED


def test_start_after_a_crash_plans_another_run_that_does_not_count_as_lost(
    site: Any, submitted: LocalQueueParts
) -> None:
    for _ in range(RUNS_ALLOWED + 1):
        submitted.settle()
        assert site.job().state is JobState.STAGED
        submitted.submit(site.job())
    assert site.job().run == RUNS_ALLOWED + 2


def test_cancelled_job_ends_its_run(site: Any, submitted: LocalQueueParts, queue: RecordingQueue) -> None:
    site.move(JobEvent.CANCELLED)
    assert queue.cancelled == [site.job().job_key]
    submitted.hear(RunEnded(site.job().job_key, 1, 143, "ended"))
    assert site.job().state is JobState.CANCELLED
