"""When the next study may be fetched: so many in an hour, and at certain times of the day only."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import Final

HOUR_S: Final = 3600.0
_DAY: Final = timedelta(days=1)
_WINDOW: Final = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


@dataclass(frozen=True)
class Window:
    """A part of each day, over midnight where it ends before it begins."""

    begin: time_of_day
    end: time_of_day

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Read `20:00-06:00`.

        Raises
        ------
        ValueError
            It is not of that form.
        """
        match = _WINDOW.fullmatch(text.strip())
        hours = [int(part) for part in match.groups()] if match else []
        if not match or not all(h < 24 for h in hours[::2]) or not all(m < 60 for m in hours[1::2]):
            raise ValueError(f"{text!r} is not of the form 20:00-06:00")
        found = cls(time_of_day(hours[0], hours[1]), time_of_day(hours[2], hours[3]))
        if found.begin == found.end:
            raise ValueError(f"{text!r} begins when it ends; leave it out for the whole day")
        return found

    def __str__(self) -> str:
        return f"{self.begin:%H:%M} to {self.end:%H:%M}"

    @property
    def length_h(self) -> float:
        """How long it is; hours."""
        minutes = (self.end.hour - self.begin.hour) * 60 + self.end.minute - self.begin.minute
        return minutes % (24 * 60) / 60

    def opens_in_s(self, now: datetime) -> float:
        """Seconds until it is open; 0 while it is."""
        since_begin = (now - datetime.combine(now.date(), self.begin, now.tzinfo)) % _DAY
        return 0.0 if since_begin < timedelta(hours=self.length_h) else (_DAY - since_begin).total_seconds()

    def passes_s(self, open_s: float, now: datetime) -> float:
        """Seconds until it was open for so many of them, closed times among them."""
        closed_s = self.opens_in_s(now)
        length_s = self.length_h * HOUR_S
        begin = datetime.combine(now.date(), self.begin, now.tzinfo)
        gone_s = 0.0 if closed_s else ((now - begin) % _DAY).total_seconds()
        nights = max(0, math.ceil((gone_s + open_s) / length_s) - 1)  # that it closes before that
        return closed_s + open_s + nights * (_DAY.total_seconds() - length_s)


@dataclass(frozen=True)
class Limits:
    """What a person allows; 0: any number in an hour, None: the whole day."""

    per_hour: int = 0
    window: Window | None = None


class Pace:
    """Spreads what is allowed in an hour evenly: a burst would be a burst of jobs, too."""

    def __init__(
        self,
        limits: Limits,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._now, self._monotonic = limits, now, monotonic
        self._next_at = 0.0

    def wait(self) -> tuple[float, str]:
        """Seconds until the next study may begin, and why; 0 at once."""
        window = self._limits.window
        closed_s = window.opens_in_s(self._now()) if window else 0.0
        if closed_s and window:
            return closed_s, f"it goes on at {window.begin:%H:%M}"
        return max(0.0, self._next_at - self._monotonic()), "it waits for the next one in this hour"

    def begin(self) -> None:
        """A study is fetched now."""
        if self._limits.per_hour:
            self._next_at = self._monotonic() + HOUR_S / self._limits.per_hour
