"""The open port: who connects has seconds to ask for an association, and no place before it is admitted.

One thread holds all connections that have not asked yet, without a thread for any of them. What is whole and
admitted is handed on as it is: a connection, its address, and the bytes of its A-ASSOCIATE-RQ.
"""

import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog

from gateway.adapters.tls import Tls, what_failed

from ..causes import Cause
from ..wire.guard import CAUSES, INVALID_VALUE, UNEXPECTED_PDU, Limits
from .admission import LOCAL_LIMIT_EXCEEDED, Rejection
from .places import Places
from .request import Request, calling_ae_title_in, request_in

log = structlog.get_logger(__name__)

_REQUEST: Final = 0x01
_READ_BYTES: Final = 1 << 16
_LOOK_EVERY_S: Final = 0.5
_WITHOUT_DESCRIPTORS_S: Final = 0.1


@dataclass
class _Pending:
    """A connection that has not asked yet, or that was refused and is waited for to close."""

    connection: socket.socket
    peer: tuple[Any, ...]
    is_stranger: bool
    until: float
    content: bytearray = field(default_factory=bytearray)
    is_leaving: bool = False
    is_in_handshake: bool = False

    @property
    def address(self) -> str:
        return str(self.peer[0])

    def whole_bytes(self) -> int | None:
        """How long its request is, header included; None where that is not known yet."""
        return 6 + int.from_bytes(self.content[2:6], "big") if len(self.content) >= 6 else None


