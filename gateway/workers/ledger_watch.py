"""Looks at the whole of the ledger's file beside the work: a damaged page is known before it is come to."""

import os
import sys
import threading
from typing import Final

import structlog

from gateway.events import Bus, Event
from gateway.ledger.store import Ledger

from .worker import Worker

EVERY_S: Final = 24 * 3600.0
LEAST_URGENT: Final = 19
MADE_ANEW: Final = (
    "there was no ledger: it is made anew of the files that are kept, and what was delivered is not known; a"
    " backup is put back with `iris ledger rebuild --from BACKUP`"
)

log = structlog.get_logger(__name__)


class LedgerWatch(Worker):
    """Checks the file at the start and once a day; seconds for each gigabyte, when nobody else needs them.

    Until the next start it also says that there was no ledger, though there are images.
    """

    def __init__(self, ledger: Ledger, bus: Bus) -> None:
        super().__init__("ledger check", bus, limit_s=EVERY_S)
        self._ledger = ledger
        images = ledger.path.parent / "instances"
        if ledger.is_new and images.is_dir() and any(images.iterdir()):
            log.warning("ledger_made_anew", sentence=MADE_ANEW)
            self.trouble = MADE_ANEW

    def is_woken_by(self, event: Event) -> bool:
        """Nothing makes it more urgent."""
        return False

    def work(self) -> float | None:
        """Look at every page; what is wrong is noted in the ledger's `damage`."""
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_URGENT)
        self._ledger.check()
        return EVERY_S

    def interrupt(self) -> None:
        """End at once, also in the middle of a look."""
        self._ledger.stop_checking()
