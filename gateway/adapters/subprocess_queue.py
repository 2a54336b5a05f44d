"""The job queue on this machine: each run is a subprocess, which dies with this process.

A run reads its standard input: when the pipe closes, because the gateway ended or was killed, it ends.
"""

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from batch_job.contract import (
    DIE_WITH_PARENT_VARIABLE,
    EXIT_INTERRUPTED,
    EXIT_TRANSIENT,
    PROGRESS_NAME,
    RUN_VARIABLE,
    ContractError,
    Progress,
)

from .errors import OutsideError
from .queue import JobNews, JobTicket, RunEnded, RunProgressed, RunQueued, RunStarted

log = structlog.get_logger(__name__)

LOOK_AT_PROGRESS_S = 1.0
STOP_TIMEOUT_S = 15.0
"""How long a run may take to end after SIGTERM before it is killed."""
LAST_LINES = 200


class SubprocessQueue:
    """Runs up to `workers` jobs at once, the most urgent first.

    Parameters
    ----------
    command
        What the address is appended to; the default is this Python's `-m batch_job`.
    read_progress
        Gives a run's `progress.json`, None where there is none (yet); the default reads the folder that its
        address names.
    environment
        Variables for the runs, beside this process's own.
    """

    def __init__(
        self,
        workers: int = 1,
        command: tuple[str, ...] = (),
        *,
        read_progress: Callable[[JobTicket], bytes | None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command or (sys.executable, "-m", "batch_job")
        self._read_progress = read_progress or _progress_in_folder
        self._environment = dict(environment or {})
        self._waiting: queue.PriorityQueue[tuple[int, int, JobTicket | None]] = queue.PriorityQueue()
        self._count = 0
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._cancelled: set[JobTicket] = set()
        self._open: dict[str, JobTicket] = {}
        self._stopping = threading.Event()
        self._on_news: Callable[[JobNews], None] = lambda news: None
        self._threads = [
            threading.Thread(target=self._work, name=f"local-queue-{n}", daemon=True) for n in range(workers)
        ]

    def start(self, on_news: Callable[[JobNews], None]) -> None:
        """Begin to run what is submitted."""
        self._on_news = on_news
        for thread in self._threads:
            thread.start()

    def submit(self, ticket: JobTicket) -> str:
        """Put one run in line; that it waits is told before it can start."""
        self._on_news(RunQueued(ticket.job_key, ticket.run))
        with self._lock:
            self._count += 1
            self._open[ticket.job_key] = ticket
            self._waiting.put((-ticket.priority, self._count, ticket))
        return ""

    def cancel(self, job_key: str, queue_id: str = "") -> None:
        """End the run of a job, or take it out of the line."""
        with self._lock:
            ticket = self._open.get(job_key)
            if ticket is None:
                return
            self._cancelled.add(ticket)
            process = self._running.get(job_key)
        if process is not None:
            process.terminate()

    def stop(self) -> None:
        """End every run and wait for it."""
        self._stopping.set()
        with self._lock:
            for process in self._running.values():
                process.terminate()
            for _ in self._threads:
                self._count += 1
                self._waiting.put((-sys.maxsize, self._count, None))
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    # -- one worker ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stopping.is_set():
            ticket = self._waiting.get()[2]
            if ticket is None or self._stopping.is_set():
                return
            ended = self._run(ticket)
            with self._lock:
                self._cancelled.discard(ticket)
                if self._open.get(ticket.job_key) is ticket:
                    del self._open[ticket.job_key]
            if not self._stopping.is_set():
                self._on_news(ended)

    def _run(self, ticket: JobTicket) -> RunEnded:
        with self._lock:
            if ticket in self._cancelled:
                return RunEnded(ticket.job_key, ticket.run, EXIT_INTERRUPTED, "cancelled")
            try:
                process = self._begin(ticket)
            except OSError as error:
                reason = f"the job cannot be started ({error.strerror})"
                return RunEnded(ticket.job_key, ticket.run, EXIT_TRANSIENT, reason)
            self._running[ticket.job_key] = process
        try:
            self._on_news(RunStarted(ticket.job_key, ticket.run))
            return self._follow(ticket, process)
        finally:
            with self._lock:
                del self._running[ticket.job_key]

    def _begin(self, ticket: JobTicket) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **self._environment,
            RUN_VARIABLE: str(ticket.run),
            DIE_WITH_PARENT_VARIABLE: "1",
        }
        return subprocess.Popen(
            [*self._command, ticket.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def _follow(self, ticket: JobTicket, process: subprocess.Popen[bytes]) -> RunEnded:
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        reader = threading.Thread(target=_read_lines, args=(process, last_lines), daemon=True)
        reader.start()
        seen: tuple[str, float] | None = None
        terminated_for_s = 0.0
        while True:
            try:
                exit_code = process.wait(LOOK_AT_PROGRESS_S)
                break
            except subprocess.TimeoutExpired:
                seen = self._tell_progress(ticket, seen)
            if self._stopping.is_set() or ticket in self._cancelled:
                terminated_for_s += LOOK_AT_PROGRESS_S
                if terminated_for_s >= STOP_TIMEOUT_S:
                    process.kill()
        reader.join()
        if process.stdin is not None:
            process.stdin.close()
        return RunEnded(ticket.job_key, ticket.run, exit_code, _reason(list(last_lines)))

    def _tell_progress(self, ticket: JobTicket, seen: tuple[str, float] | None) -> tuple[str, float] | None:
        try:
            content = self._read_progress(ticket)
            progress = Progress.from_json(content) if content is not None else None
        except (OSError, OutsideError, ContractError) as error:
            log.warning("progress_not_readable", job_key=ticket.job_key, error=type(error).__name__)
            return seen
        if progress is None or (progress.stage, progress.fraction) == seen:
            return seen
        self._on_news(RunProgressed(ticket.job_key, ticket.run, progress.stage, progress.fraction))
        return progress.stage, progress.fraction


def _progress_in_folder(ticket: JobTicket) -> bytes | None:
    try:
        return (Path(ticket.address) / PROGRESS_NAME).read_bytes()
    except FileNotFoundError:
        return None


def _read_lines(process: subprocess.Popen[bytes], last_lines: deque[str]) -> None:
    """Keep the last of what a run says, and never let its pipe fill."""
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            text = line.decode("utf-8", "replace").strip()
            if text:
                last_lines.append(text[:300])


def _reason(lines: list[str]) -> str:
    """The one line that says why: the last, or the one that stands before a traceback."""
    for number, line in enumerate(lines):
        if number and line.startswith("Traceback "):
            return lines[number - 1]
    return lines[-1] if lines else ""
