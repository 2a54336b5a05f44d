"""All that is done to the private parts of pynetdicom: every byte is looked at before it is taken.

Pinned to pynetdicom 3.0; `tests/unit/listener/test_private_parts.py` compares what is relied on with its
source. By itself pynetdicom reads PDUs of any length without a deadline, collects commands and data sets
without a limit, and ends its threads with a traceback, without a word to the peer, where one is malformed.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import structlog
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import A_P_ABORT
from pynetdicom.transport import AssociationSocket, RequestHandler

from .guard import (
    INVALID_VALUE,
    MAXIMUM_PDU_BYTES,
    NOT_SPECIFIED,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    Limits,
    MessageGuard,
    Refused,
)

log = structlog.get_logger(__name__)

_REQUEST, _DATA = 0x01, 0x04
_PDU_TYPES = range(0x01, 0x08)
_ESTABLISHED, _WAITS_FOR_CLOSE = "Sta6", "Sta13"
_DRAIN_BYTES = 1 << 16

Told = Callable[[Association, str], None]


class GuardedSocket(AssociationSocket):
    """A connection whose first bytes were read already."""

    def __init__(self, association: Association, connection: socket.socket, first: bytes) -> None:
        super().__init__(association, client_socket=connection)
        self.first = bytearray(first)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; any descriptor will do (select takes those under 1024)."""
        if self.first:
            return True
        if self.socket is None or not self._is_connected:
            return False
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            is_ready = bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False
        return is_ready or (isinstance(self.socket, ssl.SSLSocket) and bool(self.socket.pending()))


class GuardedUpperLayer(DULServiceProvider):
    """Reads PDUs within limits, and aborts with a reason.

    Parameters
    ----------
    told
        Called with the association and a sentence when it is aborted from here.
    """

    def __init__(self, association: Association, limits: Limits, told: Told) -> None:
        super().__init__(association)
        self._limits = limits
        self._told = told
        self._guard = MessageGuard(limits, lambda number: number in association._accepted_cx)

    def run_reactor(self) -> None:
        """Run; what goes wrong is told to the peer and the log, never printed."""
        try:
            super().run_reactor()
        except Exception as error:  # what pynetdicom raises on a message that it does not know
            log.warning("association_failed", error=type(error).__name__)
            self._abort(Refused(INVALID_VALUE, "it sent a message that cannot be understood"))
            cast(AssociationSocket, self.socket).close()

    def _is_transport_event(self) -> bool:
        """Wait where the sender is ahead of our answers: what it sends meanwhile stays with it."""
        is_ahead = self.assoc.dimse.msg_queue.qsize() >= self._limits.unanswered
        if is_ahead and self.state_machine.current_state == _ESTABLISHED:
            return False
        return super()._is_transport_event()

    def _read_pdu_data(self) -> None:
        if self.state_machine.current_state == _WAITS_FOR_CLOSE:
            self._drain()
            return
        try:
            pdu = self._whole_pdu()
            if pdu is None:
                self.event_queue.put("Evt17")
                return
            if pdu[0] == _DATA:
                self._guard.look(pdu)
            decoded, event = self._decoded(pdu)
        except Refused as refused:
            self._abort(refused)
            return
        except OSError:
            self.event_queue.put("Evt17")
            return
        self.event_queue.put(event)
        self._recv_pdu.put(decoded)

    def _decoded(self, pdu: bytearray) -> Any:
        try:
            return self._decode_pdu(pdu)
        except Exception:  # whatever is raised on bytes from outside
            raise Refused(INVALID_VALUE, "it sent a PDU that cannot be parsed") from None

    def _whole_pdu(self) -> bytearray | None:
        """The next PDU with its header (PS3.8 9.3); None: the connection is closed."""
        give_up_at = time.monotonic() + self._limits.pdu_s
        pdu = bytearray(6)
        if not self._fill(pdu, 0, give_up_at):
            return None
        kind, length = pdu[0], int.from_bytes(pdu[2:6], "big")
        if kind not in _PDU_TYPES:
            raise Refused(UNRECOGNIZED_PDU, "it sent what is no DICOM")
        if kind == _REQUEST and self.state_machine.current_state == _ESTABLISHED:
            raise Refused(UNEXPECTED_PDU, "it asked for an association again")
        if length > (MAXIMUM_PDU_BYTES if kind == _DATA else self._limits.request_bytes):
            raise Refused(INVALID_VALUE, f"a PDU of {length} bytes is longer than was offered")
        pdu.extend(bytes(length))
        return pdu if self._fill(pdu, 6, give_up_at) else None

    def _fill(self, pdu: bytearray, at: int, give_up_at: float) -> bool:
        """Read into the rest of `pdu`; False where the connection is closed before that."""
        connection = cast(GuardedSocket, self.socket)
        known = connection.first[: len(pdu) - at]
        pdu[at : at + len(known)] = known
        del connection.first[: len(known)]
        at += len(known)
        with memoryview(pdu) as view:
            while at < len(pdu):
                if connection.socket is None or not (more := self._receive(connection.socket, view[at:])):
                    return False
                at += more
                if time.monotonic() > give_up_at and at < len(pdu):
                    raise Refused(NOT_SPECIFIED, "a PDU came too slowly")
        return True

    def _receive(self, connection: socket.socket, view: memoryview) -> int:
        try:
            return connection.recv_into(view)
        except TimeoutError:
            raise Refused(NOT_SPECIFIED, "it stopped in the middle of a PDU") from None

    def _drain(self) -> None:
        """Throw away what still comes while the peer is waited for, which the ARTIM timer ends."""
        connection = cast(GuardedSocket, self.socket)
        connection.first.clear()
        try:
            is_open = connection.socket is not None and bool(connection.socket.recv(_DRAIN_BYTES))
        except OSError:
            is_open = False
        if not is_open:
            self.event_queue.put("Evt17")

    def _abort(self, refused: Refused) -> None:
        """Tell the peer (A-ABORT, PS3.8 9.3.8) and our own side."""
        self._told(self.assoc, refused.sentence)
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 0x02, refused.reason
        self._send(pdu)
        primitive = A_P_ABORT()
        primitive.provider_reason = refused.reason
        self.to_user_queue.put(primitive)
        self.state_machine.transition(_WAITS_FOR_CLOSE)
        self.artim_timer.start()


def begin_association(
    server: Any,
    connection: socket.socket,
    address: tuple[Any, ...],
    request: bytes,
    limits: Limits,
    told: Told,
    ended: Callable[[Association], None],
) -> None:
    """Let pynetdicom serve an association whose request was read; `ended` is called when it is over."""

    class Handler(RequestHandler):
        def handle(self) -> None:
            association = self._create_association()
            connection.settimeout(limits.pdu_s)
            association.dul = GuardedUpperLayer(association, limits, told)
            association.set_socket(GuardedSocket(association, connection, request))
            association.acse_timeout = limits.request_s  # of its ARTIM timer, too
            association.network_timeout = self.ae.network_timeout
            _call_at_end(association, connection, ended)
            association.start()

    Handler(connection, address, server)


def _call_at_end(
    association: Association, connection: socket.socket, ended: Callable[[Association], None]
) -> None:
    run = association.run

    def run_to_the_end() -> None:
        try:
            run()
        except Exception as error:  # whatever pynetdicom raises on what it was sent
            log.warning("association_failed", error=type(error).__name__)
        finally:
            association.dul.kill_dul()
            with suppress(OSError):
                connection.close()
            ended(association)

    vars(association)["run"] = run_to_the_end
