"""Ships what the outbox holds: in order within a study, several studies at once, and waits out what is away.

A change leaves the outbox after the table has it, so a kill in between ships it once more, which the table's
condition makes harmless. Nothing waits for this worker.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from threading import Event as Flag
from typing import Final

import structlog

from gateway.adapters.errors import OutsideError
from gateway.adapters.mirror import ItemKey, ItemKind, Mirror, MirrorItem
from gateway.events import Bus, Event, InstanceStored
from gateway.ledger.erasing import is_known
from gateway.ledger.outbox import (
    EPOCH_FACTOR,
    backlog_of,
    due_changes,
    end_rebuild,
    lag_of,
    mark_shipped,
    mirror_of,
    note_newer_epoch,
    seconds_to_next_change,
)
from gateway.ledger.records import OutboxRow
from gateway.ledger.removals import Gone, removals_of, strike_out
from gateway.ledger.store import Ledger
from gateway.workers.attempts import Backoff, fault_of
from gateway.workers.waits import Rests
from gateway.workers.worker import Worker

from .items import Items
from .written import Written

log = structlog.get_logger(__name__)

BATCH: Final = 400
"""Changes that are read, shipped and taken out of the outbox together."""
STUDIES_AT_ONCE: Final = 8
BACKOFF = Backoff(2.0, 60.0)
LAG_WORTH_SAYING_S: Final = 60.0

OVERTAKEN: Final = (
    "the table has later versions than this ledger gives (another gateway with this site.name, or a clock"
    " that was ahead); settle that, then `iris mirror rebuild`"
)

_TABLE: Final = ""
"""What the table's rest is counted under."""

Shipment = tuple[OutboxRow, MirrorItem]


