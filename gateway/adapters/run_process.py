"""One run of a job as a process of this machine: started, asked to end, seen to its end.

It reads its standard input: when the pipe closes, because the gateway ended or was killed, it ends.
"""

import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from signal import SIGKILL
from typing import Final

import structlog

from batch_job.contract import (
    DIE_WITH_PARENT_VARIABLE,
    EXIT_NAME,
    PROGRESS_NAME,
    RUN_VARIABLE,
    ContractError,
    Progress,
    RunExit,
)

from .errors import OutsideError
from .queue import JobTicket, RunEnded, RunProgressed

log = structlog.get_logger(__name__)

LOOK_AT_PROGRESS_S: Final = 1.0
GRACE_S: Final = 8.0
"""How long a run may take to end after SIGTERM before it is killed: less than the gateway takes to stop."""
LAST_WORDS_S: Final = 2.0
"""How long the standard error of a run that has ended is waited for: a child of it may hold it open."""
LAST_LINES: Final = 200

ReadFile = Callable[[JobTicket, str], bytes | None]
"""Gives a file of a job's folder, None where there is none (yet)."""


class RunProcess:
    """A process that works on one run.

    Raises
    ------
    OSError
        It cannot be started.
    """

    def __init__(
        self, command: tuple[str, ...], ticket: JobTicket, environment: Mapping[str, str], read: ReadFile
    ) -> None:
        self._ticket = ticket
        self._read = read
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._asked_to_end: float | None = None
        self._said: bytes | None = None
        self._process = subprocess.Popen(
            [*command, ticket.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                **environment,
                RUN_VARIABLE: str(ticket.run),
                DIE_WITH_PARENT_VARIABLE: "1",
            },
        )
        self._began = self._got_further = time.monotonic()

    @property
    def for_s(self) -> float:
        """How long it goes on already."""
        return time.monotonic() - self._began

    @property
    def still_s(self) -> float:
        """How long ago it got further."""
        return time.monotonic() - self._got_further

    def ask_to_end(self) -> None:
        """Ask once; where it does not end, it is killed after `GRACE_S`."""
        if self._asked_to_end is None:
            self._asked_to_end = time.monotonic()
            self._process.terminate()

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.wait()

    def see_to_the_end(self, on_progress: Callable[[RunProgressed], None]) -> RunEnded:
        """Tell its progress, and return how it ended."""
        reader = threading.Thread(target=self._read_lines, daemon=True)
        reader.start()
        # What an earlier run left is none of this one.
        self._said, left_before = self._file(PROGRESS_NAME), self._file(EXIT_NAME)
        while True:
            try:
                exit_code = self._process.wait(LOOK_AT_PROGRESS_S)
                break
            except subprocess.TimeoutExpired:
                if (progress := self._new_progress()) is not None:
                    on_progress(progress)
            if self._asked_to_end is not None and time.monotonic() - self._asked_to_end >= GRACE_S:
                self._process.kill()
        reader.join(LAST_WORDS_S)
        if self._process.stdin is not None:
            self._process.stdin.close()
        left = self._file(EXIT_NAME)
        return self._ended(exit_code, left if left != left_before else None)

    def _new_progress(self) -> RunProgressed | None:
        said = self._file(PROGRESS_NAME)
        if said is None or said == self._said:
            return None
        self._said = said
        try:
            progress = Progress.from_json(said)
        except ContractError:
            log.warning("progress_not_readable", job_key=self._ticket.job_key)
            return None
        self._got_further = time.monotonic()
        return RunProgressed(self._ticket.job_key, self._ticket.run, progress.stage, progress.fraction)

    def _ended(self, exit_code: int, left: bytes | None) -> RunEnded:
        """What the run itself left of its end, else what was seen of it."""
        key, run = self._ticket.job_key, self._ticket.run
        try:
            word = RunExit.from_json(left) if left is not None else None
            if word is not None and word.run == run:
                return RunEnded(key, run, word.code, word.sentence)
        except ContractError:
            log.warning("exit_not_readable", job_key=key, run=run)
        return RunEnded(key, run, exit_code, _reason(tuple(self._last_lines)) or _of_signal(exit_code))

    def _file(self, name: str) -> bytes | None:
        try:
            return self._read(self._ticket, name)
        except (OSError, OutsideError) as error:
            log.warning("job_folder_not_readable", job_key=self._ticket.job_key, error=type(error).__name__)
            return None

    def _read_lines(self) -> None:
        """Keep the last of what it says, and never let its pipe fill."""
        assert self._process.stderr is not None
        with self._process.stderr:
            for line in self._process.stderr:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._last_lines.append(text[:300])


def _reason(lines: tuple[str, ...]) -> str:
    """The one line that says why: the last, or the one that stands before a traceback."""
    for number, line in enumerate(lines):
        if number and line.startswith("Traceback "):
            return lines[number - 1]
    return lines[-1] if lines else ""


def _of_signal(exit_code: int) -> str:
    if exit_code != -SIGKILL:
        return ""
    return "it was killed, as the system does where memory runs out; give it more, or run fewer at once"
