"""How far a run is: worked out from its stages, and written by a thread that never holds up the work."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from .contract import PROGRESS_INTERVAL_S, PROGRESS_NAME, Progress
from .errors import BadInput, ComeBackLater
from .place import JobPlace

SHARES: Final = {
    "fetch": 0.03, "load": 0.02, "segment": 0.8,
    "measure": 0.03, "preview": 0.04, "save": 0.05, "upload": 0.03,
}  # fmt: skip
"""How much of the whole each stage usually takes."""
LAST_PUT_S: Final = 2.0
"""How long the end of a run waits for a progress that is being written."""


class ProgressWriter:
    """Puts the newest progress in its place: the first and last at once, else every `interval_s` at most."""

    def __init__(self, place: JobPlace, interval_s: float = PROGRESS_INTERVAL_S) -> None:
        self._place = place
        self._interval_s = interval_s
        self._changed = threading.Condition()
        self._newest: Progress | None = None
        self._over = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write in a thread meanwhile; when the work is done, what was told last.

        Nothing is written afterwards, save what hangs.
        """
        thread = threading.Thread(target=self._work, name="progress", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self._forget()
            raise
        finally:
            with self._changed:
                self._over = True
                self._changed.notify()
            thread.join(LAST_PUT_S)
            self._forget()

    def tell(self, progress: Progress) -> None:
        """Take note; what was told before and is not written yet is forgotten."""
        with self._changed:
            self._newest = progress
            self._changed.notify()

    def _forget(self) -> None:
        with self._changed:
            self._newest = None

    def _work(self) -> None:
        while (progress := self._next()) is not None:
            with contextlib.suppress(OSError, ComeBackLater, BadInput):  # the work meets it, too, if it lasts
                self._place.put(PROGRESS_NAME, progress.to_json())
            with self._changed:
                self._changed.wait_for(lambda: self._over, self._interval_s)

    def _next(self) -> Progress | None:
        """Wait for a progress that is not written yet; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._newest is not None)
            progress, self._newest = self._newest, None
            return progress


class Stages:
    """Times the stages of a run and works out its progress, which never falls.

    What a run waits for between two stages, until others are done, is no time of its own.

    Parameters
    ----------
    tell
        Takes each progress; must return at once.
    """

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self._tell = tell
        self._began = 0.0
        self._stage = ""
        self._fraction = 0.0
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and tell of its beginning."""
        self._stage, self._began = name, time.monotonic()
        self.got(0.0)
        yield
        self.seconds[name] = round(time.monotonic() - self._began, 3)

    def got(self, share_of_stage: float, step: str = "") -> None:
        """Tell how far the present stage is, 0 to 1, and what is done in it."""
        before = sum(share for name, share in SHARES.items() if name in self.seconds)
        fraction = min(1.0, before + SHARES[self._stage] * min(max(share_of_stage, 0.0), 1.0))
        self._fraction = max(self._fraction, fraction)
        spent_s = sum(self.seconds.values()) + time.monotonic() - self._began
        rest_s = spent_s * (1 / self._fraction - 1) if self._fraction > 0.1 else None
        self._tell(
            Progress(
                stage=self._stage,
                step=step,
                fraction=round(self._fraction, 4),
                eta_s=None if rest_s is None else round(rest_s, 1),
                at=datetime.now(UTC),
            )
        )
