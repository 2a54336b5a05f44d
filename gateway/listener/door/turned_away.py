"""Who was turned away at the door, or aborted, and why: counted, logged, and the last of them kept."""

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.adapters.measures import Figure
from gateway.ledger.records import utc_now

from ..causes import Cause

log = structlog.get_logger(__name__)

_KEPT = 20
_LOGGED_A_MINUTE = 60
"""More lines than these a minute would fill the disk for whoever knocks."""

COUNTED = {
    "rejected": "Associations that were rejected.",
    "aborted": "Associations that were aborted for what their senders did.",
    "turned_away": "Connections that did not ask for an association in time.",
    "declined": "Senders that asked for storage commitment, which is off.",
}
_CAUSES = {
    "rejected": (
        Cause.UNKNOWN_SENDER,
        Cause.CALLED_AE_TITLE,
        Cause.NO_ROOM,
        Cause.NO_PLACE,
        Cause.LEDGER_DAMAGED,
        Cause.NO_TOKEN,
    ),
    "aborted": (Cause.LIMIT, Cause.NO_DICOM, Cause.OUT_OF_ORDER, Cause.INVALID, Cause.BROKEN_OFF),
    "turned_away": (Cause.TOO_SLOW, Cause.CROWD, Cause.TLS),
    "declined": (Cause.COMMITMENT,),
}
"""They stand there with 0 from the start: Prometheus sees no increase in what was not there before."""
_MOST_DECLINED = 1000


@dataclass(frozen=True)
class Incident:
    """One of them; AE titles and addresses are nothing of a patient."""

    at: str
    """UTC."""
    what: str
    calling_ae_title: str
    address: str
    why: str


class TurnedAway:
    """Remembers them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter({(what, cause): 0 for what, causes in _CAUSES.items() for cause in causes})
        self._last: deque[Incident] = deque(maxlen=_KEPT)
        self._minute, self._logged = 0, 0
        self._declined: dict[tuple[str, str], None] = {}  # the oldest first

    def tell(self, what: str, cause: Cause, calling_ae_title: str, address: str, why: str) -> None:
        """Count, keep and log one."""
        incident = Incident(utc_now(), what, calling_ae_title, address, why)
        with self._lock:
            self._counts[what, cause] += 1
            self._last.append(incident)
            minute = int(time.monotonic() // 60)
            self._logged = self._logged + 1 if minute == self._minute else 1
            self._minute = minute
            is_logged = self._logged <= _LOGGED_A_MINUTE
        if is_logged:
            log.warning(f"association_{what}", calling_ae_title=calling_ae_title, address=address, reason=why)

    def tell_declined(self, calling_ae_title: str, address: str, why: str) -> None:
        """The same of one that is let in, and lacks something: once, since it may ask with every study."""
        with self._lock:
            if (calling_ae_title, address) in self._declined:
                return
            self._declined[calling_ae_title, address] = None
            if len(self._declined) > _MOST_DECLINED:
                del self._declined[next(iter(self._declined))]
        self.tell("declined", Cause.COMMITMENT, calling_ae_title, address, why)

    def last(self) -> Sequence[Incident]:
        """The last of them, the newest first."""
        with self._lock:
            return tuple(reversed(self._last))

    def figures(self) -> Sequence[Figure]:
        """How many there were since the start, by cause."""
        with self._lock:
            return [
                Figure(f"iris_associations_{what}_total", COUNTED[what], number, {"cause": cause})
                for (what, cause), number in sorted(self._counts.items())
            ]
