"""The DICOM application entity: its associations, and what they bring."""

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from gateway.adapters.measures import Figure
from gateway.adapters.tls import Tls, TlsFiles
from gateway.config import Dicom
from gateway.ledger.instances import BACKFILLED
from gateway.ledger.records import utc_now
from gateway.ledger.store import Ledger

from .admission import CALLED_AE_NOT_RECOGNIZED, LOCAL_LIMIT_EXCEEDED, Admission, Rejection
from .commitments import Commitments
from .contexts import NO_COMMITMENT, lacks_commitment, supported_contexts
from .door import Door
from .endings import Ending, Endings
from .guard import MAXIMUM_PDU_BYTES, Limits
from .incoming import IncomingFile, IncomingFolder
from .intake import Intake, Said, Sender
from .notices import take_notice
from .places import Places
from .port import open_port
from .reporting import Line
from .request import Request
from .statuses import OUT_OF_RESOURCES
from .storing import StoreRequest
from .stow import Shared, StowDoor
from .turned_away import TurnedAway
from .upper_layer import Serving, begin_association

log = structlog.get_logger(__name__)

NETWORK_TIMEOUT_S = 120.0
"""An association that says nothing for so long is aborted; its study then waits for the sender."""
STOP_TIMEOUT_S = 10.0
"""How long a stop waits for the objects at hand."""


@dataclass
class _OpenAssociation:
    """One association and what it touched."""

    number: int
    thread: Association
    sender: str
    study_uids: set[str] = field(default_factory=set)
    opened_at: str = field(default_factory=utc_now)
    stored: int = 0


