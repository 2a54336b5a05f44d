"""Looks at what a sender says before any of it is taken: how long, how fast, in what order (PS3.7, PS3.8).

Knows no socket and no protocol stack: it is given whole P-DATA-TF PDUs, and says what is wrong with one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.adapters import command_set

from ..causes import Cause

MAXIMUM_PDU_BYTES = 128 * 1024
"""What is offered to senders, and held against them."""

# PS3.8 9.3.8: reasons of an A-ABORT by the service provider
NOT_SPECIFIED: Final = 0
UNRECOGNIZED_PDU: Final = 1
UNEXPECTED_PDU: Final = 2
INVALID_VALUE: Final = 6

CAUSES: Final = {
    NOT_SPECIFIED: Cause.LIMIT,
    UNRECOGNIZED_PDU: Cause.NO_DICOM,
    UNEXPECTED_PDU: Cause.OUT_OF_ORDER,
    INVALID_VALUE: Cause.INVALID,
}

COMMAND: Final = 1
LAST: Final = 2
"""Bits of a message control header, PS3.8 E.2."""
_CANCEL = 0x0FFF
_LONGEST_UID = 64
NOT_ASKED: Final = "it answers what nobody asked"


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

    @property
    def cause(self) -> Cause:
        """The same in a word, for the metrics."""
        return CAUSES[self.reason]


@dataclass(frozen=True)
class Command:
    """A whole command set."""

    context_id: int
    content: bytes
    elements: dict[int, bytes]
    """Values by element number."""

    @property
    def is_store(self) -> bool:
        """Whether it is a C-STORE request."""
        return _number(self.elements, command_set.COMMAND_FIELD) == command_set.C_STORE_RQ

    @property
    def is_report_answer(self) -> bool:
        """Whether it answers an N-EVENT-REPORT, the one thing that this side asks."""
        return _number(self.elements, command_set.COMMAND_FIELD) == command_set.N_EVENT_REPORT_RSP

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return _number(self.elements, command_set.COMMAND_DATA_SET_TYPE) != command_set.NO_DATA_SET


@dataclass(frozen=True)
class Fragment:
    """A part of a data set; `content` is good until the next PDU is read."""

    context_id: int
    content: memoryview
    is_last: bool


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

    def look(self, pdu: memoryview) -> Iterator[Command | Fragment]:
        """Look at one P-DATA-TF PDU, its header included (PS3.8 9.3.5), and give what is in it.

        Raises
        ------
        Refused
        """
        at = 6
        while at < len(pdu):
            length = int.from_bytes(pdu[at : at + 4], "big")
            if length < 2 or at + 4 + length > len(pdu):
                raise Refused(INVALID_VALUE, "a presentation data value is longer than its PDU, or empty")
            context_id, control = pdu[at + 4], pdu[at + 5]
            if not self._is_accepted(context_id):
                raise Refused(INVALID_VALUE, "its presentation context was not accepted")
            if self._began_at is None:
                self._began_at = self._clock()
            content = pdu[at + 6 : at + 4 + length]
            if not control & COMMAND:
                yield self._data(context_id, content, is_last=bool(control & LAST))
            elif (command := self._command_with(context_id, content, bool(control & LAST))) is not None:
                yield command
            at += 4 + length
        self._check_pace()

    def _data(self, context_id: int, content: memoryview, *, is_last: bool) -> Fragment:
        if self._data_limit is None:
            raise Refused(UNEXPECTED_PDU, "a data set came without a command")
        self._data_bytes += len(content)
        if self._data_bytes > self._data_limit:
            raise Refused(
                NOT_SPECIFIED,
                f"its data set is longer than {self._data_limit // 1_000_000} MB (dicom.max_object_mb)",
            )
        if is_last:
            self._is_over()
        return Fragment(context_id, content, is_last)

    def _command_with(self, context_id: int, fragment: memoryview, is_last: bool) -> Command | None:
        if self._data_limit is not None:
            raise Refused(UNEXPECTED_PDU, "a command came in the middle of a data set")
        if len(self._command) + len(fragment) > self._limits.command_bytes:
            raise Refused(
                INVALID_VALUE, f"its command is longer than {self._limits.command_bytes // 1024} kB"
            )
        self._command += fragment
        if not is_last:
            return None
        command = Command(context_id, bytes(self._command), _elements(self._command))
        self._command.clear()
        _check(command)
        if not command.has_data_set:
            self._is_over()
        else:
            limits = self._limits
            self._data_limit = limits.object_bytes if command.is_store else limits.other_data_bytes
        return command

    def _is_over(self) -> None:
        self._began_at, self._data_limit, self._data_bytes = None, None, 0

    def _check_pace(self) -> None:
        if self._began_at is None:
            return
        may_take_s = self._limits.object_s + self._data_bytes / self._limits.object_bytes_per_s
        if self._clock() - self._began_at > may_take_s:
            raise Refused(NOT_SPECIFIED, "an object came too slowly; look at the sender and the line")


def _elements(command: bytearray) -> dict[int, bytes]:
    try:
        return command_set.parsed(command)
    except command_set.NoCommandSet:
        raise Refused(INVALID_VALUE, "its command cannot be parsed (PS3.7 6.3.1)") from None


def _check(command: Command) -> None:
    """Refuse an answer to what is never asked, and a request without what its answer has to repeat."""
    elements = command.elements
    field, _ = _number(elements, command_set.COMMAND_FIELD), command.has_data_set
    if command.is_report_answer:
        _number(elements, command_set.MESSAGE_ID_BEING_RESPONDED_TO)
        _number(elements, command_set.STATUS)
        return
    if field & command_set.RESPONSE:
        raise Refused(UNEXPECTED_PDU, NOT_ASKED)
    if field != _CANCEL:  # which has none
        _number(elements, command_set.MESSAGE_ID)
    if command.is_store:
        for number, name in (
            (command_set.AFFECTED_SOP_CLASS_UID, "Class"),
            (command_set.AFFECTED_SOP_INSTANCE_UID, "Instance"),
        ):
            if not 0 < len(elements.get(number, b"").rstrip(b"\0 ")) <= _LONGEST_UID:
                raise Refused(INVALID_VALUE, f"its C-STORE has no valid Affected SOP {name} UID")


def _number(elements: dict[int, bytes], number: int) -> int:
    value = elements.get(number, b"")
    if len(value) != 2:
        raise Refused(INVALID_VALUE, f"its command lacks the element (0000,{number:04X})")
    return int.from_bytes(value, "little")
