"""`--serve`: addresses on standard input, a line of JSON for each on standard output, and how it ends."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    RunAnswered,
    RunExit,
    RunWanted,
    read_manifest,
)
from tests.quick_start import JOB, quick_python

DEADLINE_S = 60.0
PARTS_JOB = Path(__file__).parent / "parts_job.py"


class Served:
    """A process that serves, whose engine works in three parts and prints to standard output."""

    def __init__(self, log: Path, *words: str, **environment: str) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [quick_python(JOB), str(PARTS_JOB), "--serve", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PARTS_LOG": str(log), **environment},
        )

    def ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> RunAnswered:
        assert self.process.stdout is not None
        return RunAnswered.from_json(self.process.stdout.readline())

    def rest(self, text: str | None = None) -> tuple[str, str]:
        """Close its standard input; what it says to its end on standard output and error."""
        return self.process.communicate(text, timeout=DEADLINE_S)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def start(*words: str, **environment: str) -> Served:
        made.append(Served(tmp_path / "log", *words, **environment))
        return made[-1]

    yield start
    for served in made:
        served.process.kill()
        served.process.communicate(timeout=DEADLINE_S)


def left(folder: Path) -> RunExit:
    return RunExit.from_json((folder / "exit.json").read_bytes())


def test_served_jobs_are_answered_one_a_line_and_nothing_else_is_said_there(
    serve: Any, staged: Any, small_ct: bytes, tmp_path: Path
) -> None:
    first, second = staged(tmp_path / "first", small_ct), staged(tmp_path / "second", small_ct)
    served = serve()
    served.ask(str(first))
    answer = served.answer()
    assert (answer.address, answer.run, answer.code, answer.sentence) == (str(first), 1, EXIT_DONE, "")
    assert answer.memory_share is not None
    assert 0 < answer.memory_share < 1
    served.ask(RunWanted(address=str(second), run=3).model_dump_json())
    assert (served.answer().run, left(second).run) == (3, 3)
    served.ask("")
    served.ask(str(tmp_path / "nowhere"))
    assert (served.answer().code, served.process.poll()) == (EXIT_BAD_INPUT, None)
    served.ask(json.dumps({"address": str(first), "run": 0}))
    answer = served.answer()
    assert (answer.address, answer.code, "run" in answer.sentence) == ("", EXIT_BAD_INPUT, True)
    said, errors = served.rest()
    assert (said, served.process.returncode) == ("", EXIT_DONE)
    assert errors.count("what a library prints\n") == 2
    assert f"{tmp_path / 'nowhere'}: there is no job folder at that address\n" in errors


def test_jobs_that_were_asked_for_are_done_when_standard_input_ends(
    serve: Any, staged: Any, small_ct: bytes, tmp_path: Path
) -> None:
    folders = [staged(tmp_path / name, small_ct) for name in "abc"]
    said, _ = serve().rest("\n".join(map(str, folders)))
    answers = [RunAnswered.from_json(line) for line in said.splitlines()]
    assert [(answer.address, answer.code) for answer in answers] == [(str(folder), 0) for folder in folders]


def test_served_without_work_for_a_time_ends_but_not_while_a_job_goes_on(
    serve: Any, staged: Any, small_ct: bytes, tmp_path: Path, wait_until: Any
) -> None:
    folder = staged(tmp_path / "job", small_ct)
    served = serve("--idle-s", "0.3", PARTS_WAIT_AT="low")
    served.ask(str(folder))
    wait_until(lambda: served.log.exists() and "waits" in served.log.read_text())
    with pytest.raises(subprocess.TimeoutExpired):
        served.process.wait(1.0)
    served.process.terminate()
    served.rest()
    served = serve("--idle-s", "0.3")
    served.ask(str(folder))
    assert served.answer().code == EXIT_DONE
    assert served.process.wait(DEADLINE_S) == EXIT_DONE


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL", "parent"])
def test_job_whose_serving_process_ends_leaves_what_one_of_its_own_would(
    serve: Any, staged: Any, small_ct: bytes, tmp_path: Path, wait_until: Any, end: str
) -> None:
    folder = staged(tmp_path / "job", small_ct)
    served = serve(PARTS_WAIT_AT="low", IRIS_DIE_WITH_PARENT="1")
    served.ask(str(folder))
    wait_until(lambda: served.log.exists() and "waits" in served.log.read_text())
    if end != "parent":
        served.process.send_signal(signal.Signals[end])
        served.process.wait(DEADLINE_S)
    said, _ = served.rest()
    is_killed = end == "SIGKILL"
    assert (said, served.process.returncode) == ("", -signal.SIGKILL if is_killed else EXIT_INTERRUPTED)
    assert (folder / "exit.json").exists() != is_killed
    assert is_killed or left(folder).code == EXIT_INTERRUPTED
    assert read_manifest(folder) is None
    again = serve()
    again.ask(str(folder))
    assert again.answer().code == EXIT_DONE
    assert served.log.read_text().splitlines().count("low") == 1  # it went on from the checkpoint
    assert not list(folder.glob(".unfinished-*"))


@pytest.mark.parametrize("words", [(), ("--serve", "a-folder")])
def test_command_line_that_says_not_what_to_do_is_refused(words: tuple[str, ...]) -> None:
    result = subprocess.run(
        [quick_python(JOB), "-m", "batch_job", *words],
        capture_output=True,
        check=False,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == EXIT_BAD_INPUT
    assert b"give it addresses, or --serve" in result.stderr
