"""The step stage: what goes into the job folder, and what must not."""

from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import JobRequest
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.files.workplace import Workplace
from gateway.ledger.states import JobEvent, JobState
from gateway.making.convert import Stage
from gateway.workers.attempts import CannotGoOn


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def workplace(site: Any) -> Workplace:
    """With the job's NIfTI converted."""
    workplace = Workplace(site.ledger, site.data_dir)
    (workplace.work_folder(site.job()) / "input.nii.gz").write_bytes(b"voxels")
    site.move(JobEvent.CONVERTED)
    return workplace


def test_stage_puts_input_and_request_into_the_job_folder(
    site: Any, workplace: Workplace, store: FolderStore
) -> None:
    job = site.job()
    Stage(site.ledger, workplace, store)(job)
    assert store.get(job_object(job.job_key, "input.nii.gz")) == b"voxels"
    request = JobRequest.from_json(store.get(job_object(job.job_key, "request.json")) or b"")
    assert (request.job_key, request.task, request.input.name) == (job.job_key, "tissue", "input.nii.gz")
    assert site.job().state is JobState.STAGED


def test_stage_leaves_what_the_next_step_has_fetched_meanwhile(
    site: Any, workplace: Workplace, store: FolderStore
) -> None:
    job = site.job()
    fetched = workplace.work_folder(job) / "labels.nii.gz"
    site.bus.subscribe(lambda _: fetched.write_bytes(b"labels"))  # as soon as it is staged
    Stage(site.ledger, workplace, store)(job)
    assert [path.name for path in workplace.work_folder(job).iterdir()] == ["labels.nii.gz"]


def test_stage_of_a_job_whose_rule_keeps_it_here_puts_nothing_anywhere(
    site: Any, workplace: Workplace, store: FolderStore
) -> None:
    with pytest.raises(CannotGoOn, match="rule ct keeps images on the site"):
        Stage(site.ledger, workplace, store, kept_here={"ct"})(site.job())
    assert [path for path in store.root.rglob("*") if path.is_file()] == []
