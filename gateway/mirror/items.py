"""Rows of the ledger as items of the mirror: keys, states, codes, counts and times of ours, and nothing else.

Names in the items (`updated_at`, `job_key`) decide which index finds what: only a study has the first, only a
job the second.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from gateway.adapters.mirror import ItemKey, ItemKind, MirrorItem, Value
from gateway.ledger.flags import flags_of_studies
from gateway.ledger.job_files import files_of_job
from gateway.ledger.outbox import EPOCH_FACTOR
from gateway.ledger.records import (
    EventRow,
    JobFlagRow,
    JobRow,
    OutboxRow,
    SentOutputRow,
    StudyRow,
    utc_time,
)
from gateway.ledger.states import StudyState
from gateway.ledger.store import Ledger

from .codes import delivery_code, job_code, study_code
from .details import ConfiguredNames, mirrored_details

_NO_RUN = (0, "", "")
_OfStudy = TypeVar("_OfStudy", JobRow, SentOutputRow)


@dataclass(frozen=True)
class _Look:
    """What was read of the ledger for some studies, at the latest after their changes were."""

    studies: Mapping[str, StudyRow]
    jobs: Mapping[str, list[JobRow]]
    deliveries: Mapping[str, list[SentOutputRow]]
    reasoned: Mapping[str, EventRow]
    counts: Mapping[str, tuple[int, int]]
    events: Mapping[int, EventRow]
    runs: Mapping[str, tuple[int, str, str]]
    """The queue's own attempts at the present run, its name of it, and its region, by job."""
    flags: Mapping[str, list[JobFlagRow]]
    """By job."""

    def coded_jobs(self, study_uid: str) -> list[tuple[JobRow, str]]:
        """The study's jobs, each with the code of its reason."""
        jobs = self.jobs.get(study_uid, [])
        return [(job, job_code(job, self.reasoned.get(job.job_key))) for job in jobs]


class Items:
    """Makes items of changes.

    Parameters
    ----------
    site
        This gateway's name; it stands in every item.
    keep_days
        How long the table keeps a study that is done, and each line of a timeline.
    prefix
        What the keys of its job folders in the bucket begin with, for a page that shows several gateways'.
    """

    def __init__(
        self, ledger: Ledger, site: str, names: ConfiguredNames, keep_days: int, prefix: str = ""
    ) -> None:
        self._prefix = {"prefix": prefix} if prefix else {}
        self.site = site
        self._ledger = ledger
        self._names = names
        self._keep = timedelta(days=keep_days)

    def of(self, changes: Sequence[OutboxRow], epoch: int) -> list[MirrorItem]:
        """One item for each change, in their order."""
        look = self._look(changes)
        return [self._item(change, look, epoch * EPOCH_FACTOR + change.number) for change in changes]

    def _item(self, change: OutboxRow, look: _Look, version: int) -> MirrorItem:
        study = look.studies[change.study_uid]
        over = self._expires(study.updated_at) if study.state is StudyState.DONE else None
        match change.kind:
            case ItemKind.STUDY:
                key, content = ItemKey(study.study_key, ItemKind.STUDY), self._study(study, look)
            case ItemKind.JOB:
                key = ItemKey(study.study_key, ItemKind.JOB, change.key)
                coded = look.coded_jobs(change.study_uid)
                job, code = next((j, c) for j, c in coded if j.job_key == change.key)
                content = self._job(job, code, study, look)
            case ItemKind.EVENT:
                key = ItemKey(study.study_key, ItemKind.EVENT, change.key)
                event = look.events[int(change.key)]
                content, over = self._event(event), self._expires(event.at)
        return MirrorItem(key, version, {"site": self.site, **content}, over)

    def _expires(self, at: str) -> int:
        return int((utc_time(at) + self._keep).timestamp())

    def _study(self, study: StudyRow, look: _Look) -> dict[str, Value]:
        jobs = look.coded_jobs(study.study_uid)
        series, instances = look.counts.get(study.study_uid, (0, 0))
        return {
            "study_key": study.study_key,
            "state": study.state.value,
            "reason": study_code(study, jobs, look.deliveries.get(study.study_uid, [])),
            "received_at": study.received_at,
            "updated_at": study.updated_at,
            **({"completed_at": study.completed_at} if study.completed_at else {}),
            "series": series,
            "instances": instances,
            "jobs": len(jobs),
        }

    def _job(self, job: JobRow, code: str, study: StudyRow, look: _Look) -> dict[str, Value]:
        deliveries = look.deliveries.get(study.study_uid, [])
        return {
            "job_key": job.job_key,
            "study_key": study.study_key,
            "task": job.task,
            "rule": job.rule,
            **self._prefix,
            "engine": job.engine,
            "priority": job.priority,
            "state": job.state.value,
            "reason": code,
            **({"goes_on_from": job.resume_state.value} if job.resume_state else {}),
            "run": job.run,
            "attempt": look.runs.get(job.job_key, _NO_RUN)[0],
            **({"queue_id": queue_id} if (queue_id := look.runs.get(job.job_key, _NO_RUN)[1]) else {}),
            "lane": job.lane.value,
            **({"region": region} if (region := look.runs.get(job.job_key, _NO_RUN)[2]) else {}),
            "stage": job.stage,
            "fraction": job.fraction,
            **({"fallback_of": job.fallback_of} if job.fallback_of else {}),
            "created_at": job.created_at,
            "changed_at": job.updated_at,
            **({"segmented_at": job.segmented_at} if job.segmented_at else {}),
            "outputs": files_of_job(job),
            "flags": [
                {
                    "code": flag.code,
                    "structure": flag.structure or "",
                    "number": flag.number,
                    "unit": flag.unit,
                }
                for flag in look.flags.get(job.job_key, [])
            ],
            "deliveries": [
                {
                    "key": delivery.key,
                    "output": delivery.output,
                    "destination": delivery.destination,
                    "state": delivery.state.value,
                    "reason": delivery_code(delivery),
                    "attempts": delivery.attempts,
                    "changed_at": delivery.updated_at,
                }
                for delivery in deliveries
                if delivery.job_key == job.job_key
            ],
        }

    def _event(self, event: EventRow) -> dict[str, Value]:
        details = mirrored_details(event.event, event.detail, self._names)
        return {
            "event": event.event,
            "at": event.at,
            **({"job": event.job_key} if event.job_key else {}),
            **({"details": details} if details else {}),
        }

    # -- reading ------------------------------------------------------------------------------------------

    def _look(self, changes: Sequence[OutboxRow]) -> _Look:
        uids = _among(change.study_uid for change in changes)
        seqs = _among(change.key for change in changes if change.kind is ItemKind.EVENT)
        jobs = [JobRow.of(row) for row in self._ledger.read(_JOBS, (uids,))]
        deliveries = [SentOutputRow.of(row) for row in self._ledger.read(_DELIVERIES, (uids,))]
        events = [EventRow.of(row) for row in self._ledger.read(_EVENTS, (seqs,))]
        reasoned = [EventRow.of(row) for row in self._ledger.read(_REASONED, (uids,))]
        studies = [StudyRow.of(row) for row in self._ledger.read(_STUDIES, (uids,))]
        return _Look(
            studies={study.study_uid: study for study in studies},
            jobs=_by_study(jobs),
            deliveries=_by_study(deliveries),
            reasoned={str(event.job_key): event for event in reasoned},
            counts={
                row["study_uid"]: (row["series"], row["instances"])
                for row in self._ledger.read(_COUNTS, (uids,))
            },
            events={event.seq: event for event in events},
            runs={
                row["job_key"]: (row["attempt"], row["queue_id"], row["region"])
                for row in self._ledger.read(_RUNS, (uids,))
            },
            flags=flags_of_studies(self._ledger, [study.study_uid for study in studies]),
        )


