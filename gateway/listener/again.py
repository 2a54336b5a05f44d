"""What comes again as it is known: of which studies everything did is found out as associations end.

A sender may take one association for a whole study, or one for each image of it.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

MOST_STUDIES: Final = 200
"""So many are remembered; then the one is forgotten of which nothing came for the longest time."""
FORGOTTEN_AFTER_S: Final = 3600.0
"""What comes later than this after the last image of its study is another time that it comes."""


class CameAgain:
    """The instances that came again lately, in memory: what a kill makes of it is that nobody is asked."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._came: dict[str, set[str]] = {}  # study -> instances, that of the latest one last
        self._last_at: dict[str, float] = {}

    def note(self, study_uid: str, sop_instance_uid: str) -> None:
        """An instance came again, and nothing of it is new."""
        now = self._monotonic()
        with self._lock:
            came = self._came.pop(study_uid, set())
            if now - self._last_at.get(study_uid, now) > FORGOTTEN_AFTER_S:
                came = set()
            came.add(sop_instance_uid)
            self._came[study_uid], self._last_at[study_uid] = came, now
            if len(self._came) > MOST_STUDIES:
                self._drop(next(iter(self._came)))

    def of(self, study_uids: Iterable[str]) -> dict[str, frozenset[str]]:
        """What came of these studies, where something did."""
        with self._lock:
            return {uid: frozenset(self._came[uid]) for uid in sorted(study_uids) if uid in self._came}

    def forget(self, study_uids: Iterable[str]) -> None:
        """These were told to have come: what comes from now on is another time."""
        with self._lock:
            for study_uid in study_uids:
                self._drop(study_uid)

    def _drop(self, study_uid: str) -> None:
        self._came.pop(study_uid, None)
        self._last_at.pop(study_uid, None)
