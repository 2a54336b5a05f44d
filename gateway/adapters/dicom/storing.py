"""C-STORE of a file on an open association, written straight to the line.

pynetdicom hands each fragment of a data set through a queue to a thread that looks for it every millisecond,
and through its state machine, and composes each command with pydicom: with its defaults an image took several
times as long as with storescu. Here only the request goes another way (PS3.7 9.3.1.1, PS3.8 9.3.5);
negotiation, answers, release and abort stay pynetdicom's. Of its private parts `_idle_timer` and
`_run_loop_delay` of `DULServiceProvider` are used; a test holds them against its source.
"""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.filereader import read_file_meta_info
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from gateway.adapters import command_set

LOOK_EVERY_S: Final = 0.0002
"""How soon pynetdicom's thread sees an answer."""
WITHOUT_LIMIT_BYTES: Final = 1 << 20
"""Of a PDU, where the peer sets no limit (PS3.8 D.1.1)."""
_MEDIUM, _HAS_DATA_SET = 0x0000, 0x0001
_COMMAND, _LAST = 0x01, 0x02
_PREAMBLE_BYTES: Final = 132
_GROUP_LENGTH_BYTES: Final = 12


@dataclass(frozen=True)
class StoredObject:
    """A DICOM file (PS3.10) that is to be sent as it is.

    Parameters
    ----------
    offset
        Where the data set begins, behind the file meta information; bytes.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int


def stored_object(path: Path) -> StoredObject:
    """Read what is needed to send a file.

    Raises
    ------
    InvalidDicomError, AttributeError, EOFError
        It has no file meta information, or lacks an attribute there.
    OSError
    """
    meta = read_file_meta_info(path)
    return StoredObject(
        path,
        str(meta.MediaStorageSOPClassUID),
        str(meta.MediaStorageSOPInstanceUID),
        str(meta.TransferSyntaxUID),
        _PREAMBLE_BYTES + _GROUP_LENGTH_BYTES + int(meta.FileMetaInformationGroupLength),
    )


def send_at_once(opened: Association) -> None:
    """Let an association that was opened just now neither hold back small writes nor sleep over answers.

    The command of a C-STORE and its data set are two writes, and the peer delays its acknowledgement of the
    first by 40 ms where it has nothing to say (RFC 896 meets RFC 1122 4.2.3.2).
    """
    line = _line(opened)
    if line is not None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.dul._run_loop_delay = LOOK_EVERY_S


def store(opened: Association, context_id: int, stored: StoredObject, message_id: int) -> int | None:
    """Send one object and wait for the answer.

    Returns
    -------
    int or None
        The status; None where there was no answer that is one: the association is over.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    line = _line(opened)
    if line is None or not opened.is_established:
        return None
    limit_bytes = (opened.dimse.maximum_pdu_size or WITHOUT_LIMIT_BYTES) - 6
    write = _through_pynetdicom(opened) if isinstance(line, ssl.SSLSocket) else _to(line)
    try:
        for control, fragment in _fragments(stored, message_id, limit_bytes):
            opened.dul._idle_timer.restart()  # else what takes longer than it never arrives
            write(context_id, control, fragment)
    except _Broken:
        opened.dul.event_queue.put("Evt17")  # PS3.8 9.2: transport connection closed
    _, answer = opened.dimse.get_msg(block=True)
    if isinstance(answer, C_STORE) and answer.is_valid_response and answer.Status is not None:
        return int(answer.Status)
    if opened.is_established:
        opened.abort()
    return None


class _Broken(Exception):
    """The line, not the file."""


def _line(opened: Association) -> socket.socket | None:
    return opened.dul.socket.socket if opened.dul.socket is not None else None


def _fragments(stored: StoredObject, message_id: int, limit_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Message control headers (PS3.8 E.2) and fragments of the command and the data set."""
    command = c_store_request(stored.sop_class_uid, stored.sop_instance_uid, message_id)
    for begin in range(0, len(command), limit_bytes):
        is_last = begin + limit_bytes >= len(command)
        yield _COMMAND | (_LAST if is_last else 0), command[begin : begin + limit_bytes]
    with stored.path.open("rb", buffering=0) as stream:
        left = stream.seek(0, 2) - stored.offset
        stream.seek(stored.offset)
        while True:
            fragment = stream.read(min(limit_bytes, max(left, 0)))
            if not fragment:
                raise OSError(f"{stored.path.name} became shorter while it was sent")
            left -= len(fragment)
            yield (0 if left else _LAST), fragment
            if not left:
                return


def c_store_request(sop_class_uid: str, sop_instance_uid: str, message_id: int) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 9.3.1.1)."""
    return command_set.composed(
        {
            command_set.AFFECTED_SOP_CLASS_UID: command_set.uid_value(sop_class_uid),
            command_set.COMMAND_FIELD: command_set.number_value(command_set.C_STORE_RQ),
            command_set.MESSAGE_ID: command_set.number_value(message_id),
            command_set.PRIORITY: command_set.number_value(_MEDIUM),
            command_set.COMMAND_DATA_SET_TYPE: command_set.number_value(_HAS_DATA_SET),
            command_set.AFFECTED_SOP_INSTANCE_UID: command_set.uid_value(sop_instance_uid),
        }
    )


def _to(line: socket.socket) -> Callable[[int, int, bytes], None]:
    """Write P-DATA-TF PDUs of one fragment each (PS3.8 9.3.5)."""

    def write(context_id: int, control: int, fragment: bytes) -> None:
        length = len(fragment) + 2
        head = struct.pack(">BxLLBB", 0x04, length + 4, length, context_id, control)
        try:
            sent = line.sendmsg((head, fragment))
            if sent < len(head) + len(fragment):
                line.sendall((head + fragment)[sent:])
        except OSError as error:
            raise _Broken from error

    return write


def _through_pynetdicom(opened: Association) -> Callable[[int, int, bytes], None]:
    """The same through its thread: one connection of TLS must not be read and written at once."""

    def write(context_id: int, control: int, fragment: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, bytes((control,)) + fragment))
        opened.dul.send_pdu(primitive)

    return write
