"""`exit.json`: what a run leaves of its end in a folder of this machine, and when there is none."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NAME,
    EXIT_NOT_SET_UP,
    EXIT_SOFTWARE_ERROR,
    EXIT_TRANSIENT,
    LOCK_NAME,
    RunExit,
)

DEADLINE_S = 60.0
PARTS_JOB = Path(__file__).parent / "parts_job.py"
WITH_A_FAULT = """
import sys
from batch_job import __main__, engines, folder
def fail(*_): raise {error}
{place} = fail
sys.exit(__main__.main())
"""


def left(job: Any) -> RunExit:
    return RunExit.from_json(job.read(EXIT_NAME))


def test_run_that_is_done_leaves_its_exit_last(job_in_folder: Any, small_ct: bytes) -> None:
    job_in_folder.stage(small_ct)
    assert job_in_folder.run(IRIS_RUN="3").returncode == EXIT_DONE
    said = left(job_in_folder)
    assert (said.contract, said.run, said.code, said.sentence) == (1, 3, EXIT_DONE, "")
    times = {name: (Path(job_in_folder.address) / name).stat().st_mtime_ns for name in job_in_folder.names()}
    assert max(times, key=lambda name: times[name]) == EXIT_NAME


def test_run_that_finds_the_job_done_leaves_its_own_exit(job_in_folder: Any, small_ct: bytes) -> None:
    job_in_folder.stage(small_ct)
    assert job_in_folder.run().returncode == EXIT_DONE
    assert job_in_folder.run(IRIS_RUN="2").returncode == EXIT_DONE
    assert (left(job_in_folder).run, left(job_in_folder).code) == (2, EXIT_DONE)


def test_run_in_a_bucket_leaves_no_exit(job_in_bucket: Any, small_ct: bytes) -> None:
    job_in_bucket.stage(small_ct)
    assert job_in_bucket.run().returncode == EXIT_DONE
    assert not job_in_bucket.has(EXIT_NAME)


def test_run_with_bad_input_leaves_the_sentence_that_it_says(job_in_folder: Any) -> None:
    job_in_folder.stage(b"no NIfTI")
    result = job_in_folder.run()
    said = left(job_in_folder)
    assert (result.returncode, said.code) == (EXIT_BAD_INPUT, EXIT_BAD_INPUT)
    assert result.stderr == f"{said.sentence}\n"


def test_run_whose_engine_is_not_set_up_leaves_how_to_set_it_up(job_in_folder: Any, small_ct: bytes) -> None:
    job_in_folder.stage(small_ct)
    with job_in_folder.start(str(PARTS_JOB), PARTS_NOT_SET_UP="1") as process:
        process.communicate(timeout=DEADLINE_S)
    assert (left(job_in_folder).code, left(job_in_folder).sentence) == (
        EXIT_NOT_SET_UP,
        "there are no weights; get them with a command",
    )


@pytest.mark.parametrize(
    ("place", "error", "code", "sentence"),
    [
        ("engines.load_engine", "ValueError('secret')", EXIT_SOFTWARE_ERROR, "a defect"),
        ("engines.load_engine", "MemoryError()", EXIT_TRANSIENT, "memory ran out"),
        ("engines.load_engine", "OSError(28, 'No space left')", EXIT_TRANSIENT, "No space left"),
    ],
    ids=["defect", "memory", "full"],
)
def test_run_that_fails_leaves_why_without_what_the_error_says_of_the_image(
    job_in_folder: Any, small_ct: bytes, place: str, error: str, code: int, sentence: str
) -> None:
    job_in_folder.stage(small_ct)
    with job_in_folder.start("-c", WITH_A_FAULT.format(place=place, error=error)) as process:
        process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, left(job_in_folder).code) == (code, code)
    assert sentence in left(job_in_folder).sentence
    assert "secret" not in left(job_in_folder).sentence


def test_run_that_cannot_write_its_exit_ends_all_the_same(job_in_folder: Any, small_ct: bytes) -> None:
    job_in_folder.stage(small_ct, task="none")
    full = WITH_A_FAULT.format(place="folder.JobFolder.put", error="OSError(28, 'No space left')")
    with job_in_folder.start("-c", full) as process:
        _, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, said.count("\n")) == (EXIT_BAD_INPUT, 1)
    assert not job_in_folder.has(EXIT_NAME)


def waiting_run(job: Any, log: Path, wait_until: Callable[[Callable[[], bool]], None]) -> Any:
    """A run that waits after its first part."""
    process = job.start(str(PARTS_JOB), PARTS_LOG=str(log), PARTS_WAIT_AT="low")
    wait_until(lambda: process.poll() is not None or (log.exists() and "waits" in log.read_text()))
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_that_is_interrupted_leaves_that(
    job_in_folder: Any, small_ct: bytes, tmp_path: Path, wait_until: Any, number: signal.Signals
) -> None:
    job_in_folder.stage(small_ct)
    with waiting_run(job_in_folder, tmp_path / "log", wait_until) as process:
        process.send_signal(number)
        process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, left(job_in_folder).code) == (EXIT_INTERRUPTED, EXIT_INTERRUPTED)
    assert not [name for name in job_in_folder.names() if "unfinished" in name]


def test_run_that_is_interrupted_while_it_leaves_that_it_is_done_is_done(
    job_in_folder: Any, small_ct: bytes
) -> None:
    job_in_folder.stage(small_ct)
    script = """
