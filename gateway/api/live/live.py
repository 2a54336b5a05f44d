"""Server-sent events: what the bus tells after each commit, to everybody who watches.

Every watcher has a bounded queue. One that reads too slowly loses it and is told to load everything again;
progress and arrivals, of which only the newest matters, replace each other in the queue. Whoever comes back
says the last line of the timeline that he was told (`Last-Event-ID`), and is told what came after it.
"""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Final

from anyio import to_thread
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.events import Bus, Event, InstanceStored, JobProgressed
from gateway.ledger.store import Ledger

from ..problems import problem
from .told import RELOAD, TOLD, Content, LedgerTimeline, Timeline

HEARTBEAT_S = 15.0
GATHER_S = 0.1
"""Pause between two helpings: a thousand slices that arrive make ten lines a second, not a thousand."""
MAX_WAITING = 512
MAX_WATCHERS = 100

TOO_MANY = "too many are watching; close other pages, then reload"


StillKnown = Callable[[], Awaitable[bool]]
STILL_KNOWN: Final = "is_still_known"
"""Under this name a request's state has it."""


async def _for_ever() -> bool:
    """Where nobody's leave ends."""
    return True


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
        """Let `wait` end."""
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            return  # its event loop is gone, and the client with it

    async def wait(self, timeout_s: float) -> None:
        """Until there is something to take, or the time is over."""
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return
        self._wake.clear()

    def take(self) -> tuple[list[Event], bool]:
        """What waits; and whether the queue overflowed."""
        with self._lock:
            taken, overflowed = list(self._waiting.values()), self._overflowed
            self._waiting.clear()
            self._overflowed = False
        return taken, overflowed


class LiveFeed:
    """Hands the bus's events to every watcher as the text of `text/event-stream`."""

    def __init__(self, bus: Bus, timeline: Timeline, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._timeline = timeline
        self._heartbeat_s = heartbeat_s
        self._watchers: set[_Watcher] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._unsubscribe = bus.subscribe(self._on_event)

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return len(self._watchers)

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

    @contextmanager
    def place(self) -> Iterator[_Watcher]:
        """A place of one client's own, until it is left.

        Raises
        ------
        TooManyWatchers
        """
        watcher = _Watcher(asyncio.get_running_loop())
        with self._lock:
            if len(self._watchers) >= MAX_WATCHERS:
                raise TooManyWatchers
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    async def stream(
        self, watcher: _Watcher, last_heard: str = "", is_still_known: StillKnown = _for_ever
    ) -> AsyncGenerator[str, None]:
        """One client's stream, from its first line on.

        Parameters
        ----------
        last_heard
            The last `id` that it was told in an earlier stream; empty: it comes for the first time.
        is_still_known
            Whether the client may still ask; the stream ends when it may not.
        """
        line = await self._told()
        yield "retry: 2000\n\n: connected\n\n"
        for number, content in await self._missed(last_heard, line):
            yield _message(content, number)
        yield _ended(line)
        while not self._closed:
            await watcher.wait(self._heartbeat_s)
            if not await is_still_known():
                return
            before, line = line, await self._told()  # first: what was told up to there is in the queue
            events, overflowed = watcher.take()
            if overflowed:
                yield _message(RELOAD)
            elif not events and not self._closed:
                yield ": still here\n\n"
            for content in await to_thread.run_sync(self._contents, events):
                yield _message(content)
            if line != before:
                yield _ended(line)
            await asyncio.sleep(GATHER_S)

    def _contents(self, events: Sequence[Event]) -> list[Content]:
        return [self._timeline.content(event) for event in events]

    async def _told(self) -> int:
        return await to_thread.run_sync(self._timeline.told)

    async def _missed(self, last_heard: str, line: int) -> list[tuple[int | None, Content]]:
        if not last_heard:
            return []
        if not (last_heard.isascii() and last_heard.isdecimal() and len(last_heard) < 19):
            return [(None, RELOAD)]  # no id of ours
        return list(await to_thread.run_sync(self._timeline.missed, int(last_heard), line))

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, TOLD):
            return
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.put(event)


class LiveStream(Response):
    """One client's stream as a response, which has its place until the connection is over."""

    media_type = "text/event-stream"

    def __init__(self, feed: LiveFeed, last_heard: str) -> None:
        super().__init__()
        self._feed, self._last_heard = feed, last_heard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the stream, or with a problem where no place is left."""
        is_still_known = scope.get("state", {}).get(STILL_KNOWN, _for_ever)
        try:
            with self._feed.place() as watcher:
                async with aclosing(self._feed.stream(watcher, self._last_heard, is_still_known)) as stream:
                    answer = StreamingResponse(
                        stream, media_type=self.media_type, headers={"X-Accel-Buffering": "no"}
                    )
                    await answer(scope, receive, send)
        except TooManyWatchers:
            await problem(503, TOO_MANY)(scope, receive, send)


def live_feed(ledger: Ledger) -> LiveFeed:
    """What happens in a ledger."""
    return LiveFeed(ledger.bus, LedgerTimeline(ledger))


def _about(event: Event) -> str:
    return event.job_key if isinstance(event, JobProgressed) else getattr(event, "study_uid", "")


def _message(content: Content, line: int | None = None) -> str:
    said = "" if line is None else f"id: {line}\n"
    return f"{said}data: {json.dumps(content)}\n\n"


def _ended(line: int) -> str:
    """Say, in a message without data, up to which line of the timeline everything was told."""
    return f"id: {line}\n\n"
