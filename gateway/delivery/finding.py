"""Asks a PACS by C-FIND whether it holds an instance (PS3.4 C.4.1, Study Root, IMAGE level)."""

from pydicom import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from .peer import Calls, NotReached, Peer, association

_PENDING = (0xFF00, 0xFF01)


def holds_instance(
    peer: Peer,
    calling_ae_title: str,
    *,
    study_uid: str,
    series_uid: str,
    sop_instance_uid: str,
    calls: Calls | None = None,
) -> bool | None:
    """Whether the peer holds this instance; None when it cannot be asked."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.SOPInstanceUID = sop_instance_uid
    contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
    found = False
    try:
        with association(peer, calling_ae_title, contexts, calls=calls) as opened:
            for status, identifier in opened.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
                code = status.get("Status")
                if code in _PENDING:
                    found |= identifier is not None and identifier.get("SOPInstanceUID") == sop_instance_uid
                elif code != 0x0000:
                    return None
    except (NotReached, ValueError):  # ValueError: the context was not accepted
        return None
    return found
