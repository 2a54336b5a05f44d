"""The job queue on this machine: runs are done by subprocesses, which die with this process.

It has runs begun, ends them, and keeps what it saw of them to be looked at until it is told to forget them:
whoever writes that down elsewhere can do so as often, and as late, as it takes. Of two runs of one job the
second begins when the first has ended, also one that was cancelled. A subprocess is kept from one run to the
next, which finds loaded what takes long to load.
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from batch_job.contract import EXIT_INTERRUPTED, EXIT_TRANSIENT

from .queue import JobNews, JobTicket, RunEnded, RunQueued, RunStarted
from .run_process import GRACE_S, ReadFile, RunProcess
from .workplace import Workplace

log = structlog.get_logger(__name__)

AFTER_A_DEFECT_S: Final = 1.0


@dataclass
class _Run:
    """What is known of one run; changed under the queue's lock."""

    ticket: JobTicket
    number: int
    """In the order in which they came."""
    news: list[JobNews]
    process: RunProcess | None = None
    """None: it waits, or has ended."""
    is_over: bool = False

    @property
    def waits(self) -> bool:
        return self.process is None and not self.is_over

    def tell(self, news: JobNews) -> None:
        """Add news; of the same kind the newest alone is kept."""
        self.news = [each for each in self.news if each.rank != news.rank] + [news]


@dataclass(frozen=True)
class KnownRun:
    """How a run stands."""

    job_key: str
    run: int
    news: tuple[JobNews, ...]
    """What has become of it, from its beginning."""
    is_over: bool
    for_s: float
    """How long it goes on; 0 where it does not."""
    still_s: float
    """How long ago it got further; 0 where it does not go on."""


