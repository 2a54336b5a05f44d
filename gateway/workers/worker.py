"""A thread that is woken by events and by time, does what is due, and sleeps again: no polling loops."""

import threading
from abc import ABC, abstractmethod

import structlog

from gateway.events import Bus, Event

log = structlog.get_logger(__name__)

IDLE_S = 60.0
"""At the latest so often it looks, should an event ever be missed."""
SHORTEST_SLEEP_S = 0.05


class Worker(ABC):
    """One thread with one kind of work, which must be idempotent.

    Parameters
    ----------
    name
        For the log and the thread.
    """

    def __init__(self, name: str, bus: Bus) -> None:
        self.name = name
        self.trouble = ""
        """What it waits for outside, in a sentence; empty when nothing is wrong there."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
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

    @property
    def is_stopping(self) -> bool:
        """Whether the thread was asked to end."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._thread.start()

    def stop(self) -> None:
        """End after the piece of work at hand."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def look_again(self) -> None:
        """Do not sleep after the present look."""
        self._wake.set()

    def _on_event(self, event: Event) -> None:
        if self.is_woken_by(event):
            self._wake.set()

    def _run(self) -> None:
        while not self.is_stopping:
            self._wake.clear()
            try:
                wait_s = self.work()
            except Exception:
                log.exception("worker_failed", worker=self.name)
                wait_s = None
            self._wake.wait(IDLE_S if wait_s is None else max(wait_s, SHORTEST_SLEEP_S))
