"""Each table of the statement, as Markdown, by the mark under which it stands in the document."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Final

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from converter.results.header import IMPLEMENTATION_CLASS_UID
from gateway.adapters.dicom.implementation import class_name
from gateway.adapters.dicom.no_association import CONNECT_TIMEOUT_S
from gateway.adapters.dicom.peer import ANSWER_TIMEOUT_S, MAXIMUM_CONTEXTS
from gateway.adapters.tls import CIPHERS_OF_TLS_1_2
from gateway.config.sections import Dicom
from gateway.delivery.statuses import Answer, meaning, understand
from gateway.listener import statuses
from gateway.listener.door import admission
from gateway.listener.wire.guard import MAXIMUM_PDU_BYTES, Limits
from gateway.listener.wire.naming import COMMITMENT, NOTICE

from .negotiated import Context, accepted, created, proposed

GIVEN: Final[Mapping[int, tuple[str, str]]] = {
    statuses.SUCCESS: (
        "C-STORE, N-ACTION, N-CREATE, N-EVENT-REPORT",
        "on the disk for good, or it was there already",
    ),
    statuses.KEPT_ASIDE: ("C-STORE", "kept aside for a person: damaged, or it contradicts what came before"),
    statuses.CANNOT_UNDERSTAND: ("C-STORE", "not readable, or without UIDs; a copy is kept aside"),
    statuses.OUT_OF_RESOURCES: ("C-STORE", "no room, or it cannot be made durable; the sender keeps it"),
    statuses.NOT_OF_THIS_STUDY: ("STOW-RS", "of another study than the address says; a copy is kept aside"),
    statuses.TOO_LONG: ("STOW-RS", "longer than `dicom.max_object_mb`"),
    statuses.INVALID_ATTRIBUTE_VALUE: ("N-CREATE", "an attribute has no value of its kind"),
    statuses.PROCESSING_FAILURE: ("N-ACTION, N-CREATE, N-EVENT-REPORT", "the data set cannot be parsed"),
    statuses.NO_SUCH_INSTANCE: ("N-ACTION", "another SOP instance"),
    statuses.NO_SUCH_EVENT: ("N-EVENT-REPORT", "another event type"),
    statuses.INVALID_ARGUMENT_VALUE: (
        "N-ACTION, N-EVENT-REPORT",
        "an attribute is missing or no value of its kind; another list under a Transaction UID that is open;"
        " a report on a Transaction UID that the gateway did not give, or of what was sent again since",
    ),
    statuses.NO_SUCH_CLASS: ("N-ACTION, N-CREATE", "another SOP class"),
    statuses.MISSING_ATTRIBUTE: ("N-CREATE", "an attribute is missing"),
    statuses.NO_SUCH_ACTION: ("N-ACTION", "another action type"),
    statuses.NOT_AUTHORIZED: ("N-EVENT-REPORT", "of another destination than was asked"),
    statuses.UNRECOGNIZED_OPERATION: ("any", "another operation"),
    statuses.RESOURCE_LIMITATION: (
        "N-ACTION, N-CREATE, N-EVENT-REPORT",
        "more than 50,000 instances, or the ledger cannot be written: ask again",
    ),
}
"""By which request each is the answer, and what it means."""
_GOT: Final = (
    (0x0000, "0000"),
    (0xB000, "B000, B006, B007, any Bxxx, 0001"),
    (0x0111, "0111"),
    (0xA700, "A7xx"),
    (0x0110, "0110"),
    (0x0210, "any that is in no table"),
    (0xA900, "A9xx"),
    (0xC000, "Cxxx, but C122"),
    (0x0117, "0117"),
    (0x0124, "0124"),
    (0x0122, "0122"),
    (0xC122, "C122"),
)
"""One of each kind that a peer may answer with, and which codes are of that kind."""
_DONE: Final = {
    Answer.STORED: "delivered",
    Answer.ALREADY_THERE: "delivered where a search shows it, or cannot be made; else tried again",
    Answer.TRY_AGAIN: "tried again, for `destination[].give_up_after_h`",
    Answer.REFUSED: "failed at once: a person settles it, and retries",
    Answer.NOT_TAKEN: "failed at once: the peer has to allow it",
}
_REJECTED: Final = {
    "its AE title and address are not in `dicom.allow`": admission.CALLING_AE_NOT_RECOGNIZED,
    "it calls another AE title, and `dicom.check_called_ae_title` is set": admission.CALLED_AE_NOT_RECOGNIZED,
    "`dicom.max_associations` are open, the disk is under `site.low_water_mb`, or the ledger is damaged": (
        admission.LOCAL_LIMIT_EXCEEDED
    ),
}
_LIMITS: Final = {
    "request_s": "from connecting to a whole A-ASSOCIATE-RQ, s",
    "request_bytes": "an A-ASSOCIATE-RQ, bytes",
    "pending": "connections that have not asked yet: in all, ...",
    "pending_of_address": "... of one address, ...",
    "pending_of_strangers": "... of all addresses outside `dicom.allow`",
    "pdu_s": "a PDU, s",
    "object_s": "a C-STORE request, s; longer for a long one, ...",
    "object_bytes_per_s": "... which has to come as fast as that, bytes/s",
    "object_bytes": "an object, bytes (`dicom.max_object_mb`)",
    "command_bytes": "a command set, bytes",
    "other_data_bytes": "the data set of another request, bytes",
    "unanswered": "requests ahead of our answers",
}
"""What each field of the listener's `Limits` is."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _syntaxes(uids: Iterable[str]) -> str:
    """By name: their UIDs are a table of their own."""
    return ", ".join(UID(uid).name for uid in uids)


