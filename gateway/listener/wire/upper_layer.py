"""All that is done to the private parts of pynetdicom: every byte is looked at before it is taken, C-STOREs
and what names instances are served where they are read, and threads wait for what happens instead of looking
each millisecond.

Pinned to pynetdicom 3.0; `tests/unit/listener/test_private_parts.py` compares what is relied on with its
source. By itself pynetdicom reads PDUs of any length without a deadline, collects commands and data sets
without a limit, and ends its threads with a traceback, without a word to the peer, where one is malformed.
"""

import queue
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler

from ..intake.incoming import IncomingFolder
from .artim import Artim
from .attendant import Attendant
from .guard import (
    COMMAND,
    INVALID_VALUE,
    LAST,
    MAXIMUM_PDU_BYTES,
    NOT_SPECIFIED,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    Command,
    Fragment,
    Limits,
    MessageGuard,
    Refused,
)
from .inbox import Inbox
from .naming import Naming, TakeNotice, ToReport
from .reporting import Reporting
from .storing import Storing

log = structlog.get_logger(__name__)

_REQUEST, _DATA = 0x01, 0x04
_PDU_TYPES = range(0x01, 0x08)
_IDLE, _ESTABLISHED, _WAITS_FOR_CLOSE = "Sta1", "Sta6", "Sta13"
_DRAIN_BYTES = 1 << 16
_LONGEST_PDU_BYTES = 6 + MAXIMUM_PDU_BYTES
_SHORT_BYTES = 1 << 10
"""A command is no longer; a part of the data set's first PDU that came with it has to be moved."""

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux
_LOOK_WHETHER_ANSWERED_S = 0.001
_LOOK_EVERY_S = 0.2
"""How late a timer may be seen, and what no bell was rung for."""


@dataclass(frozen=True)
class NamedInstances:
    """Who takes what names instances, and hears of the lists that are to be reported."""

    take: TakeNotice
    to_report: ToReport


@dataclass(frozen=True)
class Serving:
    """What all associations of a process are served with.

    Parameters
    ----------
    named
        None: no presentation context for what names instances is accepted.
    """

    limits: Limits
    folder: IncomingFolder
    named: NamedInstances | None = None


class _RingingQueue(queue.Queue[Any]):
    """A queue that tells whoever waits for something in it."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__()
        self._ring = ring

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append, and ring."""
        super().put(item, block, timeout)
        self._ring()


