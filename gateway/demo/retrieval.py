"""Asks a PACS what it holds and fetches it back: C-FIND and C-GET (PS3.4 C.4.1 and C.4.3, Study Root)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from pynetdicom import build_context, build_role, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from gateway.delivery.peer import Peer, association

from .children import DemoError

_PENDING = (0xFF00, 0xFF01)
_SYNTAXES: list[str | UID] = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
]


def find(peer: Peer, calling_ae_title: str, level: str, **keys: str) -> list[Dataset]:
    """Everything at one level (STUDY, SERIES, IMAGE) that matches these keywords.

    Raises
    ------
    NotReached
        No association.
    DemoError
        The PACS does not answer the query with success.
    """
    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    found: list[Dataset] = []
    contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
    with association(peer, calling_ae_title, contexts) as opened:
        for status, identifier in opened.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
            code = status.get("Status")
            if code in _PENDING and identifier is not None:
                found.append(identifier)
            elif code != 0x0000:
                raise DemoError(f"{peer} answered C-FIND with {_hexadecimal(code)}")
    return found


def get(
    peer: Peer,
    calling_ae_title: str,
    folder: Path,
    *,
    sop_class_uids: Sequence[str],
    study_uid: str,
    series_uid: str,
) -> list[Path]:
    """Fetch one series by C-GET into a folder.

    Parameters
    ----------
    sop_class_uids
        What the series may be made of: the storage classes that this side offers to take.

    Returns
    -------
    list of Path
        One file for each object that came, in the order in which they came.

    Raises
    ------
    NotReached
        No association.
    DemoError
        The PACS does not answer with success, or sends nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrived: list[Path] = []

    def take(event: Event) -> int:
        uid = str(event.file_meta.MediaStorageSOPInstanceUID)
        target = folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:16]}.dcm"
        target.write_bytes(_received(event))
        arrived.append(target)
        return 0x0000

    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    contexts = [
        build_context(StudyRootQueryRetrieveInformationModelGet),
        # One a syntax: of several in one the PACS would choose one, which its objects need not be in.
        *(build_context(uid, syntax) for uid in sop_class_uids for syntax in _SYNTAXES),
    ]
    roles = [build_role(uid, scp_role=True) for uid in sop_class_uids]
    with association(
        peer, calling_ae_title, contexts, roles=roles, handlers=[(evt.EVT_C_STORE, take)]
    ) as opened:
        codes = [
            status.get("Status")
            for status, _ in opened.send_c_get(query, StudyRootQueryRetrieveInformationModelGet)
        ]
    if codes[-1:] != [0x0000]:
        raise DemoError(f"{peer} answered C-GET with {_hexadecimal(codes[-1] if codes else None)}")
    if not arrived:
        raise DemoError(f"{peer} answered C-GET with success, but sent nothing")
    return arrived


def _received(event: Event) -> bytes:
    """The object as it came, as a file's bytes, whether this process streams data sets to disk or not."""
    streamed = getattr(event.request, "_dataset_file", None)
    if streamed is None:
        return event.encoded_dataset()
    streamed.close()
    path = Path(streamed.name)
    try:
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def _hexadecimal(status: int | None) -> str:
    return "nothing" if status is None else f"status 0x{status:04X}"