class Listener:
    """Takes associations and hands what they bring to the intake.

    Parameters
    ----------
    settings
        The `[dicom]` part of the configuration.
    commitments
        Who answers storage commitment requests; None: nobody, and they are not accepted.
    """

    def __init__(
        self,
        settings: Dicom,
        admission: Admission,
        folder: IncomingFolder,
        intake: Intake,
        ledger: Ledger,
        commitments: Commitments | None = None,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._folder = folder
        self._intake = intake
        self._ledger = ledger
        self._commitments = commitments
        self.endings = Endings(ledger)
        """Its own worker; whoever starts the listener starts it too."""
        self._open: dict[Association, _OpenAssociation] = {}
        self._lock = threading.Lock()
        self._count = 0
        self._entity: AE | None = None
        self._server: _Server | None = None
        self._places = Places(settings.max_associations)
        self._without_place: set[Association] = set()  # those that are ending
        tls = settings.tls
        self._tls = (
            Tls(TlsFiles(tls.client_ca, tls.certificate, tls.key), is_server=True) if tls.is_wanted else None
        )
        self.limits = Limits(object_bytes=settings.max_object_mb * 1_000_000)
        self.turned_away = TurnedAway()
        """Who was rejected or aborted, and why."""
        shared = Shared(admission, folder, intake, ledger, self._places, self.turned_away, self.endings)
        self.stow = StowDoor(shared)
        """The second door, at the API's port; its requests take places, too."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it really listens on."""
        assert self._server is not None
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def tls_address(self) -> tuple[str, int] | None:
        """Host and port where TLS is spoken; None where it is nowhere."""
        assert self._server is not None
        found = [door.address for door in self._server.doors if door.speaks_tls]
        return found[0] if found else None

    @property
    def is_listening(self) -> bool:
        """Whether associations can come in."""
        return self._server is not None and all(door.is_open for door in self._server.doors)

    def state(self) -> dict[str, Any]:
        """What the API shows of it, in the shape of its `Door`."""
        return {
            "associations": self._places.taken,
            "limit": self._places.number,
            "turned_away": [
                {
                    "at": incident.at,
                    "what": incident.what,
                    "calling_ae_title": incident.calling_ae_title,
                    "address": incident.address,
                    "sentence": incident.why,
                }
                for incident in self.turned_away.last()
            ],
        }

    def figures(self) -> Sequence[Figure]:
        """What is measured of it, for the metrics."""
        pending = sum(door.pending for door in self._server.doors) if self._server is not None else 0
        return (
            Figure(
                "iris_associations", "Associations and STOW-RS requests that are open.", self._places.taken
            ),
            Figure("iris_associations_limit", "How many of them may be open.", self._places.number),
            Figure("iris_connections_pending", "Connections that have not asked for one yet.", pending),
            *self.stow.figures(),
            *self.turned_away.figures(),
        )

    def start(self, port: socket.socket | None = None) -> None:
        """Listen.

        Parameters
        ----------
        port
            Open already; None: the configured one is opened.

        Raises
        ------
        ListenerError
            The port cannot be opened.
        """
        port = port or open_port(self._settings.host, self._settings.port)
        _config.LOG_HANDLER_LEVEL = "none"  # they format every message, which costs more than storing it
        self._folder.has_room = self._admission.has_room
        self._folder.max_object_bytes = self._settings.max_object_mb * 1_000_000
        entity = AE(self._settings.ae_title)
        entity.maximum_associations = 1_000_000  # places are counted at the door
        entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
        entity.network_timeout = NETWORK_TIMEOUT_S
        server = _Server(
            port,
            entity,
            port.getsockname(),
            self._settings.ae_title,
            supported_contexts(takes_custody=self._commitments is not None),
            None,
            [
                (evt.EVT_ACCEPTED, self._on_accepted),
                (evt.EVT_RELEASED, self._on_released),
                (evt.EVT_ABORTED, self._on_aborted),
            ],
        )
        for opened, tls in self._ports(port):
            door = Door(
                opened,
                self.limits,
                self._places,
                knows=self._admission.knows_address,
                judge=self._judge,
                hand_on=self._begin,
                told=self.turned_away.tell,
                tls=tls,
            )
            server.doors.append(door)
        entity._servers.append(server)  # whom its shutdown() ends
        self._server, self._entity = server, entity
        for door in server.doors:
            door.open()

    def _ports(self, port: socket.socket) -> list[tuple[socket.socket, Tls | None]]:
        """Every open port with the TLS that is spoken there."""
        if not self._settings.tls.is_wanted:
            return [(port, None)]
        if self._settings.tls_port is None:
            return [(port, self._tls)]
        return [(port, None), (open_port(self._settings.host, self._settings.tls_port), self._tls)]

    def stop(self) -> None:
        """Abort what is open and listen no more; what was not answered stays with its sender."""
        if self._entity is None:
            return
        with self._lock:
            threads = list(self._open)
        self._entity.shutdown()
        self._entity = self._server = None
        for thread in threads:
            thread.join(STOP_TIMEOUT_S)
        self._forget_the_dead()

    def has_open_association(self, study_uid: str) -> bool:
        """Whether an association, or a request, that touched this study is still open."""
        with self._lock:
            is_open = any(
                study_uid in association.study_uids and association.thread.is_alive()
                for association in self._open.values()
            )
        return is_open or self.stow.has_open_request(study_uid)

    # -- what associations do -----------------------------------------------------------------------------

    def _judge(self, request: Request) -> Rejection | None:
        rejection = self._admission.judge(request.calling_ae_title, request.address)
        if rejection is not None:
            return rejection
        is_other = request.called_ae_title != self._settings.ae_title.strip()
        if self._settings.check_called_ae_title and is_other:
            return Rejection(
                CALLED_AE_NOT_RECOGNIZED, "it calls another AE title (dicom.check_called_ae_title)"
            )
        if self._ledger.damage:
            return Rejection(LOCAL_LIMIT_EXCEEDED, "the ledger is damaged")
        return None

    def _begin(self, connection: socket.socket, address: tuple[Any, ...], request: bytes) -> None:
        serving = Serving(
            self._server,
            self.limits,
            self._folder,
            take=self._store,
            take_notice=partial(take_notice, self._ledger),
            to_report=self._to_report,
            told=self._on_refused,
            ended=self._on_end,
        )
        begin_association(serving, connection, address, request)

    def _to_report(self, key: int, line: Line) -> None:
        if self._commitments is not None:
            self._commitments.asked_on(key, line)

    def _on_refused(self, thread: Association, why: str) -> None:
        requestor = thread.requestor
        self.turned_away.tell("aborted", requestor.ae_title.strip(), requestor.address, why)

    def _on_end(self, thread: Association) -> None:
        self._close(thread, released=False)  # where no event said so
        self._give_place_back(thread)
        with self._lock:
            self._without_place.discard(thread)

    def _give_place_back(self, thread: Association) -> None:
        """Once, as soon as it is over: its sender may ask for the next one at once."""
        with self._lock:
            if thread in self._without_place:
                return
            self._without_place.add(thread)
        self._places.give_back()

    def _store(self, thread: Association, incoming: IncomingFile, request: StoreRequest) -> int:
        """Take what an association brought; the status of the answer."""
        association = self._association(thread)
        if not self._admission.has_room():
            log.error("no_room_left", association=association.number)
            return OUT_OF_RESOURCES
        # What this gateway itself had moved to it is `iris backfill`'s (PS3.7 9.3.1.1).
        is_backfilled = request.move_originator == self._settings.ae_title
        sender = Sender(BACKFILLED if is_backfilled else association.sender, association.number)
        taken = self._intake.take(incoming, sender, Said(request.sop_uids))
        if taken.study_uid is not None:
            with self._lock:
                association.study_uids.add(taken.study_uid)
                association.stored += 1
        return taken.status

    def _on_accepted(self, event: Event) -> None:
        self._association(event.assoc)
        if lacks_commitment(event.assoc):
            requestor = event.assoc.requestor
            title, address = requestor.ae_title.strip(), requestor.address
            self.turned_away.tell_declined(title, address, NO_COMMITMENT)

    def _association(self, thread: Association) -> _OpenAssociation:
        with self._lock:
            if thread not in self._open:
                self._count += 1
                self._open[thread] = _OpenAssociation(self._count, thread, thread.requestor.ae_title.strip())
            return self._open[thread]

    def _on_released(self, event: Event) -> None:
        self._give_place_back(event.assoc)
        self._close(event.assoc, released=True)

    def _on_aborted(self, event: Event) -> None:
        self._close(event.assoc, released=False)

    def _forget_the_dead(self) -> None:
        """Close associations that ended without an event: a broken message kills their reader."""
        with self._lock:
            dead = [thread for thread in self._open if not thread.is_alive()]
        for thread in dead:
            self._close(thread, released=False)

    def _close(self, thread: Association, *, released: bool) -> None:
        with self._lock:
            association = self._open.pop(thread, None)
        if association is None or not association.study_uids:
            return
        log.info(
            "association_closed",
            number=association.number,
            released=released,
            objects=association.stored,
            studies=len(association.study_uids),
        )
        study_uids = frozenset(association.study_uids)
        self.endings.tell(
            Ending(association.number, association.sender, released, study_uids, association.opened_at)
        )


class _Server(ThreadedAssociationServer):
    """What pynetdicom's associations know of their server; its doors take the connections."""

    def __init__(self, port: socket.socket, *args: Any, **options: Any) -> None:
        self._port = port
        self.doors: list[Door] = []
        super().__init__(*args, **options)

    def server_bind(self) -> None:
        """Take the open port in place of a new one."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._port
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Do nothing: it listens."""

    def shutdown(self) -> None:
        """Close the doors."""
        for door in self.doors:
            door.close()
        self.ae._servers.remove(self)
