"""Looks every minute, and when the disk gets short, at what may be removed; at a person's wish at once.

For each study the ledger says first, in one transaction, that a part of it is gone; the files go after that.
Between two studies others have their turn with the ledger.
"""

import shutil
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from batch_job.contract import INPUT_NAMES
from gateway.config import Retention as Settings
from gateway.events import Bus, Event, ForgetRequested, InstanceStored, StudyChanged
from gateway.ledger.erasing import forget, studies_to_forget
from gateway.ledger.records import utc_text, utc_time
from gateway.ledger.retention import (
    DoneStudy,
    Part,
    Terms,
    oldest_put_aside,
    oldest_with,
    remove_part,
    remove_put_aside,
)
from gateway.ledger.states import StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.workers.worker import Worker

from .age import AgeClock
from .remover import Remover

log = structlog.get_logger(__name__)

LOOK_S: Final = 60.0
ROOM_LOOK_S: Final = 1.0
"""How often the disk is looked at while instances come in."""
BUSY_S: Final = 0.5
"""How soon a study is looked at again that is to be forgotten while something of it runs."""
AT_ONCE: Final = 200
MEGABYTE: Final = 1_000_000

FreeBytes = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder."""
    return shutil.disk_usage(folder).free


class Retention(Worker):
    """Removes what is old, what there is no room for, and what is to be forgotten.

    Parameters
    ----------
    is_busy
        Whether somebody is at work on one of these jobs at this moment.
    free
        Measures the disk; tests give their own.
    clock
        What ages are counted by; None: one that begins now.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        bus: Bus,
        remover: Remover,
        data_dir: Path,
        is_busy: Callable[[Collection[str]], bool],
        free: FreeBytes = free_bytes,
        clock: AgeClock | None = None,
    ) -> None:
        super().__init__("retention", bus)
        self._days = {
            Part.IMAGES: settings.images_days,
            Part.RESULTS: settings.results_days,
            Part.UPLOADS: settings.uploads_days,
            Part.ROWS: settings.ledger_days,
        }
        self._quarantine_days = settings.quarantine_days
        self._min_free_bytes = settings.min_free_mb * MEGABYTE
        self._terms = Terms(input_names=INPUT_NAMES)
        self._ledger = ledger
        self._remover = remover
        self._data_dir = data_dir
        self._is_busy = is_busy
        self._free = free
        self._clock = clock or AgeClock()
        self._room_looked_at = 0.0

    def is_woken_by(self, event: Event) -> bool:
        """Whether something may be removed now, or has to be."""
        match event:
            case ForgetRequested():
                return True
            case StudyChanged(state=StudyState.DONE):
                return any(self._days.values()) or self._is_short()
            case InstanceStored() if time.monotonic() >= self._room_looked_at + ROOM_LOOK_S:
                self._room_looked_at = time.monotonic()
                return self._is_short()
        return False

    def work(self) -> float:
        """Remove what is due; the seconds until something else is, at most a minute."""
        self._remover.remove(lambda: self.is_stopping)  # what an earlier process left, or what failed
        waits = [self._forget(), *(self._remove_older(part) for part in Part), self._empty_quarantine()]
        complaint = self._make_room()
        self.trouble = "; ".join(filter(None, (self._remover.complaint, complaint, self._doubt())))
        return min(LOOK_S, *waits)

    # -- on request ---------------------------------------------------------------------------------------

    def _forget(self) -> float:
        """Erase what a person wants forgotten; the seconds until one that is at work is looked at again."""
        wait_s = LOOK_S
        for study_uid in studies_to_forget(self._ledger):
            self.heartbeat()
            try:
                with self._ledger.transaction() as transaction:
                    study_key = transaction.study(study_uid).study_key
                    is_gone = forget(transaction, study_uid, self._is_busy)
            except StaleRow:
                continue
            if is_gone:
                self._remover.remove(lambda: self.is_stopping)
                self._ledger.checkpoint()  # nothing of it stays in the log of changes either
                log.info("study_forgotten", study_key=study_key)
            else:
                wait_s = BUSY_S
        return wait_s

    # -- by age -------------------------------------------------------------------------------------------

    def _remove_older(self, part: Part) -> float:
        """Remove this part of every study that is old enough; the seconds until the next one is."""
        days = self._days[part]
        study = oldest_with(self._ledger, part) if days else None
        while study is not None and not self.is_stopping:
            left_s = self._seconds_until(study.done_at, days)
            if left_s > 0:
                return left_s
            self._remove(study, part, why="age")
            study = oldest_with(self._ledger, part, after=study)
        return LOOK_S

    def _empty_quarantine(self) -> float:
        """Remove what was put aside long ago; the seconds until the next is."""
        days = self._quarantine_days
        oldest = oldest_put_aside(self._ledger) if days else None
        while oldest is not None and not self.is_stopping:
            left_s = self._seconds_until(oldest, days)
            if left_s > 0:
                return left_s
            before = utc_text(self._clock.now() - timedelta(days=days))
            with self._ledger.transaction() as transaction:
                objects = remove_put_aside(transaction, before, AT_ONCE)
            log.info("quarantine_emptied", objects=objects, why="age")
            self._remover.remove(lambda: self.is_stopping)
            oldest = oldest_put_aside(self._ledger)
        return LOOK_S

    # -- for room -----------------------------------------------------------------------------------------

    def _is_short(self) -> bool:
        return bool(self._min_free_bytes) and self._free(self._data_dir) < self._min_free_bytes

    def _make_room(self) -> str:
        """Remove what is done for the longest until there is room; why there is none, in a sentence."""
        after: dict[Part, DoneStudy | None] = {Part.IMAGES: None, Part.RESULTS: None}
        while not self.is_stopping and self._is_short():
            oldest = [
                (study.done_at, part, study)
                for part, seen in after.items()
                if (study := oldest_with(self._ledger, part, after=seen)) is not None
            ]
            if not oldest:
                free_mb = self._free(self._data_dir) // MEGABYTE
                return (
                    f"the disk has {free_mb} MB free, under retention.min_free_mb, and nothing is here that"
                    " is done and delivered; make room"
                )
            _, part, study = min(oldest, key=lambda found: found[:2])
            self._remove(study, part, why="room")
            after[part] = study
        return ""

    def _remove(self, study: DoneStudy, part: Part, *, why: str) -> None:
        began_at = time.monotonic()
        self.heartbeat()
        try:
            with self._ledger.transaction() as transaction:
                is_gone = remove_part(transaction, study, part, self._terms, why=why)
        except StaleRow:  # forgotten meanwhile
            return
        held_s = time.monotonic() - began_at
        if is_gone:
            log.info("removed", study_key=study.study_key, part=part, why=why)
            self._remover.remove(lambda: self.is_stopping)
        self._stopping.wait(held_s)  # others have their turn with the ledger

    def _seconds_until(self, at: str, days: float) -> float:
        return (utc_time(at) + timedelta(days=days) - self._clock.now()).total_seconds()

    def _doubt(self) -> str:
        """What the clock makes doubtful, where anything goes for its age."""
        return self._clock.complaint() if self._quarantine_days or any(self._days.values()) else ""
