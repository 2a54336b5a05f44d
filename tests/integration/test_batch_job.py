"""`python -m batch_job`: a real process on a real job folder, on the real CTs."""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NAME,
    EXIT_TRANSIENT,
    LABELS_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    PREVIEW_NAME,
    PROGRESS_NAME,
    STAGES,
    STATISTICS_NAME,
    Manifest,
    RunExit,
    read_manifest,
    read_progress,
)
from tests.quick_start import JOB, quick_python

DEADLINE_S = 120.0
AFRESH = (sys.executable, "-m", "batch_job")
"""As users start it."""
VALUES = {"bone": 1, "adipose_tissue": 2, "soft_tissue": 3, "gas": 4, "lung_left": 5, "lung_right": 6}
# TotalSegmentator's class map of the task `total`.
TOTAL = {"stomach": 6, "lobes_left": (10, 11), "lobes_right": (12, 13, 14), "colon": 20, "aorta": 52}

Stage = Callable[..., Path]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Make a job folder of an input file: `stage(path, **fields)`, fields replacing those of the request."""
    return stage_in(tmp_path)


def stage_in(parent: Path) -> Stage:
    def make(source: Path, **fields: Any) -> Path:
        folder = parent / "job"
        folder.mkdir()
        name = "input.nii.gz" if source.name.endswith(".gz") else "input.nii"
        content = source.read_bytes()
        (folder / name).write_bytes(content)
        request = {
            "contract": 1,
            "job_key": "key-1",
            "task": "tissue",
            "engine": "threshold",
            "options": {},
            "input": {"name": name, "sha256": hashlib.sha256(content).hexdigest()},
        }
        (folder / "request.json").write_text(json.dumps({**request, **fields}))
        return folder

    return make


@pytest.fixture(scope="module")
def demo_nifti(tmp_path_factory: pytest.TempPathFactory, demo_study: Path) -> Path:
    """The demo study as dcm2niix makes it."""
    folder = tmp_path_factory.mktemp("demo")
    command = [dcm2niix.bin, "-z", "y", "-b", "n", "-f", "demo", "-o", str(folder), str(demo_study)]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
    return folder / "demo.nii.gz"


@pytest.fixture(scope="module")
def long_nifti(tmp_path_factory: pytest.TempPathFactory, demo_nifti: Path) -> Path:
    """The demo study twice on top of itself: a job of some seconds."""
    image = nib.load(demo_nifti)
    values = np.tile(np.asanyarray(image.dataobj), (1, 1, 2))
    path = tmp_path_factory.mktemp("long") / "long.nii"
    nib.save(nib.Nifti1Image(values, image.affine), path)
    return path


def command() -> list[str]:
    """The job, with its modules loaded."""
    return [quick_python(JOB), "-m", "batch_job"]


def run(folder: Path, *, afresh: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(AFRESH if afresh else command()), f"{folder}/"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env={**os.environ, **environment},
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def labels_in(folder: Path) -> np.ndarray:
    return np.asanyarray(nib.load(folder / LABELS_NAME).dataobj)


def done(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


# -- what comes out -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_job(tmp_path_factory: pytest.TempPathFactory, demo_nifti: Path) -> Path:
    """The folder of a job on the demo study, done by a third run, which was started afresh."""
    folder = stage_in(tmp_path_factory.mktemp("demo-job"))(demo_nifti)
    result = run(folder, afresh=True, IRIS_RUN="3")
    assert (result.returncode, result.stderr) == (EXIT_DONE, "")
    return folder


def test_batch_job_on_the_demo_study_leaves_a_whole_result(demo_job: Path, demo_nifti: Path) -> None:
    folder = demo_job
    manifest = done(folder)
    assert set(manifest.outputs) == {LABELS_NAME, STATISTICS_NAME, PREVIEW_NAME}
    for name, output in manifest.outputs.items():
        content = (folder / name).read_bytes()
        assert (output.sha256, output.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert {name: value for value, name in manifest.labels.items()} == VALUES
    assert (manifest.job_key, manifest.attempt) == ("key-1", 3)
    assert set(manifest.seconds) >= set(STAGES)
    assert 50 < manifest.peak_rss_mb < 1000
    source, labels = nib.load(demo_nifti), nib.load(folder / LABELS_NAME)
    assert labels.get_data_dtype() == np.uint8
    assert labels.shape == source.shape
    np.testing.assert_array_equal(labels.affine, source.affine)
    assert Picture.open(folder / PREVIEW_NAME).format == "PNG"
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    written = {name: (folder / name).stat().st_mtime_ns for name in (*manifest.outputs, MANIFEST_NAME)}
    assert max(written, key=lambda name: written[name]) == MANIFEST_NAME


def test_batch_job_on_the_demo_study_finds_gas_but_no_lung(demo_job: Path, demo_nifti: Path) -> None:
    measured = json.loads((demo_job / STATISTICS_NAME).read_bytes())
    for lung in ("lung_left", "lung_right"):
        assert measured.get(lung, {"volume_ml": 0})["volume_ml"] <= 2
    assert measured["gas"]["volume_ml"] == pytest.approx(30, abs=3)  # bubbles of 17 and 13 ml
    assert measured["bone"]["mean_intensity"] > 250
    assert -110 < measured["adipose_tissue"]["mean_intensity"] < -60
    assert 30 < measured["soft_tissue"]["mean_intensity"] < 90
    source = nib.load(demo_nifti)
    gas = np.argwhere(labels_in(demo_job) == VALUES["gas"]) @ source.affine[:3, :3].T + source.affine[:3, 3]
    body = np.argwhere(labels_in(demo_job) > 0) @ source.affine[:3, :3].T + source.affine[:3, 3]
    assert (gas[:, 0] < np.median(body[:, 0])).mean() > 0.9  # on the patient's left: RAS


def test_batch_job_on_the_demo_study_leaves_the_table_and_the_aorta_alone(
    demo_job: Path, demo_nifti: Path
) -> None:
    source = nib.load(demo_nifti)
    found = nib.as_closest_canonical(nib.Nifti1Image(labels_in(demo_job), source.affine))
    values = np.asanyarray(nib.as_closest_canonical(source).dataobj)
    labels = np.asanyarray(found.dataobj)
    # The table's shells are the only bright things in the hindmost sixth of the picture.
    assert (values[:, :85] > -300).sum() > 10_000
    assert not labels[:, :85].any()
    # Above the vertebrae lies the aorta, whose calcified wall is brighter than bone need be.
    aorta = (slice(228, 266), slice(206, 236))
    bright = values[aorta] >= 300
    assert bright.sum() > 500
    assert (labels[aorta][bright] == VALUES["bone"]).mean() < 0.35


def test_batch_job_on_the_torso_finds_the_lungs_that_the_real_model_found(stage: Stage, data: Path) -> None:
    folder = stage(data / "ct-torso-3mm" / "ct.nii.gz")
    assert run(folder).returncode == EXIT_DONE
    labels = labels_in(folder)
    model = np.asanyarray(nib.load(data / "ct-torso-3mm" / "labels.nii.gz").dataobj)
    for name, lobes in (("lung_left", TOTAL["lobes_left"]), ("lung_right", TOTAL["lobes_right"])):
        lung = labels == VALUES[name]
        assert dice(lung, np.isin(model, lobes)) >= 0.9
        assert not (lung & np.isin(model, (TOTAL["colon"], TOTAL["stomach"]))).any()
    assert not (labels[model == TOTAL["aorta"]] == VALUES["bone"]).any()
    assert (labels[(model >= 25) & (model <= 50)] == VALUES["bone"]).mean() > 0.4  # vertebrae


def test_batch_job_run_twice_from_nothing_writes_the_same_bytes(stage: Stage, data: Path) -> None:
    folder = stage(data / "ct-torso-3mm" / "ct.nii.gz")
    assert run(folder).returncode == EXIT_DONE
    first = done(folder).outputs
    (folder / MANIFEST_NAME).unlink()
    assert run(folder).returncode == EXIT_DONE
    assert done(folder).outputs == first


def test_batch_job_with_a_sound_manifest_ends_at_once(stage: Stage, data: Path) -> None:
    folder = stage(data / "ct-torso-3mm" / "ct.nii.gz")
    assert run(folder).returncode == EXIT_DONE
    each_run = {LOCK_NAME, EXIT_NAME}
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name not in each_run}
    (folder / "input.nii.gz").unlink()  # not even the input is asked for
    del before["input.nii.gz"]
    assert run(folder, IRIS_RUN="2").returncode == EXIT_DONE
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name not in each_run} == before
    assert RunExit.from_json((folder / EXIT_NAME).read_bytes()).run == 2


def test_batch_job_with_a_damaged_result_makes_it_again(stage: Stage, data: Path) -> None:
    folder = stage(data / "ct-torso-3mm" / "ct.nii.gz")
    assert run(folder).returncode == EXIT_DONE
    (folder / LABELS_NAME).write_bytes(b"half")
    assert run(folder, IRIS_RUN="2").returncode == EXIT_DONE
    manifest = done(folder)
    assert manifest.attempt == 2
    assert (
        manifest.outputs[LABELS_NAME].sha256
        == hashlib.sha256((folder / LABELS_NAME).read_bytes()).hexdigest()
    )


# -- what goes wrong ----------------------------------------------------------------------------------------


def no_nifti(folder: Path) -> None:
    _replace_input(folder, b"no NIfTI")


def another_file(folder: Path) -> None:
    (folder / "input.nii.gz").write_bytes(b"not what the request names")


def no_input(folder: Path) -> None:
    (folder / "input.nii.gz").unlink()


def four_dimensions(folder: Path) -> None:
    _replace_image(folder, np.full((9, 9, 9, 2), -1000, np.int16))


def cut_off(folder: Path) -> None:
    _replace_input(folder, (folder / "input.nii.gz").read_bytes()[:-1000])


def not_finite(folder: Path) -> None:
    _replace_image(folder, np.full((9, 9, 9), np.nan, np.float32))


def infinite(folder: Path) -> None:
    _replace_image(folder, np.full((9, 9, 9), np.inf, np.float32))


def without_voxels(folder: Path) -> None:
    _replace_image(folder, np.zeros((9, 9, 0), np.int16))


def micrometres(folder: Path) -> None:
    _replace_image(folder, np.full((9, 9, 9), -1000, np.int16), np.diag([700.0, 700, 1000, 1]))


def no_hounsfield(folder: Path) -> None:
    _replace_image(folder, np.arange(729, dtype=np.int16).reshape(9, 9, 9))


def no_request(folder: Path) -> None:
    (folder / "request.json").unlink()


def unknown_engine(folder: Path) -> None:
    _change_request(folder, engine="nothing")


def unknown_task(folder: Path) -> None:
    _change_request(folder, task="total")


def unknown_option(folder: Path) -> None:
    _change_request(folder, options={"fats": True})


def later_contract(folder: Path) -> None:
    _change_request(folder, contract=2)


def _change_request(folder: Path, **fields: Any) -> None:
    request = json.loads((folder / "request.json").read_bytes())
    (folder / "request.json").write_text(json.dumps({**request, **fields}))


def _replace_input(folder: Path, content: bytes) -> None:
    (folder / "input.nii.gz").write_bytes(content)
    named = {"name": "input.nii.gz", "sha256": hashlib.sha256(content).hexdigest()}
    _change_request(folder, input=named)


def _replace_image(folder: Path, values: np.ndarray, affine: np.ndarray | None = None) -> None:
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), folder / "input.nii.gz")
    _replace_input(folder, (folder / "input.nii.gz").read_bytes())


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (no_nifti, "no NIfTI"), (another_file, "stage it again"), (no_input, "no input.nii.gz"),
        (cut_off, "cut off"), (not_finite, "NaN or infinity"), (infinite, "NaN or infinity"),
        (without_voxels, "length zero"), (micrometres, "0.05 to 50 mm"),
        (four_dimensions, "4 dimensions"), (no_hounsfield, "no Hounsfield units"),
        (no_request, "request.json"), (unknown_engine, 'no engine "nothing"'),
        (unknown_task, "it has: tissue"), (unknown_option, "fats"),
        (later_contract, "contract"),
    ],
)  # fmt: skip
def test_batch_job_with_bad_input_says_why_in_one_line(
    stage: Stage, data: Path, harm: Callable[[Path], None], reason: str
) -> None:
    folder = stage(data / "ct-torso-3mm" / "ct.nii.gz")
    harm(folder)
    result = run(folder)
    assert result.returncode == EXIT_BAD_INPUT
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert str(folder) not in result.stderr
    assert read_manifest(folder) is None


def test_batch_job_on_a_magnetic_resonance_image_is_bad_input(stage: Stage, data: Path) -> None:
    result = run(stage(data / "mr-3mm" / "mr.nii.gz"))
    assert result.returncode == EXIT_BAD_INPUT
    assert "no Hounsfield units" in result.stderr


@pytest.mark.parametrize(
    "address", ["s3://bucket", "s3://Bucket/jobs/key/", "gs://bucket/jobs/key/", "/nowhere/at/all/"]
)
def test_batch_job_with_an_address_of_no_folder_is_bad_input(address: str) -> None:
    result = subprocess.run([*command(), address], capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr.count("\n")) == (EXIT_BAD_INPUT, 1)


def test_batch_job_in_a_busy_folder_is_transient(stage: Stage, data: Path) -> None:
    folder = stage(data / "ct-torso-3mm" / "ct.nii.gz")
    with (folder / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(folder)
    assert result.returncode == EXIT_TRANSIENT
    assert "another run" in result.stderr
    assert read_manifest(folder) is None
    assert run(folder).returncode == EXIT_DONE


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_batch_job_interrupted_ends_without_a_manifest_and_a_retry_succeeds(
    stage: Stage, long_nifti: Path, number: signal.Signals
) -> None:
    folder = stage(long_nifti)
    process = subprocess.Popen([*command(), str(folder)], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: (folder / PROGRESS_NAME).exists())
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == EXIT_INTERRUPTED
    finally:
        process.kill()
        process.wait()
    assert not (folder / MANIFEST_NAME).exists()
    assert run(folder, IRIS_RUN="2").returncode == EXIT_DONE
    assert done(folder).attempt == 2
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    progress = read_progress(folder)
    assert progress is not None
    assert (progress.stage, progress.fraction) == (STAGES[-1], 1.0)


def test_batch_job_whose_parent_closes_the_pipe_ends(stage: Stage, long_nifti: Path) -> None:
    folder = stage(long_nifti)
    environment = {**os.environ, "IRIS_DIE_WITH_PARENT": "1"}
    with subprocess.Popen([*command(), str(folder)], stdin=subprocess.PIPE, env=environment) as process:
        wait_until(lambda: (folder / PROGRESS_NAME).exists())
        assert process.poll() is None  # it does not mind an open pipe
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE_S) == EXIT_INTERRUPTED
    assert not (folder / MANIFEST_NAME).exists()


PARENT = """
import subprocess, sys
job = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
job.wait()
"""


def test_batch_job_whose_parent_is_killed_ends(stage: Stage, long_nifti: Path) -> None:
    folder = stage(long_nifti)
    reading, writing = os.pipe()  # its end comes when the last process that holds `writing` is gone
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *AFRESH, str(folder)],
        stderr=writing,
        env={**os.environ, "IRIS_DIE_WITH_PARENT": "1"},
    )
    os.close(writing)
    try:
        wait_until(lambda: (folder / PROGRESS_NAME).exists())
        parent.kill()
        parent.wait()
        with os.fdopen(reading, "rb") as said:
            assert said.read() == b""  # returns once the job is gone, too
    finally:
        parent.kill()
        parent.wait()
    assert not (folder / MANIFEST_NAME).exists()
