"""Why there is no association: each way in which a peer turns us away has its sentence with the way out."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.adapters.dicom.peer import NotReached, Peer, echo


@contextmanager
def answering(answer: bytes | None) -> Iterator[Peer]:
    """A peer that answers an association request with these bytes; None: with nothing, while it lasts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_over = threading.Event()

        def serve() -> None:
            with server.accept()[0] as line:
                head = line.recv(6)
                line.recv(int.from_bytes(head[2:], "big"), socket.MSG_WAITALL)
                if answer is None:
                    is_over.wait(120)
                else:
                    line.sendall(answer)
                    line.settimeout(1)
                    line.recv(1)  # until the other side closes: what was sent is not lost by a reset

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Peer("PACS", "127.0.0.1", server.getsockname()[1])
        is_over.set()
        thread.join(10)


def rejection(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ PDU (PS3.8 9.3.4)."""
    return bytes([3, 0, 0, 0, 0, 4, 0, result, source, reason])


@pytest.mark.parametrize(
    ("result", "source", "reason", "sentence"),
    [
        (1, 1, 1, r"\(no reason given\); look at its log: mostly this gateway's AE title IRIS "),
        (1, 1, 2, "application context name not supported.*check its port"),
        (
            1,
            1,
            3,
            r"calling AE title not recognised\); enter the AE title IRIS and this machine's address",
        ),
        (1, 1, 7, r"another one than PACS: correct it here \(destination.ae_title"),
        (1, 2, 1, "no reason given by its ACSE"),
        (1, 2, 2, "protocol version not supported"),
        (2, 3, 1, r"for now \(temporary congestion\); .*: wait, or allow more there"),
        (2, 3, 2, r"for now \(local limit exceeded\); all its associations are taken: wait"),
    ],
)
def test_rejection_for_each_reason_says_the_way_out(
    result: int, source: int, reason: int, sentence: str
) -> None:
    with answering(rejection(result, source, reason)) as peer, pytest.raises(NotReached, match=sentence):
        echo(peer, "IRIS")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # pynetdicom's thread
def test_rejection_for_a_reserved_reason_is_said_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.adapters.dicom.peer.CONNECT_TIMEOUT_S", 0.3)
    sentence = "reason 9 of source 1, which PS3.8 does not define"
    with answering(rejection(1, 1, 9)) as peer, pytest.raises(NotReached, match=sentence):
        echo(peer, "IRIS")


@pytest.mark.parametrize(
    ("source", "reason", "sentence"), [(0, 0, "no reason given"), (2, 1, "it did not recognize a PDU")]
)
def test_abort_before_the_association_is_said_with_its_reason(
    source: int, reason: int, sentence: str
) -> None:
    abort = bytes([7, 0, 0, 0, 0, 4, 0, 0, source, reason])
    with (
        answering(abort) as peer,
        pytest.raises(NotReached, match=rf"aborted .* \({sentence}\); see its log"),
    ):
        echo(peer, "IRIS")


def test_peer_that_takes_the_connection_and_is_silent_is_told_from_one_that_hangs_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("peer", "no_association"):
        monkeypatch.setattr(f"gateway.adapters.dicom.{module}.CONNECT_TIMEOUT_S", 0.3)
    with (
        answering(None) as peer,
        pytest.raises(NotReached, match=r"did not answer for 0.3 s; check its load"),
    ):
        echo(peer, "IRIS")


def test_port_where_nobody_listens_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotReached, match="cannot be reached: nobody listens at that port; check"):
        echo(Peer("PACS", "127.0.0.1", port), "IRIS")
