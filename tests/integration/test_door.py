"""What strangers and broken senders do at the port, and that a sender is served all the while."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.sop_class import Verification

from gateway.adapters import command_set
from gateway.api import models
from gateway.config import AllowedSender
from gateway.listener.statuses import SUCCESS
from gateway.listener.wire.guard import (
    INVALID_VALUE,
    MAXIMUM_PDU_BYTES,
    NOT_SPECIFIED,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    Limits,
)
from tests.wire import ACCEPT, DATA, REQUEST, associate_request, data_pdu, next_pdu, pdu

HASTY = Limits(
    request_s=1.5, pdu_s=1.5, object_s=1.5, object_bytes=100_000, pending_of_address=16, other_data_bytes=1000
)


def _request(calling: str = "PACS") -> bytes:
    """An A-ASSOCIATE-RQ for CT images."""
    return associate_request([(CTImageStorage, ExplicitVRLittleEndian)], calling)


def _data(control: int, content: bytes) -> bytes:
    return data_pdu(1, control, content)


@contextmanager
def _connected(gate: Any) -> Iterator[socket.socket]:
    with socket.create_connection(gate.address, timeout=60) as peer:
        yield peer


@contextmanager
def _associated(gate: Any) -> Iterator[socket.socket]:
    with _connected(gate) as peer:
        peer.sendall(_request())
        assert next_pdu(peer)[0] == ACCEPT
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
        assert next_pdu(peer) == b""
    hasty.wait_for(lambda: _whys(hasty))
    assert _whys(hasty) == [("turned_away", "it did not ask for an association in time")]


def test_crowd_that_waits_keeps_no_sender_out(hasty: Any) -> None:
    crowd = [socket.create_connection(hasty.address, timeout=60) for _ in range(40)]
    assert _is_served(hasty)
    assert next_pdu(crowd[0]) == b""
    for each in crowd:
        each.close()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\1\0\xff\xff\xff\xff" + bytes(100_000), INVALID_VALUE),
        (pdu(REQUEST, bytes(30)), INVALID_VALUE),
        (pdu(DATA, bytes(30)), UNEXPECTED_PDU),
        (b"GET / HTTP/1.1\r\n\r\n", UNEXPECTED_PDU),
    ],
    ids=["4 GB", "malformed", "data", "HTTP"],
)
def test_what_is_no_request_is_aborted_with_a_reason(hasty: Any, sent: bytes, reason: int) -> None:
    with _connected(hasty) as peer:
        peer.sendall(sent)
        assert next_pdu(peer) == b"\7\0\0\0\0\4\0\0\2" + bytes([reason])
    assert _is_served(hasty)


def test_stranger_is_rejected_and_told_of_with_title_and_address(make_gate: Callable[..., Any]) -> None:
    gate = make_gate(allow=[AllowedSender(ae_title="OTHER", address="127.0.0.1/32")])
    with _connected(gate) as peer:
        peer.sendall(_request("STRANGER"))
        assert next_pdu(peer) == b"\3\0\0\0\0\4\0\1\1\3"
    (incident,) = gate.listener.turned_away.last()
    assert (incident.calling_ae_title, incident.address) == ("STRANGER", "127.0.0.1")
    figures = {(figure.name, *figure.labels.values()): figure.value for figure in gate.listener.figures()}
    assert figures["iris_associations_rejected_total", "unknown_sender"] == 1
    assert figures["iris_associations_limit",] == 32
    shown = models.Door.model_validate(gate.listener.state())
    assert (shown.limit, shown.turned_away[0].sentence) == (32, incident.why)


# -- within an association --------------------------------------------------------------------------------


def test_connection_that_is_lost_gives_its_place_back_at_once(hasty: Any) -> None:
    with _associated(hasty), _connected(hasty) as second:
        second.sendall(_request())
        assert next_pdu(second) == b"\3\0\0\0\0\4\0\2\3\2"
    began_at = time.monotonic()
    hasty.wait_for(lambda: hasty.listener.figures()[0].value == 0)
    assert time.monotonic() - began_at < 20
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
        (pdu(DATA, b"\0\0\0\1\1"), INVALID_VALUE),
        (pdu(DATA, b"\0\0\0\3\5\3x"), INVALID_VALUE),
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
        assert next_pdu(peer) == b"\7\0\0\0\0\4\0\0\2" + bytes([reason])
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
        assert next_pdu(peer)[:1] in (b"\7", b"")
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
        assert next_pdu(peer)[:1] in (b"\7", b"")
    hasty.wait_for(lambda: not hasty.files("incoming") and hasty.listener.figures()[0].value == 0)
    (what, why), *_ = _whys(hasty)
    assert (what, "dicom.max_object_mb" in why) == ("aborted", True)
    assert _is_served(hasty)
