"""HTTP connections within limits: so many at once, and each with a time for its headers and its body.

uvicorn waits for ever for what a client began to send; each connection that waits so is a descriptor, which
the DICOM listener needs, too.
"""

import asyncio
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from .problems import problem

log = structlog.get_logger(__name__)

NO_REQUEST: Final = "what came is no HTTP/1.1 request (RFC 9112); look at the client, or the proxy in between"
TOO_LONG: Final = "the headers of the request are too long; send less in them, cookies above all"


@dataclass(frozen=True)
class HttpLimits:
    """What clients may take."""

    connections: int = 256
    headers_s: float = 10.0  # from connecting, or from the first byte of a later request
    idle_s: float = 5.0  # between requests
    body_pause_s: float = 30.0
    body_s: float = 60.0  # and more for a long one: it has to come at this pace
    body_bytes_per_s: int = 10_000


class PatientProtocol(H11Protocol):
    """One connection."""

    limits = HttpLimits()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._is_timing_headers = False
        self._body_of: object = None
        self._body_began_at = 0.0
        self._body_bytes = 0

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way: nobody loses anything where it ends."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, where need be in the place of one that waits."""
        full = len(self.connections) >= self.limits.connections
        others: list[Any] = list(self.connections) if full else []
        super().connection_made(transport)
        if full:
            waiting = [each for each in others if each.is_waiting]
            longest = min(waiting, key=lambda each: each.since, default=self)
            log.warning("http_connections_full", limit=self.limits.connections)
            longest.transport.abort()
        self.since = self.loop.time()
        self._time_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_timing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take more of a request."""
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_timing()
        elif self.is_waiting:
            if not self._is_timing_headers:
                self._time_headers()
        elif self.cycle.more_body:
            self._time_body(len(data))
        else:
            self._stop_timing()

    def send_400_response(self, msg: str) -> None:
        """Say by a problem why what came is no request, or why it is not read on; and hang up."""
        error = sys.exc_info()[1]  # uvicorn says only that there was one
        is_long = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        answer = problem(431, TOO_LONG) if is_long else problem(400, NO_REQUEST)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        reason = HTTPStatus(answer.status_code).phrase.encode()
        for event in (
            h11.Response(status_code=answer.status_code, headers=headers, reason=reason),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def _time_headers(self) -> None:
        self._stop_timing()
        self._is_timing_headers = True
        self._timer = self.loop.call_later(self.limits.headers_s, self._end)

    def _time_body(self, more_bytes: int) -> None:
        self._stop_timing()
        now = self.loop.time()
        if self._body_of is not self.cycle:
            self._body_of, self._body_began_at, self._body_bytes = self.cycle, now, 0
        self._body_bytes += more_bytes
        may_take_s = self.limits.body_s + self._body_bytes / self.limits.body_bytes_per_s
        left_s = self._body_began_at + may_take_s - now
        self._timer = self.loop.call_later(max(0.0, min(self.limits.body_pause_s, left_s)), self._end_body)

    def _end_body(self) -> None:
        if self.is_waiting or not self.cycle.more_body:
            return
        if self.flow.read_paused:  # it is us who do not read
            self._timer = self.loop.call_later(self.limits.body_pause_s, self._end_body)
        else:
            self._end()

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()

    def _stop_timing(self) -> None:
        self._is_timing_headers = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def protocol_within(limits: HttpLimits) -> type[PatientProtocol]:
    """The class of connections that uvicorn is to make."""
    return type("LimitedProtocol", (PatientProtocol,), {"limits": limits})
