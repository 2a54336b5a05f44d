"""The API's dictionaries made of ledger rows: pure reading, also used when no gateway is running.

The shapes are those of `gateway.api.models`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from batch_job.contract import EXIT_DONE
from gateway.ledger.comparisons import comparison_of, comparisons_of_study
from gateway.ledger.corrections import corrections_of, corrections_of_studies
from gateway.ledger.finding import StudyFilter, count_studies, find_studies
from gateway.ledger.flags import flags_of, flags_of_studies
from gateway.ledger.job_files import files_of_job
from gateway.ledger.ordering import Order
from gateway.ledger.records import (
    ComparisonRow,
    CorrectionRow,
    EventRow,
    JobFlagRow,
    JobRow,
    RunRow,
    SentOutputRow,
    StudyRow,
    VolumeRow,
    utc_now,
)
from gateway.ledger.run_cost import RunCost
from gateway.ledger.runs import runs_of
from gateway.ledger.states import DeliveryState, JobState
from gateway.ledger.steps import steps_of
from gateway.ledger.store import Ledger
from gateway.ledger.traits import Trait, traits_of_studies
from gateway.ledger.withdrawals import said_of_waiting

from ..cursors import read_place, write_place
from .corrections import shown
from .event_words import sentence_of
from .standing import last_steps, standing
from .whereabouts import whereabouts

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_TIMELINE = 1000
"""Lines of one study's timeline that are shown; the newest stay."""
MAX_RUNS = 20
"""Runs of one job that are shown; the newest stay."""

Json = dict[str, Any]


def list_studies(
    ledger: Ledger,
    wanted: StudyFilter,
    order: Order,
    *,
    limit: int,
    cursor: str | None = None,
    is_counted: bool = False,
) -> Json:
    """One page of studies, without series and timeline.

    Parameters
    ----------
    limit
        1 to 500.
    cursor
        The `next_cursor` of the page before. It stays right while studies come in: what it names is where a
        study stood in the order.
    is_counted
        Whether all of them are counted, too, however many pages that is.

    Raises
    ------
    BadCursor
    """
    after = read_place(cursor, order) if cursor is not None else None
    found = find_studies(ledger, wanted, order, limit + 1, after)
    page = found[:limit]
    return {
        "items": _summaries(ledger, page),
        "next_cursor": write_place(order.place(page[-1]), order) if len(found) > limit else None,
        "total": count_studies(ledger, wanted) if is_counted else None,
    }


def show_study(ledger: Ledger, study: str) -> Json | None:
    """Everything about one study, by its key or its Study Instance UID; None when it is not known."""
    row = find_study(ledger, study)
    if row is None:
        return None
    timeline, left_out = _timeline_of_study(ledger, row.study_uid)
    summary = _summaries(ledger, [row], comparisons_of_study(ledger, row.study_uid))[0]
    _find_logs(summary["jobs"], timeline)
    return {
        **summary,
        "series": _series(ledger, row.study_uid),
        "steps": steps_of(timeline),
        "timeline": timeline,
        "timeline_left_out": left_out,
    }


def show_job(ledger: Ledger, job_key: str) -> Json | None:
    """Everything about one job; None when it is not known."""
    rows = ledger.read(
        "SELECT j.*, s.study_key FROM jobs j JOIN studies s USING (study_uid) WHERE job_key = ?", (job_key,)
    )
    if not rows:
        return None
    columns = dict(rows[0])
    study_key = columns.pop("study_key")
    row = JobRow.model_validate(columns)
    deliveries = ledger.read(_DELIVERIES_OF_JOB, (job_key,))
    job = _job(
        row,
        runs_of(ledger, job_key, row.run - MAX_RUNS),
        flags_of(ledger, job_key),
        comparison_of(ledger, job_key),
        corrections_of(ledger, job_key),
    )
    job["warnings"] += said_of_waiting(ledger, [row.study_uid]).get(job_key, [])
    timeline = _lines(ledger, _LINES_OF_JOB, job_key)
    _find_logs([job], timeline)
    return {
        **job,
        "study_uid": row.study_uid,
        "study_key": study_key,
        "deliveries": [_delivery(SentOutputRow.of(d)) for d in deliveries],
        "timeline": timeline,
    }


def find_study(ledger: Ledger, study: str) -> StudyRow | None:
    """The row of a study, by its key or its Study Instance UID."""
    rows = ledger.read("SELECT * FROM studies WHERE study_key = ? OR study_uid = ?", (study, study))
    return StudyRow.of(rows[0]) if rows else None


# -- parts --------------------------------------------------------------------------------------------------

