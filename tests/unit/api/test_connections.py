"""HTTP clients that begin and do not go on, and that others are answered all the while."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

from gateway.adapters.descriptors import http_share
from gateway.api.connections import HttpLimits
from gateway.api.server import ApiServer

LIMITS = HttpLimits(connections=8, headers_s=1, idle_s=1, body_pause_s=1.5, body_s=0.6, body_bytes_per_s=1000)

HEAD = b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server with little patience."""
    api = FastAPI()

    @api.post("/length")
    async def length(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    server = ApiServer(api, "127.0.0.1", 0, LIMITS)
    server.start()
    yield server.address
    server.stop()


def _connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=60)


def _read(peer: socket.socket) -> bytes:
    content = b""
    try:
        while more := peer.recv(4096):
            content += more
    except ConnectionResetError:
        pass
    return content


def _asked(address: tuple[str, int]) -> bytes:
    with _connect(address) as peer:
        peer.sendall(HEAD + b"3\r\n\r\nabc")
        return _read(peer)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost:",
        b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
    ],
    ids=["nothing", "half a header", "half a body"],
)
def test_request_that_stops_is_ended(address: tuple[str, int], sent: bytes) -> None:
    with _connect(address) as peer:
        began_at = time.monotonic()
        peer.sendall(sent)
        assert _read(peer) == b""
    assert time.monotonic() - began_at < 30


def _drip(peer: socket.socket, letters: int) -> int:
    """How many were taken."""
    for sent in range(letters):
        try:
            peer.sendall(b"a")
        except OSError:
            return sent
        time.sleep(0.05)
    return letters


def test_body_that_drips_is_ended(address: tuple[str, int]) -> None:
    with _connect(address) as peer:
        peer.sendall(HEAD + b"1000\r\n\r\n")
        assert _drip(peer, 200) < 100


def test_crowd_that_sends_half_a_header_keeps_nobody_out(address: tuple[str, int]) -> None:
    crowd = [_connect(address) for _ in range(20)]
    for each in crowd:
        with suppress(OSError):  # it was ended in favour of another
            each.sendall(b"GET / HTTP/1.1\r\nHost:")
    assert _asked(address).endswith(b"3")
    for each in crowd:
        each.close()


def test_long_body_that_goes_on_is_taken(address: tuple[str, int]) -> None:
    with _connect(address) as peer:
        peer.sendall(HEAD + b"20000\r\n\r\n")
        for _ in range(10):
            peer.sendall(bytes(2000))
            time.sleep(0.1)
        assert _read(peer).endswith(b"20000")


def test_http_leaves_most_descriptors_to_senders() -> None:
    assert [http_share(limit) for limit in (64, 1024, 65_536)] == [16, 256, 256]
