"""`python -m batch_job` with this engine: real processes, nnU-Net's among them."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from conftest import Run

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_NOT_SET_UP,
    LABELS_NAME,
    MANIFEST_NAME,
    read_manifest,
)

ROOT = Path(__file__).parents[2]
DEADLINE_S = 400.0

Stage = Callable[..., Path]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Make a job folder: `stage(source, task, **options)`; its path is long, as under a data directory."""
    folder = tmp_path / "jobs" / ("0" * 64)
    folder.mkdir(parents=True)
    return stage_in(folder)


@pytest.fixture
def stage_at_short_path() -> Iterator[Stage]:
    """The same where the path is short enough for the sockets at which nnU-Net's processes meet."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield stage_in(folder)
    shutil.rmtree(folder)


def stage_in(folder: Path) -> Stage:
    def make(source: Path, task: str = "total", **options: Any) -> Path:
        content = source.read_bytes()
        (folder / "input.nii.gz").write_bytes(content)
        request = {
            "contract": 1,
            "job_key": "key-1",
            "task": task,
            "engine": "totalsegmentator",
            "options": options,
            "input": {"name": "input.nii.gz", "sha256": hashlib.sha256(content).hexdigest()},
        }
        (folder / "request.json").write_text(json.dumps(request))
        return folder

    return make


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batch_job", f"{folder}/"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env=environment(**variables),
    )


def session_of(leader: int) -> list[int]:
    """The processes of a session that live."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("path", ["stage", pytest.param("stage_at_short_path", marks=pytest.mark.long)])
def test_job_with_or_without_nnunets_own_processes_leaves_the_same_whole_result(
    request: pytest.FixtureRequest, path: str, fast: Run, torso: Path
) -> None:
    folder = request.getfixturevalue(path)(torso, fast=True)
    done = run(folder)
    assert done.returncode == EXIT_DONE, done.stderr
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.engine.name == "totalsegmentator"
    assert len(manifest.labels) == 117
    assert {"import", "resample", "model 1", "export"} <= set(manifest.seconds)
    assert any("no GPU" in note for note in manifest.notes)
    assert manifest.peak_rss_mb > 300
    labels, source = nib.load(folder / LABELS_NAME), nib.load(torso)
    assert labels.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(labels.affine, source.affine)
    np.testing.assert_array_equal(np.asanyarray(labels.dataobj), fast.labels)


@pytest.fixture
def running(stage_at_short_path: Stage, torso: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A job in a session of its own, in the middle of nnU-Net's work."""
    folder = stage_at_short_path(torso)
    process = subprocess.Popen(
        [sys.executable, "-m", "batch_job", f"{folder}/"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or len(session_of(process.pid)) >= 5)
        assert process.poll() is None
        yield process, folder
    finally:
        for left in session_of(process.pid):
            os.kill(left, signal.SIGKILL)
        process.wait(DEADLINE_S)


@pytest.mark.long
def test_job_killed_amid_nnunets_processes_leaves_none_of_them(
    running: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, folder = running
    process.kill()
    process.wait(DEADLINE_S)
    wait_until(lambda: session_of(process.pid) == [])
    assert not (folder / MANIFEST_NAME).exists()


def test_job_without_weights_ends_before_any_work_and_says_how_to_get_them(
    stage: Stage, torso: Path, tmp_path: Path
) -> None:
    done = run(stage(torso, fast=True), TOTALSEG_WEIGHTS_PATH=str(tmp_path / "nowhere"))
    assert done.returncode == EXIT_NOT_SET_UP
    (sentence,) = done.stderr.strip().splitlines()
    assert "the task total" in sentence
    assert "Dataset297_TotalSegmentator_total_3mm_1559subj" in sentence
    assert "totalseg_download_weights -t total_fast" in sentence
    assert str(tmp_path) not in sentence


def test_job_with_a_licensed_task_and_no_licence_says_where_one_goes(stage: Stage, torso: Path) -> None:
    done = run(stage(torso, "heartchambers_highres"))
    assert done.returncode == EXIT_NOT_SET_UP
    assert "heartchambers_highres needs a licence" in done.stderr
    assert "totalseg_set_license" in done.stderr


def test_job_with_a_structure_that_is_not_there_is_refused_by_its_name(stage: Stage, torso: Path) -> None:
    done = run(stage(torso, roi_subset=["lvier"]))
    assert done.returncode == EXIT_BAD_INPUT
    assert '"lvier"; is liver meant?' in done.stderr


def test_check_says_what_is_there_and_what_is_missing() -> None:
    def check(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "batch_job.check", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DEADLINE_S, env=environment()
        )

    there = check("totalsegmentator", "total", '{"fast": true}')
    assert there.returncode == EXIT_DONE
    assert there.stdout.startswith("totalsegmentator 2.18.0, weights 297 ")
    missing = check("totalsegmentator", "total_v3")
    assert missing.returncode == EXIT_NOT_SET_UP
    assert "totalseg_download_weights -t total_v3" in missing.stderr
    assert check("totalsegmentator", "tottal").returncode == EXIT_BAD_INPUT
