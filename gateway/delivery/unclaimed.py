"""Says what waits for a destination that is not configured any more, by name, until a person settles it.

A person can redirect or drop it, or configure the destination again: then its own worker takes it up. What
was sent and waits for the word of a destination that is asked for none any more waits no longer.
"""

from collections.abc import Collection

from gateway.config import Destination
from gateway.events import Bus, DeliveryChanged, Event
from gateway.ledger.deliveries import Backlog, awaited_destinations, backlog_for, tell_all
from gateway.ledger.pledges import ask_no_more, destinations_awaited
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

WAY_OUT = "redirect or drop it, or configure that destination again"


def unclaimed(ledger: Ledger, configured: Collection[str]) -> list[Backlog]:
    """What waits for nobody."""
    names = [name for name in awaited_destinations(ledger) if name not in configured]
    return [backlog for name in names if (backlog := backlog_for(ledger, name)) is not None]


def in_words(backlog: Backlog) -> str:
    """How much waits for whom, since when, and the way out."""
    what = "1 result waits" if backlog.number == 1 else f"{backlog.number} results wait"
    since = backlog.since[:16].replace("T", " ")
    return f"{what} for {backlog.destination}, which is no [[destination]], since {since} UTC; {WAY_OUT}"


class UnclaimedDeliveries(Worker):
    """Finds them at the start, and whenever a delivery changes."""

    def __init__(self, ledger: Ledger, bus: Bus, configured: Collection[Destination]) -> None:
        super().__init__("deliveries", bus)
        self._ledger = ledger
        self._configured = frozenset(to.name for to in configured)
        self._asked = frozenset(to.name for to in configured if to.commitment)

    def is_woken_by(self, event: Event) -> bool:
        """Whether something may wait for nobody now, or does not any more."""
        return isinstance(event, DeliveryChanged) and event.event != "put_off"

    def work(self) -> None:
        """Tell each delivery that it waits for nobody, and be in trouble while any does."""
        found = unclaimed(self._ledger, self._configured)
        for backlog in found:
            reason = f"{backlog.destination} is no [[destination]]; {WAY_OUT}"
            tell_all(self._ledger, backlog.destination, reason, lambda: self.is_stopping)
        self.trouble = "; ".join(in_words(backlog) for backlog in found)
        for name in {*destinations_awaited(self._ledger)} - self._asked:
            with self._ledger.transaction() as transaction:
                ask_no_more(transaction, name)
