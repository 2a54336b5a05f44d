"""Runs: written down before the queue hears of them; late or repeated news change nothing."""

import errno
import hashlib
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from batch_job.contract import EngineInfo, Manifest, OutputFile
from gateway.adapters.errors import Away, Permanent, Retriable
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.adapters.queue import JobQueue, JobTicket, RunEnded, RunProgressed, RunQueued, RunStarted
from gateway.backends.job_folders import JobFolderFiles
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.records import utc_time
from gateway.ledger.runs import lost_runs, open_runs_of, run_of
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.work import retry
from gateway.running.complaints import Complaints
from gateway.running.costs import Costs
from gateway.running.news import RunNews
from gateway.running.outcomes import ELSEWHERE, POLICY, Outcomes
from gateway.running.remote_runs import HandOver
from gateway.running.run import Runs
from gateway.workers.attempts import Policy

LABELS = b"labels"


@pytest.fixture
def store(site: Any) -> FolderStore:
    return FolderStore(site.data_dir / "objects")


class Parts:
    """What the gateway does about runs, without a queue."""

    def __init__(self, site: Any, store: FolderStore, policy: Policy = POLICY) -> None:
        self.site = site
        self.store = store
        results = JobResults(store, Workplace(site.ledger, site.data_dir))
        self.complaints = Complaints(site.ledger)
        self.outcomes = Outcomes(site.ledger, results, Costs(site.ledger, {}), self.complaints, policy)
        self.runs = Runs(site.ledger, results, self.outcomes, store, "local")
        self.news = RunNews(site.ledger, results, self.outcomes, self.runs)
        self.hear = self.news.hear

    def submit(self) -> None:
        job = self.site.job()
        if not self.runs.is_done_already(job):
            self.runs.write_down(self.runs.ticket(job, job.run + 1))


@pytest.fixture
def staged(site: Any, store: FolderStore) -> Parts:
    site.move(JobEvent.STAGED)
    return Parts(site, store)


@pytest.fixture
def submitted(staged: Parts) -> Parts:
    staged.submit()
    return staged


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


def test_submit_writes_down_a_numbered_run_with_all_that_a_queue_is_told(
    site: Any, submitted: Parts, store: FolderStore
) -> None:
    job = site.job()
    assert (job.state, job.run) == (JobState.SUBMITTED, 1)
    assert submitted.runs.ticket(job) == JobTicket(
        job.job_key, 1, f"{store.root}/jobs/{job.job_key}/", 0, rule=job.rule
    )


def test_submit_of_a_job_whose_result_is_there_runs_nothing(
    site: Any, staged: Parts, store: FolderStore
) -> None:
    write_result(store, site.job().job_key)
    staged.submit()
    assert (site.job().state, site.job().run) == (JobState.SEGMENTED, 0)


def test_submit_of_a_job_whose_result_is_spoiled_runs_it(
    site: Any, staged: Parts, store: FolderStore
) -> None:
    write_result(store, site.job().job_key, named=b"other labels")
    staged.submit()
    assert (site.job().state, site.job().run) == (JobState.SUBMITTED, 1)


