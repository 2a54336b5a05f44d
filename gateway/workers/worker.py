"""A thread that is woken by events and by time, does what is due, and sleeps again: no polling loops.

It ends by `stop` and by nothing else: what its work raises is logged, and tried again the later the more
often in a row. What it does and since when is known, so one that hangs, fails again and again, or has ended
says so by name.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.events import Bus, Event

from .attempts import Backoff, fault_of

log = structlog.get_logger(__name__)

IDLE_S = 60.0
"""At the latest so often it looks, should an event ever be missed."""
SHORTEST_SLEEP_S = 0.05
LIMIT_S: Final = 600.0
"""A piece of work that takes longer, without a heartbeat, is told as stalled."""
AFTER_A_FAILURE = Backoff(1.0, 30.0)
FAILURES_WORTH_SAYING: Final = 3
"""Looks in a row that raised, from which on it is told: one may be chance."""
LAST_RESORT_S: Final = 1.0
"""The pause where not even the log could be written."""


@dataclass(frozen=True)
class Piece:
    """A piece of work at hand.

    Parameters
    ----------
    what
        For a person, without patient data: "a look", "job 3f9a0c".
    beat
        When it last showed life, by the monotonic clock.
    """

    what: str
    limit_s: float
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    beat: float = field(default_factory=time.monotonic)

    @property
    def silent_s(self) -> float:
        """How long it has not shown life."""
        return time.monotonic() - self.beat


class Worker(ABC):
    """One thread with one kind of work, which must be idempotent.

    Parameters
    ----------
    name
        For the log, the thread, and whoever is told that something is wrong with it.
    limit_s
        How long one piece of its work may take without a heartbeat.
    """

    def __init__(self, name: str, bus: Bus, *, limit_s: float = LIMIT_S) -> None:
        self.name = name
        self.limit_s = limit_s
        self.trouble = ""
        """What it waits for, in a sentence; empty when nothing is wrong there."""
        self.piece: Piece | None = None
        """What it does; None while it sleeps."""
        self._failed_looks = 0
        self._last_failure = ""
        self._pause_s = 0.0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._is_started = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        bus.subscribe(self._on_event)

    @abstractmethod
    def is_woken_by(self, event: Event) -> bool:
        """Whether there may be work after this event."""

    @abstractmethod
    def work(self) -> float | None:
        """Do everything that is due; the seconds until something else is, or None when nothing waits.

        It ends early when `is_stopping`.
        """

    def interrupt(self) -> None:  # noqa: B027 (most have nothing to break off)
        """Break off what waits for somebody else, from another thread: the gateway stops."""

    @property
    def is_stopping(self) -> bool:
        """Whether the thread was asked to end."""
        return self._stopping.is_set()

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._is_started = True
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Ask the thread to end after the piece of work at hand, and wait for it; whether it has ended."""
        self._stopping.set()
        self._wake.set()
        self.interrupt()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def look_again(self) -> None:
        """Do not sleep after the present look."""
        self._wake.set()

    def pause(self, delay_s: float) -> None:
        """Do nothing for so long after the present look, whatever happens meanwhile."""
        self._pause_s = delay_s

    def complaint(self) -> str:
        """What is wrong with it, in a sentence; empty when all is well."""
        piece = self.piece
        if self._is_started and not self.is_stopping and not self.is_running:
            return "its thread has ended; restart the gateway"
        if piece is not None and piece.silent_s > piece.limit_s:
            return (
                f"it has been at {piece.what} since {piece.since:%Y-%m-%d %H:%M:%S} UTC, longer than the"
                f" {piece.limit_s:g} s it may take; look at the log, and restart the gateway if it stays so"
            )
        if self._failed_looks >= FAILURES_WORTH_SAYING:
            return f"its last {self._failed_looks} looks failed: {self._last_failure}"
        return self.trouble

    def complaints(self) -> list[str]:
        """All that is wrong, a sentence for each thing that has nothing to do with the others."""
        return [complaint] if (complaint := self.complaint()) else []

    @contextmanager
    def at(self, what: str, limit_s: float | None = None, **about: str) -> Iterator[None]:
        """Say what is being done while the block lasts.

        Parameters
        ----------
        limit_s
            How long it may take without a heartbeat; None: as long as any piece of this worker's.
        about
            Keys that every line of the log has meanwhile, whoever writes it.
        """
        before, self.piece = self.piece, Piece(what, self.limit_s if limit_s is None else limit_s)
        try:
            with structlog.contextvars.bound_contextvars(**about):
                yield
        finally:
            self.piece = before and replace(before, beat=time.monotonic())

    def at_job(self, job_key: str) -> AbstractContextManager[None]:
        """Say of which job a step is being taken."""
        return self.at(f"job {job_key[:12]}", job_key=job_key)

    def at_study(self, study_key: str) -> AbstractContextManager[None]:
        """Say with which study something is being done."""
        return self.at(f"study {study_key[:12]}", study_key=study_key)

    def heartbeat(self) -> None:
        """Say that the piece of work at hand gets on."""
        if self.piece is not None:
            self.piece = replace(self.piece, beat=time.monotonic())

    # -- the thread ---------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if self.is_woken_by(event):
            self._wake.set()

    def _run(self) -> None:
        while not self.is_stopping:
            try:
                self._look_and_sleep()
            except BaseException:  # the log itself failed; only `stop` ends a worker
                self._stopping.wait(LAST_RESORT_S)

    def _look_and_sleep(self) -> None:
        self._pause_s = 0.0
        self._wake.clear()  # before the look: what comes in its course must not be lost
        try:
            with self.at("a look"):
                wait_s = self.work()
            self._failed_looks, self._last_failure = 0, ""
        except BaseException as error:
            self._pause_s = AFTER_A_FAILURE.delay_s(self._failed_looks)
            self._failed_looks += 1
            self._last_failure = fault_of(error, self.name).sentence
            if not self.is_stopping:
                log.exception("worker_failed", worker=self.name, times=self._failed_looks)
            wait_s = 0.0
        if self._pause_s:
            self._stopping.wait(self._pause_s)
        else:
            self._wake.wait(IDLE_S if wait_s is None else max(wait_s, SHORTEST_SLEEP_S))
