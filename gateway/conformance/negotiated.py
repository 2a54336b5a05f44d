"""What is accepted and what is proposed: SOP classes, transfer syntaxes, roles, from other rooms' tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import DEFAULT_TRANSFER_SYNTAXES
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from converter.contours.document import KIND as CONTOURS
from converter.pictures.settings import SYNTAX_NAMES as PICTURES
from converter.report.document import KIND as REPORT
from converter.seg.settings import SOP_CLASSES, TRANSFER_SYNTAXES
from gateway.adapters.dicom.retrieval import IMAGE_SYNTAXES, RESULT_SYNTAXES
from gateway.backfill.fetching import COMMON
from gateway.config import Config
from gateway.config.outputs import NOTE, OUTPUTS
from gateway.delivery.holdings import CLASSES
from gateway.forms import ways
from gateway.listener.wire.contexts import supported_contexts
from gateway.listener.wire.naming import COMMITMENT, NOTICE
from gateway.taken import PLAIN_SYNTAXES

PLAIN: Final = tuple(map(str, DEFAULT_TRANSFER_SYNTAXES))
"""What pynetdicom offers where nothing else is asked for."""
_WRITTEN_IN: Final = {str(kind.sop_class_uid): str(kind.transfer_syntax_uid) for kind in (CONTOURS, REPORT)}
"""In what they are written; all others in explicit VR little endian."""


@dataclass(frozen=True)
class Context:
    """A SOP class with the transfer syntaxes in which it goes over one kind of association."""

    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """One kind of association that the gateway opens.

    Parameters
    ----------
    activity
        What it is opened for.
    key
        The key of the configuration, or the command, that opens it.
    as_scp
        SOP classes that are negotiated with the role of the provider (PS3.7 D.3.3.4).
    only_asked
        SOP classes of which only the answer to the proposal is of use.
    """

    activity: str
    key: str
    contexts: tuple[Context, ...]
    as_scp: tuple[str, ...] = ()
    only_asked: tuple[str, ...] = ()


def accepted() -> list[Context]:
    """What the listener accepts with everything switched on, the preferred transfer syntax first."""
    return [
        Context(str(each.abstract_syntax), tuple(map(str, each.transfer_syntax)))
        for each in supported_contexts(COMMITMENT, NOTICE)
    ]


def created() -> dict[str, Context]:
    """The objects that are made: output by output, a segmentation once for each of its SOP classes, and the
    note that rejects earlier ones.
    """
    found: dict[str, Context] = {}
    for name, output in OUTPUTS.items():
        if not output.sop_class_uid:
            continue
        if output.has_encoding:
            for kind, sop_class in SOP_CLASSES.items():
                syntaxes = tuple(map(str, TRANSFER_SYNTAXES[kind]))
                found[f"{name}, {kind}"] = Context(str(sop_class), syntaxes)
        elif output.has_drawing:
            found[name] = Context(output.sop_class_uid, tuple(map(str, PICTURES.values())))
        else:
            syntax = _WRITTEN_IN.get(output.sop_class_uid, str(ExplicitVRLittleEndian))
            found[name] = Context(output.sop_class_uid, (syntax,))
    (note,) = ways(Config(), NOTE)
    found[NOTE] = Context(note.form.sop_class_uid, (note.form.transfer_syntax_uid,))
    return found


def proposed() -> list[Proposal]:
    """Every kind of association that the gateway opens."""
    storage = tuple(_storage())
    verification, commitment = (_as_usual(uid) for uid in (Verification, StorageCommitmentPushModel))
    of_results = [uid for uids in CLASSES.values() for uid in uids]
    return [
        Proposal("C-ECHO", "iris doctor", (verification,)),
        Proposal(
            "asking what is taken",
            "[[destination]]",
            (verification, commitment, *storage),
            only_asked=(verification.sop_class_uid, commitment.sop_class_uid),
        ),
        Proposal(
            "C-ECHO before a phantom is sent",
            "iris prove",
            (verification, commitment),
            only_asked=(commitment.sop_class_uid,),
        ),
        Proposal("C-STORE of results", "[[destination]]", storage),
        Proposal(
            "C-FIND",
            "study.find, [[destination]], iris backfill",
            (_as_usual(StudyRootQueryRetrieveInformationModelFind),),
        ),
        _fetching("C-GET of earlier results", "compare", of_results, RESULT_SYNTAXES),
        _fetching("C-GET of images", "iris backfill", COMMON, IMAGE_SYNTAXES),
        Proposal("C-MOVE", "iris backfill", (_as_usual(StudyRootQueryRetrieveInformationModelMove),)),
        Proposal("asking whether anything is kept", "iris doctor", (verification, commitment)),
        Proposal("N-ACTION of storage commitment", "destination.commitment", (commitment,)),
        Proposal(
            "N-EVENT-REPORT of storage commitment",
            "dicom.commitment",
            (commitment,),
            as_scp=(commitment.sop_class_uid,),
        ),
    ]


def _as_usual(sop_class_uid: str) -> Context:
    return Context(str(sop_class_uid), PLAIN)


def _fetching(activity: str, key: str, uids: Iterable[str], syntaxes: Iterable[str]) -> Proposal:
    """C-GET, whose objects come by C-STORE on the same association (PS3.4 C.5.3.1)."""
    taken = tuple(Context(str(uid), tuple(map(str, syntaxes))) for uid in uids)
    get = _as_usual(StudyRootQueryRetrieveInformationModelGet)
    return Proposal(activity, key, (get, *taken), as_scp=tuple(each.sop_class_uid for each in taken))


def _storage() -> list[Context]:
    """What results are offered in; uncompressed ones in both uncompressed transfer syntaxes."""
    by_class: dict[str, dict[str, None]] = {}
    for context in created().values():
        of_class = by_class.setdefault(context.sop_class_uid, {})
        of_class.update(dict.fromkeys(context.transfer_syntax_uids))
        if of_class.keys() & set(PLAIN_SYNTAXES):
            of_class.update(dict.fromkeys(PLAIN_SYNTAXES))
    return [Context(uid, tuple(syntaxes)) for uid, syntaxes in by_class.items()]