def _objects() -> str:
    rows = (
        [f"`{name}`", class_name(of.sop_class_uid), _syntaxes(of.transfer_syntax_uids)]
        for name, of in created().items()
    )
    return _table(["output", "SOP class", "written in, the default first"], rows)


def _services() -> str:
    """Which SOP classes have which roles; storage classes are counted, and listed elsewhere."""
    used: dict[str, set[str]] = {}
    storage = {of.sop_class_uid for of in created().values()}
    for proposal in proposed():
        for context in proposal.contexts:
            if context.sop_class_uid in proposal.only_asked:
                continue
            role = "SCP" if context.sop_class_uid in proposal.as_scp else "SCU"
            used.setdefault(context.sop_class_uid, set()).add(role)
    taken = {each.sop_class_uid for each in accepted()}
    for uid in taken:
        used.setdefault(uid, set()).add("SCP")
    others = [uid for uid in used if uid not in storage and (uid not in taken or uid in (COMMITMENT, NOTICE))]
    verification = next(each.sop_class_uid for each in accepted())
    rows = [
        [class_name(uid), *_said(used[uid])] for uid in (verification, *sorted(set(others) - {verification}))
    ]
    rows += [[class_name(uid), *_said(used[uid])] for uid in sorted(storage)]
    number = len(taken - storage - {verification, COMMITMENT, NOTICE})
    rows.append([f"{number} further storage SOP classes, [listed below](#storage-sop-classes)", "no", "yes"])
    return _table(["SOP class", "SCU", "SCP"], rows)


def _said(roles: set[str]) -> tuple[str, str]:
    return tuple("yes" if role in roles else "no" for role in ("SCU", "SCP"))  # type: ignore[return-value]


def _accepted() -> str:
    """Each set of transfer syntaxes with the SOP classes that are taken in it."""
    by_syntaxes: dict[tuple[str, ...], list[Context]] = {}
    for context in accepted():
        by_syntaxes.setdefault(context.transfer_syntax_uids, []).append(context)
    rows = []
    for syntaxes, contexts in by_syntaxes.items():
        many = f"every [storage SOP class](#storage-sop-classes), {len(contexts)} in number"
        of = many if len(contexts) > 10 else ", ".join(class_name(each.sop_class_uid) for each in contexts)
        rows.append([of, _syntaxes(syntaxes)])
    return _table(["SOP class", "transfer syntaxes, the preferred one first"], rows)


