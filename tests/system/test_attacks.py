"""What strangers can do at the two ports, seen from outside: memory stays, and a sender is served soon.

How much, and how long a sender is kept out, is printed; `docs/durability.md` has the last figures.
"""

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from gateway.adapters.dicom.storing import c_store_request
from tests.mutations import plain_bytes
from tests.process import held_by
from tests.wire import (
    COMMAND,
    ECHO,
    LAST,
    Line,
    NotAnswered,
    address_of,
    associate_request,
    data_pdu,
)

LASTS_S = 8.0
"""How long each is kept up, where it does not end by itself."""
MEMORY_MB = 150.0
"""What any of them may take."""
KEPT_OUT_S = 60.0
DEFLATED = (CTImageStorage, DeflatedExplicitVRLittleEndian)
PLAIN = (CTImageStorage, ExplicitVRLittleEndian)
BOMB_BYTES = 1_500_000_000
OBJECT_MB = 64
"""What an object may have here (`dicom.max_object_mb`)."""

Address = tuple[str, int]
Attack = Callable[[Address, Address, threading.Event], None]
"""Gets the DICOM port, the HTTP port, and what tells it to stop."""


def sockets_opened_and_closed(dicom: Address, _: Address, stop: threading.Event) -> None:
    """33 at once, again and again."""
    while not stop.is_set():
        for connection in [_connected(dicom) for _ in range(33)]:
            connection.close()


def half_a_request(dicom: Address, _: Address, stop: threading.Event) -> None:
    """33 connections with half an A-ASSOCIATE-RQ each."""
    request = associate_request([PLAIN])
    _hold(dicom, 33, request[: len(request) // 2], stop)


def requests_of_4_gb(dicom: Address, _: Address, stop: threading.Event) -> None:
    """Three A-ASSOCIATE-RQ that say that they have 4 GB, and begin to send them."""
    senders = [
        threading.Thread(target=_pour, args=(dicom, b"\x01\0\xff\xff\xff\xff", bytes(1 << 20), stop))
        for _ in range(3)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def endless_command(dicom: Address, _: Address, stop: threading.Event) -> None:
    """Fragments of a command that never ends."""
    while not stop.is_set():
        with suppress(OSError, NotAnswered), Line(dicom, [PLAIN]) as line:
            while not stop.is_set():
                line.socket.sendall(data_pdu(1, COMMAND, bytes(16_000)))


def deflated_bomb(dicom: Address, _: Address, stop: threading.Event) -> None:
    """A deflated data set of a few MB that inflates to 1.5 GB."""
    while not stop.is_set():
        with Line(dicom, [DEFLATED]) as line:
            assert line.store(DEFLATED, "1.2.3.4", _bomb()) in (0xB007, 0xC000)


@cache
def _bomb() -> bytes:
    deflating = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    parts = [deflating.compress(bytes(10_000_000)) for _ in range(BOMB_BYTES // 10_000_000)]
    return b"".join(parts) + deflating.flush()


def endless_object(dicom: Address, _: Address, stop: threading.Event) -> None:
    """A data set that never ends."""
    while not stop.is_set():
        with suppress(OSError, NotAnswered), Line(dicom, [PLAIN]) as line:
            line.socket.sendall(data_pdu(1, COMMAND | LAST, c_store_request(CTImageStorage, "1.2.3.4", 1)))
            while not stop.is_set():
                line.socket.sendall(data_pdu(1, 0, bytes(100_000)))


def unfinished_headers(_: Address, http: Address, stop: threading.Event) -> None:
    """1,200 HTTP requests whose headers do not end."""
    _hold(http, 1200, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", stop)


def _connected(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=30)


def _hold(address: Address, connections: int, content: bytes, stop: threading.Event) -> None:
    with ExitStack() as held:
        for _ in range(connections):
            with suppress(OSError):
                held.enter_context(connection := _connected(address))
                connection.sendall(content)
        stop.wait()


def _pour(address: Address, head: bytes, more: bytes, stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(OSError), _connected(address) as connection:
            connection.sendall(head)
            while not stop.is_set():
                connection.sendall(more)


@dataclass
class Seen:
    """What became of the gateway meanwhile."""

    memory_mb: float = 0.0
    disk_mb: float = 0.0
    echoes_s: tuple[float, ...] = ()


@contextmanager
def _under(attack: Attack, world: Any) -> Iterator[None]:
    stop = threading.Event()
    host, _, port = (world.data_dir / "api-address").read_text().strip().partition("://")[2].partition(":")
    attacking = threading.Thread(target=attack, args=(address_of(world.data_dir), (host, int(port)), stop))
    attacking.start()
    try:
        yield
    finally:
        stop.set()
        attacking.join()


def _served_after(address: Address) -> float:
    """How long it took until a sender was associated and its echo answered."""
    begun = time.monotonic()
    while time.monotonic() - begun < KEPT_OUT_S:
        with suppress(NotAnswered, OSError), Line(address, [ECHO]) as line:
            assert line.echo() == 0x0000
            return time.monotonic() - begun
        time.sleep(0.05)
    return KEPT_OUT_S


def _bytes_below(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            sizes += path.stat().st_size
    return sizes


@pytest.mark.long
@pytest.mark.parametrize(
    "attack",
    [
        sockets_opened_and_closed,
        half_a_request,
        requests_of_4_gb,
        endless_command,
        deflated_bomb,
        endless_object,
        unfinished_headers,
    ],
)
def test_sender_is_served_and_memory_stays_while_a_stranger_attacks(
    make_world: Callable[..., Any], write_study: Callable[..., str], tmp_path: Path, attack: Attack
) -> None:
    _bomb()
    world = make_world()
    world.start(IRIS_DICOM__MAX_OBJECT_MB=str(OBJECT_MB))
    write_study(tmp_path / "ct", slices=1)
    image = dcmread(tmp_path / "ct" / "000.dcm")
    address, pid = address_of(world.data_dir), world.gateway_pid()
    _served_after(address)
    before, seen = held_by(pid), Seen()
    with _under(attack, world):
        until = time.monotonic() + LASTS_S
        while time.monotonic() < until:
            seen.echoes_s += (_served_after(address),)
            seen.memory_mb = max(seen.memory_mb, held_by(pid).memory_mb - before.memory_mb)
            seen.disk_mb = max(seen.disk_mb, _bytes_below(world.data_dir / "incoming") / 1e6)
            time.sleep(0.05)
    print(
        f"| {attack.__doc__} | {seen.memory_mb:.0f} MB | {seen.disk_mb:.0f} MB |"
        f" {max(seen.echoes_s):.2f} s, longest of {len(seen.echoes_s)} |"
    )
    assert max(seen.echoes_s) < KEPT_OUT_S
    assert seen.memory_mb < MEMORY_MB
    assert seen.disk_mb < 2 * OBJECT_MB
    with Line(address, [PLAIN]) as line:
        content = plain_bytes(image, ExplicitVRLittleEndian)
        assert line.store(PLAIN, str(image.SOPInstanceUID), content) == 0x0000
