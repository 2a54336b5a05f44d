"""The requests of one association that name instances: N-ACTION and N-CREATE (PS3.7 10.1.4, 10.1.5).

They are taken and answered in the thread that reads them, as C-STOREs are: so an answer is on the line before
what is reported of it there, and each request that cannot be taken has its status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.uid import generate_uid
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    StorageCommitmentPushModel,
)

from gateway.adapters import command_set

from .guard import Command, Fragment
from .reporting import Line, Reporting

COMMITMENT: Final = str(StorageCommitmentPushModel)
NOTICE: Final = str(InstanceAvailabilityNotification)


@dataclass(frozen=True)
class NamingRequest:
    """One request as it came.

    Parameters
    ----------
    sop_class_uid
        Of its presentation context.
    elements
        Of its command.
    """

    sender: str
    address: str
    sop_class_uid: str
    elements: Mapping[int, bytes]
    data_set: bytes
    transfer_syntax_uid: str


@dataclass(frozen=True)
class Written:
    """What becomes of a request.

    Parameters
    ----------
    to_report
        The key of the list that is to be reported; None: none is.
    """

    status: int
    to_report: int | None = None


TakeNotice = Callable[[NamingRequest], Written]
"""Writes down what a request names; what becomes of it."""
ToReport = Callable[[int, Line], None]
"""Told of a list that is to be reported, and of the line on which it was asked for."""


class Naming:
    """One association's.

    Parameters
    ----------
    reporting
        What is reported on the same association.
    reply
        Writes bytes to the peer.
    """

    def __init__(
        self,
        association: Association,
        take: TakeNotice,
        to_report: ToReport,
        reporting: Reporting,
        reply: Callable[[bytes], None],
    ) -> None:
        self._association = association
        self._take = take
        self._to_report = to_report
        self._reporting = reporting
        self._reply = reply
        self._command: Command | None = None
        self._data_set = bytearray()

    def begins(self, command: Command) -> bool:
        """Take a request; False where it is on another presentation context."""
        if self._context(command).abstract_syntax not in (COMMITMENT, NOTICE):
            return False
        self._command = command
        self._data_set.clear()
        if not command.has_data_set:
            self._answer(command)
        return True

    def takes(self, fragment: Fragment) -> bool:
        """Keep a fragment, and answer after the last; False where it belongs to another request."""
        if self._command is None:
            return False
        self._data_set += fragment.content
        if fragment.is_last:
            self._answer(self._command)
        return True

    def _answer(self, command: Command) -> None:
        context, requestor = self._context(command), self._association.requestor
        request = NamingRequest(
            requestor.ae_title.strip(),
            str(requestor.address),
            str(context.abstract_syntax),
            command.elements,
            bytes(self._data_set),
            str(context.transfer_syntax[0]),
        )
        self._command = None
        self._data_set.clear()
        written = self._take(request)
        self._reply(answer_to(command, written.status))
        if written.to_report is not None:
            self._to_report(written.to_report, Line(self._reporting, command.context_id))

    def _context(self, command: Command):  # type: ignore[no-untyped-def]
        return self._association._accepted_cx[command.context_id]


def answer_to(command: Command, status: int) -> bytes:
    """The P-DATA-TF PDU (PS3.8 9.3.5) of an answer: PS3.7 10.3.4.2, 10.3.5.2, and of what nobody offers."""
    elements, nothing = command.elements, b""
    field = int.from_bytes(elements[command_set.COMMAND_FIELD], "little")
    class_uid, instance_uid = (
        elements.get(affected) or elements.get(requested, nothing)
        for affected, requested in (
            (command_set.AFFECTED_SOP_CLASS_UID, command_set.REQUESTED_SOP_CLASS_UID),
            (command_set.AFFECTED_SOP_INSTANCE_UID, command_set.REQUESTED_SOP_INSTANCE_UID),
        )
    )
    if field == command_set.N_CREATE_RQ and not instance_uid:  # this side then makes one
        instance_uid = command_set.uid_value(generate_uid())
    answer = {
        command_set.AFFECTED_SOP_CLASS_UID: class_uid,
        command_set.COMMAND_FIELD: command_set.number_value(field | command_set.RESPONSE),
        command_set.MESSAGE_ID_BEING_RESPONDED_TO: elements[command_set.MESSAGE_ID],
        command_set.COMMAND_DATA_SET_TYPE: command_set.number_value(command_set.NO_DATA_SET),
        command_set.STATUS: command_set.number_value(status),
        command_set.AFFECTED_SOP_INSTANCE_UID: instance_uid,
        command_set.EVENT_TYPE_ID: elements.get(command_set.EVENT_TYPE_ID, nothing),
        command_set.ACTION_TYPE_ID: elements.get(command_set.ACTION_TYPE_ID, nothing),
    }
    return command_set.as_pdu(
        command.context_id, {number: value for number, value in answer.items() if value}
    )
