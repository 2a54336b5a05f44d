"""Puts figures once a minute. Nothing waits for it, and nothing is lost with it but figures.

How things stood while nobody took the figures is not known later; what happened meanwhile is counted with the
next put. A kill between a put and the note of it counts that minute twice.
"""

from typing import Final

import structlog

from gateway.adapters.measures import Gauges, Measure
from gateway.events import Bus, Event
from gateway.ledger.store import Ledger
from gateway.ledger.watched import happened, mark_counted, next_stretch, standing
from gateway.workers.attempts import fault_of
from gateway.workers.worker import Worker

log = structlog.get_logger(__name__)

LINES_A_PUT: Final = 2000
"""Lines of the timeline that one put counts, so that a request stays small after days without one."""


class WatchWorker(Worker):
    """Reads the ledger and puts what it read, every so often.

    Parameters
    ----------
    every_s
        Seconds from one put to the next.
    """

    def __init__(self, ledger: Ledger, bus: Bus, gauges: Gauges, every_s: float) -> None:
        super().__init__("watch", bus)
        self._ledger = ledger
        self._gauges = gauges
        self._every_s = every_s

    def is_woken_by(self, event: Event) -> bool:
        """Never: only time wakes it."""
        return False

    def work(self) -> float | None:
        """Put what there is; where it is not taken, the next time is soon enough."""
        try:
            while not self._put_some() and not self.is_stopping:
                pass
        except Exception as error:
            fault = fault_of(error, "the watch")
            if fault.is_defect and fault.sentence != self.trouble:
                log.exception("watch_failed")
            self._complain(fault.sentence)
        else:
            if self.trouble:
                log.info("watch_goes_on")
            self.trouble = ""
        return self._every_s

    def _complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("watch_waits", reason=trouble)
        self.trouble = trouble

    def _put_some(self) -> bool:
        """Put one part of the timeline with how things stand; whether it was the last."""
        stretch = next_stretch(self._ledger, LINES_A_PUT)
        heartbeat = {Measure.HEARTBEAT: (1.0,)}
        self._gauges.put({**heartbeat, **standing(self._ledger), **happened(self._ledger, stretch)})
        mark_counted(self._ledger, stretch)
        return stretch.is_last
