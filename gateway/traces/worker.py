"""Puts the trace of each study when it is over; nothing waits for it, and a kill puts it twice, the same."""

import structlog

from gateway.adapters.spans import Tracing
from gateway.events import Bus, Event, StudyChanged
from gateway.ledger.states import StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.traced import ended_studies, mark_traced
from gateway.workers.attempts import Backoff, fault_of
from gateway.workers.waits import Rests
from gateway.workers.worker import Worker

from .way import spans_of

log = structlog.get_logger(__name__)

BACKOFF = Backoff(5.0, 300.0)
_ALL = ""
"""What the collector's rest is counted under."""


class TraceWorker(Worker):
    """Traces every study that is over."""

    def __init__(self, ledger: Ledger, bus: Bus, tracing: Tracing) -> None:
        super().__init__("traces", bus)
        self._ledger = ledger
        self._tracing = tracing
        self._rests = Rests()

    def is_woken_by(self, event: Event) -> bool:
        """Whether a study is over."""
        return isinstance(event, StudyChanged) and event.state in (StudyState.DONE, StudyState.FAILED)

    def interrupt(self) -> None:
        """Break off what is being put; it is put at the next start."""
        self._tracing.end()

    def work(self) -> float | None:
        """Put what is over; after a refusal nothing for a while, whatever happens meanwhile."""
        rest_s = self._rests.left_s().get(_ALL)
        if rest_s is not None:
            return rest_s
        try:
            while not self.is_stopping and not self._put_some():
                self.heartbeat()
        except Exception as error:
            fault = fault_of(error, "tracing")
            if fault.is_defect:
                log.exception("traces_failed")
            if fault.sentence != self.trouble and not self.is_stopping:
                log.warning("traces_wait", reason=fault.sentence)
            self.trouble = fault.sentence
            return self._rests.put_off(_ALL, BACKOFF, fault.sentence)
        self.trouble = ""
        self._rests.resume(_ALL)
        return None

    def _put_some(self) -> bool:
        """Put the next studies; whether they were the last."""
        studies, upto, is_last = ended_studies(self._ledger)
        for study in studies:
            if self.is_stopping:
                return True
            with self.at_study(study.study_key):
                self._tracing.put(study.study_key, spans_of(study))
            mark_traced(self._ledger, study.seq)
        if not is_last:
            mark_traced(self._ledger, upto)
        return is_last
