"""Waits that no jump of the wall clock stretches or cuts short.

The ledger keeps times of the wall clock, which may be set at any moment. Inside this process a wait is
measured by the monotonic clock from the moment it is first seen; what an earlier process left of it is never
taken for longer than the wait's own longest length.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.ledger.records import utc_text, utc_time

from .attempts import Backoff


def wall_clock() -> datetime:
    """The present, as the ledger's times are."""
    return datetime.now(UTC)


class Waits:
    """How much is left of waits that the ledger tells of.

    Parameters
    ----------
    monotonic, now
        The two clocks; tests give their own.
    """

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = wall_clock
    ) -> None:
        self.monotonic = monotonic
        self._now = now
        self._ends: dict[str, tuple[str, float, float]] = {}

    def left_s(self, key: str, until: str, longest_s: float) -> float:
        """Seconds until a time in the ledger, at most the longest; 0 when it has come.

        Parameters
        ----------
        key
            What waits; another `until` of the same key is another wait.
        """
        known = self._ends.get(key)
        if known is None or known[:2] != (until, longest_s):
            left_s = (utc_time(until) - self._now()).total_seconds()
            known = until, longest_s, self.monotonic() + min(max(left_s, 0.0), longest_s)
            self._ends[key] = known
        return max(0.0, known[2] - self.monotonic())

    def left_after_s(self, key: str, since: str, length_s: float) -> float:
        """Seconds until so long after a time in the ledger; never more than the length."""
        return self.left_s(key, utc_text(utc_time(since) + timedelta(seconds=length_s)), length_s)

    def known(self) -> list[str]:
        """What waits, as far as it was asked about."""
        return list(self._ends)

    def keep(self, keys: Collection[str]) -> None:
        """Forget every wait but these."""
        for key in self._ends.keys() - set(keys):
            del self._ends[key]


@dataclass(frozen=True)
class _Rest:
    """Why and until when something is not tried."""

    reason: str
    times: int
    ends_at: float


class Rests:
    """What is put off for a fault that is not its own: until when, why, and how often in a row.

    It is kept in memory: the ledger, where it says the same, may be the very thing that fails.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._rests: dict[str, _Rest] = {}
        self._lock = threading.Lock()

    def put_off(self, key: str, backoff: Backoff, reason: str, earlier: int | None = None) -> float:
        """Let it rest, the longer the more often in a row; the seconds.

        Parameters
        ----------
        earlier
            How often it was put off before, where somebody else counts that.
        """
        with self._lock:
            times = self._rests[key].times if key in self._rests else 0
            delay_s = backoff.delay_s(times if earlier is None else earlier)
            self._rests[key] = _Rest(reason, times + 1, self._monotonic() + delay_s)
            return delay_s

    def times(self, key: str) -> int:
        """How often in a row it was put off."""
        with self._lock:
            return self._rests[key].times if key in self._rests else 0

    def resume(self, key: str) -> None:
        """Nothing is wrong with it any more, or nobody waits for it."""
        with self._lock:
            self._rests.pop(key, None)

    def try_now(self, key: str) -> None:
        """End the rest, not the count."""
        with self._lock:
            if key in self._rests:
                self._rests[key] = replace(self._rests[key], ends_at=self._monotonic())

    def keep(self, keys: Collection[str]) -> None:
        """Forget all but these."""
        with self._lock:
            for key in self._rests.keys() - set(keys):
                del self._rests[key]

    def known(self) -> list[str]:
        """All that was put off and has not been done since, resting or not."""
        with self._lock:
            return list(self._rests)

    def left_s(self) -> dict[str, float]:
        """What rests now, each with its seconds."""
        now = self._monotonic()
        with self._lock:
            return {key: rest.ends_at - now for key, rest in self._rests.items() if rest.ends_at > now}

    def complaint(self) -> str:
        """Why something rests, and how much besides; empty when nothing is put off."""
        with self._lock:
            reasons = [rest.reason for rest in self._rests.values()]
        return reasons[0] + (f" ({len(reasons)} wait)" if len(reasons) > 1 else "") if reasons else ""
