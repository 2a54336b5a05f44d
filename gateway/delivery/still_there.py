"""Asks destinations about studies that came again in full whether the results are there; sends what is gone.

A study that was deleted in a PACS with its results and sent there anew comes here again and changes nothing
here; this is what brings the results back. Where they are there it costs one question a study. Nothing is
sent because of an error: who cannot say it, or answers about something else, changes nothing, and who is away
is asked again. When something was sent again for the first time it is asked whether that shows now: who does
not show what it took would get everything again each time, and is not believed from then on.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from gateway.adapters.contents import NoAnswer, NotTold
from gateway.adapters.errors import Away, CalledOff, OutsideError
from gateway.events import Bus, Event, StudyCameAgain
from gateway.files.kept import is_lost
from gateway.files.series import series_uid_of
from gateway.ledger.records import RevisitRow
from gateway.ledger.resending import resend_delivery
from gateway.ledger.revisits import (
    Delivered,
    ask_again,
    delivered_there,
    forget_revisits,
    look_later,
    revisited_destinations,
    revisits_of,
    settle,
    tried_revisits,
)
from gateway.ledger.states import DeliveryState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible, StaleRow
from gateway.workers.attempts import Backoff
from gateway.workers.waits import Rests, Waits
from gateway.workers.worker import Worker

from .carriers.carrier import Carrier, NotAskable, ShowsResults

log = structlog.get_logger(__name__)

AT_ONCE: Final = 100
AWAY: Final = Backoff(30.0, 1800.0)
"""When a destination is asked again that was not there."""
AGAIN: Final = Backoff(10.0, 300.0)
"""When it is asked again whether something shows that it took, or about what it did not answer."""
TIMES_ASKED: Final = 3
LATER_S: Final = 60.0
"""When it is looked again whether what is on its way there has arrived."""
LONGEST_S: Final = 1800.0
IS_GONE: Final = "the study came again, and {destination} does not have this any more"


class StillThere(Worker):
    """One thread for all destinations; who says nothing, as a folder, is not asked.

    Parameters
    ----------
    data_dir
        Where the paths of result objects begin.
    """

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        data_dir: Path,
        carriers: Mapping[str, Carrier],
        *,
        again: Backoff = AGAIN,
    ) -> None:
        super().__init__("results-there", bus)
        self._ledger = ledger
        self._data_dir = data_dir
        self._asked = {name: one for name, one in carriers.items() if isinstance(one, ShowsResults)}
        self._again = again
        self._waits = Waits()
        self._rests = Rests()
        self._shows: set[str] = set()
        """Who showed something that was sent there."""
        self._hides: set[str] = set()
        """Who did not show what it had just taken."""

    def is_woken_by(self, event: Event) -> bool:
        """Whether there is somebody to ask."""
        return isinstance(event, StudyCameAgain)

    def interrupt(self) -> None:
        """Cut the question at hand."""
        for carrier in self._asked.values():
            carrier.interrupt()

    def work(self) -> float | None:
        """Ask what is due; the seconds until something else is."""
        waits: list[float] = []
        for name in revisited_destinations(self._ledger):
            if name in self._asked:
                waits += [self._ask_all(name)]
            else:
                with self._ledger.transaction() as transaction:
                    forget_revisits(transaction, name)
            if self.is_stopping:
                break
        self._waits.keep(self._waits.known()[-AT_ONCE:])
        self.trouble = self._rests.complaint()
        return min(waits, default=None)

    def _ask_all(self, name: str) -> float:
        """Ask one destination; the seconds until there is something to ask it."""
        while not self.is_stopping:
            resting_s = self._rests.left_s().get(name)
            if resting_s is not None:
                return resting_s
            revisits = self._revisits(name)
            left_s = [self._left_s(revisit) for revisit in revisits]
            if not left_s or min(left_s) > 0:
                return min(left_s, default=LONGEST_S)
            self._ask_about(revisits[left_s.index(0)])
        return 0.0

    def _revisits(self, name: str) -> list[RevisitRow]:
        """Whom to ask about next; until it showed once what it got, nothing beside that."""
        tried = [] if name in self._shows else tried_revisits(self._ledger, name)
        return tried or revisits_of(self._ledger, name, AT_ONCE)

    def _left_s(self, revisit: RevisitRow) -> float:
        key = f"{revisit.destination} {revisit.study_uid}"
        return self._waits.left_s(key, revisit.not_before, LONGEST_S) if revisit.not_before else 0.0

    # -- one study ----------------------------------------------------------------------------------------

    def _ask_about(self, revisit: RevisitRow) -> None:
        name = revisit.destination
        there = delivered_there(self._ledger, revisit.study_uid, name)
        if any(each.delivery.state is DeliveryState.PENDING for each in there):
            self._look_later(revisit)
            return
        sent_again = {each.delivery.key for each in there} >= set(revisit.resent)
        wanted = self._wanted(there) if sent_again else {}
        if not wanted:  # nothing of it counts any more, failed, or says where it lies
            self._settle(revisit)
            return
        try:
            with self.at("a study that came again"):
                missing = self._asked[name].missing(revisit.study_uid, wanted)
        except CalledOff:
            return
        except OutsideError as error:
            self._was_not_told(revisit, error)
            return
        self._rests.resume(name)
        gone = [each for each in there if each.made.sop_instance_uid in missing]
        if gone:
            self._is_gone(revisit, gone)
        else:
            self._shows.add(name)
            self._hides.discard(name)
            event = "study.results_back" if revisit.resent else "study.results_still_there"
            self._settle(revisit, event, objects=len(there))

    def _wanted(self, there: Sequence[Delivered]) -> dict[str, list[str]]:
        """Series to instances, as far as it is known in which series each lies."""
        wanted = defaultdict[str, list[str]](list)
        for each in there:
            if series_uid := each.made.series_uid or self._series_uid(each.made.path):
                wanted[series_uid].append(each.made.sop_instance_uid)
        return dict(wanted)

    def _series_uid(self, path: str) -> str:
        """Of what an earlier version made; empty where its file is gone."""
        try:
            return series_uid_of(self._data_dir / path)
        except OSError as error:
            if is_lost(error):
                return ""
            raise

    def _was_not_told(self, revisit: RevisitRow, error: OutsideError) -> None:
        """Ask who is away again, and who did not answer some times; who says something else is left alone."""
        code = error.code if isinstance(error, NotTold) else None
        is_away = isinstance(error, Away) and code in (None, NoAnswer.AWAY)
        is_final = isinstance(error, NotAskable) or code in (NoAnswer.REFUSED, NoAnswer.NONSENSE)
        if is_final or (not is_away and revisit.asked + 1 >= TIMES_ASKED):
            self._settle(revisit, "study.results_not_told", reason=str(error))
            return
        delay_s = self._rests.put_off(revisit.destination, AWAY, str(error))
        log.warning("destination_not_asked", destination=revisit.destination, delay_s=round(delay_s))
        if not is_away:
            with self._ledger.transaction() as transaction:
                ask_again(transaction, revisit, delay_s)

    def _is_gone(self, revisit: RevisitRow, gone: Sequence[Delivered]) -> None:
        name = revisit.destination
        if revisit.resent and revisit.asked + 1 < TIMES_ASKED:  # it may show it a little later
            with self._ledger.transaction() as transaction:
                ask_again(transaction, revisit, self._again.delay_s(revisit.asked))
        elif revisit.resent or name in self._hides:
            self._hides.add(name)
            why = f"{name} does not show what it took; `iris resend` sends it all the same"
            self._settle(revisit, "study.results_not_shown", objects=len(gone), reason=why)
        else:
            self._send_again(revisit, gone)

    def _send_again(self, revisit: RevisitRow, gone: Sequence[Delivered]) -> None:
        """Send what is gone, all of it or nothing."""
        name, keys = revisit.destination, [each.delivery.key for each in gone]
        try:
            with self._ledger.transaction() as transaction:
                for key in keys:
                    resend_delivery(transaction, key, reason=IS_GONE.format(destination=name))
                if name in self._shows:
                    settle(transaction, revisit, "study.results_sent_again", objects=len(keys))
                else:
                    look_later(transaction, revisit, self._again.first_s, keys)
        except StaleRow:  # it moved meanwhile
            self._look_later(revisit)
        except NotPossible as error:
            self._settle(revisit, "study.results_gone", objects=len(keys), reason=str(error))
        else:
            job_key = gone[0].delivery.job_key
            log.info("results_sent_again", job_key=job_key, destination=name, objects=len(keys))

    def _look_later(self, revisit: RevisitRow) -> None:
        """When what is on its way may have arrived."""
        with self._ledger.transaction() as transaction:
            look_later(transaction, revisit, LATER_S)

    def _settle(self, revisit: RevisitRow, event: str = "", **detail: str | int) -> None:
        with self._ledger.transaction() as transaction:
            settle(transaction, revisit, event, **detail)
