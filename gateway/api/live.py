"""Server-sent events: what the bus tells after each commit, to everybody who watches.

Every watcher has a bounded queue. One that reads too slowly loses it and is told to load everything again;
progress and arrivals, of which only the newest matters, replace each other in the queue.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from anyio import to_thread

from gateway.events import (
    Bus,
    DeliveryChanged,
    Event,
    InstanceStored,
    JobChanged,
    JobProgressed,
    ObjectQuarantined,
    StudyChanged,
)
from gateway.ledger.erasing import FORGOTTEN

HEARTBEAT_S = 15.0
GATHER_S = 0.1
"""Pause between two helpings: a thousand slices that arrive make ten lines a second, not a thousand."""
MAX_WAITING = 512
MAX_WATCHERS = 100

RELOAD = {"kind": "reload"}


class TooManyWatchers(Exception):
    """Every place is taken."""


class _Watcher:
    """One client's queue; filled by any thread, emptied by its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[object, Event] = {}
        self._overflowed = False
        self._lock = threading.Lock()
        self._wake = asyncio.Event()

    def put(self, event: Event) -> None:
        """Queue one event."""
        newest_only = isinstance(event, JobProgressed | InstanceStored)
        slot: object = (type(event), _about(event)) if newest_only else object()
        with self._lock:
            if slot not in self._waiting and len(self._waiting) >= MAX_WAITING:
                self._waiting.clear()
                self._overflowed = True
            if not self._overflowed:
                self._waiting[slot] = event
        self.wake()

    def wake(self) -> None:
        """Let `take` look again."""
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            return  # its event loop is gone, and the client with it

    async def take(self, timeout_s: float) -> tuple[list[Event], bool]:
        """What waits, or nothing after the timeout; and whether the queue overflowed."""
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return [], False
        self._wake.clear()
        with self._lock:
            taken, overflowed = list(self._waiting.values()), self._overflowed
            self._waiting.clear()
            self._overflowed = False
        return taken, overflowed


class LiveFeed:
    """Hands the bus's events to every watcher as the text of `text/event-stream`.

    Parameters
    ----------
    study_key
        The opaque key of a study, by its UID; asked in a thread, since it reads the ledger.
    """

    def __init__(
        self, bus: Bus, study_key: Callable[[str], str | None], heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._study_key = study_key
        self._heartbeat_s = heartbeat_s
        self._watchers: set[_Watcher] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._unsubscribe = bus.subscribe(self._on_event)

    def close(self) -> None:
        """End every stream now; called from any thread before the server stops."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            watchers = list(self._watchers)
        self._unsubscribe()
        for watcher in watchers:
            watcher.wake()

    def watch(self) -> AsyncIterator[str]:
        """One client's stream, from its first line on.

        Raises
        ------
        TooManyWatchers
        """
        with self._lock:
            if len(self._watchers) >= MAX_WATCHERS:
                raise TooManyWatchers
        return self._stream()

    async def _stream(self) -> AsyncIterator[str]:
        watcher = _Watcher(asyncio.get_running_loop())
        with self._lock:
            self._watchers.add(watcher)
        try:
            yield "retry: 2000\n\n: connected\n\n"
            while not self._closed:
                events, overflowed = await watcher.take(self._heartbeat_s)
                if overflowed:
                    yield _line(RELOAD)
                elif not events and not self._closed:
                    yield ": still here\n\n"
                for event in events:
                    yield _line(await self._told(event))
                await asyncio.sleep(GATHER_S)
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    async def _told(self, event: Event) -> dict[str, Any]:
        if isinstance(event, StudyChanged) and event.state == FORGOTTEN:
            return RELOAD  # it has no key any more
        content = _content(event)
        study_uid = getattr(event, "study_uid", None)
        if study_uid is not None:
            content["study_key"] = await to_thread.run_sync(self._study_key, study_uid)
        return content

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, _TOLD):
            return
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.put(event)


_TOLD = (StudyChanged, JobChanged, JobProgressed, DeliveryChanged, ObjectQuarantined, InstanceStored)


def _about(event: Event) -> str:
    return event.job_key if isinstance(event, JobProgressed) else getattr(event, "study_uid", "")


def _content(event: Event) -> dict[str, Any]:
    match event:
        case StudyChanged():
            return {"kind": "study", "state": event.state}
        case JobChanged():
            return {"kind": "job", "job_key": event.job_key, "event": event.event, "state": event.state}
        case JobProgressed():
            return {
                "kind": "progress",
                "job_key": event.job_key,
                "state": "running",
                "stage": event.stage,
                "fraction": event.fraction,
            }
        case DeliveryChanged():
            return {"kind": "delivery", "key": event.key, "event": event.event, "state": event.state}
        case ObjectQuarantined():
            return {"kind": "quarantine", "key": event.key, "reason": event.reason}
        case _:
            return {"kind": "instances", "state": "receiving"}


def _line(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