_JOBS_OF_STUDIES = (
    "SELECT * FROM jobs WHERE study_uid IN (SELECT value FROM json_each(?)) ORDER BY created_at"
)
_RUNS_OF_STUDIES = (
    "SELECT r.* FROM jobs j JOIN runs r USING (job_key)"
    " WHERE j.study_uid IN (SELECT value FROM json_each(?)) AND r.run > j.run - ? ORDER BY r.run"
)
_DELIVERIES_OF_STUDIES = (
    "SELECT d.*, coalesce(o.output, '') AS output FROM deliveries d"
    " LEFT JOIN result_objects o USING (sop_instance_uid)"
    " WHERE d.study_uid IN (SELECT value FROM json_each(?)) ORDER BY d.created_at"
)
_DELIVERIES_OF_JOB = (
    "SELECT d.*, coalesce(o.output, '') AS output FROM deliveries d"
    " LEFT JOIN result_objects o USING (sop_instance_uid) WHERE d.job_key = ? ORDER BY d.created_at"
)


def _summaries(
    ledger: Ledger, studies: Sequence[StudyRow], compared: Mapping[str, ComparisonRow] = MappingProxyType({})
) -> list[Json]:
    uids = json.dumps([study.study_uid for study in studies])
    jobs, deliveries = defaultdict[str, list[Json]](list), defaultdict[str, list[Json]](list)
    runs = defaultdict[str, list[RunRow]](list)
    for row in ledger.read(_RUNS_OF_STUDIES, (uids, MAX_RUNS)):
        runs[row["job_key"]].append(RunRow.of(row))
    flags = flags_of_studies(ledger, [study.study_uid for study in studies])
    waiting = said_of_waiting(ledger, [study.study_uid for study in studies])
    corrections = corrections_of_studies(ledger, [study.study_uid for study in studies])
    traits = traits_of_studies(ledger, [study.study_key for study in studies])
    last = last_steps(ledger, uids)
    for row in ledger.read(_JOBS_OF_STUDIES, (uids,)):
        job = JobRow.of(row)
        key = job.job_key
        jobs[job.study_uid].append(
            _job(job, runs[key], flags.get(key, []), compared.get(key), corrections.get(key, []))
        )
        jobs[job.study_uid][-1]["warnings"] += waiting.get(key, [])
    for row in ledger.read(_DELIVERIES_OF_STUDIES, (uids,)):
        deliveries[row["study_uid"]].append(_delivery(SentOutputRow.of(row)))
    summaries = [
        {
            "study_uid": study.study_uid,
            "study_key": study.study_key,
            "state": study.state.value,
            "reason": study.reason,
            "received": study.received_at,
            "updated": study.updated_at,
            "patient_id": study.patient_id,
            "accession_number": study.accession_number,
            "study_date": study.study_date,
            "study_description": study.study_description,
            "images": study.images,
            "modalities": traits[study.study_key][Trait.MODALITY],
            "senders": traits[study.study_key][Trait.SENDER],
            "flags": traits[study.study_key][Trait.FLAG],
            "last_step": last.get(study.study_uid),
            **standing(study.state, jobs[study.study_uid], deliveries[study.study_uid]),
            "images_removed": study.images_removed_at,
            "results_removed": _latest(job["results_removed"] for job in jobs[study.study_uid]),
            "jobs": jobs[study.study_uid],
            "deliveries": deliveries[study.study_uid],
        }
        for study in studies
    ]
    return [{**summary, "whereabouts": whereabouts(summary)} for summary in summaries]


def _latest(times: Iterable[str | None]) -> str | None:
    return max(filter(None, times), default=None)


def _job(
    row: JobRow,
    runs: Sequence[RunRow],
    flags: Sequence[JobFlagRow],
    compared: ComparisonRow | None,
    corrections: Sequence[CorrectionRow],
) -> Json:
    run = next((each for each in runs if each.run == row.run), None)
    return {
        "job_key": row.job_key,
        "task": row.task,
        "state": row.state.value,
        "reason": row.reason,
        "goes_on_from": row.resume_state.value if row.resume_state is not None else None,
        "progress": {"stage": row.stage, "fraction": row.fraction},
        "attempts": row.run,
        "runs": [_run(each) for each in runs],
        "lane": row.lane,
        "region": (run.region if run is not None else "") or None,
        "queue_id": (run.queue_id if run is not None else "") or None,
        "run_of": (run.followed if run is not None else "") or None,
        "waiting_since": run.waiting_since if run is not None and row.state is JobState.RUNNABLE else None,
        "results_removed": row.results_removed_at,
        "fallback_of": row.fallback_of,
        "series_uid": row.series_uid,
        "rule": row.rule,
        "priority": row.priority,
        "engine": row.engine,
        "flags": [flag.model_dump(include=_FLAG_SHOWN) for flag in flags],
        "comparison": _comparison(compared) if compared is not None else None,
        "corrections": [shown(correction) for correction in corrections],
        "warnings": list(row.warnings),
        "files": files_of_job(row),
        "next_try": _to_come(row.not_before),
        "created": row.created_at,
        "updated": row.updated_at,
    }


