"""Why there is no association, in a sentence with the way out: rejection, abort, silence, no connection.

The reasons of a rejection are those of PS3.8 table 9-21.
"""

import errno
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.adapters.tls import Tls, what_failed

from .implementation import class_name

if TYPE_CHECKING:
    from .peer import Peer

CONNECT_TIMEOUT_S: Final = 10.0
REFUSAL_TIMEOUT_S: Final = 1.0
"""How long a peer is listened to that may refuse our certificate, or says why it takes no connection."""
MOST_NAMED: Final = 3
"""Of SOP classes in a sentence."""

_FOR_NOW = 2
_USER, _ACSE, _PRESENTATION = 1, 2, 3
"""Who rejected: service user, service provider (ACSE), service provider (presentation)."""
_WAIT: Final = "wait, or allow more there"
_REASONS: Final = {
    (_USER, 1): (
        "no reason given",
        "look at its log: mostly this gateway's AE title {calling} (dicom.ae_title), with its address, has to"
        " be entered there",
    ),
    (_USER, 2): (
        "application context name not supported",
        "it is no DICOM node as we know it; check its port",
    ),
    (_USER, 3): (
        "calling AE title not recognised",
        "enter the AE title {calling} and this machine's address there (a gateway's own is dicom.ae_title)",
    ),
    (_USER, 7): (
        "called AE title not recognised",
        "its own AE title is another one than {called}: correct it here (destination.ae_title, study.find);"
        " or, as dcmqrscp means it, this gateway ({calling}, with the name of its host) is not entered there",
    ),
    (_ACSE, 1): ("no reason given by its ACSE", "look at its log"),
    (_ACSE, 2): ("protocol version not supported", "it speaks another version of DICOM; look at its log"),
    (_PRESENTATION, 1): ("temporary congestion", f"it has no place for now: {_WAIT}"),
    (_PRESENTATION, 2): ("local limit exceeded", f"all its associations are taken: {_WAIT}"),
}
"""Source and reason (PS3.8 9.3.4), each with its meaning and the way out."""
_ABORTS: Final = {
    1: "it did not recognize a PDU",
    2: "it did not expect a PDU",
    4: "it did not recognize a parameter of a PDU",
    5: "it did not expect a parameter of a PDU",
    6: "a parameter of a PDU had a value that it takes for none",
}
"""Reasons of an abort by the service provider (PS3.8 table 9-26)."""
_CONNECTIONS: Final = {
    errno.ECONNREFUSED: "nobody listens at that port; check that it runs, and its port",
    errno.EHOSTUNREACH: "no route leads to that host; check host and network",
    errno.ENETUNREACH: "no route leads to that network; check host and network",
    errno.EACCES: "a firewall forbids it; allow the connection",
    errno.EPERM: "a firewall forbids it; allow the connection",
}


@dataclass
class Course:
    """How far an association came, heard while it was opened.

    Parameters
    ----------
    is_connected
        Whether there was a connection.
    rejection, abort
        What the peer sent. pynetdicom overlooks a rejection that comes at once, or for a reserved reason.
    """

    is_connected: bool = False
    rejection: A_ASSOCIATE_RJ | None = None
    abort: A_ABORT_RQ | None = None
    handlers: list[tuple[Any, Any]] = field(init=False)
    """pynetdicom's pairs of an event and a function."""

    def __post_init__(self) -> None:
        self.handlers = [(evt.EVT_CONN_OPEN, self._connected), (evt.EVT_PDU_RECV, self._received)]

    def _connected(self, _: object) -> None:
        self.is_connected = True

    def _received(self, event: evt.Event) -> None:
        if isinstance(event.pdu, A_ABORT_RQ):
            self.abort = event.pdu
        elif isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = event.pdu


def why_not(peer: "Peer", calling: str, opened: Association, course: Course, seconds: float) -> str:
    """Why an association was not established.

    Parameters
    ----------
    seconds
        How long that took.
    """
    if course.rejection is not None:
        return _rejected(peer, calling, course.rejection)
    if accepts_nothing(opened):
        return f"{peer} accepts none of the SOP classes offered ({_offered(opened)}); allow them there"
    if peer.tls is not None and (trouble := _trouble_with_tls(peer, peer.tls)):
        return f"{peer}: no TLS: {trouble}; look at the certificates on both sides"
    if course.abort is not None:
        return (
            f"{peer} aborted the association before it was accepted ({_aborted(course.abort)}); see its log"
        )
    if course.is_connected:
        speaks = ", and whether it speaks TLS" if peer.tls is None else ""
        if seconds >= CONNECT_TIMEOUT_S:
            return (
                f"{peer} took the connection, and did not answer for {CONNECT_TIMEOUT_S:g} s; check its load"
                f" and log, its port{speaks}"
            )
        return f"{peer} took the connection, and did not answer; check its port{speaks}"
    if seconds >= CONNECT_TIMEOUT_S:
        return (
            f"{peer} cannot be reached: no answer for {CONNECT_TIMEOUT_S:g} s; check that the machine runs,"
            " and host and firewall"
        )
    return f"{peer} cannot be reached: {_why_no_connection(peer)}"


def accepts_nothing(opened: Association) -> bool:
    """Whether the peer is there, and took none of what was offered."""
    return bool(
        opened.rejected_contexts and not opened.accepted_contexts and opened.acceptor.primitive is not None
    )


def _rejected(peer: "Peer", calling: str, rejection: A_ASSOCIATE_RJ) -> str:
    key = rejection.source or 0, rejection.reason_diagnostic or 0
    reserved = (
        f"reason {key[1]} of source {key[0]}, which PS3.8 does not define",
        "look at its log",
    )
    reason, way_out = _REASONS.get(key, reserved)
    lasts = " for now" if rejection.result == _FOR_NOW else ""
    return (
        f"{peer} rejected the association{lasts} ({reason});"
        f" {way_out.format(calling=calling, called=peer.ae_title)}"
    )


def _aborted(abort: A_ABORT_RQ) -> str:
    is_provider = abort.source == _ACSE
    return _ABORTS.get((is_provider and abort.reason_diagnostic) or 0, "no reason given")


def _offered(opened: Association) -> str:
    """The SOP classes; Verification only where it was the only one."""
    classes = dict.fromkeys(str(context.abstract_syntax) for context in opened.rejected_contexts)
    names = [class_name(each) for each in classes if each != Verification] or ["Verification"]
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _why_no_connection(peer: "Peer") -> str:
    """Call once more to hear why: pynetdicom keeps it to itself."""
    try:
        with socket.create_connection((peer.host, peer.port), REFUSAL_TIMEOUT_S):
            return "it was away until now; it is tried again"
    except TimeoutError:
        pass
    except OSError as error:
        number = error.errno or 0
        if number in _CONNECTIONS:
            return _CONNECTIONS[number]
        if number > 0:
            return f"{os.strerror(number)}; check that it runs, and host, port and firewall"
    return "no connection; check that it runs, and host, port and firewall"


def _trouble_with_tls(peer: "Peer", tls: Tls) -> str:
    """Call once more to hear why: pynetdicom keeps it to itself. Empty where it is not TLS."""
    try:
        with socket.create_connection((peer.host, peer.port), CONNECT_TIMEOUT_S) as line:
            try:
                with tls.context().wrap_socket(line, server_hostname=peer.host) as secured:
                    secured.settimeout(REFUSAL_TIMEOUT_S)
                    secured.recv(1)  # with TLS 1.3 a refusal comes behind the handshake
            except TimeoutError:
                return ""
            except OSError as error:
                return what_failed(error)
    except OSError:
        return ""
    return ""
