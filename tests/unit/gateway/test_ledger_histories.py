"""Whatever happens in whatever order: no job is ever lost, and the timeline tells exactly what happened."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.events import Bus, DeliveryChanged, Event, JobChanged, StudyChanged
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study, jobs_of
from gateway.ledger.deliveries import drop_delivery, redirect_delivery
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import DeliveryRow, EventRow, JobRow, StudyRow
from gateway.ledger.results import record_result
from gateway.ledger.states import (
    JOB_TRANSITIONS,
    DeliveryEvent,
    DeliveryState,
    JobEvent,
    JobState,
    StudyEvent,
    StudyState,
    UnknownTransition,
    next_delivery_state,
    next_job_state,
    next_study_state,
    resume_state,
)
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible, StaleRow
from gateway.ledger.work import cancel, release, retry
from tests.results import result_of_one

STUDY_UID = "1.2.3"
SLOTS = st.sampled_from(["series-1", "series-2"])
REFUSALS = (UnknownTransition, StaleRow, NotPossible)
OVER = (JobState.SUPERSEDED, JobState.CANCELLED)
NOT_BY_NEWS = (JobEvent.ENCODED, JobEvent.CANCELLED, JobEvent.SUPERSEDED, JobEvent.DELIVERED)
NOT_BY_ANSWER = (DeliveryEvent.CANCELLED, DeliveryEvent.SUPERSEDED, DeliveryEvent.RESENT)
IN_PLACE = ("tried_now",)
"""What moves nothing."""
OPEN_STATES = ["planned", "converted", "staged", "submitted", "runnable", "running", "segmented", "encoded"]


class Histories(RuleBasedStateMachine):
    """Random instances, completions, news of the queue, deliveries and wishes of a person, on one study."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.heard: list[Event] = []
        self.slices = {"series-1": 0, "series-2": 0}
        self.header = 0
        self.known_jobs: set[str] = set()
        bus = Bus()
        bus.subscribe(self.heard.append)
        self.ledger = Ledger(self.folder / "ledger.sqlite", bus)

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    # -- what can happen ----------------------------------------------------------------------------------

    @initialize(begin=st.sampled_from(["receiving", "planned", "segmented", "encoded"]))
    def begin(self, begin: str) -> None:
        """Far enough in that histories of forty steps get to every corner."""
        self.store("series-1")
        if begin == "receiving":
            return
        self.complete(hold=False)
        (key,) = self.known_jobs
        if begin != "planned":
            self._try(lambda transaction: transaction.move_job(key, JobEvent.SEGMENTED))
        if begin == "encoded":
            self._encode(key, ("pacs", "archive"))

    @rule(series=SLOTS)
    def store(self, series: str) -> None:
        self.slices[series] += 1
        self._store(series, self.slices[series])

    @rule()
    def correct_header(self) -> None:
        self.header += 1
        self._store("series-1", self.slices["series-1"])

    @precondition(lambda self: self.study().state is StudyState.RECEIVING)
    @rule(hold=st.booleans())
    def complete(self, hold: bool) -> None:
        jobs = tuple(self._planned(s, count, hold) for s, count in self.slices.items() if count)
        plan = StudyPlan(STUDY_UID, self.study().generation, jobs, ())
        with self.ledger.transaction() as transaction:
            complete_study(transaction, plan, evidence="released")
        self.known_jobs |= {planned.job_key for planned in jobs}

    @precondition(lambda self: self.known_jobs)
    @rule(data=st.data())
    def news(self, data: st.DataObject) -> None:
        """Something that can happen to a job where it is, apart from what only wishes and completions do."""
        key = data.draw(st.sampled_from(sorted(self.known_jobs)))
        state = self.jobs()[key].state
        possible = [e for s, e in JOB_TRANSITIONS if s is state and e not in NOT_BY_NEWS]
        if possible:
            event = data.draw(st.sampled_from(possible))
            self._try(lambda transaction: transaction.move_job(key, event))

    @precondition(lambda self: self.known_jobs)
    @rule(data=st.data(), event=st.sampled_from([e for e in JobEvent if e not in NOT_BY_NEWS]))
    def news_out_of_order(self, data: st.DataObject, event: JobEvent) -> None:
        key = data.draw(st.sampled_from(sorted(self.known_jobs)))
        self._try(lambda transaction: transaction.move_job(key, event))

    @precondition(lambda self: self.jobs_in(JobState.SEGMENTED))
    @rule(data=st.data(), destinations=st.sampled_from([("pacs", "archive"), ("pacs",), ()]))
    def encode(self, data: st.DataObject, destinations: tuple[str, ...]) -> None:
        self._encode(data.draw(st.sampled_from(self.jobs_in(JobState.SEGMENTED))), destinations)

    @precondition(lambda self: self.deliveries())
    @rule(data=st.data(), event=st.sampled_from([e for e in DeliveryEvent if e not in NOT_BY_ANSWER]))
    def answer(self, data: st.DataObject, event: DeliveryEvent) -> None:
        key = data.draw(st.sampled_from(sorted(self.deliveries())))
        is_over = self.jobs()[self.deliveries()[key].job_key].state in OVER
        if is_over and event is DeliveryEvent.COMMITMENT_REFUSED:
            return  # nobody wants that object any more: its refusal is no reason to send it again
        self._try(lambda transaction: transaction.move_delivery(key, event))

    @precondition(lambda self: self.known_jobs)
    @rule(data=st.data(), wish=st.sampled_from([retry, cancel, release]))
    def wish(self, data: st.DataObject, wish) -> None:
        key = data.draw(st.sampled_from(sorted(self.known_jobs)))
        self._try(lambda transaction: wish(transaction, key))

    @precondition(lambda self: self.deliveries())
    @rule(data=st.data(), wish=st.sampled_from([retry, drop_delivery]))
    def wish_of_a_delivery(self, data: st.DataObject, wish) -> None:
        key = data.draw(st.sampled_from(sorted(self.deliveries())))
        self._try(lambda transaction: wish(transaction, key))

    @precondition(lambda self: self.deliveries())
    @rule(data=st.data(), to=st.sampled_from(["pacs", "archive", "ward"]))
    def redirect(self, data: st.DataObject, to: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.deliveries())))
        self._try(lambda transaction: redirect_delivery(transaction, key, to))

    # -- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def no_job_is_lost(self) -> None:
        assert set(self.jobs()) == self.known_jobs

    @invariant()
    def the_timeline_replayed_gives_the_states(self) -> None:
        jobs: dict[str, tuple[JobState, JobState | None]] = {}
        deliveries: dict[str, DeliveryState] = {}
        study = StudyState.RECEIVING
        for line in self.timeline():
            kind, _, event = line.event.partition(".")
            if event in IN_PLACE:
                continue
            if line.event == "job.planned":
                jobs[line.job_key] = (JobState.PLANNED, None)
            elif line.event == "delivery.planned":
                deliveries[line.delivery_key] = DeliveryState.PENDING
            elif kind == "job":
                jobs[line.job_key] = _replayed(*jobs[line.job_key], JobEvent(event))
            elif kind == "delivery":
                deliveries[line.delivery_key] = next_delivery_state(
                    deliveries[line.delivery_key], DeliveryEvent(event)
                )
            elif kind == "study":
                study = next_study_state(study, StudyEvent(event))
        assert {key: (row.state, row.resume_state) for key, row in self.jobs().items()} == jobs
        assert {key: row.state for key, row in self.deliveries().items()} == deliveries
        assert self.study().state is study

    @invariant()
    def what_was_told_is_what_the_timeline_says(self) -> None:
        told = [
            ("job", event.event)
            if isinstance(event, JobChanged)
            else ("delivery", event.event)
            if isinstance(event, DeliveryChanged)
            else ("study", event.state)
            for event in self.heard
            if isinstance(event, JobChanged | DeliveryChanged | StudyChanged)
        ]
        wrote = [
            (kind, event)
            for kind, _, event in (line.event.partition(".") for line in self.timeline())
            if kind in ("job", "delivery")
        ]
        assert [pair for pair in told if pair[0] != "study"] == wrote
        assert [state for kind, state in told if kind == "study"][-1] == self.study().state

    @invariant()
    def the_study_is_where_its_jobs_and_deliveries_are(self) -> None:
        study = self.study()
        if study.state is StudyState.RECEIVING:
            return
        jobs, deliveries = list(self.jobs().values()), list(self.deliveries().values())
        sent_from = {delivery.job_key for delivery in deliveries}
        failed = any(one.state == "failed" for one in (*jobs, *deliveries))
        held = any(job.state == "quarantined" for job in jobs)
        is_open = any(
            job.state in OPEN_STATES and (job.state != "encoded" or job.job_key in sent_from) for job in jobs
        ) or any(delivery.state == "pending" for delivery in deliveries)
        calm = "processing" if is_open else "done"
        assert study.state == ("failed" if failed else "held" if held else calm)
        assert (study.state == "done") == (study.done_at is not None)
        assert study.state != "done" or study.reason

    @invariant()
    def the_figures_are_those_that_counting_gives(self) -> None:
        figures = {(r["kind"], r["state"]): r["number"] for r in self.ledger.read("SELECT * FROM counts")}
        for kind, table in (("study", "studies"), ("job", "jobs"), ("delivery", "deliveries")):
            rows = self.ledger.read(f"SELECT state, count(*) AS number FROM {table} GROUP BY state")
            counted = {(kind, row["state"]): row["number"] for row in rows}
            assert counted == {key: n for key, n in figures.items() if key[0] == kind and n}
        assert figures["instance", ""] == self.ledger.read("SELECT count(*) FROM instances")[0][0]
        kept = "SELECT count(*) FROM instances WHERE is_current = 1"
        assert self.study().images == self.ledger.read(kept)[0][0]

    @invariant()
    def a_superseded_or_cancelled_job_sends_nothing(self) -> None:
        over = {key for key, job in self.jobs().items() if job.state in OVER}
        waiting = [d for d in self.deliveries().values() if d.state == "pending" and d.job_key in over]
        assert waiting == []

    # -- the ledger ---------------------------------------------------------------------------------------

    def _try(self, what) -> None:
        """Do something that may not be possible just now; then nothing at all may have been written."""
        before, heard = self._lines(), len(self.heard)
        try:
            with self.ledger.transaction() as transaction:
                what(transaction)
        except REFUSALS:
            assert (self._lines(), len(self.heard)) == (before, heard)

    def _encode(self, key: str, destinations: tuple[str, ...]) -> None:
        job = self.jobs()[key]
        uid = f"2.25.{job.job_key}.{job.header_sha256}"
        result = result_of_one(f"results/{uid}", uid, job.header_sha256)
        with self.ledger.transaction() as transaction:
            record_result(transaction, job, result, lambda _: destinations)

    def _lines(self) -> int:
        return int(self.ledger.read("SELECT count(*) FROM events")[0][0])

    def _store(self, series: str, number: int) -> None:
        header = f"header {self.header}"
        arrived = ArrivedInstance(
            study=StudyHeader(STUDY_UID, "key", "", "", "", ""),
            series_uid=series,
            sop_instance_uid=f"{series}.{number}",
            sop_class_uid="1.2",
            transfer_syntax_uid="1.2",
            modality="CT",
            series_number=1,
            series_description="",
            path=f"instances/{series}.{number}.{self.header}",
            size_bytes=1,
            header_sha256=header,
            pixel_sha256="p",
            geometry_sha256="g",
            of_use=True,
            why_not="",
            sender="PACS",
        )
        with self.ledger.transaction() as transaction:
            store_instance(transaction, arrived, 1)

    def _planned(self, series: str, slices: int, hold: bool) -> PlannedJob:
        return PlannedJob(
            job_key=f"{series} with {slices}",
            series_uid=series,
            slot=series,
            rule="ct",
            task="tissue",
            options={},
            engine="threshold",
            priority=0,
            instance_uids=(),
            send_to=(),
            outputs=("seg",),
            header_sha256=str(self.header),
            hold="a gap" if hold else "",
        )

    def study(self) -> StudyRow:
        return StudyRow.of(self.ledger.read("SELECT * FROM studies")[0])

    def jobs(self) -> dict[str, JobRow]:
        return {job.job_key: job for job in jobs_of(self.ledger, STUDY_UID)}

    def jobs_in(self, state: JobState) -> list[str]:
        return sorted(key for key, job in self.jobs().items() if job.state is state)

    def deliveries(self) -> dict[str, DeliveryRow]:
        rows = self.ledger.read("SELECT * FROM deliveries")
        return {row["key"]: DeliveryRow.of(row) for row in rows}

    def timeline(self) -> list[EventRow]:
        return [EventRow.of(row) for row in self.ledger.read("SELECT * FROM events ORDER BY seq")]


def _replayed(state: JobState, resume: JobState | None, event: JobEvent) -> tuple[JobState, JobState | None]:
    target = next_job_state(state, event, resume)
    if target is JobState.FAILED:
        return target, resume_state(state)
    return target, state if target is JobState.QUARANTINED else None


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=30 if settings.default.max_examples <= 100 else settings.default.max_examples,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
