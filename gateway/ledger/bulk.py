"""What a person asks of many things at once: which they are, and each done in transactions of a hundred.

A thing that moved meanwhile, or does not allow what is asked, is left alone; the others are not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from . import work
from .completion import request_completion
from .deliveries import drop_delivery, redirect_delivery, retry_delivery
from .erasing import request_forget
from .finding import ANY, StudyFilter, uids_of_studies
from .keys import Kind, Named
from .lost import WITH_OBJECTS
from .quarantine import HELD, dismiss, took_in
from .resending import resend_delivery, resend_job
from .states import JOB_OPEN, DeliveryState, JobState, StudyState, UnknownTransition
from .store import Ledger
from .transaction import NotPossible, StaleRow, Transaction

AT_ONCE: Final = 100
"""So many in one transaction: what else is written does not wait for longer."""


class Action(StrEnum):
    """What can be asked."""

    RETRY = "retry"
    CANCEL = "cancel"
    RELEASE = "release"
    COMPLETE = "complete"
    DROP = "drop"
    RESEND = "resend"
    REDIRECT = "redirect"
    FORGET = "forget"
    DISMISS = "dismiss"


@dataclass(frozen=True)
class Wanted:
    """Which things are meant; what is empty is any.

    Parameters
    ----------
    of
        A study, job or delivery to which they belong.
    state
        The job's, the delivery's or the study's own; empty: those that the action is for.
    since, until
        Since when they are as they are, or wait to be sent, as the ledger keeps times.
    reason, object_sender
        Of what waits in quarantine: the code of why it does, and who sent the object.
    studies
        Of which studies they are.
    """

    of: Named | None = None
    state: str = ""
    destination: str = ""
    output: str = ""
    since: str = ""
    until: str = ""
    reason: str = ""
    object_sender: str = ""
    studies: StudyFilter = ANY


@dataclass(frozen=True)
class Done:
    """What came of it.

    Parameters
    ----------
    refusal
        Why the first of those was left alone that were; empty where none was.
    """

    keys: tuple[str, ...]
    left_alone: int
    refusal: str


Deed = Callable[[Transaction, str, str], object]
"""Does something to the thing of a key; the last is where to, empty for what goes nowhere."""


def _complete(transaction: Transaction, study_key: str, _: str) -> None:
    row = transaction.one("SELECT study_uid, state FROM studies WHERE study_key = ?", (study_key,))
    if row is None or row["state"] != StudyState.RECEIVING:
        state = row["state"] if row is not None else "gone"
        raise NotPossible(f"this study is {state}; only one that is receiving can be called complete")
    request_completion(transaction, row["study_uid"])


def _forget(transaction: Transaction, study_key: str, _: str) -> None:
    row = transaction.one("SELECT study_uid FROM studies WHERE study_key = ?", (study_key,))
    if row is None:
        raise StaleRow("no such study")
    request_forget(transaction, row["study_uid"])


_DEEDS: Final[Mapping[tuple[Action, Kind], Deed]] = {
    (Action.RETRY, Kind.JOB): lambda transaction, key, _: work.retry(transaction, key),
    (Action.RETRY, Kind.DELIVERY): lambda transaction, key, _: retry_delivery(transaction, key),
    (Action.CANCEL, Kind.JOB): lambda transaction, key, _: work.cancel(transaction, key),
    (Action.RELEASE, Kind.JOB): lambda transaction, key, _: work.release(transaction, key),
    (Action.COMPLETE, Kind.STUDY): _complete,
    (Action.DROP, Kind.DELIVERY): lambda transaction, key, _: drop_delivery(transaction, key),
    (Action.REDIRECT, Kind.DELIVERY): redirect_delivery,
    (Action.RESEND, Kind.JOB): resend_job,
    (Action.RESEND, Kind.DELIVERY): resend_delivery,
    (Action.FORGET, Kind.STUDY): _forget,
    (Action.RELEASE, Kind.OBJECT): lambda transaction, key, _: took_in(transaction, key),
    (Action.DISMISS, Kind.OBJECT): lambda transaction, key, _: dismiss(transaction, key),
}

_WAITS: Final = (DeliveryState.FAILED, DeliveryState.PENDING)
_FOR: Final[Mapping[Action, Mapping[Kind, Sequence[str]]]] = {
    Action.RETRY: {Kind.JOB: (JobState.FAILED, JobState.CANCELLED), Kind.DELIVERY: _WAITS},
    Action.CANCEL: {Kind.JOB: (*sorted(JOB_OPEN), JobState.FAILED, JobState.QUARANTINED)},
    Action.RELEASE: {Kind.JOB: (JobState.QUARANTINED,)},
    Action.COMPLETE: {Kind.STUDY: (StudyState.RECEIVING,)},
    Action.DROP: {Kind.DELIVERY: _WAITS},
    Action.REDIRECT: {Kind.DELIVERY: _WAITS},
    Action.RESEND: {Kind.DELIVERY: (DeliveryState.SENT, DeliveryState.COMMITTED)},
    Action.FORGET: {Kind.STUDY: tuple(StudyState)},
    Action.DISMISS: {Kind.OBJECT: ("in quarantine",)},
}
"""Of which kinds and states an action is for."""
_UNLESS_NAMED: Final = frozenset({JobState.CANCELLED, DeliveryState.PENDING})
"""What was stopped is not begun anew, and what waits not hurried, because everything is retried."""

_LISTS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.STUDY: (
        "SELECT study_key AS key, study_uid FROM studies WHERE state = ?1 AND ?2 = '' AND ?3 = ''"
        " AND received_at >= ?4 AND (?5 = '' OR received_at < ?5)",
        "received_at",
    ),
    Kind.JOB: (
        "SELECT job_key AS key, study_uid FROM jobs WHERE state = ?1 AND ?2 = '' AND ?3 = ''"
        " AND updated_at >= ?4 AND (?5 = '' OR updated_at < ?5)",
        "created_at",
    ),
    Kind.DELIVERY: (
        "SELECT d.key, d.study_uid FROM deliveries d WHERE d.state = ?1 AND (?2 = '' OR d.destination = ?2)"
        " AND (?3 = '' OR EXISTS (SELECT 1 FROM result_objects o"
        " WHERE o.sop_instance_uid = d.sop_instance_uid AND o.output = ?3))"
        " AND (d.state NOT IN ('sent', 'committed') OR NOT EXISTS"  # sent again by its own key only
        " (SELECT 1 FROM rejections r WHERE r.sop_instance_uid = d.sop_instance_uid))"
        " AND CASE state WHEN 'pending' THEN pending_since ELSE updated_at END >= ?4"
        " AND (?5 = '' OR CASE state WHEN 'pending' THEN pending_since ELSE updated_at END < ?5)",
        "d.created_at, d.rowid",
    ),
}
_OF: Final = {
    (Kind.STUDY, Kind.STUDY): (" AND study_key = ?6", "key"),
    (Kind.JOB, Kind.STUDY): (" AND study_uid = ?6", "study_uid"),
    (Kind.JOB, Kind.JOB): (" AND job_key = ?6", "key"),
    (Kind.DELIVERY, Kind.STUDY): (" AND d.study_uid = ?6", "study_uid"),
    (Kind.DELIVERY, Kind.JOB): (" AND d.job_key = ?6", "key"),
    (Kind.DELIVERY, Kind.DELIVERY): (" AND d.key = ?6", "key"),
}
"""What belongs to what: a further condition, and which of its names it is about."""


def selected(ledger: Ledger, action: Action, wanted: Wanted) -> list[Named]:
    """The things that are meant, in the order in which they came.

    Raises
    ------
    NotPossible
        No thing can be meant: it is of another kind, or the action is for other states; or everything would
        be forgotten.
    """
    if action is Action.FORGET and wanted == Wanted():
        raise NotPossible("not everything is forgotten at once: say which studies")
    meant = uids_of_studies(ledger, wanted.studies) if wanted.studies != ANY else None
    of = wanted.of
    is_named_alone = of is not None and not (wanted.state or wanted.destination or wanted.output)
    if of is not None and is_named_alone and (action, of.kind) in _DEEDS:
        return [of]  # whatever its state: where it does not allow it, that is said
    if of is None and _is_of_objects(action, wanted):
        return [one for one in _objects(ledger, wanted) if meant is None or one.study_uid in meant]
    states = _states(action, wanted)
    if is_named_alone and action is Action.RESEND:
        states = {Kind.JOB: sorted(WITH_OBJECTS)}
    found: dict[Named, None] = {}
    for kind, of_kind in states.items():
        condition, of_whom = "", list[str]()
        if of is not None:
            condition, name = _OF[kind, of.kind]
            of_whom = [getattr(of, name)]
        sql = f"{_LISTS[kind][0]}{condition} ORDER BY {_LISTS[kind][1]}"
        rest = (wanted.destination, wanted.output, wanted.since, wanted.until)
        for state in of_kind:
            rows = ledger.read(sql, (state, *rest, *of_whom))
            found |= {
                Named(kind, row["key"], row["study_uid"]): None
                for row in rows
                if meant is None or row["study_uid"] in meant
            }
    if of is not None and not found:
        raise NotPossible(f"nothing of this {of.kind} can be asked for that: {_what_for(action)}")
    return list(found)


def _is_of_objects(action: Action, wanted: Wanted) -> bool:
    """Whether objects in quarantine are meant, and no jobs.

    Raises
    ------
    NotPossible
        They are, and cannot be asked for that.
    """
    names_objects = bool(wanted.object_sender) or wanted.reason not in ("", HELD)
    if names_objects and action not in (Action.RELEASE, Action.DISMISS):
        raise NotPossible(f"only what is in quarantine has a reason and a sender: {_what_for(action)}")
    if action is Action.DISMISS and (wanted.state or wanted.destination or wanted.output):
        raise NotPossible("what is in quarantine has no state and no destination: say its reason or sender")
    return names_objects or action is Action.DISMISS


def _objects(ledger: Ledger, wanted: Wanted) -> list[Named]:
    """What waits in quarantine, in the order in which it came."""
    rows = ledger.read(
        "SELECT key, coalesce(study_uid, '') AS study_uid FROM quarantine"
        " WHERE dismissed_at IS NULL AND (?1 = '' OR reason = ?1) AND (?2 = '' OR sender = ?2)"
        " AND first_at >= ?3 AND (?4 = '' OR first_at < ?4) ORDER BY first_at, key",
        (wanted.reason, wanted.object_sender, wanted.since, wanted.until),
    )
    return [Named(Kind.OBJECT, row["key"], row["study_uid"]) for row in rows]


def _states(action: Action, wanted: Wanted) -> dict[Kind, Sequence[str]]:
    """By kind the states to look for."""
    kinds, of = dict(_FOR[action]), wanted.of
    if wanted.state and not any(wanted.state in states for states in kinds.values()):
        raise NotPossible(f"nothing that is {wanted.state} can be asked for that: {_what_for(action)}")
    if of is not None:
        kinds = {kind: states for kind, states in kinds.items() if (kind, of.kind) in _OF}
        if not kinds:
            raise NotPossible(f"this is a {of.kind}: {_what_for(action)}")
    if (wanted.destination or wanted.output) and Kind.DELIVERY not in kinds:
        raise NotPossible(f"only deliveries have a destination: {_what_for(action)}")
    if wanted.destination or wanted.output:
        kinds = {Kind.DELIVERY: kinds[Kind.DELIVERY]}
    if wanted.state:
        return {kind: (wanted.state,) for kind, states in kinds.items() if wanted.state in states}
    if action is not Action.RETRY:
        return kinds
    is_left_out = {JobState.CANCELLED.value} if of is not None else _UNLESS_NAMED
    return {kind: [state for state in states if state not in is_left_out] for kind, states in kinds.items()}


def _what_for(action: Action) -> str:
    """What an action is for, in words: "retry is for a job that is failed or cancelled, ..."."""
    kinds = [
        f"{'an' if kind is Kind.OBJECT else 'a'} {kind} that is {' or '.join(states)}"
        for kind, states in _FOR[action].items()
    ]
    return f"{action} is for {', '.join(kinds)}"


def act(ledger: Ledger, action: Action, things: Sequence[Named], *, to: str = "", author: str = "") -> Done:
    """Do it to each of these things that allows it.

    Parameters
    ----------
    to
        The name of a configured destination, for what goes somewhere.
    author
        Who asked for it.
    """
    keys: list[str] = []
    refusals: list[str] = []
    for first in range(0, len(things), AT_ONCE):
        with ledger.transaction() as transaction:
            transaction.author = author
            for thing in things[first : first + AT_ONCE]:
                try:
                    _DEEDS[action, thing.kind](transaction, thing.key, to)
                except (NotPossible, UnknownTransition) as error:
                    refusals.append(str(error))
                except StaleRow:
                    refusals.append("it is gone meanwhile")
                else:
                    keys.append(thing.key)
    return Done(tuple(keys), len(refusals), refusals[0] if refusals else "")
