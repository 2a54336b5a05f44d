"""`python -m batch_job` with this engine, as a real process; and TotalSegmentator's own command beside it."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from conftest import Run

from batch_job.contract import (
    CHECKPOINT_NAME,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_SET_UP,
    LABELS_NAME,
    read_manifest,
)

ROOT = Path(__file__).parents[2]
DEADLINE_S = 400.0

Stage = Callable[..., Path]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Make a job folder: `stage(source, task, **options)`; its path is as long as under a data directory."""
    number = iter(range(10))

    def make(source: Path, task: str = "total", **options: Any) -> Path:
        folder = tmp_path / "jobs" / (str(next(number)) * 64)
        folder.mkdir(parents=True)
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


def command(*folders: Path) -> list[str]:
    return [sys.executable, "-m", "batch_job", *(f"{folder}/" for folder in folders)]


def run(*folders: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*folders),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env=environment(**variables),
    )


def interrupt_after_a_part(folder: Path) -> None:
    """Start a job and end it with SIGTERM once it has kept a part; it must end as the contract says."""
    deadline = time.monotonic() + DEADLINE_S
    with subprocess.Popen(command(folder), stderr=subprocess.DEVNULL, env=environment()) as process:
        try:
            while not list(folder.glob("checkpoint/*.record")):
                assert process.poll() is None, "it ended before it was interrupted"
                assert time.monotonic() < deadline, "no part was kept in time"
                time.sleep(0.02)
            process.terminate()
            assert process.wait(DEADLINE_S) == EXIT_INTERRUPTED
        finally:
            process.kill()


def test_job_interrupted_after_a_part_leaves_a_whole_result_next_time(
    stage: Stage, five_parts: Run, quarter: Path, fast: Run, torso: Path
) -> None:
    """With another job after it in the same process, of another network."""
    folder, other = stage(quarter), stage(torso, fast=True)
    interrupt_after_a_part(folder)
    assert read_manifest(folder) is None
    assert not list(folder.glob(".unfinished-*"))
    done = run(folder, other)
    assert done.returncode == EXIT_DONE, done.stderr
    manifest, manifest_of_other = read_manifest(folder), read_manifest(other)
    assert manifest is not None
    assert manifest_of_other is not None
    assert manifest.engine.weights.startswith("291 292 293 294 295 ")
    assert manifest_of_other.engine.weights.startswith("297 ")
    assert manifest.engine.name == "totalsegmentator"
    assert manifest.accelerator is not None
    assert manifest.accelerator.torch.startswith("2.")
    assert len(manifest.labels) == 117
    assert {"import", "resample", "model 1", "export"} <= set(manifest.seconds)
    assert any("no GPU" in note for note in manifest.notes)
    assert manifest.peak_rss_mb > 300
    assert not (folder / CHECKPOINT_NAME).exists()
    labels, source = nib.load(folder / LABELS_NAME), nib.load(quarter)
    assert labels.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(labels.affine, source.affine)
    np.testing.assert_array_equal(np.asanyarray(labels.dataobj), five_parts.labels)
    np.testing.assert_array_equal(np.asanyarray(nib.load(other / LABELS_NAME).dataobj), fast.labels)


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "image", "shared"), [((), "quarter", "five_parts"), (("--fast",), "torso", "fast")]
)
def test_labels_are_those_of_the_plain_command(
    request: pytest.FixtureRequest, options: tuple[str, ...], image: str, shared: str, tmp_path: Path
) -> None:
    home, out = tmp_path / "home", tmp_path / "labels.nii.gz"
    home.mkdir()
    config = {"totalseg_id": "test", "send_usage_stats": False, "prediction_counter": 0}
    (home / "config.json").write_text(json.dumps({**config, "statistics_disclaimer_shown": True}))
    program, source = Path(sys.executable).with_name("TotalSegmentator"), request.getfixturevalue(image)
    subprocess.run(
        [str(program), "-i", str(source), "-o", str(out), "--ml", "--quiet", "--device", "cpu", *options],
        check=True,
        timeout=DEADLINE_S,
        env=environment(TOTALSEG_HOME_DIR=str(home)),
    )
    labels = request.getfixturevalue(shared).labels
    np.testing.assert_array_equal(np.asanyarray(nib.load(out).dataobj), labels)


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
        command = [sys.executable, "-m", "batch_job", "check", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DEADLINE_S, env=environment()
        )

    there = check("totalsegmentator", "total", '{"fast": true}')
    assert there.returncode == EXIT_DONE
    first, second = there.stdout.splitlines()
    assert first.startswith("totalsegmentator 2.18.0, weights 297 ")
    assert re.match(r"finds .* in the reference case, in [0-9.]+ s$", second)
    missing = check("totalsegmentator", "total_mr")
    assert missing.returncode == EXIT_NOT_SET_UP
    assert "totalseg_download_weights -t total_mr" in missing.stderr
    assert check("totalsegmentator", "tottal").returncode == EXIT_BAD_INPUT
