"""Bytes of PDUs and commands that are wrong in every way: the gateway goes on, and holds nothing of them.

`IRIS_PDUS` says on how many connections (20,000), `IRIS_PDUS_SEED` repeats those of a run that failed.
"""

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.mutations import plain_bytes
from tests.process import Held, held_by
from tests.wire import (
    ECHO,
    RELEASE,
    Line,
    address_of,
    associate_request,
    c_echo,
    c_store,
    pdu,
)

from .log_lines import log_lines

PDUS = int(os.environ.get("IRIS_PDUS", "20000"))
SEED = int(os.environ.get("IRIS_PDUS_SEED") or random.SystemRandom().randrange(1_000_000))
SENDERS = 8
ECHO_EVERY = 100
STAYS_OPEN = 0.002
"""So many connections are not closed behind what was sent: the gateway has to end them."""
MEMORY_MB = 40.0
"""What it may hold more after all than after the first tenth: caches and fragmentation, no connection's."""
FEW = 8
"""Descriptors and threads that come and go with what workers do."""
ANSWER_S = 60.0
STORE = (CTImageStorage, ExplicitVRLittleEndian)
CLOSED, RESET, SILENT = "closed", "reset", "silent"


def conversation(image: bytes, uid: str) -> list[bytes]:
    """The PDUs of a sender that does all right."""
    return [
        associate_request([ECHO, STORE]),
        c_echo(1, 1),
        *_pdus(c_store(3, CTImageStorage, uid, image, 2)),
        pdu(RELEASE, bytes(4)),
    ]


def _pdus(content: bytes) -> list[bytes]:
    found = []
    while content:
        length = 6 + int.from_bytes(content[2:6], "big")
        found.append(content[:length])
        content = content[length:]
    return found


def mutated(chance: random.Random, pdus: list[bytes]) -> bytes:
    """One to four changes to the PDUs of a conversation, in their order or to their bytes."""
    pdus = list(pdus)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(pdus))
        one = pdus[at]
        place = chance.randrange(min(len(one), 200)) if one else 0
        match chance.choice(("flip", "flip", "head", "length", "cut", "insert", "double", "drop", "swap")):
            case "flip":
                pdus[at] = one[:place] + bytes([chance.randrange(256)]) + one[place + 1 :]
            case "head":
                pdus[at] = chance.randbytes(chance.choice((1, 6, 12))) + one[6:]
            case "length":
                wrong = chance.choice((0, 1, 4, len(one) - 7, len(one) - 5, 0x20000, 0x20001, 0xFFFFFFFF))
                start = chance.choice((2, 6, 12, 20))
                pdus[at] = one[:start] + (wrong & 0xFFFFFFFF).to_bytes(4, "big") + one[start + 4 :]
            case "cut":
                pdus[at] = one[:place]
            case "insert":
                pdus[at] = one[:place] + chance.randbytes(chance.choice((1, 2, 40, 3000))) + one[place:]
            case "double":
                pdus.insert(at, one)
            case "drop":
                pdus[at] = b""
            case "swap":
                other = chance.randrange(len(pdus))
                pdus[at], pdus[other] = pdus[other], one
    return b"".join(pdus)


def said_to(address: tuple[str, int], content: bytes, *, closes: bool) -> str:
    """Send it, and read what is answered until the gateway has closed; how it ended."""
    with socket.create_connection(address, timeout=ANSWER_S) as connection:
        try:
            connection.sendall(content)
            if closes:
                connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except TimeoutError:
            return SILENT
        except OSError:
            return RESET
        return CLOSED


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_gateway_takes_mutated_pdus_goes_on_and_holds_nothing_of_them(
    make_world: Callable[..., Any], write_study: Callable[..., str], tmp_path: Path
) -> None:
    print(f"IRIS_PDUS_SEED={SEED}")
    write_study(tmp_path / "ct", seed="pdus", slices=1)
    image = dcmread(tmp_path / "ct" / "000.dcm")
    pdus = conversation(plain_bytes(image, ExplicitVRLittleEndian), str(image.SOPInstanceUID))
    world = make_world()
    world.start()
    address, pid = address_of(world.data_dir), world.gateway_pid()

    def send(number: int) -> str:
        chance = random.Random(f"{SEED} {number}")
        return said_to(address, mutated(chance, pdus), closes=chance.random() > STAYS_OPEN)

    ends: Counter[str] = Counter()
    began = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as threads:
        for first in range(0, PDUS, ECHO_EVERY):
            ends.update(threads.map(send, range(first, min(first + ECHO_EVERY, PDUS))))
            with Line(address, [ECHO]) as line:
                assert line.echo() == 0x0000
            if first <= PDUS // 10:
                before = _at_rest(pid, world)
    after = _at_rest(pid, world)
    print(f"{PDUS} connections in {time.monotonic() - began:.0f} s: {dict(ends)}; {before} {after}")
    assert ends[SILENT] == 0
    assert after.descriptors < before.descriptors + FEW
    assert after.threads < before.threads + FEW
    assert after.memory_mb < before.memory_mb + MEMORY_MB
    assert world.stop() == 0
    assert [said for said in log_lines(world.log) if "places" in said] == []


def _at_rest(pid: int, world: Any) -> Held:
    """What the gateway holds when nobody is connected any more."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        figures = world.file("/metrics").decode().splitlines()
        if {"iris_associations 0.0", "iris_connections_pending 0.0"} <= set(figures):
            return held_by(pid)
        assert time.monotonic() < deadline, [line for line in figures if line.startswith("iris_ass")]
        time.sleep(0.1)
