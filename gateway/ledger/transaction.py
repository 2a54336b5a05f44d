"""One write transaction: transitions and their timeline events are written together, never apart."""

import json
import sqlite3
from enum import IntEnum, StrEnum
from typing import Any, Final

from gateway.events import DeliveryChanged, Event, JobChanged, StudyChanged

from .records import DeliveryRow, JobRow, StudyRow, utc_now
from .states import (
    DELIVERY_ARRIVED,
    JOB_OPEN,
    DeliveryEvent,
    DeliveryState,
    JobEvent,
    JobState,
    StudyEvent,
    StudyState,
    next_delivery_state,
    next_job_state,
    next_study_state,
    resume_state,
)

ASKED_ANEW: Final = frozenset({JobEvent.RETRIED, JobEvent.REPLANNED})
"""By these a person, or a new plan, asks for a job once more: what was lost before counts no more."""


class StaleRow(Exception):
    """Somebody else moved the row in between; read it again."""


class NotPossible(Exception):
    """What a person asked for cannot be done in the present state; the text says why and what can."""


class WhyDone(StrEnum):
    """Why a study is done: its reason."""

    DELIVERED = "delivered"
    NOTHING_TO_DO = "nothing to do: no rule takes any of its series"
    LABEL_MAP_READY = "the label map is ready"
    NOTHING_FOUND = "nothing was found, so nothing was sent"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    NO_DESTINATION = "encoded, but no destination is configured"


class ResultsHere(IntEnum):
    """Whether results of a study may lie here that retention may remove."""

    GONE = 0
    MAY_GO = 1
    ONLY = 2  # no destination has them


