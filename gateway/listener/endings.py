"""How associations ended, written down: at once, or as soon as the ledger takes it."""

from collections import deque
from dataclasses import dataclass

import structlog

from gateway.events import AssociationClosed, Event
from gateway.ledger.instances import association_closed
from gateway.ledger.revisits import note_came_again
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

from .again import CameAgain

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ending:
    """One association that is over, and the studies that it touched."""

    number: int
    sender: str
    released: bool
    study_uids: frozenset[str]
    opened_at: str
    """As the ledger keeps times."""


class Endings(Worker):
    """Keeps what the ledger does not take, and tries again: a release is evidence, and must not be lost."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__("associations", ledger.bus)
        self._ledger = ledger
        self.again = CameAgain()
        """What came again as it was known."""
        self._untold: deque[Ending] = deque()

    def is_woken_by(self, event: Event) -> bool:
        """Never: only what was not taken gives it work."""
        return False

    def tell(self, ending: Ending) -> None:
        """Write it down, now or later; it never raises."""
        if not self._untold:  # else after those: an older release must not follow a newer abort
            try:
                self._write(ending)
                return
            except Exception:
                log.exception("ending_not_written", number=ending.number)
        self._untold.append(ending)
        self.look_again()

    def work(self) -> None:
        """Write down what was not taken before, in order."""
        while self._untold and not self.is_stopping:
            self._write(self._untold[0])
            self._untold.popleft()

    def _write(self, ending: Ending) -> None:
        with self._ledger.transaction() as transaction:
            association_closed(
                transaction,
                sorted(ending.study_uids),
                released=ending.released,
                sender=ending.sender,
                opened_at=ending.opened_at,
            )
            again = self.again.of(ending.study_uids)
            whole = [uid for uid, came in again.items() if note_came_again(transaction, uid, came)]
            transaction.publish(
                AssociationClosed(ending.number, ending.released, ending.study_uids, ending.sender)
            )
        self.again.forget(whole)
