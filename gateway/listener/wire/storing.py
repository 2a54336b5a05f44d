"""The C-STOREs of one association: each is taken and answered in the thread that reads it.

pynetdicom would hand every fragment of a data set through its state machine, and every message and every
answer through queues between two threads that look into them each millisecond. Other requests go that way.
"""

from collections.abc import Callable, Mapping

from pynetdicom.association import Association

from gateway.adapters import command_set

from ..intake.coming import header_reader
from ..intake.incoming import IncomingFile, IncomingFolder
from ..intake.received import receive
from ..statuses import CANNOT_UNDERSTAND
from .attendant import Attendant, StoreRequest
from .guard import Command, Fragment


class Storing:
    """One association's.

    Parameters
    ----------
    reply
        Writes bytes to the peer.
    """

    def __init__(
        self,
        association: Association,
        folder: IncomingFolder,
        attendant: Attendant,
        reply: Callable[[bytes], None],
    ) -> None:
        self._association = association
        self._folder = folder
        self._attendant = attendant
        self._reply = reply
        self._reader = header_reader()
        self._command: Command | None = None
        self._incoming: IncomingFile | None = None

    def begin(self, command: Command) -> None:
        """A request came, its data set follows."""
        if not command.has_data_set:  # there is nothing to keep
            self._reply(answer_to(command, CANNOT_UNDERSTAND))
            return
        class_uid, instance_uid = _uids(command.elements)
        context = self._association._accepted_cx[command.context_id]
        self._command = command
        self._incoming = self._folder.new(self._attendant.has_room, self._reader)
        self._incoming.begin(class_uid, instance_uid, str(context.transfer_syntax[0]))

    def takes(self, fragment: Fragment) -> bool:
        """Write a fragment, and answer after the last; False where it belongs to another request."""
        if self._incoming is None or self._command is None:
            return False
        self._incoming.write(fragment.content)
        if fragment.is_last:
            command = self._command
            status = self._attendant.take(receive(self._incoming), _request(command.elements))
            self._reply(answer_to(command, status))
            self.give_up()
        return True

    @property
    def is_under_way(self) -> bool:
        """Whether more of a data set is to come."""
        return self._incoming is not None

    def give_up(self) -> None:
        """Remove what did not become whole, or was not moved away."""
        if self._incoming is not None:
            self._incoming.remove()
        self._command = self._incoming = None


def answer_to(command: Command, status: int) -> bytes:
    """The P-DATA-TF PDU (PS3.8 9.3.5) of a C-STORE-RSP (PS3.7 9.3.1.2)."""
    elements = command.elements
    return command_set.as_pdu(
        command.context_id,
        {
            command_set.AFFECTED_SOP_CLASS_UID: elements[command_set.AFFECTED_SOP_CLASS_UID],
            command_set.COMMAND_FIELD: command_set.number_value(command_set.C_STORE_RSP),
            command_set.MESSAGE_ID_BEING_RESPONDED_TO: elements[command_set.MESSAGE_ID],
            command_set.COMMAND_DATA_SET_TYPE: command_set.number_value(command_set.NO_DATA_SET),
            command_set.STATUS: command_set.number_value(status),
            command_set.AFFECTED_SOP_INSTANCE_UID: elements[command_set.AFFECTED_SOP_INSTANCE_UID],
        },
    )


def _request(elements: Mapping[int, bytes]) -> StoreRequest:
    class_uid, instance_uid = (str(uid, "latin-1") for uid in _uids(elements))
    originator = elements.get(command_set.MOVE_ORIGINATOR_AE_TITLE, b"")
    return StoreRequest((class_uid, instance_uid), str(originator, "latin-1").strip("\0 "))


def _uids(elements: Mapping[int, bytes]) -> tuple[bytes, bytes]:
    """SOP Class and SOP Instance UID without padding."""
    class_uid = elements[command_set.AFFECTED_SOP_CLASS_UID]
    instance_uid = elements[command_set.AFFECTED_SOP_INSTANCE_UID]
    return class_uid.rstrip(b"\0 "), instance_uid.rstrip(b"\0 ")
