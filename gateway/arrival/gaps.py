"""How long senders pause in the middle of a study: learnt while the gateway runs, and anew after each start.

Every release of an association that brought images of a study teaches: after how long more of that study
came, from whomever; 0 where nothing came within `study.quiet_s`, since no wait of that length would have seen
it. A wait as long as the 99th percentile of these ends too soon after one release in a hundred.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.events import AssociationClosed, Bus, Event, InstanceStored

ENOUGH: Final = 100
"""Releases of a sender, under which its 99th percentile means nothing."""
MOST: Final = 1000
"""The latest count."""
SHARE: Final = 0.99
LEAST_S: Final = 0.5
"""No wait is shorter: a busy machine delays for as long."""
MOST_STUDIES: Final = 10_000
"""The longest pause of so many is remembered."""


class Gaps:
    """Listens to what comes in.

    Parameters
    ----------
    quiet_s
        The wait that is shortened.
    monotonic
        Its clock; tests give their own.
    """

    def __init__(self, bus: Bus, quiet_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._quiet_s = quiet_s
        self._monotonic = monotonic
        self._released: dict[str, tuple[str, float]] = {}  # study -> its sender, and when; the oldest first
        self._gaps_s: dict[str, deque[float]] = {}  # by sender
        self._longest_s: dict[str, float] = {}  # by study
        self._lock = threading.Lock()
        bus.subscribe(self._on_event)

    def quiet_after_s(self, study_uid: str) -> float:
        """How long to wait after the last release that touched a study, at most `quiet_s`."""
        with self._lock:
            number, gap_s = self._habit(study_uid)
        return min(self._quiet_s, max(LEAST_S, gap_s)) if number >= ENOUGH else self._quiet_s

    def pause_s(self, study_uid: str) -> float:
        """How long a pause of this study may be, by what is known so far: its own, or its sender's habit."""
        with self._lock:
            return max(self._habit(study_uid)[1], self._longest_s.get(study_uid, 0.0))

    def _habit(self, study_uid: str) -> tuple[int, float]:
        """Of who released the study last: how many releases are known, and their 99th percentile."""
        self._settle()
        sender, _ = self._released.get(study_uid, ("", 0.0))
        gaps_s = sorted(self._gaps_s.get(sender, ()))
        return len(gaps_s), gaps_s[math.ceil(SHARE * len(gaps_s)) - 1] if gaps_s else 0.0

    def _on_event(self, event: Event) -> None:
        match event:
            case AssociationClosed(released=released, study_uids=study_uids, sender=sender):
                with self._lock:
                    self._settle()
                    for study_uid in study_uids:
                        self._released.pop(study_uid, None)  # more came meanwhile, or it was broken off
                        if released:
                            self._released[study_uid] = sender, self._monotonic()
            case InstanceStored(study_uid=study_uid):
                with self._lock:
                    self._settle()
                    self._more_came(study_uid)

    def _more_came(self, study_uid: str) -> None:
        sender, at = self._released.pop(study_uid, ("", 0.0))
        if not sender:
            return
        gap_s = self._monotonic() - at
        self._learn(sender, gap_s)
        longest_s = max(gap_s, self._longest_s.pop(study_uid, 0.0))
        self._longest_s[study_uid] = longest_s
        if len(self._longest_s) > MOST_STUDIES:
            del self._longest_s[next(iter(self._longest_s))]

    def _settle(self) -> None:
        """Nothing more came after releases that are too long ago."""
        now = self._monotonic()
        while self._released:
            study_uid = next(iter(self._released))
            sender, at = self._released[study_uid]
            if now - at <= self._quiet_s:
                return
            del self._released[study_uid]
            self._learn(sender, 0.0)

    def _learn(self, sender: str, gap_s: float) -> None:
        self._gaps_s.setdefault(sender, deque(maxlen=MOST)).append(gap_s)
