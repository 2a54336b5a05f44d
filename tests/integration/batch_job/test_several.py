"""Several jobs in one process: each ends for itself, and they overlap without getting in each other's way."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch_job import run as run_module
from batch_job import shared as shared_module
from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_SOFTWARE_ERROR,
    EXIT_TRANSIENT,
    LOCK_NAME,
    PROGRESS_NAME,
    EngineInfo,
    RunExit,
    read_manifest,
)
from batch_job.engines import Segmented, Work
from batch_job.folder import JobFolder
from batch_job.image import Image, read_image
from batch_job.interruption import Interruption
from batch_job.place import Attempt
from batch_job.several import Ended, Wanted, run_jobs
from batch_job.shared import Shared
from tests.quick_start import JOB, quick_python

DEADLINE_S = 60.0
Staged = Callable[..., Path]
PARTS_JOB = Path(__file__).parent / "parts_job.py"


def left(folder: Path) -> RunExit:
    return RunExit.from_json((folder / "exit.json").read_bytes())


def started(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [quick_python(JOB), *map(str, words)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_jobs_at_several_addresses_each_end_for_themselves(
    staged: Staged, tmp_path: Path, small_ct: bytes
) -> None:
    first, last = staged(tmp_path / "first", small_ct), staged(tmp_path / "last", small_ct)
    damaged = staged(tmp_path / "damaged", b"no NIfTI")
    with started("-m", "batch_job", first, damaged, tmp_path / "nowhere", last, IRIS_RUN="2") as process:
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_BAD_INPUT
    assert {left(folder).code for folder in (first, last)} == {EXIT_DONE}
    assert {left(folder).run for folder in (first, last, damaged)} == {2}
    assert [read_manifest(folder) is not None for folder in (first, damaged, last)] == [True, False, True]
    assert sorted(said.splitlines()) == sorted(
        [
            f"{damaged}: {left(damaged).sentence}",
            f"{tmp_path / 'nowhere'}: there is no job folder at that address",
        ]
    )
    assert not list(tmp_path.rglob(".unfinished-*"))


def test_exit_code_of_several_jobs_is_one_to_be_tried_again_before_one_that_is_not(
    staged: Staged, tmp_path: Path, small_ct: bytes
) -> None:
    done, busy = staged(tmp_path / "done", small_ct), staged(tmp_path / "busy", small_ct)
    damaged = staged(tmp_path / "damaged", b"no NIfTI")
    with JobFolder(busy).claimed(Attempt()):
        assert (busy / LOCK_NAME).exists()
        code, ended = run([busy, damaged, done])
    assert code == EXIT_TRANSIENT
    assert ended == {"busy": EXIT_TRANSIENT, "damaged": EXIT_BAD_INPUT, "done": EXIT_DONE}


def run(folders: list[Path]) -> tuple[int, dict[str, int]]:
    """Do these jobs in this process; the exit code of all, and of each."""
    codes: dict[str, int] = {}

    def end(ended: Ended) -> None:
        codes[Path(ended.wanted.address).name] = ended.code

    wanted = [Wanted(str(folder), Attempt()) for folder in folders]
    return run_jobs(wanted, Shared(Interruption()), end), codes


class Bands:
    """An engine that does what a test says before each image."""

    made = 0
    info = EngineInfo(name="threshold", version="bands", weights="")

    def __init__(self, before: Callable[[Work], None]) -> None:
        type(self).made += 1
        self._before = before

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        return self.info

    def segment(self, work: Work) -> Segmented:
        self._before(work)
        return Segmented((work.image.values > 0).astype(np.uint8), {1: "bone"})


@pytest.fixture
def bands(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Work], None]], type[Bands]]:
    """Have jobs use that engine; gives a class that counts how often it was made."""

    def use(before: Callable[[Work], None]) -> type[Bands]:
        kind = type("BandsOfThisTest", (Bands,), {"made": 0})
        monkeypatch.setattr(shared_module, "load_engine", lambda name: kind(before))
        return kind

    return use


def test_next_job_is_read_and_last_one_written_while_the_present_one_is_segmented(
    staged: Staged,
    tmp_path: Path,
    small_ct: bytes,
    bands: Any,
    wait_until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [staged(tmp_path / name, small_ct) for name in ("a", "b", "c", "d")]
    read: list[Path] = []

    def noting(path: Path) -> Image:
        read.append(path.parent)
        return read_image(path)

    monkeypatch.setattr(run_module, "read_image", noting)

    def segmenting_waits_for_the_others(work: Work) -> None:
        number = folders.index(work.source.parent)
        if number:
            wait_until(lambda: read_manifest(folders[number - 1]) is not None)
        if number < 3:
            wait_until(lambda: folders[number + 1] in read)
        if number < 2:
            assert not (folders[number + 2] / LOCK_NAME).exists()  # one ahead, and no more

    kind = bands(segmenting_waits_for_the_others)
    code, ended = run(folders)
    assert (code, ended) == (EXIT_DONE, dict.fromkeys("abcd", EXIT_DONE))
    assert kind.made == 1


def test_second_failure_in_a_process_is_not_held_against_its_job(
    staged: Staged, tmp_path: Path, small_ct: bytes, bands: Any
) -> None:
    """As after an error in CUDA, from which a process does not recover."""
    folders = [staged(tmp_path / name, small_ct) for name in ("a", "b")]

    def fail(work: Work) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    bands(fail)
    code, ended = run(folders)
    assert (code, ended) == (EXIT_TRANSIENT, {"a": EXIT_SOFTWARE_ERROR, "b": EXIT_TRANSIENT})
    assert left(folders[1]).code == EXIT_TRANSIENT


def test_engine_that_failed_at_one_image_is_made_anew_for_the_next(
    staged: Staged, tmp_path: Path, small_ct: bytes, bands: Any
) -> None:
    folders = [staged(tmp_path / name, small_ct) for name in ("a", "b", "c")]

    def fail_at_a(work: Work) -> None:
        if work.source.parent.name == "a":
            raise SystemExit("a library ends the process")

    kind = bands(fail_at_a)
    code, ended = run(folders)
    assert code == EXIT_SOFTWARE_ERROR
    assert ended == {"a": EXIT_SOFTWARE_ERROR, "b": EXIT_DONE, "c": EXIT_DONE}
    assert kind.made == 2


def test_jobs_that_are_interrupted_each_leave_that_and_those_not_begun_nothing(
    staged: Staged, tmp_path: Path, small_ct: bytes, wait_until: Any
) -> None:
    done, present, read, waiting = (staged(tmp_path / name, small_ct) for name in ("a", "b", "c", "d"))
    with started("-m", "batch_job", done) as process:
        process.communicate(timeout=DEADLINE_S)
    log = tmp_path / "log"
    words = (PARTS_JOB, done, present, read, waiting)
    with started(*words, PARTS_LOG=str(log), PARTS_WAIT_AT="low") as process:
        wait_until(lambda: log.exists() and "waits" in log.read_text())
        wait_until((read / PROGRESS_NAME).exists)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_INTERRUPTED
    assert [left(folder).code for folder in (done, present, read)] == [0, EXIT_INTERRUPTED, EXIT_INTERRUPTED]
    assert not (waiting / "exit.json").exists()
    assert not list(tmp_path.rglob(".unfinished-*"))


def test_write_in_one_thread_does_not_hold_up_another_but_the_end(tmp_path: Path) -> None:
    script = (
        "import sys, threading, time\n"
        "from batch_job.interruption import Interruption\n"
        "interruption = Interruption()\n"
        "writes = threading.Event()\n"
        "def write():\n"
        "    with interruption.finishing_first():\n"
        "        writes.set(); sys.stdin.readline(); print('written', flush=True)\n"
        "threading.Thread(target=write).start()\n"
        "writes.wait()\n"
        "with interruption.finishing_first(): print('beside it', flush=True)\n"
        "threading.Thread(target=interruption.end).start()\n"
        "while not interruption._is_ending: time.sleep(0.01)\n"
        "print('ends', flush=True)\n"
        "with interruption.finishing_first(): print('too late', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert [process.stdout.readline() for _ in range(2)] == ["beside it\n", "ends\n"]
        said, _ = process.communicate("go on\n", timeout=DEADLINE_S)
    assert (said, process.returncode) == ("written\n", EXIT_INTERRUPTED)
