"""Storage commitment as a user (PS3.4 J): a peer is asked to keep instances for good, and reports on that.

Its report comes on the same association, or on one that it opens.
"""

import threading
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Final, cast

from pydicom import Dataset, config
from pydicom.uid import UID
from pynetdicom import build_context, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import decode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from gateway.adapters.pledge_report import PROCESSING_FAILURE, PledgeReport

from .peer import Calls, Peer, association

LIMIT_S: Final = 120.0
"""How long one request may take in all."""
SAME_ASSOCIATION_S: Final = 2.0
"""So long after its answer a report is waited for there."""
MOST: Final = 50_000
"""Instances of one report."""
_REQUEST: Final = 1
"""The one Action Type ID (PS3.4 J.3.2.1.1)."""


class NotUnderstood(ValueError):
    """What came is no report of storage commitment."""


def read_report(content: bytes, transfer_syntax_uid: str) -> PledgeReport:
    """Read the Event Information of a report; nothing of it is believed.

    Raises
    ------
    NotUnderstood
    """
    syntax = UID(transfer_syntax_uid)
    try:
        with config.disable_value_validation():  # a warning would quote the value
            said = decode(BytesIO(content), syntax.is_implicit_VR, syntax.is_little_endian)
            kept = frozenset(_uid(item) for item in said.get("ReferencedSOPSequence") or ())
            failures = {
                _uid(item): int(item.get("FailureReason") or PROCESSING_FAILURE)
                for item in said.get("FailedSOPSequence") or ()
            }
            transaction_uid = str(said.TransactionUID)
    except Exception:  # whatever a parser raises on bytes from outside; the text may quote them
        raise NotUnderstood("it is no report of storage commitment") from None
    if len(kept) + len(failures) > MOST:
        raise NotUnderstood(f"it is about more than {MOST} instances")
    return PledgeReport(transaction_uid, kept, failures)


def ask_to_keep(
    peer: Peer,
    calling_ae_title: str,
    information: Dataset,
    take: Callable[[PledgeReport], int],
    is_told: threading.Event,
    calls: Calls,
) -> int | None:
    """Ask a peer to commit itself to instances (N-ACTION, PS3.4 J.3.2), and wait a while for its report.

    Parameters
    ----------
    information
        Which, by `request_for`.
    take
        Is given what is reported on the same association, in another thread; the status of the answer.
    is_told
        Set where no report is waited for there, by `take` or whoever has taken one elsewhere.

    Returns
    -------
    int or None
        The status of its answer; None where there was none.

    Raises
    ------
    NotReached
        No association; `NothingAccepted` where the peer does not offer storage commitment.
    """

    def on_report(event: evt.Event) -> tuple[int, None]:
        content = cast(N_EVENT_REPORT, event.request).EventInformation
        try:
            report = read_report(content.getvalue() if content else b"", event.context.transfer_syntax)
        except NotUnderstood:
            return PROCESSING_FAILURE, None
        return take(report), None

    contexts, handlers = [build_context(StorageCommitmentPushModel)], [(evt.EVT_N_EVENT_REPORT, on_report)]
    with association(
        peer, calling_ae_title, contexts, handlers=handlers, calls=calls, limit_s=LIMIT_S
    ) as opened:
        answer, _ = opened.send_n_action(
            information, _REQUEST, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        status = answer.get("Status")
        if status == 0:
            is_told.wait(SAME_ASSOCIATION_S)
    return None if status is None else int(status)


def offers_to_keep(peer: Peer, calling_ae_title: str) -> bool:
    """Whether a peer offers storage commitment; nothing is asked for.

    Raises
    ------
    NotReached
        No association.
    """
    # C-ECHO is accepted everywhere: who takes nothing else is told from who cannot be reached.
    contexts = [build_context(uid) for uid in (Verification, StorageCommitmentPushModel)]
    with association(peer, calling_ae_title, contexts) as opened:
        accepted = [str(each.abstract_syntax) for each in opened.accepted_contexts]
    return str(StorageCommitmentPushModel) in accepted


def request_for(transaction_uid: str, instances: Mapping[str, str]) -> Dataset:
    """The Action Information (PS3.4 table J.3-1).

    Parameters
    ----------
    instances
        SOP Instance UIDs, each with its SOP Class UID.
    """
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_reference(*one) for one in instances.items()]
    return information


def _uid(item: Dataset) -> str:
    return str(item.ReferencedSOPInstanceUID)


def _reference(sop_instance_uid: str, sop_class_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item
