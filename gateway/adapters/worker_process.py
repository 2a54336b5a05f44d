"""A process of this machine that does runs, one after the other: `python -m batch_job --serve`.

It reads its standard input: when the pipe closes, because the gateway ended or was killed, it ends.
"""

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from signal import SIGKILL
from typing import Final

import structlog

from batch_job.contract import (
    DIE_WITH_PARENT_VARIABLE,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    ContractError,
    QuietLine,
    RunAnswered,
    RunWanted,
)

from .queue import JobTicket

log = structlog.get_logger(__name__)

LAST_WORDS_S: Final = 2.0
"""How long the standard error of a process that has ended is waited for: a child of it may hold it open."""
LAST_LINES: Final = 200
CLOSES_WITHIN_S: Final = 5.0
"""How long a process without work may take to end."""
RUNS_AT_MOST: Final = 100
"""After so many a process is replaced, whatever it may have left lying about."""
MEMORY_SHARE_AT_MOST: Final = 0.25
"""A process that holds more of the memory after a run is replaced."""
HARMLESS: Final = (EXIT_DONE, EXIT_BAD_INPUT)
"""After a run that ended otherwise nobody knows what its process is like."""


@dataclass(frozen=True)
class Ending:
    """How a run ended, as far as its process is concerned."""

    code: int
    """Of `contract.EXIT_...`, or what the process ended with; negative: killed by that signal."""
    sentence: str


class WorkerProcess:
    """One such process.

    Parameters
    ----------
    command
        What `--serve` is appended to.
    environment
        Variables beside this process's own.

    Raises
    ------
    OSError
        It cannot be started.
    """

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._answers: queue.SimpleQueue[RunAnswered | None] = queue.SimpleQueue()
        self._runs = 0
        self._job_key = ""
        self._is_fit = True
        self._process = subprocess.Popen(
            [*command, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment, DIE_WITH_PARENT_VARIABLE: "1"},
        )
        try:
            self._errors = threading.Thread(target=self._read_errors, daemon=True)
            self._errors.start()
            threading.Thread(target=self._read_answers, daemon=True).start()
        except BaseException:
            self.kill()
            raise
        self.free_since = time.monotonic()
        """When it had nothing to do last."""

    @property
    def is_fit(self) -> bool:
        """Whether it lives and another run may be left to it."""
        return self._is_fit and self._process.poll() is None

    def begin(self, ticket: JobTicket) -> None:
        """Have it do a run."""
        self._last_lines.clear()
        self._runs += 1
        self._job_key = ticket.job_key
        line = RunWanted(address=ticket.address, run=ticket.run).model_dump_json()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: `ending` says how
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def ending(self, timeout_s: float) -> Ending | None:
        """Wait for the end of the run that it was told to do last; None: it goes on."""
        try:
            answer = self._answers.get(timeout=timeout_s)
            if answer is not None:
                return self._answered(answer)
            code = self._process.wait(timeout_s)
        except (queue.Empty, subprocess.TimeoutExpired):
            if (ended := self._process.poll()) is None:
                return None
            code = ended
        self._errors.join(LAST_WORDS_S)
        return Ending(code, _of_signal(code) or _reason(tuple(self._last_lines)))

    def terminate(self) -> None:
        """Ask it to end, and the run with it."""
        self._is_fit = False
        self._process.terminate()

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.wait()
        self._close_input()

    def close(self) -> None:
        """End it, which has no run to do, and wait for that."""
        self._close_input()
        try:
            self._process.wait(CLOSES_WITHIN_S)
        except subprocess.TimeoutExpired:
            log.warning("worker_did_not_end")
            self.kill()

    def _answered(self, answer: RunAnswered) -> Ending:
        share = answer.memory_share or 0.0
        self._is_fit = answer.code in HARMLESS and self._runs < RUNS_AT_MOST and share <= MEMORY_SHARE_AT_MOST
        self.free_since = time.monotonic()
        return Ending(answer.code, answer.sentence)

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _read_answers(self) -> None:
        """Take what it says of its runs; None when it says no more."""
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                try:
                    self._answers.put(RunAnswered.from_json(line))
                except ContractError:
                    log.warning("answer_not_readable", job_key=self._job_key)
        self._answers.put(None)

    def _read_errors(self) -> None:
        """Keep the last of what it says, and never let its pipe fill."""
        assert self._process.stderr is not None
        with self._process.stderr:
            for line in self._process.stderr:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._last_lines.append(text[:300])
                    self._log(text)

    def _log(self, text: str) -> None:
        """Take a line into the log that has no words of a library in it: what `batch_job.quiet` writes."""
        try:
            said = QuietLine.model_validate_json(text)
        except ValueError:  # what an engine prints, which may hold anything
            return
        details = said.model_dump(exclude={"event"}, exclude_none=True)
        log.warning(f"job_{said.event}", job_key=self._job_key, **details)


def _reason(lines: tuple[str, ...]) -> str:
    """The one line that says why: the last, or the one that stands before a traceback."""
    for number, line in enumerate(lines):
        if number and line.startswith("Traceback "):
            return lines[number - 1]
    return lines[-1] if lines else ""


def _of_signal(exit_code: int) -> str:
    """Why, of a process that could not say it: what it said last is about something else."""
    if exit_code != -SIGKILL:
        return ""
    return "it was killed, as the system does where memory runs out; give it more, or run fewer at once"
