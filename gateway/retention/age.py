"""The time by which ages are counted: a clock that is set forward must not make everything old at once.

Waits are clamped to their longest length; an age has none. So what removes goes by the wall clock only as
far as the time that passed in this process bears it out: set back it is followed, set forward it is not.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.workers.waits import wall_clock

TOLERATED: Final = timedelta(hours=1)
"""So far a wall clock may run ahead of the time that passed: set by the network, or a little at a time."""


def passed_s() -> float:
    """Seconds that pass whatever the wall clock is set to, also while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class AgeClock:
    """Says how late it is, for ages.

    Parameters
    ----------
    now, passed
        The two clocks; tests give their own.
    """

    def __init__(
        self, now: Callable[[], datetime] = wall_clock, passed: Callable[[], float] = passed_s
    ) -> None:
        self._now = now
        self._passed = passed
        self._began_at, self._began_s = now(), passed()

    def now(self) -> datetime:
        """The wall clock's time, or the one that it would show had nobody set it forward."""
        borne_out = self._borne_out()
        now = self._now()
        return borne_out if now > borne_out + TOLERATED else now

    def complaint(self) -> str:
        """That the clock was set forward, and what follows; empty where it was not."""
        ahead = self._now() - self._borne_out()
        if ahead <= TOLERATED:
            return ""
        hours = ahead / timedelta(hours=1)
        return (
            f"the clock of this machine was set forward by {hours:,.0f} h while the gateway runs: ages are"
            f" counted as if it were {self._borne_out():%Y-%m-%d %H:%M} UTC; set it right, or, where it is"
            " right now, restart the gateway"
        )

    def _borne_out(self) -> datetime:
        return self._began_at.astimezone(UTC) + timedelta(seconds=self._passed() - self._began_s)