class MirrorWorker(Worker):
    """Ships every change to the mirror."""

    def __init__(self, ledger: Ledger, bus: Bus, mirror: Mirror, items: Items) -> None:
        super().__init__("mirror", bus)
        self._ledger = ledger
        self._mirror = mirror
        self._items = items
        self._written = Written()
        self._rests = Rests()

    def complaint(self) -> str:
        """Why the table does not have everything, how much, and for how long; empty when all is well."""
        lag_s = lag_of(self._ledger)
        behind = (
            f"{backlog_of(self._ledger).waiting} changes wait, the oldest for {lag_s / 60:.0f} min"
            if lag_s >= LAG_WORTH_SAYING_S
            else ""
        )
        mirror = mirror_of(self._ledger)
        overtaken = OVERTAKEN if mirror.seen_epoch > mirror.epoch else ""
        return "; ".join(filter(None, (super().complaint(), behind, overtaken)))

    def is_woken_by(self, event: Event) -> bool:
        """Whether something may be in the outbox after it; a single instance never is."""
        return not isinstance(event, InstanceStored)

    def work(self) -> float | None:
        """Ship what is due; after a refusal nothing for a while, whatever happens meanwhile."""
        rest_s = self._rests.left_s().get(_TABLE)
        if rest_s is not None:
            return rest_s
        try:
            while not self.is_stopping and (self._forget_some() or self._ship_some()):
                self._all_is_well()
                self.heartbeat()
            rebuilding = mirror_of(self._ledger).rebuilding
            if rebuilding and not self.is_stopping:
                self._end_rebuild(rebuilding)
        except Exception as error:
            fault = fault_of(error, "the mirror")
            if fault.is_defect:
                log.exception("mirror_failed")
            return self._wait_out(fault.sentence)
        self._all_is_well()
        return seconds_to_next_change(self._ledger)

    def _all_is_well(self) -> None:
        if self.trouble:
            log.info("mirror_goes_on")
        self.trouble = ""
        self._rests.resume(_TABLE)

    def try_now(self) -> None:
        """Do not wait any longer: a person asks."""
        self._rests.try_now(_TABLE)
        self.look_again()

    def _wait_out(self, trouble: str) -> float:
        if trouble != self.trouble:
            log.warning("mirror_waits", reason=trouble)
        self.trouble = trouble
        return self._rests.put_off(_TABLE, BACKOFF, trouble)

    # -- shipping -----------------------------------------------------------------------------------------

    def _ship_some(self) -> bool:
        """Ship one batch; False where nothing was due. What came before a refusal is taken out, too."""
        changes = due_changes(self._ledger, BATCH)
        if not changes:
            return False
        epoch = mirror_of(self._ledger).epoch
        try:
            items = self._items.of(changes, epoch)
        except (LookupError, StopIteration):
            if all(is_known(self._ledger, change.study_uid) for change in changes):
                raise
            return True  # one of them was forgotten between two looks, and its changes with it
        shipments = list(zip(changes, items, strict=True))
        shipped, newest, refusal = self._ship(shipments)
        with self._ledger.transaction() as transaction:
            mark_shipped(transaction, shipped)
            if newest // EPOCH_FACTOR > epoch:
                note_newer_epoch(transaction, newest // EPOCH_FACTOR)
        if refusal is not None:
            raise refusal
        return True

    def _forget_some(self) -> bool:
        """Remove items of studies that were forgotten here; False where there was none."""
        rows = removals_of(self._ledger, Gone.MIRROR, 0, BATCH)
        if not rows:
            return False
        below = (mirror_of(self._ledger).epoch + 1) * EPOCH_FACTOR
        for row in rows:
            study_key, kind, name = row.name.split("/")
            key = ItemKey(study_key, ItemKind(kind), name)
            self._written.forget(key)
            self._mirror.remove(key, below)
        with self._ledger.transaction() as transaction:
            strike_out(transaction, Gone.MIRROR, [row.number for row in rows])
        return True

    def _ship(self, shipments: Sequence[Shipment]) -> tuple[list[int], int, OutsideError | None]:
        """Ship several studies at once.

        Returns
        -------
        The numbers of what the table has now, the highest version that was met there, and what went wrong.
        """
        shipped: list[int] = []
        met: list[int] = []
        refusals: list[OutsideError] = []
        stop = Flag()

        def ship_study(study: list[Shipment]) -> None:
            for change, item in study:
                if stop.is_set() or self.is_stopping:
                    return
                try:
                    met.append(self._put(item))
                except OutsideError as error:
                    refusals.append(error)
                    stop.set()
                    return
                shipped.append(change.number)

        with ThreadPoolExecutor(STUDIES_AT_ONCE, thread_name_prefix="mirror") as pool:
            list(pool.map(ship_study, _by_study(shipments)))
        return shipped, max(met, default=0), (refusals[0] if refusals else None)

    def _put(self, item: MirrorItem) -> int:
        """Write what the table does not have; the version that was met there, 0 where it was lower."""
        if self._written.has(item):
            return 0
        self._written.forget(item.key)
        met = self._mirror.put(item)
        if met is None:
            self._written.note(item)
        return met or 0

    def _end_rebuild(self, epoch: int) -> None:
        """Remove what the table has of our studies that the ledger has not, and say what it has besides."""
        below = epoch * EPOCH_FACTOR
        removed, unknown = 0, set()
        for key in self._mirror.older(self._items.site, below):
            if not self._is_ours(key.study_key):
                unknown.add(key.study_key)  # of a ledger that was lost: nothing else knows of them
                continue
            self._mirror.remove(key, below)
            removed += 1
        with self._ledger.transaction() as transaction:
            end_rebuild(transaction, epoch)
        self._all_is_well()
        log.info("mirror_rebuilt", removed=removed, studies_of_other_ledgers=len(unknown))

    def _is_ours(self, study_key: str) -> bool:
        return bool(self._ledger.read("SELECT 1 FROM studies WHERE study_key = ?", (study_key,)))


def _by_study(shipments: Sequence[Shipment]) -> Iterator[list[Shipment]]:
    ordered = sorted(shipments, key=lambda shipment: shipment[0].study_uid)  # stable: numbers stay in order
    for _, study in groupby(ordered, key=lambda shipment: shipment[0].study_uid):
        yield list(study)
