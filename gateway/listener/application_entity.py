"""The DICOM application entity: its associations, and what they bring."""

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gateway.adapters.measures import Figure
from gateway.adapters.tls import Tls, TlsFiles
from gateway.config import Dicom
from gateway.ledger.store import Ledger

from .answered import Answered
from .beside.channel import ChildSettings
from .beside.children import Children
from .causes import Cause
from .commitments import Commitments
from .door.admission import CALLED_AE_NOT_RECOGNIZED, LOCAL_LIMIT_EXCEEDED, Admission, Rejection
from .door.door import Door
from .door.places import Places
from .door.port import open_port
from .door.request import Request
from .door.turned_away import TurnedAway
from .endings import Endings
from .intake.filing import Intake
from .intake.incoming import IncomingFolder
from .notices import take_notice
from .pledged import Pledged
from .statuses import UNRECOGNIZED_OPERATION
from .stow import Shared, StowDoor
from .visits import Visits
from .wire.associations import Associations
from .wire.contexts import supported_contexts
from .wire.guard import Limits
from .wire.naming import COMMITMENT, NOTICE, NamingRequest, Written
from .wire.reporting import Line
from .wire.upper_layer import NamedInstances, Serving

NO_COMMITMENT: Final = "it asks for storage commitment, which is not accepted; see dicom.commitment"