_STUDIES = "SELECT * FROM studies WHERE study_uid IN (SELECT value FROM json_each(?))"
_JOBS = "SELECT * FROM jobs WHERE study_uid IN (SELECT value FROM json_each(?)) ORDER BY created_at"
_RUNS = (
    "SELECT r.job_key, r.attempt, r.queue_id, r.region FROM jobs j"
    " JOIN runs r ON r.job_key = j.job_key AND r.run = j.run"
    " WHERE j.study_uid IN (SELECT value FROM json_each(?))"
)
_DELIVERIES = (
    "SELECT d.*, coalesce(o.output, '') AS output FROM deliveries d"
    " LEFT JOIN result_objects o USING (sop_instance_uid)"
    " WHERE d.study_uid IN (SELECT value FROM json_each(?)) ORDER BY d.rowid"
)
_EVENTS = "SELECT * FROM events WHERE seq IN (SELECT CAST(value AS INTEGER) FROM json_each(?))"
_REASONED = (
    "SELECT * FROM events WHERE seq IN (SELECT (SELECT e.seq FROM events e WHERE e.job_key = j.job_key"
    " AND e.delivery_key IS NULL AND json_extract(e.detail, '$.reason') IS NOT NULL"
    " ORDER BY e.seq DESC LIMIT 1)"
    " FROM jobs j WHERE j.study_uid IN (SELECT value FROM json_each(?)))"
)
_COUNTS = (
    "SELECT study_uid, count(DISTINCT series_uid) AS series, count(*) AS instances FROM instances"
    " WHERE study_uid IN (SELECT value FROM json_each(?)) AND is_current = 1 GROUP BY study_uid"
)


def _by_study(rows: Iterable[_OfStudy]) -> dict[str, list[_OfStudy]]:
    grouped: defaultdict[str, list[_OfStudy]] = defaultdict(list)
    for row in rows:
        grouped[row.study_uid].append(row)
    return grouped


def _among(values: Iterable[str]) -> str:
    return json.dumps(sorted(set(values)))
