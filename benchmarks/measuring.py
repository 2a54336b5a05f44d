"""Runs one contender in a fresh process and says what it took: time, peak memory, bytes written."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 900
MB = 1e6


class ContenderFailed(Exception):
    """It exited with another code than 0, or wrote nothing; the text is the last line that it said."""


@dataclass(frozen=True)
class Took:
    """What a call or a process took.

    `cpu_s` is of all its threads and children: more than `wall_s` where several cores work, and steadier
    where others use the machine too.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Run:
    """One run of one contender.

    Parameters
    ----------
    process
        From starting the process to its end and its files on disk (synced here, where it did not itself).
    library
        What the process says that its library call took; None for a program.
    peak_mb
        The largest resident set of the process or of one of its children (not their sum).
    output_mb
        All files that it wrote.
    """

    process: Took
    library: Took | None
    peak_mb: float
    output_mb: float


def run(command: Sequence[str], folder: Path) -> Run:
    """Run a command that writes into `folder`, which is made anew.

    Raises
    ------
    ContenderFailed
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    said = folder.with_name(f"{folder.name}.txt")
    with said.open("wb") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT
        )
        watch = threading.Timer(TIMEOUT_S, process.kill)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        size = _synced(folder)
        seconds = time.perf_counter() - start
    lines = said.read_text(errors="replace").strip().splitlines() or [""]
    if process.returncode != 0 or size == 0:
        raise ContenderFailed(lines[-1] or f"exit code {process.returncode}, and nothing written")
    return Run(
        process=Took(seconds, usage.ru_utime + usage.ru_stime),
        library=_library(lines),
        peak_mb=usage.ru_maxrss * 1024 / MB,
        output_mb=size / MB,
    )


def _synced(folder: Path) -> int:
    """Bring everything in a folder onto the disk; its size in bytes."""
    size = 0
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            size += path.stat().st_size
    return size


def _library(lines: Sequence[str]) -> Took | None:
    for line in reversed(lines):
        if line.startswith('{"seconds": '):
            took = json.loads(line)
            return Took(float(took["seconds"]), float(took["cpu_seconds"]))
    return None


def read_through(folder: Path) -> None:
    """Read every file once, so that the first contender does not pay for a cold cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                while stream.read(1 << 20):
                    pass