import contextlib, sys, threading, time
from batch_job import __main__, folder, interruption
made, put = [], folder.JobFolder.put
class Noted(interruption.Interruption):
    def __init__(self):
        super().__init__(); made.append(self)
    @contextlib.contextmanager
    def telling(self, tell):
        with super().telling(tell):
            yield
            threading.Event().wait()  # the end is quicker
def put_and_end(self, name, source):
    if name == "exit.json":
        threading.Thread(target=made[0].end).start()
        while not made[0]._is_ending: time.sleep(0.01)
    put(self, name, source)
__main__.Interruption, folder.JobFolder.put = Noted, put_and_end
sys.exit(__main__.main())
"""
    with job_in_folder.start("-c", script) as process:
        process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, left(job_in_folder).code) == (EXIT_INTERRUPTED, EXIT_DONE)


def test_run_that_is_killed_leaves_none_nor_that_of_an_earlier_run(
    job_in_folder: Any, small_ct: bytes, tmp_path: Path, wait_until: Any
) -> None:
    job_in_folder.stage(small_ct, task="none")
    assert job_in_folder.run().returncode == EXIT_BAD_INPUT
    assert job_in_folder.has(EXIT_NAME)
    job_in_folder.stage(small_ct)
    with waiting_run(job_in_folder, tmp_path / "log", wait_until) as process:
        process.kill()
        process.communicate(timeout=DEADLINE_S)
    assert not job_in_folder.has(EXIT_NAME)


def test_run_in_a_busy_folder_leaves_the_exit_to_the_one_that_works_there(
    job_in_folder: Any, small_ct: bytes
) -> None:
    job_in_folder.stage(small_ct)
    job_in_folder.write(EXIT_NAME, b"another's")
    with (Path(job_in_folder.address) / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert job_in_folder.run().returncode == EXIT_TRANSIENT
    assert job_in_folder.read(EXIT_NAME) == b"another's"


def test_exit_is_on_the_disk_when_it_is_left(job_in_folder: Any, small_ct: bytes, tmp_path: Path) -> None:
    """The file is flushed before it gets its name, and the folder after that."""
    job_in_folder.stage(small_ct, task="none")
    recorded = tmp_path / "calls"
    script = f"""
import os, sys
from batch_job import __main__
calls = open({str(recorded)!r}, "w")
def recorded(name, call, seen):
    def do(*given):
        calls.write(name + " " + seen(given) + "\\n"); calls.flush()
        return call(*given)
    return do
name_of = os.path.basename
os.fsync = recorded("fsync", os.fsync, lambda given: name_of(os.readlink(f"/proc/self/fd/{{given[0]}}")))
os.replace = recorded("replace", os.replace, lambda given: name_of(given[1]))
import pathlib
pathlib.Path.replace = lambda self, target: os.replace(self, target)
sys.exit(__main__.main())
"""
    result = subprocess.run(
        [job_in_folder.python, "-c", script, job_in_folder.address],
        capture_output=True,
        check=False,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    assert result.returncode == EXIT_BAD_INPUT, result.stderr
    folder = Path(job_in_folder.address).name
    assert recorded.read_text().splitlines()[-3:] == [
        "fsync .unfinished-exit.json",
        "replace exit.json",
        f"fsync {folder}",
    ]
