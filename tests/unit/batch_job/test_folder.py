"""The job folder: one run at a time, files whole or not there, and when a job counts as done."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from batch_job.contract import (
    LABELS_NAME,
    MANIFEST_NAME,
    PROGRESS_NAME,
    EngineInfo,
    JobInput,
    JobRequest,
    Manifest,
    OutputFile,
)
from batch_job.errors import BadInput
from batch_job.folder import FolderBusy, JobFolder

CONTENT = b"labels"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


@pytest.fixture
def request_() -> JobRequest:
    made = JobInput(name="input.nii.gz", sha256=digest(b"image"))
    return JobRequest(job_key="key", task="tissue", engine="threshold", input=made)


def finish(folder: JobFolder, job_key: str = "key") -> None:
    with folder.writing(LABELS_NAME) as path:
        path.write_bytes(CONTENT)
    folder.finish(
        Manifest(
            job_key=job_key,
            outputs={LABELS_NAME: OutputFile(sha256=digest(CONTENT), bytes=len(CONTENT))},
            labels={1: "bone"},
            engine=EngineInfo(name="threshold", version="1", weights=""),
            seconds={},
            peak_rss_mb=1,
            attempt=1,
        )
    )


def test_folder_locked_twice_is_busy(folder: JobFolder) -> None:
    with folder.locked(), pytest.raises(FolderBusy), JobFolder(folder.path).locked():
        pass


def test_folder_locked_again_after_release_is_free(folder: JobFolder) -> None:
    for _ in range(2):
        with folder.locked():
            pass
    assert (folder.path / "job.lock").exists()


@pytest.mark.parametrize("name", ["missing", "file"])
def test_folder_that_is_none_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="no job folder"), JobFolder(tmp_path / name).locked():
        pass


def test_folder_writing_that_fails_leaves_the_old_file_and_nothing_else(folder: JobFolder) -> None:
    (folder.path / LABELS_NAME).write_bytes(b"old")

    def fail() -> None:
        with folder.writing(LABELS_NAME) as path:
            path.write_bytes(b"half")
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk"):
        fail()
    assert (folder.path / LABELS_NAME).read_bytes() == b"old"
    assert [p.name for p in folder.path.iterdir()] == [LABELS_NAME]


def test_folder_with_manifest_and_outputs_is_done(folder: JobFolder, request_: JobRequest) -> None:
    assert not folder.is_done(request_)
    finish(folder)
    assert folder.is_done(request_)


def other_job(folder: JobFolder) -> None:
    finish(folder, job_key="other")


def changed_output(folder: JobFolder) -> None:
    (folder.path / LABELS_NAME).write_bytes(CONTENT + b"!")


def missing_output(folder: JobFolder) -> None:
    (folder.path / LABELS_NAME).unlink()


def half_a_manifest(folder: JobFolder) -> None:
    (folder.path / MANIFEST_NAME).write_bytes(b'{"contract": 1,')


@pytest.mark.parametrize("harm", [other_job, changed_output, missing_output, half_a_manifest])
def test_folder_whose_result_is_unsound_is_not_done(
    folder: JobFolder, request_: JobRequest, harm: Callable[[JobFolder], None]
) -> None:
    finish(folder)
    harm(folder)
    assert not folder.is_done(request_)


def test_folder_forget_results_removes_manifest_progress_and_unfinished_files(folder: JobFolder) -> None:
    finish(folder)
    (folder.path / PROGRESS_NAME).write_bytes(b"{}")
    (folder.path / "input.nii.gz").write_bytes(b"image")
    with folder.writing(LABELS_NAME) as path:
        path.write_bytes(CONTENT)
        left_by_a_killed_run = path.name
    (folder.path / left_by_a_killed_run).write_bytes(b"half")
    folder.forget_results()
    assert {p.name for p in folder.path.iterdir()} == {LABELS_NAME, "input.nii.gz"}


def test_folder_input_with_another_digest_is_bad_input(folder: JobFolder, request_: JobRequest) -> None:
    with pytest.raises(BadInput, match=r"no input\.nii\.gz"):
        folder.input(request_)
    (folder.path / "input.nii.gz").write_bytes(b"another image")
    with pytest.raises(BadInput, match="stage it again"):
        folder.input(request_)
    (folder.path / "input.nii.gz").write_bytes(b"image")
    assert folder.input(request_) == folder.path / "input.nii.gz"


@pytest.mark.parametrize("text", [None, b"", b"[]", b'{"contract": 2}'])
def test_folder_request_missing_or_wrong_is_bad_input(folder: JobFolder, text: bytes | None) -> None:
    if text is not None:
        (folder.path / "request.json").write_bytes(text)
    with pytest.raises(BadInput):
        folder.request()
