"""Where a study is, why, and what to do now: one look for page, API and terminal.

A study is told of by what holds it up most: what failed, then what a person decides about, then what is
waited for, then what works.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from gateway.ledger.states import DELIVERY_ARRIVED, DeliveryState, JobState, StudyState
from gateway.ledger.transaction import WhyDone

from ..languages import for_the_reader
from ..store import Json

WaitsFor = Literal["sender", "gateway", "queue", "destination", "person", "nobody"]
"""Who has to do something next."""
MOST_NAMED: Final = 3
"""So many destinations are named; of more it is said how many there are."""


class Kind(StrEnum):
    """Each way in which a study can stand."""

    RECEIVING = "receiving"
    DECIDED = "decided"
    PLANNED = "planned"
    CONVERTED = "converted"
    STAGED = "staged"
    SUBMITTED = "submitted"
    RUNNABLE = "runnable"
    RUNNING = "running"
    SEGMENTED = "segmented"
    SENDING = "sending"
    PUT_OFF = "put_off"
    DESTINATION_AWAY = "destination_away"
    NOT_KEPT_YET = "not_kept_yet"
    FAILED_CONVERTING = "failed_converting"
    FAILED_STAGING = "failed_staging"
    FAILED_SEGMENTING = "failed_segmenting"
    FAILED_MAKING = "failed_making"
    FAILED = "failed"
    FAILED_SENDING = "failed_sending"
    HELD_FOR_A_GAP = "held_for_a_gap"
    HELD_FOR_A_DOUBT = "held_for_a_doubt"
    HELD_FOR_THE_PATIENT = "held_for_the_patient"
    HELD = "held"
    DELIVERED = "delivered"
    DELIVERED_WITH_DOUBTS = "delivered_with_doubts"
    NOT_SENT = "not_sent"
    NOTHING_TO_DO = "nothing_to_do"
    LABEL_MAP_READY = "label_map_ready"
    NOTHING_FOUND = "nothing_found"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    NO_DESTINATION = "no_destination"
    DONE = "done"


@dataclass(frozen=True)
class Saying:
    """What is said of a kind; `{destinations}` are those that the study is told of by."""

    where: str
    what_to_do: str
    waits_for: WaitsFor


_NOTHING: Final = "Nothing."
_RETRY: Final = "Settle what is said, then retry it; or cancel it."
_K = Kind
SAYINGS: Final[Mapping[Kind, Saying]] = {
    _K.RECEIVING: Saying(
        "Its images are coming in", "Nothing. If no more will come, say that it is complete.", "sender"
    ),
    _K.DECIDED: Saying("Complete; what is done with it is being decided", _NOTHING, "gateway"),
    _K.PLANNED: Saying("Waits to be converted", _NOTHING, "gateway"),
    _K.CONVERTED: Saying("Waits to be put into its job folder", _NOTHING, "gateway"),
    _K.STAGED: Saying("Waits to be handed to the queue", _NOTHING, "gateway"),
    _K.SUBMITTED: Saying("Waits at the queue for its turn", _NOTHING, "queue"),
    _K.RUNNABLE: Saying(
        "Waits for a machine", "Nothing: it runs as soon as the queue has a machine for it.", "queue"
    ),
    _K.RUNNING: Saying("Being segmented", _NOTHING, "queue"),
    _K.SEGMENTED: Saying("Segmented; its results are being made", _NOTHING, "gateway"),
    _K.SENDING: Saying("Being sent to {destinations}", _NOTHING, "destination"),
    _K.PUT_OFF: Saying(
        "Put off", "Nothing, it is tried again by itself. Once that is settled, try it now.", "gateway"
    ),
    _K.DESTINATION_AWAY: Saying(
        "Waits for {destinations}",
        "See to {destinations}; it is tried again by itself. Or send it elsewhere.",
        "destination",
    ),
    _K.NOT_KEPT_YET: Saying(
        "At {destinations}, which has yet to say that it keeps it",
        "Nothing, it is asked again by itself. If that lasts, see to storage commitment there.",
        "destination",
    ),
    _K.FAILED_CONVERTING: Saying("Failed while its images were converted", _RETRY, "person"),
    _K.FAILED_STAGING: Saying("Failed while it was put into its job folder", _RETRY, "person"),
    _K.FAILED_SEGMENTING: Saying("Failed while it was segmented", _RETRY, "person"),
    _K.FAILED_MAKING: Saying("Failed while its results were made", _RETRY, "person"),
    _K.FAILED: Saying("Failed", _RETRY, "person"),
    _K.FAILED_SENDING: Saying(
        "Failed at {destinations}",
        "Settle it at {destinations}, then retry; or send it elsewhere, or give it up.",
        "person",
    ),
    _K.HELD_FOR_A_GAP: Saying(
        "Held: images are missing",
        "Send what is missing, and it goes on by itself; or release it as it is, or cancel it.",
        "person",
    ),
    _K.HELD_FOR_A_DOUBT: Saying(
        "Held: its result is in doubt",
        "Look at the preview and the doubts; release it if the result is good, cancel it if not.",
        "person",
    ),
    _K.HELD_FOR_THE_PATIENT: Saying(
        "Held: its destination has it for another patient's",
        "Correct the patient where it is wrong, and send the study again; or release it, or cancel it.",
        "person",
    ),
    _K.HELD: Saying("Held: a person decides", "Look at it, then release it or cancel it.", "person"),
    _K.DELIVERED: Saying("Done: delivered to {destinations}", _NOTHING, "nobody"),
    _K.DELIVERED_WITH_DOUBTS: Saying(
        "Done, with doubts: delivered to {destinations}",
        "Read the doubts before relying on the result.",
        "nobody",
    ),
    _K.NOT_SENT: Saying(
        "Done, and not sent: a person gave that up", "Nothing. It can still be sent from here.", "nobody"
    ),
    _K.NOTHING_TO_DO: Saying(
        "Nothing to do: no rule takes any of its series",
        "Nothing, if that is right: each series says why. Else use one of them, or change the rules.",
        "nobody",
    ),
    _K.LABEL_MAP_READY: Saying("Done: the label map is ready", "Fetch the label map.", "nobody"),
    _K.NOTHING_FOUND: Saying(
        "Done: nothing was found, so nothing was sent",
        "Nothing, if that is right: the preview shows the images.",
        "nobody",
    ),
    _K.CANCELLED: Saying("Cancelled by a person", "Nothing. A retry takes it up again.", "nobody"),
    _K.SUPERSEDED: Saying("Over: newer images took its place", _NOTHING, "nobody"),
    _K.NO_DESTINATION: Saying(
        "Done, and kept here: it goes to no destination",
        "Fetch the result here. Where a destination is to have it, see to the configuration.",
        "nobody",
    ),
    _K.DONE: Saying("Done", _NOTHING, "nobody"),
}

AND: Final = " and "
MANY: Final = "{number} destinations"
AND_MORE: Final = "{first}. And {number} more."
BESIDE: Final = " ({task}, one of {jobs} jobs)"

_OPEN: Final[Mapping[JobState, Kind]] = {
    JobState.RUNNING: _K.RUNNING,
    JobState.RUNNABLE: _K.RUNNABLE,
    JobState.SUBMITTED: _K.SUBMITTED,
    JobState.SEGMENTED: _K.SEGMENTED,
    JobState.STAGED: _K.STAGED,
    JobState.CONVERTED: _K.CONVERTED,
    JobState.PLANNED: _K.PLANNED,
}
"""What works is told of by the first of these."""
_FAILED: Final[Mapping[str, Kind]] = {
    JobState.PLANNED: _K.FAILED_CONVERTING,
    JobState.CONVERTED: _K.FAILED_STAGING,
    JobState.STAGED: _K.FAILED_SEGMENTING,
    JobState.SEGMENTED: _K.FAILED_MAKING,
}
"""By where a failed job goes on."""
_HELD: Final[Mapping[str, Kind]] = {
    JobState.PLANNED: _K.HELD_FOR_A_GAP,
    JobState.SEGMENTED: _K.HELD_FOR_A_DOUBT,
    JobState.ENCODED: _K.HELD_FOR_THE_PATIENT,
}
"""By where a held job goes on."""
_DONE: Final[Mapping[WhyDone, Kind]] = {
    WhyDone.DELIVERED: _K.DELIVERED,
    WhyDone.NOTHING_TO_DO: _K.NOTHING_TO_DO,
    WhyDone.LABEL_MAP_READY: _K.LABEL_MAP_READY,
    WhyDone.NOTHING_FOUND: _K.NOTHING_FOUND,
    WhyDone.CANCELLED: _K.CANCELLED,
    WhyDone.SUPERSEDED: _K.SUPERSEDED,
    WhyDone.NO_DESTINATION: _K.NO_DESTINATION,
}


@dataclass(frozen=True)
class _Told:
    """By what a study is told of."""

    kind: Kind
    why: str = ""
    job: Json | None = None
    deliveries: Sequence[Json] = ()


def whereabouts(study: Json) -> Json:
    """Where a study is, why, and what to do; the shape of `models.Whereabouts`.

    Parameters
    ----------
    study
        One of a list, with its jobs and deliveries: the ledger's, or the mirror's.
    """
    told = _told(study)
    saying = SAYINGS[told.kind]
    names = {"destinations": _named(dict.fromkeys(one["destination"] for one in told.deliveries))}
    first = next(iter(told.deliveries), None)
    about = study if saying.waits_for == "nobody" else told.job or first or study
    return {
        "kind": told.kind.value,
        "where": for_the_reader(saying.where).format(**names) + _beside(study, told),
        "why": told.why,
        "what_to_do": for_the_reader(saying.what_to_do).format(**names),
        "waits_for": saying.waits_for,
        "since": about.get("waiting_since") or about["updated"],
        "job_key": told.job["job_key"] if told.job else first["job_key"] if first else None,
        "delivery_key": first["key"] if first and told.job is None else None,
        "next_try": (told.job or first or {}).get("next_try"),
    }


def _told(study: Json) -> _Told:
    match StudyState(study["state"]):
        case StudyState.RECEIVING:
            return _Told(_K.RECEIVING, study["reason"])
        case StudyState.FAILED:
            return _failed(study)
        case StudyState.HELD:
            job = _first(study, JobState.QUARANTINED)
            return _Told(_HELD.get(_goes_on(job), _K.HELD), _why(job, study), job)
        case StudyState.PROCESSING:
            return _at_work(study)
        case StudyState.DONE:
            return _done(study)


def _failed(study: Json) -> _Told:
    job = _first(study, JobState.FAILED)
    if job is not None:
        return _Told(_FAILED.get(_goes_on(job), _K.FAILED), _why(job, study), job)
    refused = _of_state(study["deliveries"], DeliveryState.FAILED)
    if not refused:
        return _Told(_K.FAILED, study["reason"])
    return _Told(_K.FAILED_SENDING, refused[0]["reason"], deliveries=refused)


def _at_work(study: Json) -> _Told:
    pending = _of_state(study["deliveries"], DeliveryState.PENDING)
    away = [one for one in pending if one["reason"]]
    if away:
        return _Told(_K.DESTINATION_AWAY, away[0]["reason"], deliveries=away)
    working = [job for state in _OPEN for job in _of_state(study["jobs"], state)]
    put_off = [job for job in working if job["next_try"]]
    for job in (*put_off, *working):
        kind = _K.PUT_OFF if job["next_try"] else _OPEN[JobState(job["state"])]
        return _Told(kind, job["reason"], job)
    if pending:
        return _Told(_K.SENDING, deliveries=pending)
    unkept = [one for one in study["deliveries"] if is_unkept(one)]
    if unkept:
        return _Told(_K.NOT_KEPT_YET, unkept[0]["reason"], deliveries=unkept)
    return _Told(_K.DECIDED, study["reason"])


def is_unkept(delivery: Json) -> bool:
    """Whether it arrived where it is still to be kept; the mirror says that by its code."""
    has_arrived = delivery["state"] in DELIVERY_ARRIVED
    return has_arrived and (bool(delivery["waiting_since"]) or delivery["reason"] == "not_kept_yet")


def _done(study: Json) -> _Told:
    said = study["reason"]
    kind = next((kind for why, kind in _DONE.items() if said in (why.value, why.name.lower())), _K.DONE)
    arrived = [one for one in study["deliveries"] if one["state"] in DELIVERY_ARRIVED]
    given_up = _of_state(study["deliveries"], DeliveryState.CANCELLED)
    if kind in (_K.DELIVERED, _K.CANCELLED) and given_up and not arrived:
        return _Told(_K.NOT_SENT, given_up[0]["reason"], deliveries=given_up)
    if kind is not _K.DELIVERED:
        return _Told(kind, said if kind is _K.DONE else "", next(iter(study["jobs"]), None))
    doubts = [flag for job in _of_state(study["jobs"], JobState.DELIVERED) for flag in job["flags"]]
    if doubts:
        return _Told(_K.DELIVERED_WITH_DOUBTS, _doubts_in_words(doubts), deliveries=arrived)
    return _Told(_K.DELIVERED, deliveries=arrived)


def _doubts_in_words(flags: Sequence[Json]) -> str:
    sentences = dict.fromkeys(flag["sentence"] or flag["code"].replace("_", " ") for flag in flags)
    first, *others = sentences
    return for_the_reader(AND_MORE).format(first=first.rstrip("."), number=len(others)) if others else first


def _first(study: Json, state: JobState) -> Json | None:
    return next(iter(_of_state(study["jobs"], state)), None)


def _of_state(items: Iterable[Json], state: StrEnum) -> list[Json]:
    return [one for one in items if one["state"] == state]


def _goes_on(job: Json | None) -> str:
    return (job["goes_on_from"] if job else None) or ""


def _why(job: Json | None, study: Json) -> str:
    return str(job["reason"] if job else study["reason"])


def _named(names: Iterable[str]) -> str:
    """Few by their names ("pacs and archive"), many by their number."""
    found = list(names)
    if len(found) > MOST_NAMED:
        return for_the_reader(MANY).format(number=len(found))
    return for_the_reader(AND).join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def _beside(study: Json, told: _Told) -> str:
    """Of a study with several jobs the task of the one that it is told of by."""
    if told.job is None or len(study["jobs"]) < 2 or told.kind in _DONE.values():
        return ""
    return for_the_reader(BESIDE).format(task=told.job["task"], jobs=len(study["jobs"]))
