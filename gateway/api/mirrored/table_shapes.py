"""The API's dictionaries made of the mirror's items: the cloud's answers.

The shapes are those of `gateway.api.models`; what the mirror does not have is null, empty or 0.
"""

from collections.abc import Sequence

from gateway.adapters.mirror import Item
from gateway.ledger.states import StudyState

from ..store import Json
from ..studies.event_words import sentence_of
from ..studies.standing import standing
from ..studies.whereabouts import whereabouts


def summary_of(study: Item, jobs: Sequence[Item]) -> Json:
    """One study of a list."""
    ordered = sorted(jobs, key=lambda job: job["created_at"])
    shown = [job_of(job) for job in ordered]
    deliveries = [delivery for job in ordered for delivery in deliveries_of(job)]
    summary = {
        "study_uid": None,
        "study_key": study["study_key"],
        "state": study["state"],
        "reason": study["reason"],
        "received": study["received_at"],
        "updated": study["updated_at"],
        "patient_id": "",
        "accession_number": "",
        "study_date": "",
        "study_description": "",
        "images": study["instances"],
        "modalities": [],
        "senders": [],
        "flags": sorted({flag["code"] for job in shown for flag in job["flags"]}),
        "last_step": None,
        **standing(StudyState(study["state"]), shown, deliveries),
        "images_removed": None,
        "results_removed": None,
        "viewer_url": None,
        "jobs": shown,
        "deliveries": deliveries,
    }
    return {**summary, "whereabouts": whereabouts(summary)}


def job_of(job: Item) -> Json:
    """One job of a study."""
    return {
        "job_key": job["job_key"],
        "task": job["task"],
        "state": job["state"],
        "reason": job["reason"],
        "goes_on_from": job.get("goes_on_from"),
        "progress": {"stage": job["stage"], "fraction": job["fraction"]},
        "attempts": job["run"],
        "runs": [],
        "lane": job["lane"],
        "region": job.get("region"),
        "queue_id": None,
        "run_of": None,
        "waiting_since": None,
        "results_removed": None,
        "fallback_of": job.get("fallback_of"),
        "series_uid": "",
        "rule": job["rule"],
        "priority": int(job.get("priority", 0)),
        "engine": job["engine"],
        "corrections": [],
        "flags": [
            {**flag, "structure": flag["structure"] or None, "sentence": ""} for flag in job.get("flags", [])
        ],
        "comparison": None,
        "warnings": [],
        "files": job.get("outputs", []),  # none in what an earlier version mirrored
        "next_try": None,
        "created": job["created_at"],
        "updated": job["changed_at"],
    }


def deliveries_of(job: Item) -> list[Json]:
    """What goes where of a job's result."""
    return [
        {
            "key": delivery["key"],
            "output": delivery.get("output", ""),
            "destination": delivery["destination"],
            "state": delivery["state"],
            "reason": delivery["reason"],
            "job_key": job["job_key"],
            "attempts": delivery["attempts"],
            "waiting_since": None,
            "next_try": None,
            "updated": delivery["changed_at"],
        }
        for delivery in job["deliveries"]
    ]


def line_of(event: Item) -> Json:
    """One line of a timeline."""
    return {
        "at": event["at"],
        "event": event["event"],
        "sentence": sentence_of(event["event"], event.get("details", {})),
        "detail": event.get("details", {}),
        "job_key": event.get("job"),
        "delivery_key": None,
    }
