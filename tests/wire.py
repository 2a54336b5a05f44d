"""DICOM as bytes on a socket (PS3.8 9.3), for senders that do what no library does, or much of it quickly."""

import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.sop_class import Verification

from gateway.adapters import command_set
from gateway.adapters.dicom.peer import parse_peer
from gateway.adapters.dicom.storing import c_store_request

REQUEST, ACCEPT, DATA, RELEASE = 1, 2, 4, 5
"""Types of PDUs."""
COMMAND, LAST = 1, 2
PDU_BYTES = 16384
TIMEOUT_S = 120.0
C_ECHO_RQ = 0x0030

Context = tuple[str, str]
"""SOP class and transfer syntax."""


class NotAnswered(Exception):
    """In place of an answer the connection was aborted, closed, or left silent."""


def address_of(data_dir: Path) -> tuple[str, int]:
    """Where a running gateway listens."""
    peer = parse_peer((data_dir / "dicom-address").read_text().strip())
    return peer.host, peer.port


def pdu(kind: int, content: bytes) -> bytes:
    """One PDU."""
    return bytes([kind, 0]) + len(content).to_bytes(4, "big") + content


def associate_request(contexts: Sequence[Context], calling: str = "SENDER", called: str = "IRIS") -> bytes:
    """An A-ASSOCIATE-RQ; its contexts are numbered 1, 3, 5 and so on."""
    offered = b"".join(
        _item(
            0x20, bytes([2 * number + 1, 0, 0, 0]) + _item(0x30, one.encode()) + _item(0x40, other.encode())
        )
        for number, (one, other) in enumerate(contexts)
    )
    user = _item(0x50, _item(0x51, PDU_BYTES.to_bytes(4, "big")) + _item(0x52, b"1.2.3.4"))
    titles = called.encode().ljust(16) + calling.encode().ljust(16)
    return pdu(
        REQUEST, b"\0\1\0\0" + titles + bytes(32) + _item(0x10, b"1.2.840.10008.3.1.1.1") + offered + user
    )


def _item(kind: int, content: bytes) -> bytes:
    return bytes([kind, 0]) + len(content).to_bytes(2, "big") + content


def data_pdu(context_id: int, control: int, fragment: bytes) -> bytes:
    """A P-DATA-TF with one presentation data value."""
    return pdu(DATA, (len(fragment) + 2).to_bytes(4, "big") + bytes([context_id, control]) + fragment)


def c_store(context_id: int, sop_class_uid: str, instance_uid: str, content: bytes, message_id: int) -> bytes:
    """The PDUs of a C-STORE request with its data set."""
    parts = [data_pdu(context_id, COMMAND | LAST, c_store_request(sop_class_uid, instance_uid, message_id))]
    for at in range(0, max(len(content), 1), PDU_BYTES):
        control = LAST if at + PDU_BYTES >= len(content) else 0
        parts.append(data_pdu(context_id, control, content[at : at + PDU_BYTES]))
    return b"".join(parts)


def c_echo(context_id: int, message_id: int) -> bytes:
    """The PDU of a C-ECHO request."""
    command = {
        command_set.AFFECTED_SOP_CLASS_UID: command_set.uid_value(Verification),
        command_set.COMMAND_FIELD: command_set.number_value(C_ECHO_RQ),
        command_set.MESSAGE_ID: command_set.number_value(message_id),
        command_set.COMMAND_DATA_SET_TYPE: command_set.number_value(command_set.NO_DATA_SET),
    }
    return data_pdu(context_id, COMMAND | LAST, command_set.composed(command))


def next_pdu(connection: socket.socket) -> bytes:
    """The next PDU; empty where the connection is closed."""
    try:
        head = connection.recv(6, socket.MSG_WAITALL)
        if len(head) < 6:
            return b""
        return head + connection.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)
    except ConnectionError:
        return b""


class Line:
    """One association over which requests go one after the other.

    Raises
    ------
    NotAnswered
        It was not accepted.
    OSError
    """

    def __init__(self, address: tuple[str, int], contexts: Sequence[Context]) -> None:
        self._ids = {context: 2 * number + 1 for number, context in enumerate(contexts)}
        self._sent = 0
        self.socket = socket.create_connection(address, timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(associate_request(contexts))
        answer = next_pdu(self.socket)
        if answer[:1] != bytes([ACCEPT]):
            self.socket.close()
            raise NotAnswered(f"not accepted: {answer.hex()}")

    def store(self, context: Context, instance_uid: str, content: bytes) -> int:
        """Send a data set; the status of the answer."""
        self._sent += 1
        request = c_store(self._ids[context], context[0], instance_uid, content, self._sent % 0xFFFF)
        return self._status_after(request)

    def echo(self) -> int:
        """C-ECHO on the context that is for it; the status of the answer."""
        self._sent += 1
        return self._status_after(c_echo(self._ids[ECHO], self._sent % 0xFFFF))

    def _status_after(self, request: bytes) -> int:
        try:
            self.socket.sendall(request)
            answer = next_pdu(self.socket)
        except OSError as error:
            raise NotAnswered(repr(error)) from None
        if answer[:1] != bytes([DATA]):
            raise NotAnswered(f"instead of an answer: {answer.hex()}")
        elements = command_set.parsed(answer[12:])
        return int(struct.unpack("<H", elements[command_set.STATUS])[0])

    def release(self) -> None:
        """A-RELEASE, and close."""
        self.socket.sendall(pdu(RELEASE, bytes(4)))
        next_pdu(self.socket)
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.release()
        self.socket.close()


ECHO: Context = (Verification, ImplicitVRLittleEndian)
