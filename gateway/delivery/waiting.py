"""What waits for a destination that is away: each says why, and is given up when its time is over.

Nobody is there for days, and hundreds of thousands may wait. So a try does not look at all of them: what
cannot have waited for too long yet is not asked again, and what says already why it waits is told another
reason the more seldom the more of it there is.
"""

from collections.abc import Callable, Collection, Iterator
from math import inf
from typing import Final

from gateway.ledger.deliveries import pending_deliveries, tell_all
from gateway.ledger.records import DeliveryRow
from gateway.ledger.store import Ledger
from gateway.workers.waits import Waits

LATE: Final = 0.01
"""So much later, as a share of its time, something may be given up: they come to an end one by one."""
TOLD_A_TRY: Final = 500
"""So many are told another reason a try, on average; what says none yet is always told."""


class Waiting:
    """All that is pending for one destination.

    Parameters
    ----------
    patience_s
        So long something waits before it is given up.
    """

    def __init__(self, ledger: Ledger, destination: str, patience_s: float, waits: Waits) -> None:
        self.patience_s = patience_s
        self._ledger = ledger
        self._to = destination
        self._waits = waits
        self._newest = "", ""
        self._look_at_all_at = -inf
        self._tries_until_told = 0

    def left_s(self, delivery: DeliveryRow) -> float:
        """The seconds until one is given up; 0 when its time is over."""
        return self._waits.left_after_s(delivery.key, delivery.pending_since, self.patience_s)

    def over(self) -> Iterator[DeliveryRow]:
        """Each whose time is over: of all when the first of them may be, else of those that came since."""
        begun_at, look_at_all_at = self._waits.monotonic(), self._look_at_all_at
        is_for_all = begun_at >= look_at_all_at
        self._look_at_all_at = -inf  # where this is broken off
        soonest_s = self.patience_s
        for delivery in pending_deliveries(self._ledger, self._to, ("", "") if is_for_all else self._newest):
            left_s = self.left_s(delivery)
            if left_s <= 0:
                yield delivery
            else:
                soonest_s = min(soonest_s, left_s)
            self._newest = max(self._newest, (delivery.pending_since, delivery.key))
        next_at = begun_at + max(soonest_s, LATE * self.patience_s)
        self._look_at_all_at = next_at if is_for_all else min(look_at_all_at, next_at)

    def tell(self, reason: str, is_stopping: Callable[[], bool]) -> None:
        """Show at everything why it waits; what says another reason already keeps it for some tries."""
        if self._tries_until_told > 0:
            self._tries_until_told -= 1
            tell_all(self._ledger, self._to, reason, is_stopping, but_who_says_one=True)
        else:
            told = tell_all(self._ledger, self._to, reason, is_stopping)
            self._tries_until_told = told // TOLD_A_TRY

    def known(self) -> list[str]:
        """What was asked about."""
        return self._waits.known()

    def keep(self, keys: Collection[str]) -> None:
        """Forget all but these."""
        self._waits.keep(keys)

    def is_empty_now(self) -> None:
        """Nothing waits: whatever comes next is told at once."""
        self._tries_until_told = 0
