"""Looks at what a sender says before any of it is taken: how long, how fast, in what order (PS3.7, PS3.8).

Knows no socket and no protocol stack: it is given whole P-DATA-TF PDUs, and says what is wrong with one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAXIMUM_PDU_BYTES = 128 * 1024
"""What is offered to senders, and held against them."""

# PS3.8 9.3.8: reasons of an A-ABORT by the service provider
NOT_SPECIFIED: Final = 0
UNRECOGNIZED_PDU: Final = 1
UNEXPECTED_PDU: Final = 2
INVALID_VALUE: Final = 6

_COMMAND, _LAST = 1, 2  # bits of a message control header, PS3.8 E.2
_C_STORE_RQ, _RESPONSE, _NO_DATA_SET = 0x0001, 0x8000, 0x0101
_CLASS_UID, _FIELD, _MESSAGE_ID, _DATA_SET_TYPE, _INSTANCE_UID = 0x0002, 0x0100, 0x0110, 0x0800, 0x1000
_LONGEST_UID = 64


@dataclass(frozen=True)
class Limits:
    """What one peer may take of time and memory."""

    request_s: float = 5.0  # a whole A-ASSOCIATE-RQ, from the moment of the connection
    request_bytes: int = 256 * 1024
    pending: int = 64  # connections that have not asked for an association yet, ...
    pending_of_address: int = 16  # ... of one address, ...
    pending_of_strangers: int = 8  # ... and of all addresses that are not in dicom.allow
    pdu_s: float = 30.0
    object_s: float = 120.0  # and more for a long one: it has to come at this pace
    object_bytes_per_s: int = 16_000
    object_bytes: int = 8_192_000_000
    command_bytes: int = 64 * 1024
    other_data_bytes: int = 16_000_000  # the data set of what is no C-STORE stays in memory
    unanswered: int = 8  # requests that a sender may be ahead of our answers


class Refused(Exception):
    """The association is aborted: the reason for the peer, a sentence for the operator."""

    def __init__(self, reason: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence


class MessageGuard:
    """Follows the messages of one association.

    Parameters
    ----------
    is_accepted
        Whether a presentation context was.
    """

    def __init__(
        self, limits: Limits, is_accepted: Callable[[int], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._is_accepted = is_accepted
        self._clock = clock
        self._command = bytearray()
        self._began_at: float | None = None
        self._data_limit: int | None = None  # None: no data set is due
        self._data_bytes = 0

    def look(self, pdu: bytes | bytearray) -> None:
        """Look at one P-DATA-TF PDU, its header included (PS3.8 9.3.5).

        Raises
        ------
        Refused
        """
        at = 6
        while at < len(pdu):
            length = int.from_bytes(pdu[at : at + 4], "big")
            if length < 2 or at + 4 + length > len(pdu):
                raise Refused(INVALID_VALUE, "a presentation data value is longer than its PDU, or empty")
            if not self._is_accepted(pdu[at + 4]):
                raise Refused(INVALID_VALUE, "its presentation context was not accepted")
            self._take(pdu[at + 5], pdu, at + 6, length - 2)
            at += 4 + length
        self._check_pace()

    def _take(self, control: int, pdu: bytes | bytearray, at: int, length: int) -> None:
        if self._began_at is None:
            self._began_at = self._clock()
        if control & _COMMAND:
            self._take_command(pdu[at : at + length], is_last=bool(control & _LAST))
            return
        if self._data_limit is None:
            raise Refused(UNEXPECTED_PDU, "a data set came without a command")
        self._data_bytes += length
        if self._data_bytes > self._data_limit:
            raise Refused(
                NOT_SPECIFIED,
                f"its data set is longer than {self._data_limit // 1_000_000} MB (dicom.max_object_mb)",
            )
        if control & _LAST:
            self._is_over()

    def _take_command(self, fragment: bytes | bytearray, *, is_last: bool) -> None:
        if self._data_limit is not None:
            raise Refused(UNEXPECTED_PDU, "a command came in the middle of a data set")
        if len(self._command) + len(fragment) > self._limits.command_bytes:
            raise Refused(
                INVALID_VALUE, f"its command is longer than {self._limits.command_bytes // 1024} kB"
            )
        self._command += fragment
        if not is_last:
            return
        elements = _elements(self._command)
        self._command.clear()
        is_store = _checked_field(elements) == _C_STORE_RQ
        if _number(elements, _DATA_SET_TYPE) == _NO_DATA_SET:
            self._is_over()
        else:
            self._data_limit = self._limits.object_bytes if is_store else self._limits.other_data_bytes

    def _is_over(self) -> None:
        self._began_at, self._data_limit, self._data_bytes = None, None, 0

    def _check_pace(self) -> None:
        if self._began_at is None:
            return
        may_take_s = self._limits.object_s + self._data_bytes / self._limits.object_bytes_per_s
        if self._clock() - self._began_at > may_take_s:
            raise Refused(NOT_SPECIFIED, "an object came too slowly; look at the sender and the line")


def _elements(command: bytes | bytearray) -> dict[int, bytes]:
    """Elements of group 0000, implicit VR little endian (PS3.7 6.3.1), by element number."""
    elements, at = {}, 0
    while at < len(command):
        group = int.from_bytes(command[at : at + 2], "little")
        length = int.from_bytes(command[at + 4 : at + 8], "little")
        if at + 8 + length > len(command) or group != 0:
            raise Refused(INVALID_VALUE, "its command cannot be parsed (PS3.7 6.3.1)")
        elements[int.from_bytes(command[at + 2 : at + 4], "little")] = bytes(
            command[at + 8 : at + 8 + length]
        )
        at += 8 + length
    return elements


def _checked_field(elements: dict[int, bytes]) -> int:
    """Its Command Field; a request without what every answer has to repeat is refused."""
    field, _ = _number(elements, _FIELD), _number(elements, _DATA_SET_TYPE)
    if field & _RESPONSE:
        raise Refused(UNEXPECTED_PDU, "it answers what nobody asked")
    if field != 0x0FFF:  # C-CANCEL-RQ has none
        _number(elements, _MESSAGE_ID)
    if field == _C_STORE_RQ:
        for number, name in ((_CLASS_UID, "Class"), (_INSTANCE_UID, "Instance")):
            if not 0 < len(elements.get(number, b"").rstrip(b"\0 ")) <= _LONGEST_UID:
                raise Refused(INVALID_VALUE, f"its C-STORE has no valid Affected SOP {name} UID")
    return field


def _number(elements: dict[int, bytes], number: int) -> int:
    value = elements.get(number, b"")
    if len(value) != 2:
        raise Refused(INVALID_VALUE, f"its command lacks the element (0000,{number:04X})")
    return int.from_bytes(value, "little")