def _proposed() -> str:
    rows = []
    for proposal in proposed():
        by_syntaxes: dict[tuple[str, ...], list[str]] = {}
        for context in proposal.contexts:
            by_syntaxes.setdefault(context.transfer_syntax_uids, []).append(context.sop_class_uid)
        for syntaxes, uids in by_syntaxes.items():
            role = "SCP" if uids[0] in proposal.as_scp else "SCU"
            rows.append(
                [proposal.activity, proposal.key, ", ".join(map(class_name, uids)), _syntaxes(syntaxes), role]
            )
    return _table(["activity", "by", "SOP classes", "transfer syntaxes", "role"], rows)


def _parameters() -> str:
    dicom = Dicom()
    rows = [
        ["Application Context Name", "1.2.840.10008.3.1.1.1"],
        ["Implementation Class UID, on associations", str(PYNETDICOM_IMPLEMENTATION_UID)],
        ["Implementation Version Name, on associations", PYNETDICOM_IMPLEMENTATION_VERSION],
        ["Implementation Class UID, in files of results", IMPLEMENTATION_CLASS_UID],
        ["AE title, called and calling (`dicom.ae_title`)", dicom.ae_title],
        ["port (`dicom.port`)", str(dicom.port)],
        ["associations at once (`dicom.max_associations`)", str(dicom.max_associations)],
        ["maximum PDU that is offered, bytes", str(MAXIMUM_PDU_BYTES)],
        ["presentation contexts of an association, at most", str(MAXIMUM_CONTEXTS)],
        ["asynchronous operations window", "not negotiated: one operation at a time"],
        ["as requestor: waits for connection and A-ASSOCIATE-AC, s each", f"{CONNECT_TIMEOUT_S:g}"],
        ["as requestor: waits for an answer, s", f"{ANSWER_TIMEOUT_S:g}"],
        ["user identity, extended negotiation other than roles", "not negotiated"],
        ["cipher suites of TLS 1.2, as OpenSSL names them", f"`{CIPHERS_OF_TLS_1_2}`"],
    ]
    return _table(["parameter", "value"], rows)


def _limits() -> str:
    rows = [
        [
            _LIMITS[field.name],
            f"{getattr(Limits(), field.name):g}"
            if isinstance(getattr(Limits(), field.name), float)
            else str(getattr(Limits(), field.name)),
        ]
        for field in fields(Limits)
    ]
    return _table(["what", "limit"], rows)


def _rejections() -> str:
    rows = [[why, *map(str, code)] for why, code in _REJECTED.items()]
    return _table(["why an association is rejected", "result", "source", "reason"], rows)


def _given() -> str:
    rows = [[f"{code:04X}", *said] for code, said in sorted(GIVEN.items())]
    return _table(["status", "to", "meaning"], rows)


def _got() -> str:
    rows = [[codes, meaning(code).partition(": ")[2], _DONE[understand(code)]] for code, codes in _GOT]
    rows.append(["none", meaning(None), _DONE[understand(None)]])
    return _table(["status", "understood as", "the delivery is"], rows)


def _storage_classes() -> str:
    others = (COMMITMENT, NOTICE)
    taken = [each.sop_class_uid for each in accepted()[1:] if each.sop_class_uid not in others]
    return _table(["SOP class", "UID"], sorted((UID(uid).name, uid) for uid in taken))


def _transfer_syntaxes() -> str:
    proposed_ones = [context for proposal in proposed() for context in proposal.contexts]
    all_of_them = {uid for each in (*accepted(), *proposed_ones) for uid in each.transfer_syntax_uids}
    return _table(["transfer syntax", "UID"], ([UID(uid).name, uid] for uid in sorted(all_of_them)))


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "objects": _objects,
    "services": _services,
    "accepted": _accepted,
    "proposed": _proposed,
    "parameters": _parameters,
    "limits": _limits,
    "rejections": _rejections,
    "statuses given": _given,
    "statuses got": _got,
    "storage classes": _storage_classes,
    "transfer syntaxes": _transfer_syntaxes,
}
