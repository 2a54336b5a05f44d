"""The second door: what STOW-RS requests bring goes through the same intake (PS3.18 10.5).

A request is what an association is at the first one. It takes a place while it is open; one that came to its
end is a release, and a broken one an abort. How it is spoken is the API's trade; this is what it calls.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from gateway.adapters.measures import Figure
from gateway.ledger.records import utc_now
from gateway.ledger.store import Ledger

from .answered import Answered, By
from .causes import Cause
from .door.admission import Admission
from .door.places import Places
from .door.turned_away import TurnedAway
from .endings import Ending, Endings
from .intake.filing import Intake, Said, Sender, Taken
from .intake.header import is_valid_uid
from .intake.incoming import IncomingFile, IncomingFolder
from .intake.received import receive
from .statuses import OUT_OF_RESOURCES, TOO_LONG

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Shared:
    """What this door shares with the DICOM port."""

    admission: Admission
    folder: IncomingFolder
    intake: Intake
    ledger: Ledger
    places: Places
    turned_away: TurnedAway
    endings: Endings
    answered: Answered


class StowDoor:
    """Lets requests in, and knows those that are open."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._lock = threading.Lock()
        self._open: set[StowRequest] = set()
        self._count = 0

    def open(self, sender: str, address: str, study_uid: str | None) -> "StowRequest | str":
        """Let a request in, or say why not.

        Parameters
        ----------
        sender
            The name of the token that it came with; it stands where a calling AE title does.
        study_uid
            The study that it is for; None: any.
        """
        refusal = self._refusal()
        if refusal is not None:
            cause, why_not = refusal
            self._shared.turned_away.tell("rejected", cause, sender, address, why_not)
            return why_not
        with self._lock:
            self._count += 1
            said = Said(study_uid=study_uid)
            request = StowRequest(self, self._shared, Sender(sender, self._count), address, said)
            self._open.add(request)
        return request

    def knows_as_uid(self, study_uid: str) -> bool:
        """Whether it is a UID at all (PS3.5 9.1)."""
        return is_valid_uid(study_uid)

    def turn_away(self, address: str, why: str) -> None:
        """Log, count and keep that a request was not let in."""
        self._shared.turned_away.tell("rejected", Cause.NO_TOKEN, "", address, why)

    def has_open_request(self, study_uid: str) -> bool:
        """Whether a request that touched this study is still open."""
        with self._lock:
            return any(study_uid in request.study_uids for request in self._open)

    def figures(self) -> Sequence[Figure]:
        """What is measured of it, for the metrics."""
        with self._lock:
            return (Figure("iris_stow_requests", "STOW-RS requests that are open.", len(self._open)),)

    def forget(self, request: "StowRequest") -> None:
        """It is over."""
        with self._lock:
            self._open.discard(request)
        self._shared.places.give_back()

    def _refusal(self) -> tuple[Cause, str] | None:
        if self._shared.ledger.damage:
            return Cause.LEDGER_DAMAGED, "the ledger is damaged"
        if not self._shared.admission.has_room():
            return Cause.NO_ROOM, "the disk is under its low-water mark"
        if not self._shared.places.take():
            number = self._shared.places.number
            return Cause.NO_PLACE, f"{number} associations and requests are open (dicom.max_associations)"
        return None


@dataclass(eq=False)
class StowRequest:
    """One request: objects one after the other, each begun, written and ended; then it is closed, once.

    Its calls come one at a time, in whatever threads.
    """

    _door: StowDoor
    _shared: Shared
    _sender: Sender
    _address: str
    _said: Said
    study_uids: set[str] = field(default_factory=set)
    _opened_at: str = field(default_factory=utc_now)
    _stored: int = 0
    _incoming: IncomingFile | None = None

    def begin(self) -> None:
        """An object follows."""
        self._incoming = self._shared.folder.new(self._shared.admission.has_room)

    def write(self, data: bytes) -> None:
        """More of it; what cannot be kept is thrown away, and `end` says so."""
        assert self._incoming is not None
        self._incoming.write(data)

    def end(self) -> Taken:
        """It is whole: take it. What is answered as stored is on the disk for good."""
        incoming = self._incoming
        assert incoming is not None
        try:
            taken, size_bytes = self._take(incoming)
        finally:
            self._discard()
        self._shared.answered.tell(By.STOW, taken.status, size_bytes)
        if taken.study_uid is not None:
            self.study_uids = self.study_uids | {taken.study_uid}  # others look at it meanwhile
            self._stored += 1
            if taken.is_again:
                self._shared.endings.again.note(taken.study_uid, taken.sop_instance_uid)
        return taken

    def close(self, *, whole: bool) -> None:
        """The request is over.

        Parameters
        ----------
        whole
            It came to its own end; else it was broken off, and what it had begun is thrown away.
        """
        self._discard()
        self._door.forget(self)
        if not whole:
            self._shared.turned_away.tell(
                "aborted",
                Cause.BROKEN_OFF,
                self._sender.ae_title,
                self._address,
                "its body is broken, or was broken off",
            )
        if not self.study_uids:
            return
        log.info(
            "stow_request_closed",
            number=self._sender.association,
            calling_ae_title=self._sender.ae_title,
            whole=whole,
            objects=self._stored,
            studies=len(self.study_uids),
            **self._shared.intake.study_keys(self.study_uids),
        )
        self._shared.endings.tell(
            Ending(
                self._sender.association,
                self._sender.ae_title,
                whole,
                frozenset(self.study_uids),
                self._opened_at,
            )
        )

    def _take(self, incoming: IncomingFile) -> tuple[Taken, int]:
        """What became of it, and its bytes where it could be read."""
        if incoming.is_too_long:
            log.warning("object_too_long", number=self._sender.association)
            return Taken(TOO_LONG), 0
        if not self._shared.admission.has_room():
            log.error("no_room_left", number=self._sender.association)
            return Taken(OUT_OF_RESOURCES), 0
        received = receive(incoming)
        return self._shared.intake.file(received, self._sender, self._said), received.size_bytes

    def _discard(self) -> None:
        if self._incoming is not None:
            self._incoming.remove()
            self._incoming = None
