"""The Python that starts at once ends, is stopped and is killed as the one does whose place it takes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.quick_start import JOB, quick_python

WAITING = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(1000)
"""


@pytest.fixture
def python() -> str:
    return quick_python(JOB)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_program_gets_arguments_environment_folder_and_streams_and_its_exit_code_comes_back(
    python: str, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(
        "import os, sys\n"
        "print(__name__, sys.argv[1:], os.environ['ONE'], 'HOME' in os.environ)\n"
        "print('numpy' in sys.modules)\n"
        "print(os.getcwd() + sys.stdin.read(), file=sys.stderr)\n"
        "sys.exit(7)\n"
    )
    ended = subprocess.run(
        [python, "program.py", "a", "b c"],
        input="said",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"ONE": "1"},
        timeout=60,
        check=False,
    )
    assert ended.stdout == "__main__ ['a', 'b c'] 1 False\nTrue\n"
    assert (ended.returncode, ended.stderr) == (7, f"{tmp_path}said\n")


def test_program_that_raises_ends_with_a_traceback_and_one(python: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("1 / 0")
    ended = subprocess.run(
        [python, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_program_that_is_sent_a_signal_dies_of_it(
    python: str, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "program.py").write_text(WAITING)
    noted = tmp_path / "process"
    command = [python, str(tmp_path / "program.py"), str(noted)]
    with subprocess.Popen(command) as waiting, ExitStack() as ended:
        ended.callback(waiting.kill)
        until(lambda: noted.exists() and noted.read_text() != "")
        waiting.send_signal(number)
        assert waiting.wait(60) == -number
    process = int(noted.read_text())
    until(lambda: not is_there(process))


def test_program_that_kills_itself_is_seen_to_be_killed(python: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert subprocess.run([python, str(tmp_path / "program.py")], timeout=60, check=False).returncode == -9


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(["-c"], {}), (["-m", "here"], {"PYTHONPATH": "{folder}"})],
)
def test_what_cannot_be_forked_is_started_afresh(
    python: str, tmp_path: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    program = "import sys; print('numpy' in sys.modules)"
    (tmp_path / "here.py").write_text(program)
    environment = {name: value.format(folder=tmp_path) for name, value in variables.items()}
    ended = subprocess.run(
        [python, *arguments, program],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    assert ended.stdout == "False\n"
