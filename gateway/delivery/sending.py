"""C-STORE as a user: files go out as they are stored, streamed from disk."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
)

from gateway.adapters.dicom.implementation import Implementation, form_name, implementation_of
from gateway.adapters.dicom.peer import MAXIMUM_CONTEXTS, Calls, NothingAccepted, Peer, association
from gateway.adapters.dicom.storing import StoredObject, store, stored_object
from gateway.config.outputs import Form
from gateway.taken import PLAIN_SYNTAXES, Refusal, Taken

from .statuses import meaning


class NotSendable(Exception):
    """A file is no DICOM file that could be sent; one sentence."""


class NotTaken(NotSendable):
    """The peer does not take the SOP class of a file, or not in its transfer syntax: a form."""

    def __init__(self, form: Form, peer: Peer, by: Implementation) -> None:
        syntax = "" if form.transfer_syntax_uid in PLAIN_SYNTAXES else form.transfer_syntax_uid
        what = form_name(form.sop_class_uid, syntax)
        super().__init__(Refusal(what, "allow it there", by.product.name).by(peer))
        self.form = form


@dataclass(frozen=True)
class Sent:
    """What became of one file.

    Parameters
    ----------
    status
        None where there was no answer.
    why_not
        Why it was not sent at all.
    """

    path: Path
    status: int | None
    why_not: NotSendable | None = None

    @property
    def meaning(self) -> str:
        """The status in words, or why it was not sent."""
        return meaning(self.status) if self.why_not is None else str(self.why_not)


def send_files(
    paths: Sequence[Path],
    peer: Peer,
    calling_ae_title: str,
    *,
    on_sent: Callable[[Path, int | None], None] | None = None,
    calls: Calls | None = None,
) -> list[Sent]:
    """Send files, in this order, on one association (on more where they need more than 128 contexts).

    Parameters
    ----------
    on_sent
        Called after each file with its status.
    calls
        Through which another thread can end it.

    Returns
    -------
    list of Sent
        One for each file up to the first without an answer.

    Raises
    ------
    NotReached
        No association.
    NotSendable
        A file is not DICOM.
    NotTaken
    """
    results: list[Sent] = []
    with closing(each_sent(paths, peer, calling_ae_title, calls=calls)) as course:
        for sent in course:
            if sent.why_not is not None:
                raise sent.why_not
            results.append(sent)
            if on_sent is not None:
                on_sent(sent.path, sent.status)
    return results


def each_sent(
    paths: Sequence[Path], peer: Peer, calling_ae_title: str, *, calls: Calls | None = None
) -> Generator[Sent]:
    """The same one by one, and past those that the peer does not take or that are no DICOM.

    Raises
    ------
    NotReached
        No association.
    """
    outgoing: list[StoredObject] = []
    for path in paths:
        try:
            outgoing.append(_outgoing(path))
        except NotSendable as error:
            yield Sent(path, None, error)
    for group in _groups(outgoing):
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in _contexts_of(group)]
        try:
            with association(peer, calling_ae_title, contexts, calls=calls) as opened:
                for number, one in enumerate(group):
                    sent = _send(opened, one, peer, 1 + number % 0xFFFF)
                    yield sent
                    if sent.status is None and sent.why_not is None:
                        return
        except NothingAccepted as refused:
            for one in group:
                yield Sent(one.path, None, NotTaken(_form_of(one), peer, refused.by))


def taken_forms(
    forms: Collection[Form], peer: Peer, calling_ae_title: str, *, calls: Calls | None = None
) -> Taken:
    """Those of at most 60 forms that a peer accepts, as `send_files` would offer them; nothing is sent.

    Beside them C-ECHO is offered, which is accepted everywhere, so that there is an association to release,
    and storage commitment, which tells Orthanc from dcmqrscp.

    Raises
    ------
    NotReached
        No association.
    """
    offered = [build_context(sop_class, syntax) for sop_class, syntax in _offers(forms)]
    contexts = [build_context(Verification), build_context(StorageCommitmentPushModel), *offered]
    try:
        with association(peer, calling_ae_title, contexts, calls=calls) as opened:
            accepted, by = _accepted(opened), implementation_of(opened)
    except NothingAccepted as refused:
        return Taken(frozenset(), refused.by)
    return Taken(frozenset(form for form in forms if accepted.keys() & set(_offers([form]))), by)


def dicom_files(paths: Sequence[Path]) -> list[Path]:
    """Every DICOM file under these files and folders, in order of their names; DICOMDIRs are left out."""
    found: list[Path] = []
    for path in paths:
        candidates = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found += [p for p in candidates if p.name.upper() != "DICOMDIR" and _looks_like_dicom(p)]
    return found


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _outgoing(path: Path) -> StoredObject:
    try:
        return stored_object(path)
    except (InvalidDicomError, AttributeError, EOFError):
        raise NotSendable(f"{path.name} has no DICOM file header (PS3.10 7.1); it cannot be sent") from None


def _groups(outgoing: Sequence[StoredObject]) -> Iterator[list[StoredObject]]:
    """Cut the files into runs that fit one association each."""
    group: list[StoredObject] = []
    offered: set[tuple[str, str]] = set()
    for file in outgoing:
        offers = set(_contexts_of([file]))
        if group and len(offered | offers) > MAXIMUM_CONTEXTS:
            yield group
            group, offered = [], set()
        group.append(file)
        offered |= offers
    if group:
        yield group


def _contexts_of(group: Sequence[StoredObject]) -> list[tuple[str, str]]:
    return _offers(map(_form_of, group))


def _offers(forms: Iterable[Form]) -> list[tuple[str, str]]:
    """SOP class and transfer syntax pairs to offer; a plain one also in the other plain encoding."""
    pairs: dict[tuple[str, str], None] = {}
    for sop_class_uid, transfer_syntax_uid in forms:
        pairs[sop_class_uid, transfer_syntax_uid] = None
        if transfer_syntax_uid in PLAIN_SYNTAXES:
            pairs.update(dict.fromkeys((sop_class_uid, syntax) for syntax in PLAIN_SYNTAXES))
    return list(pairs)


def _accepted(opened: Association) -> dict[tuple[str, str], int]:
    """Presentation context IDs by SOP class and transfer syntax."""
    return {
        (str(context.abstract_syntax), str(context.transfer_syntax[0])): int(context.context_id or 0)
        for context in opened.accepted_contexts
    }


def _send(opened: Association, outgoing: StoredObject, peer: Peer, message_id: int) -> Sent:
    accepted = _accepted(opened)
    wanted = outgoing.sop_class_uid, outgoing.transfer_syntax_uid
    otherwise = {(outgoing.sop_class_uid, syntax) for syntax in PLAIN_SYNTAXES}
    status: int | None = None
    if not opened.is_established:
        pass  # it broke
    elif wanted in accepted:
        status = store(opened, accepted[wanted], outgoing, message_id)
    elif outgoing.transfer_syntax_uid in PLAIN_SYNTAXES and accepted.keys() & otherwise:
        status = opened.send_c_store(dcmread(outgoing.path), message_id).get("Status")
    else:
        why_not = NotTaken(_form_of(outgoing), peer, implementation_of(opened))
        return Sent(outgoing.path, None, why_not)
    return Sent(outgoing.path, None if status is None else int(status))


def _form_of(outgoing: StoredObject) -> Form:
    return Form(outgoing.sop_class_uid, outgoing.transfer_syntax_uid)
