"""What became of a storage commitment request, told to who asked (PS3.4 J.3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import build_context, build_role
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from .peer import Calls, Peer, association

LIMIT_S: Final = 30.0
_ALL_COMMITTED, _SOME_FAILED = 1, 2
"""Event Type IDs."""


@dataclass(frozen=True)
class CommitmentReport:
    """One N-EVENT-REPORT.

    Parameters
    ----------
    instances
        SOP Instance UIDs of all that was asked for, each with its SOP Class UID.
    failures
        Those that are not committed, each with its Failure Reason (PS3.3 C.14.1.1).
    retrieve_ae_title
        Where the others can be had.
    """

    transaction_uid: str
    instances: Mapping[str, str]
    failures: Mapping[str, int]
    retrieve_ae_title: str

    @property
    def event_type(self) -> int:
        """Its Event Type ID."""
        return _SOME_FAILED if self.failures else _ALL_COMMITTED

    def data_set(self) -> Dataset:
        """Its Event Information (PS3.4 table J.3-2)."""
        information = Dataset()
        information.TransactionUID = self.transaction_uid
        committed = self.instances.keys() - self.failures.keys()
        if committed:
            information.RetrieveAETitle = self.retrieve_ae_title
            information.ReferencedSOPSequence = [self._item(uid) for uid in sorted(committed)]
        if self.failures:
            information.FailedSOPSequence = [self._item(uid) for uid in sorted(self.failures)]
        return information

    def primitive(self, message_id: int, transfer_syntax: UID) -> N_EVENT_REPORT:
        """The request (PS3.7 10.3.1.1) with its data set in a transfer syntax."""
        request = N_EVENT_REPORT()
        request.MessageID = message_id
        request.AffectedSOPClassUID = StorageCommitmentPushModel
        request.AffectedSOPInstanceUID = StorageCommitmentPushModelInstance
        request.EventTypeID = self.event_type
        syntax = transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian
        content = encode(self.data_set(), *syntax)
        assert content is not None  # it is of our making
        request.EventInformation = BytesIO(content)
        return request

    def _item(self, uid: str) -> Dataset:
        item = Dataset()
        item.ReferencedSOPClassUID = self.instances[uid]
        item.ReferencedSOPInstanceUID = uid
        if uid in self.failures:
            item.FailureReason = self.failures[uid]
        return item


def tell(peer: Peer, calling_ae_title: str, report: CommitmentReport, calls: Calls) -> int | None:
    """Send a report on an association of its own, as its provider (PS3.4 J.3.3.1, PS3.7 D.3.3.4).

    Returns
    -------
    int or None
        The status of the answer; None where there was none.

    Raises
    ------
    NotReached
    """
    context = build_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    with association(peer, calling_ae_title, [context], roles=[role], calls=calls, limit_s=LIMIT_S) as opened:
        status, _ = opened.send_n_event_report(
            report.data_set(),
            report.event_type,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
    said = status.get("Status")
    return None if said is None else int(said)