class Transaction:
    """What may be done between BEGIN IMMEDIATE and COMMIT."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.author = ""
        """Who asked for what happens here, which every line of the timeline then says; empty: nobody did."""
        self.first_line: int | None = None
        """The first line of the timeline (events.seq) that is written here; None: none is."""
        self.events: list[Event] = []
        self.transitions: list[str] = []
        self._unsettled: dict[str, None] = {}

    # -- plain access -------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run one statement inside this transaction."""
        return self._connection.execute(sql, parameters)

    def one(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        row: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def insert(self, table: str, values: dict[str, Any]) -> int | None:
        """Insert one row; lists and dicts become JSON. Its number is returned."""
        columns = ", ".join(values)
        marks = ", ".join("?" for _ in values)
        cursor = self.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(_plain(v) for v in values.values())
        )
        return cursor.lastrowid

    def update(self, table: str, key: str, key_value: str | int, values: dict[str, Any]) -> None:
        """Set columns of one row; a missing row raises StaleRow."""
        assignments = ", ".join(f"{column} = ?" for column in values)
        cursor = self.execute(
            f"UPDATE {table} SET {assignments} WHERE {key} = ?",
            (*(_plain(v) for v in values.values()), key_value),
        )
        if cursor.rowcount != 1:
            raise StaleRow(f"no such row in {table}")

    def publish(self, event: Event) -> None:
        """Tell `event` after the commit."""
        self.events.append(event)

    def note(
        self,
        event: str,
        *,
        study_uid: str | None = None,
        job_key: str | None = None,
        delivery_key: str | None = None,
        **detail: Any,
    ) -> None:
        """Write one line of the timeline."""
        if self.author:
            detail["by"] = self.author
        line = self.insert(
            "events",
            {
                "at": utc_now(),
                "study_uid": study_uid,
                "job_key": job_key,
                "delivery_key": delivery_key,
                "event": event,
                "detail": detail,
            },
        )
        self.first_line = self.first_line or line

    def step(self, event: str, job: JobRow, **detail: Any) -> None:
        """Note what happened to a job without moving it, where the gateway may also be made to die."""
        self.transitions.append(event)
        self.note(event, study_uid=job.study_uid, job_key=job.job_key, **detail)
        self.publish(JobChanged(job.job_key, job.study_uid, event.removeprefix("job."), job.state))

    def step_of_study(self, event: str, study_uid: str, **detail: Any) -> None:
        """Note what happened to a study without moving it, where the gateway may also be made to die."""
        self.transitions.append(event)
        self.note(event, study_uid=study_uid, **detail)
        self.publish(StudyChanged(study_uid, self.study(study_uid).state))

    # -- rows ---------------------------------------------------------------------------------------------

    def job(self, job_key: str) -> JobRow:
        """One job; StaleRow when there is none."""
        row = self.one("SELECT * FROM jobs WHERE job_key = ?", (job_key,))
        if row is None:
            raise StaleRow("no such job")
        return JobRow.of(row)

    def delivery(self, key: str) -> DeliveryRow:
        """One delivery; StaleRow when there is none."""
        row = self.one("SELECT * FROM deliveries WHERE key = ?", (key,))
        if row is None:
            raise StaleRow("no such delivery")
        return DeliveryRow.of(row)

    def study(self, study_uid: str) -> StudyRow:
        """One study; StaleRow when there is none."""
        row = self.one("SELECT * FROM studies WHERE study_uid = ?", (study_uid,))
        if row is None:
            raise StaleRow("no such study")
        return StudyRow.of(row)

    # -- transitions --------------------------------------------------------------------------------------

    def move_job(
        self,
        job_key: str,
        event: JobEvent,
        *,
        reason: str = "",
        expect: JobState | None = None,
        columns: dict[str, Any] | None = None,
        **detail: Any,
    ) -> JobState:
        """Take a job through one transition, with its timeline event and the study's state that follows.

        Parameters
        ----------
        expect
            Where the caller believes the job is; StaleRow when it is elsewhere by now.
        columns
            Further columns to set in the same statement.

        Raises
        ------
        UnknownTransition, StaleRow
        """
        job = self.job(job_key)
        if expect is not None and job.state is not expect:
            raise StaleRow(f"the job is {job.state}, not {expect}")
        state = next_job_state(job.state, event, job.resume_state)
        resume = None
        if state is JobState.FAILED:
            resume = resume_state(job.state)
        elif state is JobState.QUARANTINED:
            resume = job.state
        self.update(
            "jobs",
            "job_key",
            job_key,
            {
                "state": state,
                "resume_state": resume,
                "reason": reason,
                "failures": 0,
                "not_before": None,
                "updated_at": utc_now(),
                **({"results_removed_at": None} if state in JOB_OPEN else {}),
                **({"counted_after": job.run} if event in ASKED_ANEW else {}),
                **(columns or {}),
            },
        )
        self._record("job", event, job.study_uid, {"job_key": job_key}, reason, detail)
        self.publish(JobChanged(job_key, job.study_uid, event, state))
        self.settle_later(job.study_uid)
        return state

    def move_delivery(
        self,
        key: str,
        event: DeliveryEvent,
        *,
        reason: str = "",
        expect: DeliveryState | None = None,
        columns: dict[str, Any] | None = None,
        **detail: Any,
    ) -> DeliveryState:
        """Take a delivery through one transition; its job is delivered with the last of them.

        Parameters
        ----------
        expect
            Where the caller believes the delivery is; StaleRow when it is elsewhere by now.
        columns
            Further columns to set in the same statement.

        Raises
        ------
        UnknownTransition, StaleRow
        """
        delivery = self.delivery(key)
        if expect is not None and delivery.state is not expect:
            raise StaleRow(f"the delivery is {delivery.state}, not {expect}")
        state = next_delivery_state(delivery.state, event)
        now = utc_now()
        values: dict[str, Any] = {
            **{"state": state, "reason": reason, "not_before": None, "updated_at": now},
            "unkept_since": None,
        }
        if state is DeliveryState.PENDING:
            values |= {"attempts": 0, "pending_since": now}
        if state in DELIVERY_ARRIVED:
            values["begun_at"] = None
        elif delivery.state in DELIVERY_ARRIVED:  # to be sent again: it may be there all the same
            values["begun_at"] = now
            self.execute("DELETE FROM pledges WHERE delivery_key = ?", (key,))
        self.update("deliveries", "key", key, values | (columns or {}))
        detail["destination"] = delivery.destination
        self._record(
            "delivery",
            event,
            delivery.study_uid,
            {"job_key": delivery.job_key, "delivery_key": key},
            reason,
            detail,
        )
        self.publish(DeliveryChanged(key, delivery.study_uid, event, state))
        self.deliver_job_when_all_arrived(delivery.job_key)
        self.settle_later(delivery.study_uid)
        return state

    def move_study(
        self,
        study_uid: str,
        event: StudyEvent,
        *,
        reason: str = "",
        columns: dict[str, Any] | None = None,
        **detail: Any,
    ) -> StudyState:
        """Take a study through one transition.

        Raises
        ------
        UnknownTransition, StaleRow
        """
        state = next_study_state(self.study(study_uid).state, event)
        now = utc_now()
        self.update(
            "studies",
            "study_uid",
            study_uid,
            {
                "state": state,
                "reason": reason,
                "updated_at": now,
                "done_at": now if state is StudyState.DONE else None,
                **({"images_here": 1, **_results_here(reason)} if state is StudyState.DONE else {}),
                **(columns or {}),
            },
        )
        self._record("study", event, study_uid, {}, reason, detail)
        self.publish(StudyChanged(study_uid, state))
        return state

    def settle_later(self, study_uid: str) -> None:
        """Derive this study's state once more when the transaction has done everything else."""
        self._unsettled[study_uid] = None

    def settle(self) -> None:
        """Derive the state of every study that was touched; the ledger calls it before the commit."""
        for study_uid in self._unsettled:
            self._settle_study(study_uid)

    def _settle_study(self, study_uid: str) -> None:
        """Move a complete study where its jobs and deliveries say it is; one that is receiving stays so."""
        study = self.study(study_uid)
        if study.state is StudyState.RECEIVING:
            return
        target, reason = self.derived_state(study_uid)
        if target is not study.state:
            event = {
                StudyState.PROCESSING: StudyEvent.RESUMED,
                StudyState.FAILED: StudyEvent.FAILED,
                StudyState.HELD: StudyEvent.HELD,
                StudyState.DONE: StudyEvent.FINISHED,
            }[target]
            self.move_study(study_uid, event, reason=reason)
        elif reason != study.reason:
            here = _results_here(reason) if target is StudyState.DONE else {}
            self.update("studies", "study_uid", study_uid, {"reason": reason, **here})

    def derived_state(self, study_uid: str) -> tuple[StudyState, str]:
        """Where a complete study is by its jobs and deliveries, and why."""
        jobs = [JobRow.of(r) for r in self.execute("SELECT * FROM jobs WHERE study_uid = ?", (study_uid,))]
        deliveries = [
            DeliveryRow.of(r)
            for r in self.execute("SELECT * FROM deliveries WHERE study_uid = ?", (study_uid,))
        ]
        stuck = [j for j in jobs if j.state is JobState.FAILED]
        held = [j for j in jobs if j.state is JobState.QUARANTINED]
        failed = [d for d in deliveries if d.state is DeliveryState.FAILED]
        to_send = {d.job_key for d in deliveries}
        undeliverable = [j for j in jobs if j.state is JobState.ENCODED and j.job_key not in to_send]
        working = [j for j in jobs if j.state in JOB_OPEN and j not in undeliverable]
        waiting = [d for d in deliveries if d.is_open]
        if stuck or failed:
            return StudyState.FAILED, (stuck[0].reason if stuck else failed[0].reason)
        if held:
            return StudyState.HELD, held[0].reason
        if working or waiting:
            reasons = [*(d.reason for d in waiting), *(j.reason for j in working)]
            return StudyState.PROCESSING, next(filter(None, reasons), "")
        if undeliverable:
            return StudyState.DONE, WhyDone.NO_DESTINATION
        return StudyState.DONE, self._why_done(jobs)

    def deliver_job_when_all_arrived(self, job_key: str) -> None:
        """Move an encoded job on when every destination that is to have its present objects has them."""
        job = self.job(job_key)
        if job.state is not JobState.ENCODED:
            return
        rows = self.execute(
            "SELECT d.state FROM deliveries d JOIN result_objects o USING (job_key, sop_instance_uid)"
            " WHERE d.job_key = ? AND o.is_current = 1 AND d.state <> ?",
            (job_key, DeliveryState.CANCELLED),
        )
        states = [DeliveryState(row["state"]) for row in rows]
        if states and all(state in DELIVERY_ARRIVED for state in states):
            self.move_job(job_key, JobEvent.DELIVERED)

    def has_result(self, job_key: str) -> bool:
        """Whether objects were made of a job, and it has them."""
        sql = "SELECT 1 FROM result_objects WHERE job_key = ? AND is_current = 1 LIMIT 1"
        return self.one(sql, (job_key,)) is not None

    def _why_done(self, jobs: list[JobRow]) -> WhyDone:
        if not jobs:
            return WhyDone.NOTHING_TO_DO
        states = {job.state for job in jobs}
        if JobState.DELIVERED in states:
            delivered = [job for job in jobs if job.state is JobState.DELIVERED]
            if any(self.has_result(job.job_key) for job in delivered):
                return WhyDone.DELIVERED
            is_upload = any(job.is_upload for job in delivered)
            return WhyDone.LABEL_MAP_READY if is_upload else WhyDone.NOTHING_FOUND
        if JobState.CANCELLED in states:
            return WhyDone.CANCELLED
        return WhyDone.SUPERSEDED

    def _record(
        self,
        kind: str,
        event: str,
        study_uid: str,
        keys: dict[str, str],
        reason: str,
        detail: dict[str, Any],
    ) -> None:
        self.transitions.append(f"{kind}.{event}")
        if reason:
            detail["reason"] = reason
        self.note(f"{kind}.{event}", study_uid=study_uid, **keys, **detail)


def _results_here(reason: str) -> dict[str, int]:
    """What of a study that is done now retention has to look at, whatever it looked at before."""
    only_here = reason == WhyDone.NO_DESTINATION
    return {"results_here": ResultsHere.ONLY if only_here else ResultsHere.MAY_GO}


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=isinstance(value, dict))
    return value
