"""`python -m batch_job` at both kinds of address: what a run leaves, what it refuses, who goes first."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import EXIT_BAD_INPUT, EXIT_DONE, EXIT_TRANSIENT, STAGES, Progress

OUTPUTS = {"labels.nii.gz", "statistics.json", "preview.png"}


def says(result: subprocess.CompletedProcess[str], exit_code: int, reason: str) -> bool:
    """Whether a run ended with one line that holds the reason."""
    assert (result.returncode, result.stderr.count("\n")) == (exit_code, 1), result.stderr
    return reason in result.stderr


# -- what comes out ---------------------------------------------------------------------------------------


def test_run_leaves_a_whole_result(job: Any, small_ct: bytes) -> None:
    job.stage(small_ct)
    job.start_afresh()
    result = job.run(IRIS_RUN="3")
    assert (result.returncode, result.stderr) == (EXIT_DONE, "")
    manifest = job.manifest()
    assert set(manifest.outputs) == OUTPUTS
    assert all(job.output(name) for name in OUTPUTS)
    assert (manifest.job_key, manifest.attempt) == ("key-1", 3)
    assert set(STAGES) <= set(manifest.seconds)
    assert 50 < manifest.peak_rss_mb < 1000
    progress = Progress.from_json(job.read("progress.json"))
    assert (progress.stage, progress.fraction, progress.eta_s) == (STAGES[-1], 1.0, 0.0)
    assert not [name for name in job.names() if ".unfinished-" in name]


def test_run_in_a_folder_writes_outputs_under_their_names_and_without_a_path(
    job_in_folder: Any, small_ct: bytes
) -> None:
    job_in_folder.stage(small_ct)
    assert job_in_folder.run().returncode == EXIT_DONE
    assert job_in_folder.names() > OUTPUTS
    entries = json.loads(job_in_folder.read("manifest.json"))["outputs"].values()
    assert all(set(entry) == {"sha256", "bytes"} for entry in entries)


def test_run_in_a_bucket_writes_outputs_into_its_attempts_folder(job_in_bucket: Any, small_ct: bytes) -> None:
    job_in_bucket.stage(small_ct)
    assert job_in_bucket.run(IRIS_RUN="2", AWS_BATCH_JOB_ATTEMPT="3").returncode == EXIT_DONE
    manifest = job_in_bucket.manifest()
    assert manifest.attempt == 4  # run 2 begins at folder 2, its third attempt two further
    assert {entry.path for entry in manifest.outputs.values()} == {f"attempts/4/{name}" for name in OUTPUTS}


def test_run_with_a_sound_manifest_ends_at_once(job: Any, small_ct: bytes) -> None:
    job.stage(small_ct)
    assert job.run().returncode == EXIT_DONE
    before = job.read("manifest.json")
    job.delete("input.nii.gz")  # not even the input is asked for
    assert job.run(IRIS_RUN="2").returncode == EXIT_DONE
    assert job.read("manifest.json") == before


def test_run_with_a_damaged_result_makes_it_again(job: Any, small_ct: bytes) -> None:
    job.stage(small_ct)
    assert job.run().returncode == EXIT_DONE
    job.write(job.manifest().outputs["labels.nii.gz"].path or "labels.nii.gz", b"half")
    assert job.run(IRIS_RUN="2").returncode == EXIT_DONE
    assert job.manifest().attempt == 2
    assert all(job.output(name) for name in OUTPUTS)


def test_run_of_a_plain_nifti_is_done(job: Any, small_ct: bytes) -> None:
    import gzip

    job.stage(gzip.decompress(small_ct), name="input.nii")
    assert job.run().returncode == EXIT_DONE
    assert set(job.manifest().outputs) == OUTPUTS


# -- what is refused --------------------------------------------------------------------------------------


def no_request(job: Any) -> None:
    job.delete("request.json")


def request_of_a_later_contract(job: Any) -> None:
    job.write("request.json", json.dumps({**json.loads(job.read("request.json")), "contract": 2}).encode())


def no_input(job: Any) -> None:
    job.delete("input.nii.gz")


def another_input(job: Any) -> None:
    job.write("input.nii.gz", b"not what the request names")


def no_nifti(job: Any) -> None:
    job.stage(b"no NIfTI")


def cut_off(job: Any) -> None:
    job.stage(job.read("input.nii.gz")[:-300])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (no_request, "no request.json"), (request_of_a_later_contract, "contract: must be 1"),
        (no_input, "no input.nii.gz"), (another_input, "stage it again"), (no_nifti, "no NIfTI"),
        (cut_off, "cut off"),
    ],
)  # fmt: skip
def test_run_with_bad_input_says_why_in_one_line(
    job: Any, small_ct: bytes, harm: Callable[[Any], None], reason: str
) -> None:
    job.stage(small_ct)
    harm(job)
    assert says(job.run(), EXIT_BAD_INPUT, reason)
    assert not job.has("manifest.json")
    assert not [name for name in job.names() if ".unfinished-" in name]


@pytest.mark.parametrize(
    "variable", [{"IRIS_RUN": "0"}, {"IRIS_RUN": "one"}, {"AWS_BATCH_JOB_ATTEMPT": "-1"}]
)
def test_run_with_a_number_that_is_none_is_bad_input(
    job_in_folder: Any, small_ct: bytes, variable: dict[str, str]
) -> None:
    job_in_folder.stage(small_ct)
    assert says(job_in_folder.run(**variable), EXIT_BAD_INPUT, next(iter(variable)))


# -- several at once --------------------------------------------------------------------------------------


def test_attempts_that_race_in_a_bucket_leave_one_result(job_in_bucket: Any, small_ct: bytes) -> None:
    job_in_bucket.stage(small_ct)
    running = [job_in_bucket.start() for _ in range(3)]
    ended = [process.communicate(timeout=120) and process.returncode for process in running]
    assert ended == [EXIT_DONE] * 3
    assert all(job_in_bucket.output(name) for name in OUTPUTS)
    folders = {name.split("/")[1] for name in job_in_bucket.names() if name.startswith("attempts/")}
    assert folders == {"1", "2", "3"}  # each its own: what the manifest names was written by one alone
    assert job_in_bucket.run().returncode == EXIT_DONE


def test_runs_that_race_in_a_folder_leave_one_result(job_in_folder: Any, small_ct: bytes) -> None:
    job_in_folder.stage(small_ct)
    running = [job_in_folder.start() for _ in range(3)]
    ended = [process.communicate(timeout=120) and process.returncode for process in running]
    assert set(ended) <= {EXIT_DONE, EXIT_TRANSIENT}
    assert EXIT_DONE in ended
    assert all(job_in_folder.output(name) for name in OUTPUTS)


def test_run_that_another_batch_job_owns_ends_without_output(job_in_bucket: Any, small_ct: bytes) -> None:
    job_in_bucket.stage(small_ct)
    job_in_bucket.write("runs/1/owner.json", b'{"contract": 1, "batch_job_id": "first"}')
    before = job_in_bucket.names()
    result = job_in_bucket.run(AWS_BATCH_JOB_ID="second", AWS_EC2_METADATA_DISABLED="true")
    assert says(result, EXIT_DONE, "another Batch job")
    assert job_in_bucket.names() == before


def test_run_of_the_same_batch_job_goes_on_in_its_next_attempt(job_in_bucket: Any, small_ct: bytes) -> None:
    job_in_bucket.stage(small_ct)
    job_in_bucket.write("runs/1/owner.json", b'{"contract": 1, "batch_job_id": "first"}')
    assert job_in_bucket.run(AWS_BATCH_JOB_ID="first", AWS_BATCH_JOB_ATTEMPT="2").returncode == EXIT_DONE
    assert job_in_bucket.manifest().attempt == 2


def test_run_of_a_batch_job_writes_down_that_it_owns_the_run(job_in_bucket: Any, small_ct: bytes) -> None:
    job_in_bucket.stage(small_ct)
    assert job_in_bucket.run(AWS_BATCH_JOB_ID="first", IRIS_RUN="2").returncode == EXIT_DONE
    assert json.loads(job_in_bucket.read("runs/2/owner.json"))["batch_job_id"] == "first"
    assert not job_in_bucket.has("runs/1/owner.json")


# -- room -------------------------------------------------------------------------------------------------


def test_run_of_an_input_larger_than_the_disk_says_how_much_it_needs(
    job_in_bucket: Any, small_ct: bytes, small_disk: Path
) -> None:
    job_in_bucket.stage(small_ct)
    assert says(job_in_bucket.run(TMPDIR=str(small_disk)), EXIT_TRANSIENT, "MB of disk")
    assert not job_in_bucket.has("manifest.json")
    assert list(small_disk.iterdir()) == []


WITH_LITTLE_MEMORY = """
import sys
from batch_job import __main__, cgroup, resources
there = cgroup.Memory(int(sys.argv.pop(1)), int(sys.argv.pop(1)))
resources.memory = lambda: there
sys.exit(__main__.main())
"""


@pytest.mark.parametrize(
    ("total", "free", "exit_code", "reason"),
    [
        (100_000_000, 100_000_000, EXIT_BAD_INPUT, "MB of memory and the job may have 100 MB"),
        (200_000_000, 90_000_000, EXIT_TRANSIENT, "MB of memory and 90 MB are free"),
    ],
)
def test_run_of_an_input_larger_than_memory_says_how_much_it_needs(
    job_in_folder: Any, small_ct: bytes, total: int, free: int, exit_code: int, reason: str
) -> None:
    job_in_folder.stage(small_ct)
    process = job_in_folder.start("-c", WITH_LITTLE_MEMORY, str(total), str(free))
    _, said = process.communicate(timeout=60)
    assert says(subprocess.CompletedProcess("", process.returncode, "", said), exit_code, reason)
    assert not job_in_folder.has("manifest.json")


def test_run_leaves_no_scratch_and_sweeps_up_what_a_killed_one_left(job: Any, small_ct: bytes) -> None:
    job.stage(small_ct)
    parent = job.place().scratch_parent(Path(tempfile.gettempdir()))
    left = parent / ".unfinished-iris-scratch-left"
    (left / "engine").mkdir(parents=True)
    (left / "engine" / "large.bin").write_bytes(b"left")
    assert job.run().returncode == EXIT_DONE
    assert not [path.name for path in parent.iterdir() if path.name.startswith(".unfinished-")]


def test_run_gives_numeric_libraries_the_cores_that_it_has() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "os.environ['MKL_NUM_THREADS'] = '7';"
        "from batch_job import __main__; import sys; sys.argv = ['batch_job', '/nowhere']; __main__.main();"
        "print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])"
    )
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, env=clean
    )
    assert result.stdout.split() == ["1", "7"]


def test_run_of_the_same_input_at_both_addresses_gives_the_same_labels(
    job_in_folder: Any, job_in_bucket: Any, small_ct: bytes
) -> None:
    digests = []
    for job in (job_in_folder, job_in_bucket):
        job.stage(small_ct)
        assert job.run().returncode == EXIT_DONE
        digests.append(hashlib.sha256(job.output("labels.nii.gz")).hexdigest())
    assert digests[0] == digests[1]
