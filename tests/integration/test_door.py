"""What strangers and broken senders do at the port, and that a sender is served all the while."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.sop_class import Verification

from gateway.adapters import command_set
from gateway.api import models
from gateway.config import AllowedSender
from gateway.listener.guard import (
    INVALID_VALUE,
    MAXIMUM_PDU_BYTES,
    NOT_SPECIFIED,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    Limits,
)
from gateway.listener.statuses import SUCCESS

ABORT, ACCEPT, REJECT = 7, 2, 3
HASTY = Limits(
    request_s=0.4, pdu_s=0.4, object_s=0.4, object_bytes=100_000, pending_of_address=16, other_data_bytes=1000
)


def _item(kind: int, content: bytes) -> bytes:
    return bytes([kind, 0]) + len(content).to_bytes(2, "big") + content


def _request(calling: str = "PACS") -> bytes:
    """An A-ASSOCIATE-RQ for CT images (PS3.8 9.3.2)."""
    context = (
        bytes([1, 0, 0, 0])
        + _item(0x30, CTImageStorage.encode())
        + _item(0x40, ExplicitVRLittleEndian.encode())
    )
    content = b"".join(
        [
            b"\0\1\0\0" + b"IRIS".ljust(16) + calling.encode().ljust(16) + bytes(32),
            _item(0x10, b"1.2.840.10008.3.1.1.1"),
            _item(0x20, context),
            _item(0x50, _item(0x51, (16384).to_bytes(4, "big")) + _item(0x52, UID("1.2.3.4").encode())),
        ]
    )
    return _pdu(1, content)


def _pdu(kind: int, content: bytes) -> bytes:
    return bytes([kind, 0]) + len(content).to_bytes(4, "big") + content


def _data(control: int, content: bytes) -> bytes:
    return _pdu(4, (len(content) + 2).to_bytes(4, "big") + bytes([1, control]) + content)


def _answer(peer: socket.socket) -> bytes:
    """The next PDU; empty where the connection is closed."""
    try:
        head = peer.recv(6, socket.MSG_WAITALL)
        return head + peer.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL) if head else b""
    except ConnectionResetError:
        return b""


@contextmanager
def _connected(gate: Any) -> Iterator[socket.socket]:
    with socket.create_connection(gate.address, timeout=10) as peer:
        yield peer


@contextmanager
def _associated(gate: Any) -> Iterator[socket.socket]:
    with _connected(gate) as peer:
        peer.sendall(_request())
        assert _answer(peer)[0] == ACCEPT
        yield peer


@pytest.fixture
def hasty(make_gate: Callable[..., Any]) -> Any:
    """A listener with one place and little patience."""
    return make_gate(max_associations=1, limits=HASTY)


def _is_served(gate: Any) -> bool:
    with gate.association((Verification, ExplicitVRLittleEndian)) as association:
        return bool(association.send_c_echo().Status == SUCCESS)


def _whys(gate: Any) -> list[tuple[str, str]]:
    return [(incident.what, incident.why) for incident in gate.listener.turned_away.last()]


# -- before an association --------------------------------------------------------------------------------


def test_connections_that_are_opened_and_closed_take_no_place(hasty: Any) -> None:
    for _ in range(33):
        with _connected(hasty):
            pass
    assert _is_served(hasty)
    assert _whys(hasty) == []  # a load balancer asks so every second


def test_half_a_request_takes_no_place_and_is_ended_in_time(hasty: Any) -> None:
    with _connected(hasty) as peer:
        peer.sendall(_request()[:40])
        assert _is_served(hasty)
        assert _answer(peer) == b""
    assert _whys(hasty) == [("turned_away", "it did not ask for an association in time")]


def test_crowd_that_waits_keeps_no_sender_out(hasty: Any) -> None:
    crowd = [socket.create_connection(hasty.address, timeout=10) for _ in range(40)]
    assert _is_served(hasty)
    assert _answer(crowd[0]) == b""
    for each in crowd:
        each.close()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\1\0\xff\xff\xff\xff" + bytes(100_000), INVALID_VALUE),
        (_pdu(1, bytes(30)), INVALID_VALUE),
        (_pdu(4, bytes(30)), UNEXPECTED_PDU),
        (b"GET / HTTP/1.1\r\n\r\n", UNEXPECTED_PDU),
    ],
    ids=["4 GB", "malformed", "data", "HTTP"],
)
def test_what_is_no_request_is_aborted_with_a_reason(hasty: Any, sent: bytes, reason: int) -> None:
    with _connected(hasty) as peer:
        peer.sendall(sent)
        assert _answer(peer) == b"\7\0\0\0\0\4\0\0\2" + bytes([reason])
    assert _is_served(hasty)


def test_stranger_is_rejected_and_told_of_with_title_and_address(make_gate: Callable[..., Any]) -> None:
    gate = make_gate(allow=[AllowedSender(ae_title="OTHER", address="127.0.0.1/32")])
    with _connected(gate) as peer:
        peer.sendall(_request("STRANGER"))
        assert _answer(peer) == b"\3\0\0\0\0\4\0\1\1\3"
    (incident,) = gate.listener.turned_away.last()
    assert (incident.calling_ae_title, incident.address) == ("STRANGER", "127.0.0.1")
    figures = {figure.name: figure.value for figure in gate.listener.figures()}
    assert (figures["iris_associations_rejected"], figures["iris_associations_limit"]) == (1, 32)
    shown = models.Door.model_validate(gate.listener.state())
    assert (shown.limit, shown.turned_away[0].sentence) == (32, incident.why)


# -- within an association --------------------------------------------------------------------------------


def test_connection_that_is_lost_gives_its_place_back_at_once(hasty: Any) -> None:
    with _associated(hasty), _connected(hasty) as second:
        second.sendall(_request())
        assert _answer(second) == b"\3\0\0\0\0\4\0\2\3\2"
    began_at = time.monotonic()
    hasty.wait_for(lambda: hasty.listener.figures()[0].value == 0)
    assert time.monotonic() - began_at < 2
    assert _is_served(hasty)


LONG_COMMAND = b"".join(_data(1, bytes(16_000)) for _ in range(5))
NEVER_ASKED = _data(
    3,
    command_set.composed(
        {
            command_set.COMMAND_FIELD: command_set.number_value(command_set.N_EVENT_REPORT_RSP),
            command_set.MESSAGE_ID_BEING_RESPONDED_TO: command_set.number_value(1),
            command_set.COMMAND_DATA_SET_TYPE: command_set.number_value(command_set.NO_DATA_SET),
            command_set.STATUS: command_set.number_value(SUCCESS),
        }
    ),
)
NO_COMMAND = _data(3, b"\0\0\0\1\2\0\0\0\1\0")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\4\0" + (MAXIMUM_PDU_BYTES + 1).to_bytes(4, "big"), INVALID_VALUE),
        (b"\4\0\xff\xff\xff\xff", INVALID_VALUE),
        (LONG_COMMAND, INVALID_VALUE),
        (NO_COMMAND, INVALID_VALUE),
        (_data(3, b"whatever it is"), INVALID_VALUE),
        (_pdu(4, b"\0\0\0\1\1"), INVALID_VALUE),
        (_pdu(4, b"\0\0\0\3\5\3x"), INVALID_VALUE),
        (_data(2, b"data"), UNEXPECTED_PDU),
        (NEVER_ASKED, UNEXPECTED_PDU),
        (_request(), UNEXPECTED_PDU),
        (b"\x09" * 20, UNRECOGNIZED_PDU),
        (b"\4\0\0\0\1\0" + bytes(9), NOT_SPECIFIED),
    ],
    ids=[
        "longer than offered", "4 GB", "command without an end", "command without a field", "no command",
        "value too short", "context not accepted", "data without a command", "answer to nothing",
        "request again", "no DICOM", "PDU that stops",
    ],
)  # fmt: skip
def test_what_breaks_the_protocol_is_aborted_with_a_reason(
    hasty: Any, capfd: pytest.CaptureFixture[str], sent: bytes, reason: int
) -> None:
    with _associated(hasty) as peer:
        peer.sendall(sent)
        assert _answer(peer) == b"\7\0\0\0\0\4\0\0\2" + bytes([reason])
    hasty.wait_for(lambda: hasty.listener.figures()[0].value == 0)
    assert _is_served(hasty)
    (incident,) = hasty.listener.turned_away.last()
    assert (incident.what, incident.calling_ae_title) == ("aborted", "PACS")
    assert "Traceback" not in capfd.readouterr().err


def _drip(peer: socket.socket, content: bytes) -> None:
    try:
        for byte in content:
            peer.sendall(bytes([byte]))
            time.sleep(0.02)
    except OSError:  # it is closed: that is what is wanted
        pass


def test_pdu_that_drips_is_aborted(hasty: Any) -> None:
    with _associated(hasty) as peer:
        _drip(peer, _data(1, bytes(100)))
        assert _answer(peer)[:1] in (b"\7", b"")
    hasty.wait_for(lambda: _whys(hasty))
    assert _whys(hasty) == [("aborted", "a PDU came too slowly")]


def test_object_without_an_end_is_aborted_and_leaves_nothing(
    hasty: Any, store_command: Callable[..., tuple[bytes, bytes]]
) -> None:
    with _associated(hasty) as peer:
        peer.sendall(_data(3, store_command(CTImageStorage, "1.2.3")[1]))
        try:
            for _ in range(20):
                peer.sendall(_data(0, bytes(10_000)))
        except OSError:
            pass
        assert _answer(peer)[:1] in (b"\7", b"")
    hasty.wait_for(lambda: not hasty.files("incoming") and hasty.listener.figures()[0].value == 0)
    (what, why), *_ = _whys(hasty)
    assert (what, "dicom.max_object_mb" in why) == ("aborted", True)
    assert _is_served(hasty)
