"""How a study stands, in short: what it waits for, who has its results, and what happened last."""

from collections.abc import Sequence
from typing import Final

from gateway.ledger.records import EventRow
from gateway.ledger.states import DELIVERY_ARRIVED, DeliveryState, JobState, StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.waiting import waits_of

from ..store import Json
from .event_words import sentence_of
from .whereabouts import is_unkept

_GIVEN_UP: Final = frozenset({DeliveryState.CANCELLED, DeliveryState.SUPERSEDED})
_LAST_STEPS: Final = (
    "SELECT e.* FROM json_each(?) CROSS JOIN events e"
    " ON e.seq = (SELECT seq FROM events WHERE study_uid = json_each.value ORDER BY seq DESC LIMIT 1)"
)


def standing(state: StudyState, jobs: Sequence[Json], deliveries: Sequence[Json]) -> Json:
    """What of a study follows from its jobs and deliveries, as they are shown.

    A destination has its results where everything arrived that was to go there and was not given up.
    """
    to_each: dict[str, bool] = {}
    for one in deliveries:
        if one["state"] not in _GIVEN_UP:
            has_arrived = one["state"] in DELIVERY_ARRIVED
            to_each[one["destination"]] = to_each.get(one["destination"], True) and has_arrived
    moving = [(DeliveryState(one["state"]), is_unkept(one)) for one in deliveries]
    return {
        "waits": waits_of(state, [JobState(job["state"]) for job in jobs], moving),
        "destinations": len(to_each),
        "destinations_reached": sum(to_each.values()),
    }


def last_steps(ledger: Ledger, study_uids: str) -> dict[str, Json]:
    """The newest line of the timeline of each of these studies, by its UID; they are given as JSON."""
    return {
        line.study_uid: {
            "at": line.at,
            "event": line.event,
            "sentence": sentence_of(line.event, line.detail),
        }
        for line in map(EventRow.of, ledger.read(_LAST_STEPS, (study_uids,)))
        if line.study_uid is not None
    }