def _comparison(row: ComparisonRow) -> Json:
    return {
        "why_none": row.why_none,
        "prior_study_uid": row.prior_study_uid,
        "prior_job_key": row.prior_job_key,
        "prior_date": row.prior_date,
        "interval_days": row.interval_days if row.prior_date else None,
        "structures": list(row.changes),
    }


_FLAG_SHOWN = {"code", "structure", "number", "unit", "sentence"}


def _run(row: RunRow) -> Json:
    return {
        "run": row.run,
        "where": row.backend or None,
        "lane": row.lane,
        "region": row.region or None,
        "queue_id": row.queue_id or None,
        "run_of": row.followed or None,
        "submitted": row.submitted_at,
        "started": row.started_at,
        "ended": row.ended_at,
        "exit_code": row.exit_code,
        "how": row.sentence or _how(row),
        "cost": _cost(row.cost) if row.cost is not None else None,
        "log_stream": None,
    }


def _cost(cost: RunCost) -> Json:
    return {**cost.model_dump(), "usd": cost.usd, "usd_shared": cost.usd_shared, "usd_lost": cost.usd_lost}


def _find_logs(jobs: Iterable[Json], timeline: Iterable[Json]) -> None:
    """Name the log of each run, as its queue told it."""
    told = [(line["job_key"], line["detail"]) for line in timeline if "log_stream" in line["detail"]]
    streams = {(job_key, detail.get("run")): detail["log_stream"] for job_key, detail in told}
    for job in jobs:
        for run in job["runs"]:
            run["log_stream"] = streams.get((job["job_key"], run["run"]))


def _how(row: RunRow) -> str:
    """How a run ended of which nothing was written down but its exit code."""
    if row.is_open:
        return ""
    return "its result was taken" if row.exit_code == EXIT_DONE else "it is not known how"


def _delivery(row: SentOutputRow) -> Json:
    return {
        "key": row.key,
        "output": row.output,
        "destination": row.destination,
        "state": row.state.value,
        "reason": row.reason,
        "job_key": row.job_key,
        "attempts": row.attempts,
        "waiting_since": row.pending_since if row.state is DeliveryState.PENDING else row.unkept_since,
        "next_try": _to_come(row.not_before),
        "updated": row.updated_at,
    }


def _series(ledger: Ledger, study_uid: str) -> list[Json]:
    volumes = defaultdict[str, list[Json]](list)
    for row in ledger.read("SELECT * FROM volumes WHERE study_uid = ? ORDER BY number", (study_uid,)):
        volume = VolumeRow.of(row)
        volumes[volume.series_uid].append(
            {
                "number": volume.number,
                "images": volume.images,
                "job_key": volume.job_key,
                "why": volume.why,
                "findings": list(volume.findings),
                "ranking": list(volume.ranking),
                "can_be_used": bool(volume.can_be_used),
            }
        )
    rows = ledger.read(
        "SELECT series_uid, min(series_number) AS number, max(series_description) AS description,"
        " max(modality) AS modality, count(*) AS images FROM instances"
        " WHERE study_uid = ? AND is_current = 1 GROUP BY series_uid ORDER BY number, series_uid",
        (study_uid,),
    )
    return [{**dict(row), "volumes": volumes[row["series_uid"]]} for row in rows]


_LINES_OF_STUDY = "SELECT * FROM events WHERE study_uid = ? ORDER BY seq DESC LIMIT ?"
_LINES_OF_JOB = "SELECT * FROM events WHERE job_key = ? ORDER BY seq DESC LIMIT ?"
_COUNT_OF_STUDY = "SELECT count(*) AS lines FROM events WHERE study_uid = ?"


def _timeline_of_study(ledger: Ledger, study_uid: str) -> tuple[list[Json], int]:
    """The newest lines in the order in which they happened, and how many older ones there are."""
    count = ledger.read(_COUNT_OF_STUDY, (study_uid,))[0]["lines"]
    return _lines(ledger, _LINES_OF_STUDY, study_uid), max(0, count - MAX_TIMELINE)


def _lines(ledger: Ledger, newest_first: str, of: str) -> list[Json]:
    rows = ledger.read(newest_first, (of, MAX_TIMELINE))
    lines = [EventRow.of(row) for row in reversed(rows)]
    return [
        {
            "at": line.at,
            "event": line.event,
            "sentence": sentence_of(line.event, line.detail),
            "detail": line.detail,
            "job_key": line.job_key,
            "delivery_key": line.delivery_key,
        }
        for line in lines
    ]


def _to_come(at: str | None) -> str | None:
    """When something is tried again; None where that is over, since something before it is being waited for.

    While a destination is away one of its deliveries is tried for all.
    """
    return at if at is not None and at > utc_now() else None