def test_result_is_taken_from_where_the_manifest_says(
    site: Any, submitted: Parts, store: FolderStore
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


class Refusing:
    """A queue elsewhere that takes nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, ticket: JobTicket) -> str:
        raise self.error


def refused(parts: Parts, error: Exception) -> None:
    """Hand the present run over to a queue that refuses it."""
    queue = cast("JobQueue", Refusing(error))
    hand_over = HandOver(parts.site.ledger, parts.outcomes, parts.runs, queue)
    hand_over(parts.runs.ticket(parts.site.job()))


def test_run_that_the_queue_refuses_for_now_is_planned_anew(site: Any, submitted: Parts) -> None:
    refused(submitted, Retriable("the queue is away"))
    job = site.job()
    assert job.state is JobState.STAGED
    assert job.not_before is not None
    assert job.reason == "the queue is away"


def test_run_that_the_queue_refuses_for_good_fails_the_job(site: Any, submitted: Parts) -> None:
    refused(submitted, Permanent("there is no such queue"))
    assert (site.job().state, site.job().reason) == (JobState.FAILED, "there is no such queue")


def test_queue_that_is_not_there_is_held_against_nobody(site: Any, submitted: Parts) -> None:
    for _ in range(2 * POLICY.failures_allowed):
        refused(submitted, Away("nobody there"))
        assert site.job().state is JobState.STAGED
        submitted.submit()
    assert lost_runs(site.ledger, site.job().job_key) == []


def test_news_of_a_good_run_lead_to_segmented_in_any_order(
    site: Any, submitted: Parts, store: FolderStore
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
    site: Any, submitted: Parts, order: tuple[int, ...]
) -> None:
    key = site.job().job_key
    submitted.hear(RunEnded(key, 1, 75, "busy"))
    submitted.submit()
    before = site.job()
    assert (before.state, before.run) == (JobState.SUBMITTED, 2)
    old = [RunStarted(key, 1), RunProgressed(key, 1, "segment", 0.9), RunEnded(key, 1, 2, "bad")]
    for index in order:
        submitted.hear(old[index])
    assert site.job() == before


@pytest.mark.parametrize("exit_code", [2, 70, 78])
def test_run_with_bad_input_or_a_defect_fails_the_job_with_its_reason(
    site: Any, submitted: Parts, exit_code: int
) -> None:
    submitted.hear(RunEnded(site.job().job_key, 1, exit_code, "no Hounsfield units"))
    assert (site.job().state, site.job().reason) == (JobState.FAILED, "no Hounsfield units")


@pytest.mark.parametrize("exit_code", [-9, -11, 1, 137])
def test_run_that_was_lost_is_run_again_and_given_up_in_the_end(
    site: Any, submitted: Parts, exit_code: int
) -> None:
    key, allowed = site.job().job_key, POLICY.failures_allowed
    for run in range(1, allowed + 1):
        assert site.job().run == run
        submitted.hear(RunEnded(key, run, exit_code, "gone"))
        if site.job().state is JobState.STAGED:
            submitted.submit()
    assert (site.job().state, site.job().run) == (JobState.FAILED, allowed)
    runs = [run_of(site.ledger, key, run) for run in range(1, allowed + 1)]
    assert [run.exit_code for run in runs if run is not None] == [exit_code] * allowed
    assert [run.is_open for run in runs if run is not None] == [0] * allowed
    assert f"{allowed} runs were lost" in site.job().reason


@pytest.mark.parametrize("exit_code", [75, 143, -15, -2])
def test_run_that_the_machine_did_not_let_end_is_run_again_however_often_but_ever_later(
    site: Any, submitted: Parts, exit_code: int
) -> None:
    key, waits_s = site.job().job_key, []
    reason = f"the run ended with exit code {exit_code}: the disk is full"
    for run in range(1, 3 * POLICY.failures_allowed):
        submitted.hear(RunEnded(key, run, exit_code, "the disk is full"))
        job = site.job()
        how_often = "" if run == 1 else f" ({run} runs were lost since {first_end(site, key)} UTC)"
        assert (job.state, job.reason) == (JobState.STAGED, reason + how_often)
        waits_s.append((utc_time(job.not_before) - datetime.now(UTC)).total_seconds())
        submitted.submit()
    assert waits_s[0] < 3
    assert waits_s[-1] > 60
    assert lost_runs(site.ledger, key) == []
    submitted.hear(RunEnded(key, site.job().run, 1, "now of its own"))
    assert site.job().state is JobState.STAGED


def first_end(site: Any, key: str) -> str:
    """When the job's first run ended, to the minute."""
    run = run_of(site.ledger, key, 1)
    assert run is not None
    assert run.ended_at is not None
    return run.ended_at[:16].replace("T", " ")


def test_fault_of_the_machine_that_repeats_is_complained_of_until_a_run_goes_on(
    site: Any, store: FolderStore, submitted: Parts
) -> None:
    key = site.job().job_key
    submitted.hear(RunEnded(key, 1, 75, "the disk is full"))
    assert str(submitted.complaints) == ""  # once is no pattern
    submitted.submit()
    submitted.hear(RunEnded(key, 2, 75, "the disk is full"))
    complaint = f"job {key[:12]}: {site.job().reason}"
    assert str(submitted.complaints) == complaint
    after_a_restart = Parts(site, store)
    after_a_restart.outcomes.take_up()
    assert str(after_a_restart.complaints) == complaint
    submitted.submit()
    assert str(submitted.complaints) == complaint
    submitted.hear(RunStarted(key, 3))
    assert str(submitted.complaints) == ""


def test_complaints_of_very_many_jobs_name_a_few(site: Any, submitted: Parts) -> None:
    [row] = site.ledger.read("SELECT * FROM jobs")
    for number in range(5):
        with site.ledger.transaction() as transaction:
            transaction.insert("jobs", {**dict(row), "job_key": f"{number}" * 64, "slot": f"{number}"})
        submitted.complaints.say(f"{number}" * 64, "it stands still")
    said = str(submitted.complaints)
    assert [part.split(":")[0] for part in said.split("; ")] == [
        f"job {'0' * 12}",
        f"job {'1' * 12}",
        f"job {'2' * 12}",
        "and 2 more",
    ]


def test_run_that_a_machine_elsewhere_never_lets_end_waits_for_a_person_in_the_end(
    site: Any, store: FolderStore, submitted: Parts
) -> None:
    parts, key = Parts(site, store, ELSEWHERE), site.job().job_key
    allowed, waits_s = ELSEWHERE.machine_failures_allowed, []
    assert allowed is not None
    for run in range(1, allowed):
        parts.hear(RunEnded(key, run, 75, "the bucket does not let it in"))
        waits_s.append((utc_time(site.job().not_before) - datetime.now(UTC)).total_seconds())
        waits = f"; after {allowed - run} more it waits for a person)"
        assert site.job().reason.endswith(waits) is (run > 1)
        parts.submit()
    assert sum(waits_s) > 3000  # what is away for a while fails nothing
    parts.hear(RunEnded(key, allowed, 75, "the bucket does not let it in"))
    job = site.job()
    lost = f"{allowed} runs were lost since {first_end(site, key)} UTC; retry when it is settled"
    assert job.state is JobState.FAILED
    assert job.reason == f"the run ended with exit code 75: the bucket does not let it in ({lost})"
    assert str(parts.complaints) == ""  # the job says it
    with site.ledger.transaction() as transaction:
        retry(transaction, key)
    assert lost_runs(site.ledger, key, "machine") == []
    parts.submit()
    parts.hear(RunEnded(key, site.job().run, 75, "busy"))
    assert site.job().state is JobState.STAGED


def test_run_whose_machines_elsewhere_are_taken_away_goes_on_however_often(
    site: Any, store: FolderStore, submitted: Parts
) -> None:
    parts, key = Parts(site, store, ELSEWHERE), site.job().job_key
    for run in range(1, 2 * (ELSEWHERE.machine_failures_allowed or 0)):
        parts.hear(RunEnded(key, run, 143, "its machine was taken away", detail={"interruption": "spot"}))
        assert site.job().state is JobState.STAGED
        parts.submit()


def test_run_that_began_and_ended_is_kept_with_its_times_and_how_it_ended(
    site: Any, submitted: Parts
) -> None:
    key = site.job().job_key
    submitted.hear(RunStarted(key, 1))
    first = run_of(site.ledger, key, 1)
    submitted.hear(RunStarted(key, 1, attempt=2))  # on another machine: it began before
    submitted.hear(RunEnded(key, 1, 75, "busy", attempt=2))
    run = run_of(site.ledger, key, 1)
    assert first is not None
    assert run is not None
    assert (run.backend, run.exit_code, run.lost_on) == ("local", 75, "machine")
    assert run.sentence == "the run ended with exit code 75: busy"
    assert run.submitted_at <= (run.started_at or "") <= (run.ended_at or "")
    assert run.started_at == first.started_at


def test_run_that_ends_well_without_a_manifest_is_lost(site: Any, submitted: Parts) -> None:
    submitted.hear(RunEnded(site.job().job_key, 1, 0, ""))
    assert site.job().state is JobState.STAGED


def test_run_whose_labels_are_not_those_of_its_manifest_fails(
    site: Any, submitted: Parts, store: FolderStore
) -> None:
    write_result(store, site.job().job_key, labels=b"cut short")
    submitted.hear(RunEnded(site.job().job_key, 1, 0, ""))
    assert site.job().state is JobState.FAILED
    assert "not the one that the manifest names" in site.job().reason


def test_result_that_cannot_be_read_is_no_lost_run(
    site: Any, submitted: Parts, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = site.job().job_key
    write_result(store, key)
    with monkeypatch.context() as patch:
        patch.setattr(store, "fetch", raising(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            submitted.hear(RunEnded(key, 1, 0, ""))
    assert site.job().state is JobState.SUBMITTED
    submitted.hear(RunEnded(key, 1, 0, ""))
    assert (site.job().state, site.job().run) == (JobState.SEGMENTED, 1)


def test_run_that_was_ended_because_it_hung_counts_whatever_it_says(site: Any, submitted: Parts) -> None:
    key = site.job().job_key
    for run in range(1, POLICY.failures_allowed + 1):
        submitted.news.will_be_ended(key, run, "it got no further")
        submitted.hear(RunEnded(key, run, 143, "the run was interrupted"))
        if site.job().state is JobState.STAGED:
            assert site.job().reason == "it got no further"
            submitted.submit()
    assert site.job().state is JobState.FAILED
    assert site.job().reason.startswith("it got no further (3 runs")


def test_run_that_was_to_be_ended_but_was_done_is_taken(
    site: Any, submitted: Parts, store: FolderStore
) -> None:
    write_result(store, site.job().job_key)
    submitted.news.will_be_ended(site.job().job_key, 1, "it got no further")
    submitted.hear(RunEnded(site.job().job_key, 1, 0, ""))
    assert site.job().state is JobState.SEGMENTED


def test_news_that_are_told_again_write_nothing(site: Any, submitted: Parts) -> None:
    key = site.job().job_key
    news = [RunQueued(key, 1), RunStarted(key, 1), RunProgressed(key, 1, "segment", 0.5)]
    for each in news:
        submitted.hear(each)
    with site.ledger.transaction() as transaction:
        changes = transaction.one("SELECT total_changes() AS number")["number"]
    for each in news:
        submitted.hear(each)
    with site.ledger.transaction() as transaction:
        assert transaction.one("SELECT total_changes() AS number")["number"] == changes


def test_end_of_a_cancelled_jobs_run_closes_it(site: Any, submitted: Parts) -> None:
    site.move(JobEvent.CANCELLED)
    assert open_runs_of(site.ledger, site.job().job_key) == {1}
    submitted.hear(RunEnded(site.job().job_key, 1, 143, "ended"))
    ended = run_of(site.ledger, site.job().job_key, 1)
    assert ended is not None
    assert (ended.is_open, ended.exit_code, ended.sentence) == (0, 143, "ended")
    assert site.job().state is JobState.CANCELLED


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
