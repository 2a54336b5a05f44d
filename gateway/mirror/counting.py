"""How many studies, jobs and deliveries this gateway has, by state, as one item of the mirror's table.

The ledger keeps these numbers itself, changed in the transaction of what they count (`watched.kept_counts`).
What is written is always the whole of them, never a difference: nothing can drift, whatever was lost on the
way, and a rebuild writes them anew as it does everything else. Whoever wants to know reads an item a gateway.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.adapters.errors import OutsideError
from gateway.adapters.mirror import OPEN_SINCE, ItemKey, ItemKind, Mirror, MirrorItem, Value, counter_name
from gateway.events import Bus, Event, InstanceStored
from gateway.ledger.outbox import EPOCH_FACTOR, EPOCHS_BEGIN, mirror_of
from gateway.ledger.store import Ledger
from gateway.ledger.watched import kept_counts, oldest_open_study
from gateway.workers.worker import Worker

EVERY_S: Final = 60.0
"""The item is written so often at most, and only where a number is another one."""


class CountsWorker(Worker):
    """Writes the item. What keeps it from the table is the mirror's to say, which it keeps away, too."""

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        mirror: Mirror,
        site: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("mirror counts", bus)
        self._ledger = ledger
        self._mirror = mirror
        self._site = site
        self._monotonic = monotonic
        self._not_before = monotonic()
        self._number = 0
        self._written: tuple[int, dict[str, Value]] | None = None

    def is_woken_by(self, event: Event) -> bool:
        """Whether a number may be another one; a single instance never is worth it."""
        return not isinstance(event, InstanceStored)

    def work(self) -> float | None:
        """Write the numbers where they are others than those in the table, or the table is made anew."""
        epoch = mirror_of(self._ledger).epoch
        numbers = self._numbers()
        if self._written == (epoch, numbers):
            return None
        left_s = self._not_before - self._monotonic()
        is_anew = self._written is None or self._written[0] != epoch
        if left_s > 0 and not is_anew:
            return left_s
        self._not_before = self._monotonic() + EVERY_S
        try:
            self._mirror.put(self._item(epoch, numbers))
        except OutsideError:
            return EVERY_S
        self._written = epoch, numbers
        return None

    def _item(self, epoch: int, numbers: dict[str, Value]) -> MirrorItem:
        """A version by the milliseconds of its epoch, since no change of the outbox has a number for it."""
        begun = EPOCHS_BEGIN + timedelta(milliseconds=epoch)
        self._number = max(self._number + 1, (datetime.now(UTC) - begun) // timedelta(milliseconds=1))
        key = ItemKey("", ItemKind.COUNTS, self._site)
        return MirrorItem(key, epoch * EPOCH_FACTOR + self._number, {"site": self._site, **numbers})

    def _numbers(self) -> dict[str, Value]:
        counted = kept_counts(self._ledger)
        since = oldest_open_study(self._ledger)
        return {
            **{counter_name(kind, state): n for (kind, state), n in sorted(counted.items()) if n},
            **({OPEN_SINCE: [since]} if since else {}),
        }