class Listener:
    """Takes associations and hands what they bring to the intake.

    Parameters
    ----------
    settings
        The `[dicom]` part of the configuration.
    folder
        Where incoming files lie; on the archive's file system.
    commitments
        Who answers storage commitment requests; None: nobody, and they are not accepted.
    pledged
        Who takes what destinations report to which the gateway sent; None: nobody.
    children
        Processes beside this one that serve associations.
    """

    def __init__(
        self,
        settings: Dicom,
        admission: Admission,
        folder: Path,
        intake: Intake,
        ledger: Ledger,
        commitments: Commitments | None = None,
        children: int = 0,
        pledged: Pledged | None = None,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self.limits = Limits(object_bytes=settings.max_object_mb * 1_000_000)
        self._folder = IncomingFolder(folder, self.limits.object_bytes)
        self._ledger = ledger
        self._commitments = commitments
        self._pledged = pledged or Pledged(ledger, {})
        self._number_of_children = children
        self.endings = Endings(ledger)
        """Its own worker; whoever starts the listener starts it too."""
        self._doors: list[Door] = []
        self._associations: Associations | None = None
        self._of_reporters: Associations | None = None
        self._children: Children | None = None
        self._places = Places(settings.max_associations)
        tls = settings.tls
        self._tls = (
            Tls(TlsFiles(tls.client_ca, tls.certificate, tls.key), is_server=True) if tls.is_wanted else None
        )
        self.turned_away = TurnedAway()
        """Who was rejected or aborted, and why."""
        self._answered = Answered()
        self.visits = Visits(
            admission,
            intake,
            self.endings,
            self._places,
            self.turned_away,
            self._answered,
            settings.ae_title,
        )
        """The associations that are open."""
        shared = Shared(
            admission,
            self._folder,
            intake,
            ledger,
            self._places,
            self.turned_away,
            self.endings,
            self._answered,
        )
        self.stow = StowDoor(shared)
        """The second door, at the API's port; its requests take places, too."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it really listens on."""
        return self._doors[0].address

    @property
    def tls_address(self) -> tuple[str, int] | None:
        """Host and port where TLS is spoken; None where it is nowhere."""
        found = [door.address for door in self._doors if door.speaks_tls]
        return found[0] if found else None

    @property
    def is_listening(self) -> bool:
        """Whether associations can come in."""
        return bool(self._doors) and all(door.is_open for door in self._doors)

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
        pending = sum(door.pending for door in self._doors)
        children = self._children.ready if self._children is not None else 0
        return (
            Figure(
                "iris_associations", "Associations and STOW-RS requests that are open.", self._places.taken
            ),
            Figure("iris_associations_limit", "How many of them may be open.", self._places.number),
            Figure("iris_connections_pending", "Connections that have not asked for one yet.", pending),
            Figure(
                "iris_listener_processes", "Processes beside the gateway's own that serve some.", children
            ),
            *self.stow.figures(),
            *self.turned_away.figures(),
            *self._answered.figures(),
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
        self._folder.clear()
        offered = (NOTICE,) if self._commitments is None else (NOTICE, COMMITMENT)
        is_apart = self._commitments is None and bool(self._pledged.reporters)
        self._associations = self._serving(*offered)
        self._of_reporters = self._serving(NOTICE, COMMITMENT) if is_apart else self._associations
        settings = ChildSettings(self._settings.ae_title, self.limits, self._folder.folder)
        self._children = Children(self._number_of_children, settings)
        self._doors = [
            Door(
                opened,
                self.limits,
                self._places,
                knows=self._admission.knows_address,
                judge=self._judge,
                hand_on=self._begin,
                told=self.turned_away.tell,
                tls=tls,
            )
            for opened, tls in self._ports(port)
        ]
        for door in self._doors:
            door.open()

    def _serving(self, *named: str) -> Associations:
        """Associations on which these SOP classes that name instances are accepted."""
        serving = Serving(self.limits, self._folder, NamedInstances(self._take_named, self._to_report))
        return Associations(self._settings.ae_title, supported_contexts(*named), serving)

    def _ports(self, port: socket.socket) -> list[tuple[socket.socket, Tls | None]]:
        """Every open port with the TLS that is spoken there."""
        if not self._settings.tls.is_wanted:
            return [(port, None)]
        if self._settings.tls_port is None:
            return [(port, self._tls)]
        return [(port, None), (open_port(self._settings.host, self._settings.tls_port), self._tls)]

    def stop(self) -> None:
        """Abort what is open and listen no more; what was not answered stays with its sender."""
        for door in self._doors:
            door.close()
        if self._children is not None and self._associations is not None and self._of_reporters is not None:
            self._children.hang_up()
            for associations in {self._associations, self._of_reporters}:
                associations.stop()  # beside those
            self._children.stop()
        self._doors, self._associations, self._of_reporters, self._children = [], None, None, None

    def has_open_association(self, study_uid: str) -> bool:
        """Whether an association, or a request, that touched this study is still open."""
        return self.visits.are_at(study_uid) or self.stow.has_open_request(study_uid)

    # -- who comes in ---------------------------------------------------------------------------------------

    def _judge(self, request: Request) -> Rejection | None:
        rejection = self._admission.judge(request.calling_ae_title, request.address)
        if rejection is not None:
            return rejection
        is_other = request.called_ae_title != self._settings.ae_title.strip()
        if self._settings.check_called_ae_title and is_other:
            return Rejection(
                CALLED_AE_NOT_RECOGNIZED,
                Cause.CALLED_AE_TITLE,
                "it calls another AE title (dicom.check_called_ae_title)",
            )
        if self._ledger.damage:
            return Rejection(LOCAL_LIMIT_EXCEEDED, Cause.LEDGER_DAMAGED, "the ledger is damaged")
        return None

    def _begin(self, connection: socket.socket, address: tuple[Any, ...], request: Request) -> None:
        assert self._associations is not None
        assert self._of_reporters is not None
        assert self._children is not None
        reports = request.calling_ae_title in self._pledged.reporters
        associations = self._of_reporters if reports else self._associations
        if self._commitments is None and not reports and COMMITMENT in request.abstract_syntaxes:
            self.turned_away.tell_declined(request.calling_ae_title, request.address, NO_COMMITMENT)
        visit = self.visits.begin(request.calling_ae_title, request.address)
        is_alone = len(self.visits) == 1
        # TLS is a state of this process, and what names instances is reported on by one of its workers.
        stays = isinstance(connection, ssl.SSLSocket) or request.abstract_syntaxes & {COMMITMENT, NOTICE}
        try:
            if is_alone or stays or not self._children.hand_on(visit, connection, address, request.content):
                associations.begin(visit, connection, address, request.content)
        except BaseException:
            visit.forget()
            raise

    def _take_named(self, request: NamingRequest) -> Written:
        if self._pledged.is_report(request):
            return self._pledged.take(request)
        if self._commitments is None and request.sop_class_uid == COMMITMENT:
            return Written(UNRECOGNIZED_OPERATION)
        return take_notice(self._ledger, request)

    def _to_report(self, key: int, line: Line) -> None:
        if self._commitments is not None:
            self._commitments.asked_on(key, line)
