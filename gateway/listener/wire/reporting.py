"""N-EVENT-REPORTs on an association that somebody else opened (PS3.7 10.1.1).

Any thread gives them; the one that writes all answers writes them, so that no message is cut by another, and
only while the peer is silent: who waits for an answer takes nothing else for one, and who is about to release
would lose it.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pynetdicom.association import Association
from pynetdicom.dimse_messages import N_EVENT_REPORT_RQ
from pynetdicom.pdu import P_DATA_TF

from gateway.adapters import command_set
from gateway.adapters.dicom.commitment import CommitmentReport

from .guard import NOT_ASKED, UNEXPECTED_PDU, Command, Fragment, Refused

ANSWER_TIMEOUT_S: Final = 30.0
SILENCE_S: Final = 0.5


class Reporting:
    """One association's.

    Parameters
    ----------
    ring
        Wakes the thread that reads and writes.
    """

    def __init__(self, association: Association, ring: Callable[[], None]) -> None:
        self._association = association
        self._ring = ring
        self._to_write: deque[tuple[int, bytes]] = deque()
        self._asked: dict[int, queue.SimpleQueue[int | None]] = {}
        self._lock = threading.Lock()
        self._is_over = False
        self._count = 0
        self._heard_at = time.monotonic()
        self._data_set_follows = False

    def report(self, context_id: int, report: CommitmentReport) -> int | None:
        """Send one, from another thread, and wait for the answer: its status; None where none comes."""
        context = self._association._accepted_cx[context_id]
        answer: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        with self._lock:
            if self._is_over:
                return None
            self._count = self._count % 0xFFFF + 1
            number = self._count
            message = N_EVENT_REPORT_RQ()
            message.primitive_to_message(report.primitive(number, context.transfer_syntax[0]))
            pdus = []
            for part in message.encode_msg(context_id, self._association.requestor.maximum_length or 0):
                pdu = P_DATA_TF()
                pdu.from_primitive(part)
                pdus.append(pdu.encode())
            self._asked[number] = answer
            self._to_write.append((number, b"".join(pdus)))
        self._ring()
        try:
            return answer.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            return None
        finally:
            with self._lock:
                self._asked.pop(number, None)

    def heard(self) -> None:
        """Something came on the association."""
        self._heard_at = time.monotonic()

    def next_to_write(self) -> bytes | None:
        """What is to be written now, if anything; nothing that is not waited for any more."""
        while self._to_write and time.monotonic() >= self._heard_at + SILENCE_S:
            number, pdus = self._to_write.popleft()
            if number in self._asked:
                return pdus
        return None

    def take_answer(self, command: Command) -> None:
        """An answer came.

        Raises
        ------
        Refused
            To nothing that was ever reported.
        """
        number, status = (
            int.from_bytes(command.elements[element], "little")
            for element in (command_set.MESSAGE_ID_BEING_RESPONDED_TO, command_set.STATUS)
        )
        with self._lock:
            answer = self._asked.pop(number, None)
        self._data_set_follows = command.has_data_set
        if answer is not None:
            answer.put(status)
        elif not 0 < number <= self._count:  # else it comes too late
            raise Refused(UNEXPECTED_PDU, NOT_ASKED)

    def takes(self, fragment: Fragment) -> bool:
        """Pass over the Event Reply of an answer; False where a fragment belongs to a request."""
        takes = self._data_set_follows
        self._data_set_follows &= not fragment.is_last
        return takes

    def give_up(self) -> None:
        """The association is over."""
        with self._lock:
            self._is_over = True
            for answer in self._asked.values():
                answer.put(None)


@dataclass(frozen=True)
class Line:
    """An association on which a commitment was asked for, and the presentation context of that."""

    reporting: Reporting
    context_id: int

    def report(self, report: CommitmentReport) -> int | None:
        """Report there; None where the association is over, or nobody answers."""
        return self.reporting.report(self.context_id, report)
