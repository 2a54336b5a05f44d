"""Asks a PACS what it holds and fetches it: C-FIND and C-GET (PS3.4 C.4.1 and C.4.3, Study Root).

What comes back is from outside: whoever asks looks whether it is what was asked for.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pydicom import Dataset, config
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from .peer import Calls, NothingAccepted, Peer, association

_PENDING: Final = (0xFF00, 0xFF01)
_SUCCESS: Final = 0x0000
_NO_ROOM: Final = 0xA700
RESULT_SYNTAXES: Final[list[str | UID]] = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
    JPEGLSLossless,
]
"""In what segmentations and reports are kept."""
IMAGE_SYNTAXES: Final[list[str | UID]] = [
    *RESULT_SYNTAXES,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
]
"""In what images are kept; of ten SOP classes all of these can be offered at once."""
_UNKNOWN_DESTINATION: Final = 0xA801


UNREADABLE: Final = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RuntimeError,
    NotImplementedError,
)
"""What a parser raises on bytes from outside; the text may quote them."""
Ask = Callable[[str, Mapping[str, str]], list[Dataset]]
"""Everything at one level (STUDY, SERIES, IMAGE) that matches these keywords; those without a value are asked
for, too. Raises `NotAnswered`."""


class NotAnswered(Exception):
    """A PACS was reached, and did not do what it was asked; one sentence that names it.

    Parameters
    ----------
    status
        What it answered in place of success (PS3.4 C.4.1.1.4); None where it answered nothing.
    """

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class NotOffered(NotAnswered):
    """A PACS lacks a whole service, or does nothing of it for this gateway."""


@contextmanager
def asking(
    peer: Peer,
    calling_ae_title: str,
    *,
    at_most: int | None = None,
    limit_s: float | None = None,
    calls: Calls | None = None,
) -> Iterator[Ask]:
    """Open an association on which questions are asked, one after the other.

    Parameters
    ----------
    at_most
        A question that is answered with more matches ends the association.
    limit_s
        How long all of it may take.
    calls
        Through which another thread can end it.

    Raises
    ------
    NotReached
        No association.
    NotAnswered
        The PACS does not take queries.
    """
    model = StudyRootQueryRetrieveInformationModelFind
    refusal = None
    with association(peer, calling_ae_title, [build_context(model)], calls=calls, limit_s=limit_s) as opened:
        _require(peer, opened.accepted_contexts, model)
        try:
            yield lambda level, keys: _matches(opened, peer, level, keys, at_most)
        except NotAnswered as error:  # the association is released all the same
            refusal = error
    if refusal is not None:
        raise refusal


def find(
    peer: Peer,
    calling_ae_title: str,
    level: str,
    keys: Mapping[str, str],
    *,
    at_most: int | None = None,
    limit_s: float | None = None,
    calls: Calls | None = None,
) -> list[Dataset]:
    """Ask one question on an association of its own; see `Ask` and `asking`.

    Raises
    ------
    NotReached
        No association.
    NotAnswered
        The PACS does not answer the query with success.
    """
    with asking(peer, calling_ae_title, at_most=at_most, limit_s=limit_s, calls=calls) as ask:
        return ask(level, keys)


def _matches(
    opened: Association, peer: Peer, level: str, keys: Mapping[str, str], at_most: int | None
) -> list[Dataset]:
    model = StudyRootQueryRetrieveInformationModelFind
    query = Dataset()
    query.QueryRetrieveLevel = level
    with config.disable_value_validation():  # a PACS knows a value as it is, and a warning would quote it
        for keyword, value in keys.items():
            setattr(query, keyword, value)
    if not opened.is_established:
        raise NotAnswered(f"{peer} ended the association; look at its log")
    found: list[Dataset] = []
    last = None
    for status, identifier in opened.send_c_find(query, model):
        last = status.get("Status")
        if last in _PENDING and identifier is not None:
            found.append(identifier)
        if at_most is not None and len(found) > at_most:
            opened.abort()
            raise NotAnswered(f"{peer} answered C-FIND with more than {at_most} matches; look at its log")
    if last != _SUCCESS:
        raise NotAnswered(_refusal(peer, "C-FIND", last), last)
    return found


def get(
    peer: Peer,
    calling_ae_title: str,
    folder: Path,
    *,
    sop_class_uids: Sequence[str],
    study_uid: str,
    series_uid: str,
    syntaxes: Sequence[str | UID] = RESULT_SYNTAXES,
    limit_s: float | None = None,
    calls: Calls | None = None,
) -> list[Path]:
    """Fetch one series by C-GET into a folder.

    Parameters
    ----------
    sop_class_uids
        What the series may be made of: the storage classes that this side offers to take.
    syntaxes
        The transfer syntaxes in which it takes each of them.

    Returns
    -------
    list of Path
        One file for each object that came, in the order in which they came.

    Raises
    ------
    NotReached
        No association.
    NotAnswered
        The PACS does not answer with success.
    NotOffered
        It sends nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrived: list[Path] = []

    def take(event: Event) -> int:
        uid = str(event.file_meta.MediaStorageSOPInstanceUID)
        target = folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:16]}.dcm"
        try:
            target.write_bytes(_received(event))
        except OSError:
            return _NO_ROOM
        arrived.append(target)
        return _SUCCESS

    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    model = StudyRootQueryRetrieveInformationModelGet
    contexts = [
        build_context(model),
        # One a syntax: of several in one the PACS would choose one, which its objects need not be in.
        *(build_context(uid, syntax) for uid in sop_class_uids for syntax in syntaxes),
    ]
    roles = [build_role(uid, scp_role=True) for uid in sop_class_uids]
    with (
        _offering(),
        association(
            peer,
            calling_ae_title,
            contexts,
            roles=roles,
            handlers=[(evt.EVT_C_STORE, take)],
            calls=calls,
            limit_s=limit_s,
        ) as opened,
    ):
        _require(peer, opened.accepted_contexts, model)
        codes = [status.get("Status") for status, _ in opened.send_c_get(query, model)]
    last = codes[-1] if codes else None
    if last != _SUCCESS:
        # Some take an association for C-GET from whoever may not, and abort it then: Orthanc is one.
        refusal = NotAnswered if arrived else NotOffered
        raise refusal(_refusal(peer, "C-GET", last), last)
    if not arrived:
        raise NotOffered(f"{peer} answered C-GET with success, but sent nothing", last)
    return arrived