class _Checkpoint(threading.Event):
    """What pynetdicom's association passes in every round: here it waits until there is something to do."""

    def __init__(self, has_more: Callable[[], bool]) -> None:
        super().__init__()
        self._has_more = has_more

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it was set, or for a while."""
        if not self._has_more():
            super().wait(_LOOK_EVERY_S)
        self.clear()
        return True


class GuardedSocket(AssociationSocket):
    """A connection whose first bytes were read already, and that is waited for together with a bell."""

    def __init__(self, association: Association, connection: socket.socket, first: bytes) -> None:
        super().__init__(association, client_socket=connection)
        self.inbox = Inbox(first, _LONGEST_PDU_BYTES, self._receive)
        self._hammer, self._bell = socket.socketpair()
        self._hammer.setblocking(False)
        self._poll, self._poll_bell = select.poll(), select.poll()  # select takes descriptors under 1024 only
        for poll in (self._poll, self._poll_bell):
            poll.register(self._bell, select.POLLIN)
        self._poll.register(connection, select.POLLIN)

    def ring(self) -> None:
        """Let who waits look again."""
        with suppress(OSError):  # it is full, so somebody rang; or closed
            self._hammer.send(b"x")

    def close_bell(self) -> None:
        """Nobody waits any more."""
        self._hammer.close()
        self._bell.close()

    def _receive(self, view: memoryview, is_to_be_full: bool) -> int:
        connection = self.socket
        if connection is None:
            return 0
        waits = is_to_be_full and not isinstance(connection, ssl.SSLSocket)
        try:
            received = connection.recv_into(view, len(view), socket.MSG_WAITALL if waits else 0)
        except (TimeoutError, BlockingIOError):
            raise Refused(NOT_SPECIFIED, "it stopped in the middle of a PDU") from None
        if _QUICKACK is not None:
            # Nobody who holds back small writes (RFC 896) waits for our acknowledgement; see tcp(7).
            connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return received

    @property
    def ready(self) -> bool:
        """Whether there is something to read: as soon as there is, the bell rings, or some time is over."""
        connection = self.socket
        if len(self.inbox) or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return True
        is_open = connection is not None and connection.fileno() >= 0 and self._is_connected
        poll = self._poll if is_open else self._poll_bell
        ready = [descriptor for descriptor, _ in poll.poll(1000 * _LOOK_EVERY_S)]
        if (bell := self._bell.fileno()) in ready:
            self._bell.recv(_DRAIN_BYTES)
        return any(descriptor != bell for descriptor in ready)


class GuardedUpperLayer(DULServiceProvider):
    """Reads PDUs within limits, aborts with a reason, and serves C-STORE and what names instances."""

    def __init__(self, association: Association, serving: Serving, attendant: Attendant) -> None:
        super().__init__(association)
        self.artim_timer = Artim(lambda: self.state_machine.current_state == _IDLE, self.artim_timer.timeout)
        self._limits = serving.limits
        self._attendant = attendant
        self._guard = MessageGuard(serving.limits, lambda number: number in association._accepted_cx)
        self._storing = Storing(
            association, serving.folder, attendant, lambda answer: self._line.send(answer)
        )
        self._reporting = Reporting(association, lambda: self._line.ring())
        self._naming = _naming(
            association, serving.named, self._reporting, lambda answer: self._line.send(answer)
        )
        self._run_loop_delay = 0  # it waits in `ready`
        self.to_provider_queue = _RingingQueue(lambda: self._line.ring())
        checkpoint = _Checkpoint(lambda: not association.dimse.msg_queue.empty())
        association._reactor_checkpoint = checkpoint
        self.to_user_queue = _RingingQueue(checkpoint.set)
        association.dimse.msg_queue = _RingingQueue(checkpoint.set)

    @property
    def _line(self) -> GuardedSocket:
        return cast(GuardedSocket, self.socket)

    def kill_dul(self) -> None:
        """End the thread."""
        super().kill_dul()
        self._line.ring()

    def stop_dul(self) -> bool:
        """End the thread where the connection is over."""
        if self.state_machine.current_state == _IDLE:
            self.kill_dul()
        return super().stop_dul()

    def run_reactor(self) -> None:
        """Run; what goes wrong is told to the peer and the log, never printed."""
        try:
            super().run_reactor()
        except Exception as error:  # what pynetdicom raises on a message that it does not know
            _tell_failed(self.assoc, error)
            self._abort(Refused(INVALID_VALUE, "it sent a message that cannot be understood"))
            self._line.close()
        finally:
            self._storing.give_up()
            self._reporting.give_up()
            self.assoc._reactor_checkpoint.set()

    def _is_transport_event(self) -> bool:
        """Wait where the sender is ahead of our answers: what it sends meanwhile stays with it."""
        self._write_reports()
        is_ahead = self.assoc.dimse.msg_queue.qsize() >= self._limits.unanswered
        if is_ahead and self.state_machine.current_state == _ESTABLISHED:
            time.sleep(_LOOK_WHETHER_ANSWERED_S)
            return False
        return super()._is_transport_event()

    def _write_reports(self) -> None:
        while self.state_machine.current_state == _ESTABLISHED:
            report = self._reporting.next_to_write()
            if report is None:
                return
            self._line.send(report)

    def _read_pdu_data(self) -> None:
        if self.state_machine.current_state == _WAITS_FOR_CLOSE:
            self._drain()
            return
        try:
            self._read_pdu()
            while self._storing.is_under_way and self.event_queue.empty() and self._line.ready:
                self._idle_timer.restart()
                self._read_pdu()
        except Refused as refused:
            self._abort(refused)
        except OSError:
            self.event_queue.put("Evt17")

    def _read_pdu(self) -> None:
        pdu = self._whole_pdu()
        if pdu is None:
            self.event_queue.put("Evt17")
        elif pdu[0] == _DATA and self.state_machine.current_state == _ESTABLISHED:
            for part in self._guard.look(pdu):
                self._take(part)
        else:
            decoded, event = self._decoded(pdu)
            self.event_queue.put(event)
            self._recv_pdu.put(decoded)

    def _take(self, part: Command | Fragment) -> None:
        """Serve a C-STORE and what names instances; what belongs to another request is for pynetdicom."""
        if isinstance(part, Command):
            if part.is_store:
                self._storing.begin(part)
                return
            if part.is_report_answer:
                self._reporting.take_answer(part)
                return
            if self._naming is not None and self._naming.begins(part):
                return
            control = COMMAND | LAST
        else:
            services = (self._storing, self._naming, self._reporting)
            if any(one.takes(part) for one in services if one is not None):
                return
            control = LAST if part.is_last else 0
        primitive = P_DATA()
        primitive.presentation_data_value_list.append(
            (part.context_id, bytes((control,)) + bytes(part.content))
        )
        self.assoc.dimse.receive_primitive(primitive)

    def _decoded(self, pdu: memoryview) -> Any:
        try:
            return self._decode_pdu(bytearray(pdu))
        except Exception:  # whatever is raised on bytes from outside
            raise Refused(INVALID_VALUE, "it sent a PDU that cannot be parsed") from None

    def _whole_pdu(self) -> memoryview | None:
        """The next PDU with its header (PS3.8 9.3); None: the connection is closed.

        It is good until the next one is read.
        """
        give_up_at = time.monotonic() + self._limits.pdu_s
        inbox = self._line.inbox
        head = inbox.look(6, give_up_at, _LONGEST_PDU_BYTES if self._storing.is_under_way else _SHORT_BYTES)
        if head is None:
            return None
        kind, length = head[0], int.from_bytes(head[2:6], "big")
        if kind not in _PDU_TYPES:
            raise Refused(UNRECOGNIZED_PDU, "it sent what is no DICOM")
        if kind == _REQUEST and self.state_machine.current_state == _ESTABLISHED:
            raise Refused(UNEXPECTED_PDU, "it asked for an association again")
        if length > (MAXIMUM_PDU_BYTES if kind == _DATA else self._limits.request_bytes):
            raise Refused(INVALID_VALUE, f"a PDU of {length} bytes is longer than was offered")
        pdu = inbox.look(6 + length, give_up_at)
        if pdu is not None:
            inbox.take(6 + length)
        return pdu

    def _drain(self) -> None:
        """Throw away what still comes while the peer is waited for, which the ARTIM timer ends."""
        self._line.inbox.clear()
        connection = self._line.socket
        try:
            is_open = connection is not None and bool(connection.recv(_DRAIN_BYTES))
        except OSError:
            is_open = False
        if not is_open:
            self.event_queue.put("Evt17")

    def _abort(self, refused: Refused) -> None:
        """Tell the peer (A-ABORT, PS3.8 9.3.8) and our own side."""
        self._attendant.refused(refused.sentence, refused.cause)
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 0x02, refused.reason
        self._send(pdu)
        primitive = A_P_ABORT()
        primitive.provider_reason = refused.reason
        self.to_user_queue.put(primitive)
        self.state_machine.transition(_WAITS_FOR_CLOSE)
        self.artim_timer.start()


def _naming(
    association: Association,
    named: NamedInstances | None,
    reporting: Reporting,
    reply: Callable[[bytes], None],
) -> Naming | None:
    if named is None:
        return None
    return Naming(association, named.take, named.to_report, reporting, reply)


def begin_association(
    serving: Serving,
    server: Any,
    attendant: Attendant,
    connection: socket.socket,
    address: tuple[Any, ...],
    request: bytes,
) -> None:
    """Let pynetdicom serve an association whose request was read.

    Parameters
    ----------
    server
        What pynetdicom's associations know of their server.
    """

    class Handler(RequestHandler):
        def handle(self) -> None:
            association = self._create_association()
            _limit_waits(connection, serving.limits.pdu_s)
            association.dul = GuardedUpperLayer(association, serving, attendant)
            line = GuardedSocket(association, connection, request)
            association.set_socket(line)
            association.acse_timeout = serving.limits.request_s  # of its ARTIM timer, too
            association.network_timeout = self.ae.network_timeout
            association.bind(evt.EVT_RELEASED, lambda _: attendant.closed(released=True))
            association.bind(evt.EVT_ABORTED, lambda _: attendant.closed(released=False))
            _call_at_end(association, line, attendant.over)
            association.start()

    Handler(connection, address, server)


def _limit_waits(connection: socket.socket, limit_s: float) -> None:
    """Let no read or write wait for longer.

    The system's own limits, where Python need not wait by itself before each: a PDU is then one read, and not
    one for each piece that comes of it, between which threads of other associations would take turns.
    """
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(limit_s)
        return
    connection.settimeout(None)
    limit = struct.pack("@ll", int(limit_s), int(limit_s % 1 * 1_000_000))
    for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, direction, limit)


def _tell_failed(association: Association, error: Exception) -> None:
    title = association.requestor.ae_title.strip()
    log.warning("association_failed", calling_ae_title=title, error=type(error).__name__)


def _call_at_end(association: Association, line: GuardedSocket, over: Callable[[], None]) -> None:
    run, connection = association.run, line.socket

    def run_to_the_end() -> None:
        try:
            run()
        except Exception as error:  # whatever pynetdicom raises on what it was sent
            _tell_failed(association, error)
        finally:
            association.dul.kill_dul()
            if association.dul.ident is not None:
                association.dul.join()  # what it has in hand is taken before the association is over
            if connection is not None:
                with suppress(OSError):
                    connection.close()
            line.close_bell()
            over()

    vars(association)["run"] = run_to_the_end