class SubprocessQueue:
    """Runs up to `workers` jobs at once, the most urgent first.

    Parameters
    ----------
    command
        What `--serve` is appended to; the default is this Python's `-m batch_job`.
    read
        The default reads the folder that the address names.
    environment
        Variables for the runs, beside this process's own.
    keep_warm_s
        For how many seconds a process without work is kept; 0: a process for each run.
    """

    def __init__(
        self,
        workers: int = 1,
        command: tuple[str, ...] = (),
        *,
        read: ReadFile | None = None,
        environment: Mapping[str, str] | None = None,
        keep_warm_s: float = 0.0,
    ) -> None:
        self._read = read or _read_in_folder
        self._count = 0
        self._changed = threading.Condition()
        self._runs: dict[str, dict[int, _Run]] = {}
        self._is_stopping = False
        self._on_change: Callable[[], None] = lambda: None
        command = command or (sys.executable, "-m", "batch_job")
        self._workplaces = [Workplace(command, environment or {}, keep_warm_s) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(workplace,), name=f"local-queue-{n}", daemon=True)
            for n, workplace in enumerate(self._workplaces)
        ]

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to run what is submitted.

        Parameters
        ----------
        on_change
            Told, in any thread, that something has changed that can be looked at; must return at once.
        """
        self._on_change = on_change
        for thread in self._threads:
            thread.start()

    def submit(self, ticket: JobTicket) -> None:
        """Put a run in line; one that is known already is left as it is."""
        with self._changed:
            self._count += 1
            run = _Run(ticket, self._count, [RunQueued(ticket.job_key, ticket.run)])
            self._runs.setdefault(ticket.job_key, {}).setdefault(ticket.run, run)
            self._changed.notify_all()
        self._on_change()

    def cancel(self, job_key: str, run: int) -> None:
        """End a run, or take it out of the line; one that has ended or is not known is no error."""
        with self._changed:
            known = self._runs.get(job_key, {}).get(run)
            if known is None or known.is_over:
                return
            if known.process is not None:
                known.process.ask_to_end()
            else:
                self._end(known, RunEnded(job_key, run, EXIT_INTERRUPTED, "the run was cancelled"))
        self._on_change()

    def look(self, job_key: str) -> list[KnownRun]:
        """How the runs of a job stand that are known."""
        with self._changed:
            return [
                KnownRun(
                    job_key,
                    number,
                    tuple(run.news),
                    run.is_over,
                    for_s=run.process.for_s if run.process is not None else 0.0,
                    still_s=run.process.still_s if run.process is not None else 0.0,
                )
                for number, run in self._runs.get(job_key, {}).items()
            ]

    def begun(self) -> set[str]:
        """The jobs with a run that goes on, or that has ended and is not forgotten."""
        with self._changed:
            return {key for key, runs in self._runs.items() if not all(run.waits for run in runs.values())}

    def forget(self, job_key: str, run: int) -> None:
        """Forget a run that has ended: all that is to be known of it is written down."""
        with self._changed:
            runs = self._runs.get(job_key, {})
            if run in runs and runs[run].is_over:
                del runs[run]
            if not runs:
                self._runs.pop(job_key, None)

    def stop(self, timeout_s: float = GRACE_S + 1.0) -> None:
        """End every run and wait for it; one that hangs longer sees its standard input close."""
        with self._changed:
            self._is_stopping = True
            for run in (run for runs in self._runs.values() for run in runs.values()):
                if run.process is not None:
                    run.process.ask_to_end()
            self._changed.notify_all()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))

    # -- one worker ---------------------------------------------------------------------------------------

    def _work(self, workplace: Workplace) -> None:
        while not self._is_stopping:
            try:
                if (run := self._next(workplace)) is not None:
                    self._follow(run)
                workplace.clear_away()
            except BaseException:  # only `stop` ends this thread
                log.exception("local_queue_failed")
                time.sleep(AFTER_A_DEFECT_S)
        workplace.close()

    def _next(self, workplace: Workplace) -> _Run | None:
        """Begin the most urgent run that may, once there is one; None: look after the workplace."""
        with self._changed:
            while not self._is_stopping:
                able = self._able()
                if len(able) > self._better_placed(workplace):
                    run = min(able, key=lambda run: (-run.ticket.priority, run.number))
                    self._begin(run, workplace)
                    return run if run.process is not None else None
                if workplace.left_s == 0:
                    return None
                with workplace.waiting():
                    self._changed.wait(workplace.left_s)
            return None

    def _able(self) -> list[_Run]:
        """The runs that may begin."""
        return [
            run
            for runs in self._runs.values()
            if not any(run.process for run in runs.values())
            for run in runs.values()
            if run.waits
        ]

    def _better_placed(self, workplace: Workplace) -> int:
        """How many workers wait that have a process already, where this one would have to start one."""
        return 0 if workplace.is_warm else sum(each.is_warm and each.waits for each in self._workplaces)

    def _begin(self, run: _Run, workplace: Workplace) -> None:
        """Have a process for it; where there is none to be had, the run is over."""
        ticket = run.ticket
        try:
            run.process = RunProcess(workplace.worker(), ticket, self._read)
            run.tell(RunStarted(ticket.job_key, ticket.run))
        except Exception as error:
            log.exception("run_not_started", job_key=ticket.job_key, run=ticket.run)
            reason = f"the job cannot be started ({getattr(error, 'strerror', None) or 'the log says why'})"
            self._end(run, RunEnded(ticket.job_key, ticket.run, EXIT_TRANSIENT, reason))
        self._on_change()

    def _follow(self, run: _Run) -> None:
        """See a run to its end, whatever happens meanwhile."""
        process, ticket = run.process, run.ticket
        assert process is not None
        try:
            ended = process.see_to_the_end(lambda progress: self._note(run, progress))
        except BaseException:
            log.exception("run_not_followed", job_key=ticket.job_key, run=ticket.run)
            process.kill()
            reason = "the gateway lost sight of the run; the log names the place"
            ended = RunEnded(ticket.job_key, ticket.run, EXIT_TRANSIENT, reason)
        with self._changed:
            self._end(run, ended)
        self._on_change()

    def _note(self, run: _Run, news: JobNews) -> None:
        with self._changed:
            run.tell(news)
        self._on_change()

    def _end(self, run: _Run, ended: RunEnded) -> None:
        run.process = None
        run.is_over = True
        run.tell(ended)
        self._changed.notify_all()


def _read_in_folder(ticket: JobTicket, name: str) -> bytes | None:
    try:
        return (Path(ticket.address) / name).read_bytes()
    except FileNotFoundError:
        return None