def move(
    peer: Peer,
    calling_ae_title: str,
    destination: str,
    *,
    study_uid: str,
    series_uid: str,
    calls: Calls | None = None,
) -> None:
    """Let one series be sent by C-MOVE (PS3.4 C.4.2), and wait until that is done.

    Parameters
    ----------
    destination
        The AE title to send to, which the PACS has to know with its host and port.

    Raises
    ------
    NotReached
        No association.
    NotAnswered
        The PACS does not answer with success.
    """
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    model = StudyRootQueryRetrieveInformationModelMove
    with _offering(), association(peer, calling_ae_title, [build_context(model)], calls=calls) as opened:
        _require(peer, opened.accepted_contexts, model)
        codes = [status.get("Status") for status, _ in opened.send_c_move(query, destination, model)]
    if codes[-1:] == [_UNKNOWN_DESTINATION]:
        raise NotAnswered(
            f"{peer} does not know {destination} as where to send to; enter this gateway's AE title, host and"
            " port there",
            _UNKNOWN_DESTINATION,
        )
    if codes[-1:] != [_SUCCESS]:
        last = codes[-1] if codes else None
        raise NotAnswered(_refusal(peer, "C-MOVE", last), last)


@contextmanager
def _offering() -> Iterator[None]:
    """Where nothing is accepted of what is offered, the service is not, either."""
    try:
        yield
    except NothingAccepted as error:
        raise NotOffered(str(error)) from None


def _require(peer: Peer, accepted: Sequence[object], model: UID) -> None:
    if not any(getattr(context, "abstract_syntax", None) == model for context in accepted):
        raise NotOffered(f"{peer} does not take {model.name}; allow it there")


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
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _refusal(peer: Peer, service: str, status: int | None) -> str:
    """Who does not know us may say so by ending the association: Orthanc does."""
    what = "nothing" if status is None else f"status 0x{status:04X}"
    return (
        f"{peer} answered {service} with {what}; enter this gateway's AE title, host and port there, allow"
        f" {service} for it, and look at the log there"
    )