class Door:
    """Holds the port.

    Parameters
    ----------
    port
        It listens already.
    knows
        Whether an address may be one that sends.
    judge
        Why a request is rejected; None: it is admitted.
    hand_on
        Takes an admitted connection, its address and its request; the place is given back by whoever ends it.
    tls
        What connections here speak; None: plain TCP.
    told
        Called with what was done ("rejected", "aborted", "turned_away"), calling AE title, address, and why.
    """

    def __init__(
        self,
        port: socket.socket,
        limits: Limits,
        places: Places,
        *,
        knows: Callable[[str], bool],
        judge: Callable[[Request], Rejection | None],
        hand_on: Callable[[socket.socket, tuple[Any, ...], Request], None],
        told: Callable[[str, Cause, str, str, str], None],
        tls: Tls | None = None,
    ) -> None:
        self._port = port
        self._tls = tls
        self._limits = limits
        self._places = places
        self._knows, self._judge, self._hand_on, self._told = knows, judge, hand_on, told
        self._pending: dict[int, _Pending] = {}  # by descriptor, oldest first
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether anybody takes connections."""
        return self._thread.is_alive()

    @property
    def speaks_tls(self) -> bool:
        """Whether connections here are TLS."""
        return self._tls is not None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._port.getsockname()[:2]
        return str(host), int(port)

    @property
    def pending(self) -> int:
        """Connections that have not asked yet."""
        return len(self._pending)

    def open(self) -> None:
        """Take connections from now on."""
        self._port.setblocking(False)
        self._selector.register(self._port, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        """Close the port and whatever waits at it."""
        self._is_closing = True
        with suppress(OSError):
            self._wake.send(b"x")
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self.look()
        finally:
            for pending in list(self._pending.values()):
                self._drop(pending)
            self._selector.close()
            for each in (self._port, self._wake, self._woken):
                each.close()

    def look(self) -> None:
        """See to everything that came, or whose time is over."""
        for key, _ in self._selector.select(self._wait_s()):
            if key.fileobj is self._port:
                self._accept()
            elif (pending := self._pending.get(key.fd)) is not None:
                self._read(pending)
        now = time.monotonic()
        for pending in [pending for pending in self._pending.values() if pending.until <= now]:
            if not pending.is_leaving:
                self._say("turned_away", Cause.TOO_SLOW, pending, "it did not ask for an association in time")
            self._drop(pending)

    def _wait_s(self) -> float:
        soonest = min((pending.until for pending in self._pending.values()), default=None)
        return _LOOK_EVERY_S if soonest is None else max(0.0, min(_LOOK_EVERY_S, soonest - time.monotonic()))

    def _accept(self) -> None:
        try:
            connection, peer = self._port.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # no descriptors are left: those that wait longest make room
            log.error("connection_not_taken", number=error.errno)
            if self._pending:
                self._drop(next(iter(self._pending.values())))
            else:
                time.sleep(_WITHOUT_DESCRIPTORS_S)
            return
        connection.setblocking(False)
        if self._tls is not None:
            connection = self._tls.context().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        until = time.monotonic() + self._limits.request_s
        pending = _Pending(connection, peer, not self._knows(str(peer[0])), until)
        pending.is_in_handshake = self._tls is not None
        self._make_room_for(pending)
        self._pending[connection.fileno()] = pending
        self._selector.register(connection, selectors.EVENT_READ)

    def _make_room_for(self, new: _Pending) -> None:
        """Where too many wait, the longest waiting goes: who asks at once is never kept out by those."""
        others = list(self._pending.values())
        strangers = [each for each in others if each.is_stranger]
        neighbours = [each for each in others if each.address == new.address]
        if new.is_stranger and len(strangers) >= self._limits.pending_of_strangers:
            crowd = strangers
        elif len(neighbours) >= self._limits.pending_of_address:
            crowd = neighbours
        elif len(others) >= self._limits.pending:
            (busiest, _), *_ = Counter(each.address for each in others).most_common(1)
            crowd = [each for each in others if each.address == busiest]
        else:
            return
        self._say(
            "turned_away",
            Cause.CROWD,
            crowd[0],
            "too many connections wait without asking for an association",
        )
        self._drop(crowd[0])

    def _read(self, pending: _Pending) -> None:
        connection = pending.connection
        if pending.is_in_handshake and not self._shake_hands(pending):
            return
        self._read_more(pending)
        # What TLS has read ahead no selector tells of.
        while isinstance(connection, ssl.SSLSocket) and connection.fileno() in self._pending:
            if self._pending[connection.fileno()] is not pending or not connection.pending():
                return
            self._read_more(pending)

    def _shake_hands(self, pending: _Pending) -> bool:
        """Go on with the handshake; True once it is over."""
        connection = cast(ssl.SSLSocket, pending.connection)
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            self._selector.modify(connection, selectors.EVENT_READ)
            return False
        except ssl.SSLWantWriteError:
            self._selector.modify(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
            return False
        except OSError as error:
            if not isinstance(
                error, ssl.SSLEOFError
            ):  # closed: a load balancer looks whether the port is open
                self._say("turned_away", Cause.TLS, pending, f"no TLS: {what_failed(error)}")
            self._drop(pending)
            return False
        self._selector.modify(connection, selectors.EVENT_READ)
        pending.is_in_handshake = False
        return True

    def _read_more(self, pending: _Pending) -> None:
        wanted = 6 if (whole := pending.whole_bytes()) is None else whole
        try:
            more = pending.connection.recv(
                _READ_BYTES if pending.is_leaving else wanted - len(pending.content)
            )
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                self._say("turned_away", Cause.TLS, pending, f"no TLS: {what_failed(error)}")
            more = b""
        if not more:  # closed: a load balancer looks whether the port is open
            self._drop(pending)
            return
        if pending.is_leaving:
            return
        pending.content += more
        if (whole := pending.whole_bytes()) is None:
            return
        if pending.content[0] != _REQUEST:
            self._abort(pending, UNEXPECTED_PDU, "it did not ask for an association, but sent something else")
        elif whole > self._limits.request_bytes:
            self._abort(pending, INVALID_VALUE, f"its request of {whole} bytes is too long")
        elif len(pending.content) == whole:
            self._decide(pending)

    def _decide(self, pending: _Pending) -> None:
        request = request_in(bytes(pending.content), pending.address)
        if request is None:
            self._abort(pending, INVALID_VALUE, "its request cannot be parsed")
            return
        rejection = self._judge(request)
        if rejection is None and not self._places.take():
            rejection = Rejection(
                LOCAL_LIMIT_EXCEEDED,
                Cause.NO_PLACE,
                f"{self._places.number} associations are open (dicom.max_associations)",
            )
        if rejection is not None:
            self._say("rejected", rejection.cause, pending, rejection.reason)
            self._leave(pending, b"\x03\x00\x00\x00\x00\x04\x00" + bytes(rejection.code))
            return
        self._forget(pending)
        try:
            self._hand_on(pending.connection, pending.peer, request)
        except Exception:  # no thread can be started
            log.exception("association_not_begun")
            self._places.give_back()
            pending.connection.close()

    def _abort(self, pending: _Pending, reason: int, why: str) -> None:
        self._say("aborted", CAUSES[reason], pending, why)
        self._leave(pending, b"\x07\x00\x00\x00\x00\x04\x00\x00\x02" + bytes([reason]))

    def _leave(self, pending: _Pending, pdu: bytes) -> None:
        """Answer, and let the peer close (PS3.8 9.2, Sta13): else it might not read the answer."""
        with suppress(OSError):
            pending.connection.send(pdu)
        pending.is_leaving = True
        pending.content.clear()
        pending.until = time.monotonic() + min(1.0, self._limits.request_s)

    def _say(self, what: str, cause: Cause, pending: _Pending, why: str) -> None:
        self._told(what, cause, calling_ae_title_in(bytes(pending.content)), pending.address, why)

    def _forget(self, pending: _Pending) -> None:
        self._selector.unregister(pending.connection)
        del self._pending[pending.connection.fileno()]

    def _drop(self, pending: _Pending) -> None:
        self._forget(pending)
        pending.connection.close()
