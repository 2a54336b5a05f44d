"""One run of a job at a process of this machine: begun, asked to end, seen to its end."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from batch_job.contract import EXIT_NAME, PROGRESS_NAME, ContractError, Progress, RunExit

from .errors import OutsideError
from .queue import JobTicket, RunEnded, RunProgressed
from .worker_process import Ending, WorkerProcess

log = structlog.get_logger(__name__)

LOOK_AT_PROGRESS_S: Final = 1.0
GRACE_S: Final = 8.0
"""How long a run may take to end after SIGTERM before it is killed: less than the gateway takes to stop."""

ReadFile = Callable[[JobTicket, str], bytes | None]
"""Gives a file of a job's folder, None where there is none (yet)."""


class RunProcess:
    """A process that works on one run, and on no other meanwhile."""

    def __init__(self, worker: WorkerProcess, ticket: JobTicket, read: ReadFile) -> None:
        self._worker = worker
        self._ticket = ticket
        self._read = read
        self._asked_to_end: float | None = None
        self._said: bytes | None = None
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
            self._worker.terminate()

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._worker.kill()

    def see_to_the_end(self, on_progress: Callable[[RunProgressed], None]) -> RunEnded:
        """Have it done, tell its progress, and return how it ended."""
        # What an earlier run left is none of this one.
        self._said, left_before = self._file(PROGRESS_NAME), self._file(EXIT_NAME)
        self._worker.begin(self._ticket)
        while (ending := self._worker.ending(LOOK_AT_PROGRESS_S)) is None:
            if (progress := self._new_progress()) is not None:
                on_progress(progress)
            if self._asked_to_end is not None and time.monotonic() - self._asked_to_end >= GRACE_S:
                self._worker.kill()
        left = self._file(EXIT_NAME)
        return self._ended(ending, left if left != left_before else None)

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

    def _ended(self, ending: Ending, left: bytes | None) -> RunEnded:
        """What the run itself left of its end, else what was seen of it."""
        key, run = self._ticket.job_key, self._ticket.run
        try:
            word = RunExit.from_json(left) if left is not None else None
            if word is not None and word.run == run:
                return RunEnded(key, run, word.code, word.sentence)
        except ContractError:
            log.warning("exit_not_readable", job_key=key, run=run)
        return RunEnded(key, run, ending.code, ending.sentence)

    def _file(self, name: str) -> bytes | None:
        try:
            return self._read(self._ticket, name)
        except (OSError, OutsideError) as error:
            log.warning("job_folder_not_readable", job_key=self._ticket.job_key, error=type(error).__name__)
            return None
