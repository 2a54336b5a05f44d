"""The command set of a DIMSE message, written and read (PS3.7 6.3.1): elements of group 0000 in implicit VR
little endian, by their element numbers.
"""

import struct
from collections.abc import Mapping
from typing import Final

AFFECTED_SOP_CLASS_UID: Final = 0x0002
REQUESTED_SOP_CLASS_UID: Final = 0x0003
COMMAND_FIELD: Final = 0x0100
MESSAGE_ID: Final = 0x0110
MESSAGE_ID_BEING_RESPONDED_TO: Final = 0x0120
PRIORITY: Final = 0x0700
COMMAND_DATA_SET_TYPE: Final = 0x0800
STATUS: Final = 0x0900
AFFECTED_SOP_INSTANCE_UID: Final = 0x1000
REQUESTED_SOP_INSTANCE_UID: Final = 0x1001
EVENT_TYPE_ID: Final = 0x1002
ACTION_TYPE_ID: Final = 0x1008
MOVE_ORIGINATOR_AE_TITLE: Final = 0x1030

RESPONSE: Final = 0x8000
"""The bit of a Command Field by which an answer differs from its request (PS3.7 E.1)."""
C_STORE_RQ: Final = 0x0001
C_STORE_RSP: Final = C_STORE_RQ | RESPONSE
N_EVENT_REPORT_RQ: Final = 0x0100
N_EVENT_REPORT_RSP: Final = N_EVENT_REPORT_RQ | RESPONSE
N_ACTION_RQ: Final = 0x0130
N_CREATE_RQ: Final = 0x0140
NO_DATA_SET: Final = 0x0101
"""Any other Command Data Set Type says that there is one."""

_GROUP_LENGTH = 0x0000
_P_DATA_TF, _WHOLE_COMMAND = 0x04, 0x03


class NoCommandSet(ValueError):
    """The bytes are none."""


def composed(elements: Mapping[int, bytes]) -> bytes:
    """A command set with its group length; the elements have to be in their order."""
    content = b"".join(_element(number, value) for number, value in elements.items())
    return _element(_GROUP_LENGTH, struct.pack("<L", len(content))) + content


def as_pdu(context_id: int, elements: Mapping[int, bytes]) -> bytes:
    """The P-DATA-TF PDU (PS3.8 9.3.5) of a whole command set, its one fragment (PS3.8 E.2)."""
    content = composed(elements)
    length = len(content) + 2
    return struct.pack(">BxLLBB", _P_DATA_TF, length + 4, length, context_id, _WHOLE_COMMAND) + content


def parsed(content: bytes | bytearray) -> dict[int, bytes]:
    """Values by element number, as they stand there.

    Raises
    ------
    NoCommandSet
    """
    elements, at = {}, 0
    while at < len(content):
        head = content[at : at + 8]
        if len(head) < 8:
            raise NoCommandSet
        group, number, length = struct.unpack("<HHL", head)
        at += 8
        if group != 0 or at + length > len(content):
            raise NoCommandSet
        elements[number] = bytes(content[at : at + length])
        at += length
    return elements


def number_value(number: int) -> bytes:
    """The value of an element of representation US."""
    return struct.pack("<H", number)


def uid_value(uid: str) -> bytes:
    """The value of an element of representation UI (PS3.5 6.2)."""
    value = uid.encode("ascii")
    return value + b"\0" * (len(value) % 2)


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0x0000, number, len(value)) + value
