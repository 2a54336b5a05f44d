"""A job whose folder was cleared away is staged again from its images, not run in vain."""

from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import REQUEST_NAME, JobInput, JobRequest
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.lost import TIMES_ALLOWED
from gateway.ledger.records import JobRow
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import retry
from gateway.running.staged import SubmitWhatIsStaged
from tests.one_job import JOB_KEY

INPUT = "input.nii.gz"


@pytest.fixture
def store(site: Any) -> FolderStore:
    return FolderStore(site.data_dir / "objects")


@pytest.fixture
def submitted() -> list[JobRow]:
    return []


@pytest.fixture
def submit(site: Any, store: FolderStore, submitted: list[JobRow]) -> SubmitWhatIsStaged:
    results = JobResults(store, Workplace(site.ledger, site.data_dir))
    return SubmitWhatIsStaged(site.ledger, results, submitted.append)


def _stage(site: Any, store: FolderStore) -> None:
    request = JobRequest(
        job_key=JOB_KEY,
        task="tissue",
        engine="threshold",
        options={},
        input=JobInput(name=INPUT, sha256="0" * 64),
    )
    store.put(job_object(JOB_KEY, INPUT), b"voxels")
    store.put(job_object(JOB_KEY, REQUEST_NAME), request.to_json())
    site.move(JobEvent.STAGED)


def _path(store: FolderStore, name: str) -> Path:
    return Path(store.root) / "jobs" / JOB_KEY / name


def test_job_whose_folder_is_whole_is_submitted(
    site: Any, store: FolderStore, submit: SubmitWhatIsStaged, submitted: list[JobRow]
) -> None:
    _stage(site, store)
    submit(site.job())
    assert submitted == [site.job()]


@pytest.mark.parametrize("names", [(INPUT,), (REQUEST_NAME,), (INPUT, REQUEST_NAME)])
def test_job_whose_folder_lacks_request_or_input_is_made_again_from_its_images(
    site: Any, store: FolderStore, submit: SubmitWhatIsStaged, submitted: list[JobRow], names: tuple[str, ...]
) -> None:
    _stage(site, store)
    for name in names:
        _path(store, name).unlink()
    submit(site.job())
    assert submitted == []
    assert (site.job().state, site.job().reason) == (
        JobState.PLANNED,
        "its job folder is gone: it is made again",
    )


def test_request_that_is_damaged_is_no_request(
    site: Any, store: FolderStore, submit: SubmitWhatIsStaged
) -> None:
    _stage(site, store)
    store.put(job_object(JOB_KEY, REQUEST_NAME), b"{")
    submit(site.job())
    assert site.job().state is JobState.PLANNED


def test_result_that_is_there_needs_no_input(
    site: Any, store: FolderStore, submit: SubmitWhatIsStaged, submitted: list[JobRow]
) -> None:
    site.move(JobEvent.STAGED)
    store.put(job_object(JOB_KEY, "manifest.json"), b"{}")
    submit(site.job())
    assert len(submitted) == 1


def test_retry_of_a_job_that_failed_without_its_folder_stages_it_again(
    site: Any, submit: SubmitWhatIsStaged
) -> None:
    for event in (JobEvent.STAGED, JobEvent.STARTED, JobEvent.FAILED):
        site.move(event)
    with site.ledger.transaction() as transaction:
        retry(transaction, JOB_KEY)
    submit(site.job())
    assert site.job().state is JobState.PLANNED


def test_folder_that_is_taken_away_again_and_again_fails_the_job_until_a_person_retries(
    site: Any, submit: SubmitWhatIsStaged
) -> None:
    for _ in range(TIMES_ALLOWED):
        site.move(JobEvent.STAGED)
        submit(site.job())
        assert site.job().state is JobState.PLANNED
    site.move(JobEvent.STAGED)
    submit(site.job())
    assert site.job().state is JobState.FAILED
    assert "see who removes it, then retry" in site.job().reason
    with site.ledger.transaction() as transaction:
        retry(transaction, JOB_KEY)
    submit(site.job())
    assert site.job().state is JobState.PLANNED


def test_job_that_was_cancelled_meanwhile_stays_so(site: Any, submit: SubmitWhatIsStaged) -> None:
    site.move(JobEvent.STAGED)
    job = site.job()
    site.move(JobEvent.CANCELLED)
    with pytest.raises(StaleRow):
        submit(job)
    assert site.job().state is JobState.CANCELLED
