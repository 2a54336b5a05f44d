"""The associations that are open, wherever they are served: what they brought, their places, their ends."""

import threading

import structlog

from gateway.ledger.instances import BACKFILLED
from gateway.ledger.records import utc_now

from .answered import Answered, By
from .causes import Cause
from .door.admission import Admission
from .door.places import Places
from .door.turned_away import TurnedAway
from .endings import Ending, Endings
from .intake.filing import Intake, Said, Sender
from .intake.received import Received
from .statuses import OUT_OF_RESOURCES
from .wire.attendant import StoreRequest

log = structlog.get_logger(__name__)


class Visits:
    """Knows those that are open.

    Parameters
    ----------
    places
        Where each has one, which was taken when it was admitted.
    ae_title
        This gateway's own.
    """

    def __init__(
        self,
        admission: Admission,
        intake: Intake,
        endings: Endings,
        places: Places,
        turned_away: TurnedAway,
        answered: Answered,
        ae_title: str,
    ) -> None:
        self.admission = admission
        self.intake = intake
        self.endings = endings
        self.places = places
        self.turned_away = turned_away
        self.answered = answered
        self.ae_title = ae_title
        self._lock = threading.Lock()
        self._open: set[Visit] = set()
        self._count = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, sender: str, address: str) -> "Visit":
        """One is admitted."""
        with self._lock:
            self._count += 1
            visit = Visit(self, self._count, sender, address)
            self._open.add(visit)
        return visit

    def forget(self, visit: "Visit") -> None:
        """It is over."""
        with self._lock:
            self._open.discard(visit)

    def are_at(self, study_uid: str) -> bool:
        """Whether one that touched this study is still open."""
        with self._lock:
            return any(visit.is_open_at(study_uid) for visit in self._open)


class Visit:
    """One association, as its `Attendant`."""

    def __init__(self, visits: Visits, number: int, sender: str, address: str) -> None:
        self._visits = visits
        self._number = number
        self._sender = sender
        self._address = address
        self._opened_at = utc_now()
        self._stored = 0
        self._lock = threading.Lock()
        self._is_closed = self._is_without_place = False
        self.study_uids: frozenset[str] = frozenset()
        """The studies that it touched."""

    def is_open_at(self, study_uid: str) -> bool:
        """Whether it touched this study and has not ended.

        It is known until its connection is closed, after its end was told: who hears of that looks at others.
        """
        return not self._is_closed and study_uid in self.study_uids

    def has_room(self) -> bool:
        """Whether the disk is above its low-water mark."""
        return self._visits.admission.has_room()

    def take(self, received: Received, request: StoreRequest) -> int:
        """File it; the status of the answer."""
        status = self._file(received, request)
        self._visits.answered.tell(By.C_STORE, status, received.size_bytes)
        return status

    def _file(self, received: Received, request: StoreRequest) -> int:
        if not self.has_room():
            log.error("no_room_left", number=self._number, calling_ae_title=self._sender)
            return OUT_OF_RESOURCES
        # What this gateway itself had moved to it is `iris backfill`'s (PS3.7 9.3.1.1).
        is_backfilled = request.move_originator == self._visits.ae_title
        sender = Sender(BACKFILLED if is_backfilled else self._sender, self._number)
        taken = self._visits.intake.file(received, sender, Said(request.sop_uids))
        if taken.study_uid is not None:
            self.study_uids |= {taken.study_uid}  # others look at it meanwhile
            self._stored += 1
            if taken.is_again:
                self._visits.endings.again.note(taken.study_uid, taken.sop_instance_uid)
        return taken.status

    def refused(self, why: str, cause: Cause) -> None:
        """Keep why it is aborted."""
        self._visits.turned_away.tell("aborted", cause, self._sender, self._address, why)

    def closed(self, *, released: bool) -> None:
        """Write down how it ended, and that what it brought is all of that."""
        if released:
            self._give_place_back()  # first: its sender may ask for the next one at once
        with self._lock:
            is_known, self._is_closed = self._is_closed, True
        if is_known or not self.study_uids:
            return
        log.info(
            "association_closed",
            number=self._number,
            calling_ae_title=self._sender,
            released=released,
            objects=self._stored,
            studies=len(self.study_uids),
            **self._visits.intake.study_keys(self.study_uids),
        )
        self._visits.endings.tell(
            Ending(self._number, self._sender, released, self.study_uids, self._opened_at)
        )

    def over(self) -> None:
        """Forget it; where nobody said how it ended it was no release."""
        self.closed(released=False)
        self._give_place_back()
        self.forget()

    def forget(self) -> None:
        """It never began."""
        self._visits.forget(self)

    def _give_place_back(self) -> None:
        with self._lock:
            if self._is_without_place:
                return
            self._is_without_place = True
        self._visits.places.give_back()
