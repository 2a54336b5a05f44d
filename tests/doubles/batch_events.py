"""The events of the Batch double, put into moto's EventBridge: late, twice, not at all, in another order."""

import json
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

STATE_CHANGE = "Batch Job State Change"
QUEUE_BLOCKED = "Batch Job Queue Blocked"


class Events:
    """Puts events in a thread of its own, in the order in which they were emitted.

    Parameters
    ----------
    put
        Sends entries of PutEvents; None: nobody listens.
    """

    def __init__(self, put: Callable[[list[dict[str, Any]]], object] | None) -> None:
        self._put = put
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._due: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._timers: list[threading.Timer] = []
        self._open = 0
        self._delay_s = 0.0
        self._copies = 1
        self._drop = 0
        self._held: list[dict[str, Any]] = []
        self._hold_up_to = 0
        self.emitted: list[dict[str, Any]] = []
        """The details of all events, those that were dropped too."""
        self.trouble: list[str] = []
        """Why events could not be put."""
        self._thread = threading.Thread(target=self._send, name="batch-double-events", daemon=True)
        self._thread.start()

    def delay(self, seconds: float) -> None:
        """Send each event so much later, from now on."""
        with self._lock:
            self._delay_s = seconds

    def repeat(self, copies: int = 2) -> None:
        """Send each event so many times, from now on."""
        with self._lock:
            self._copies = copies

    def drop(self, count: int) -> None:
        """Swallow the next ones."""
        with self._lock:
            self._drop = count

    def reorder(self, count: int) -> None:
        """Hold the next ones back until there are so many, then send them backwards."""
        with self._lock:
            self._hold_up_to = count

    def emit(self, detail_type: str, resources: list[str], detail: dict[str, Any]) -> None:
        """Let something be known."""
        entry = {
            "Source": "aws.batch",
            "DetailType": detail_type,
            "Time": datetime.now(UTC),
            "Resources": resources,
            "Detail": json.dumps(detail),
        }
        with self._lock:
            self.emitted.append(detail)
            if self._put is None:
                return
            if self._drop:
                self._drop -= 1
                return
            self._pass_on(entry)

    def wait_until_sent(self, timeout_s: float = 60.0) -> None:
        """Wait until all that was emitted, but for what is held back, has been put."""
        with self._idle:
            assert self._idle.wait_for(lambda: not self._open, timeout_s), "events were not sent in time"

    def close(self) -> None:
        """Send no more."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
        self._due.put(None)
        self._thread.join(10)

    def _pass_on(self, entry: dict[str, Any]) -> None:
        if self._hold_up_to:
            self._held.append(entry)
            if len(self._held) < self._hold_up_to:
                return
            entries, self._held, self._hold_up_to = self._held[::-1], [], 0
        else:
            entries = [entry]
        for each in entries:
            for _ in range(self._copies):
                self._open += 1
                if self._delay_s:
                    timer = threading.Timer(self._delay_s, self._due.put, [each])
                    timer.daemon = True
                    self._timers.append(timer)
                    timer.start()
                else:
                    self._due.put(each)

    def _send(self) -> None:
        while (entry := self._due.get()) is not None:
            try:
                assert self._put is not None
                self._put([entry])
            except (BotoCoreError, ClientError) as error:
                self.trouble.append(str(error))
            finally:
                with self._idle:
                    self._open -= 1
                    self._idle.notify_all()
