"""Says what waits for a destination that is not configured any more, by name, until a person settles it.

A person can redirect or drop it, or configure the destination again: then its own worker takes it up.
"""

from collections.abc import Collection
from contextlib import suppress

from gateway.events import Bus, DeliveryChanged, Event
from gateway.ledger.deliveries import Backlog, backlogs, pending_deliveries, say_why_it_waits
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.workers.worker import Worker

WAY_OUT = "redirect or drop it, or configure that destination again"


def unclaimed(ledger: Ledger, configured: Collection[str]) -> list[Backlog]:
    """What waits for nobody."""
    return [backlog for backlog in backlogs(ledger) if backlog.destination not in configured]


def in_words(backlog: Backlog) -> str:
    """How much waits for whom, since when, and the way out."""
    what = "1 result waits" if backlog.number == 1 else f"{backlog.number} results wait"
    since = backlog.since[:16].replace("T", " ")
    return f"{what} for {backlog.destination}, which is no [[destination]], since {since} UTC; {WAY_OUT}"


class UnclaimedDeliveries(Worker):
    """Finds them at the start, and whenever a delivery changes.

    Parameters
    ----------
    configured
        The names of destinations that there are.
    """

    def __init__(self, ledger: Ledger, bus: Bus, configured: Collection[str]) -> None:
        super().__init__("deliveries", bus)
        self._ledger = ledger
        self._configured = frozenset(configured)

    def is_woken_by(self, event: Event) -> bool:
        """Whether something may wait for nobody now, or does not any more."""
        return isinstance(event, DeliveryChanged) and event.event != "put_off"

    def work(self) -> None:
        """Tell each delivery that it waits for nobody, and be in trouble while any does."""
        found = unclaimed(self._ledger, self._configured)
        for backlog in found:
            reason = f"{backlog.destination} is no [[destination]]; {WAY_OUT}"
            for delivery in pending_deliveries(self._ledger, backlog.destination):
                if delivery.reason == reason:
                    continue
                with suppress(StaleRow), self._ledger.transaction() as transaction:
                    say_why_it_waits(transaction, delivery.key, reason)
        self.trouble = "; ".join(in_words(backlog) for backlog in found)
