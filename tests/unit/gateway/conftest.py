"""A ledger in a temporary folder, and a book keeper that brings it where a test begins."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from gateway.arrival.planning import Planner, TaskRule
from gateway.arrival.rules import compile_rule
from gateway.config import Rule
from gateway.events import AssociationClosed, Bus, Event
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study, jobs_of
from gateway.ledger.instances import ArrivedInstance, StudyHeader, association_closed, store_instance
from gateway.ledger.records import DeliveryRow, EventRow, JobRow, StudyRow
from gateway.ledger.results import record_result
from gateway.ledger.states import DeliveryEvent, JobEvent, JobState
from gateway.ledger.store import Ledger
from tests.results import result_of_one
from tests.shelf import ENGINE, save_slice, store_slice

STUDY_UID, SERIES_UID = "1.2.3", "1.2.3.4"


@dataclass
class Book:
    """A ledger, what its bus told, and the shortest ways to rows in a given state."""

    ledger: Ledger
    heard: list[Event] = field(default_factory=list)
    study_uid: str = STUDY_UID

    @property
    def data_dir(self) -> Path:
        """Where the paths of instances begin."""
        return self.ledger.path.parent

    # -- writing ------------------------------------------------------------------------------------------

    def arrived(self, sop_instance_uid: str = "1.2.3.4.1", **changes: Any) -> ArrivedInstance:
        study_uid = changes.pop("study_uid", STUDY_UID)
        return ArrivedInstance(
            **{
                "study": StudyHeader(study_uid, f"key of {study_uid}", "P1", "A1", "20260102", "abdomen"),
                "series_uid": SERIES_UID,
                "sop_instance_uid": sop_instance_uid,
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "modality": "CT",
                "series_number": 2,
                "series_description": "thin",
                "path": f"instances/{sop_instance_uid}.dcm",
                "size_bytes": 1,
                "header_sha256": "h",
                "pixel_sha256": "p",
                "geometry_sha256": "g",
                "of_use": True,
                "why_not": "",
                "sender": "PACS",
                **changes,
            },
        )

    def store(self, sop_instance_uid: str = "1.2.3.4.1", **changes: Any) -> None:
        with self.ledger.transaction() as transaction:
            store_instance(transaction, self.arrived(sop_instance_uid, **changes), 1)

    def close_association(self, *, released: bool = True, sender: str = "PACS", opened_at: str = "") -> None:
        """End one; without `opened_at` it was open since before anything else."""
        with self.ledger.transaction() as transaction:
            association_closed(
                transaction, [STUDY_UID], released=released, sender=sender, opened_at=opened_at
            )
            transaction.publish(AssociationClosed(1, released, frozenset({STUDY_UID}), sender))

    def planned(self, job_key: str = "k1", **changes: Any) -> PlannedJob:
        return PlannedJob(
            job_key=job_key,
            **{
                "series_uid": SERIES_UID,
                "slot": f"{SERIES_UID}#1#tissue",
                "rule": "ct",
                "task": "tissue",
                "options": {"fast": False},
                "engine": "threshold",
                "priority": 0,
                "instance_uids": ("1.2.3.4.1",),
                "send_to": ("pacs",),
                "outputs": ("seg",),
                "header_sha256": "header",
                **changes,
            },
        )

    def complete(self, *jobs: PlannedJob) -> None:
        generation = self.study().generation
        with self.ledger.transaction() as transaction:
            complete_study(transaction, StudyPlan(STUDY_UID, generation, jobs, ()), evidence="released")

    def move(self, job_key: str, *events: JobEvent, **given: Any) -> None:
        for event in events:
            with self.ledger.transaction() as transaction:
                transaction.move_job(job_key, event, **given)

    def encode(self, job_key: str = "k1", *, uid: str = "2.25.1", job: JobRow | None = None) -> None:
        """Take a segmented job to encoded; `job` is what the encoder read of it before it began."""
        job = job or self.job(job_key)
        header = job.header_sha256
        result = result_of_one(f"results/{uid}.dcm", uid, header)
        with self.ledger.transaction() as transaction:
            record_result(transaction, job, result, lambda _: job.send_to)

    def move_delivery(self, destination: str, *events: DeliveryEvent, **given: Any) -> None:
        for event in events:
            with self.ledger.transaction() as transaction:
                transaction.move_delivery(self.delivery(destination).key, event, **given)

    def begin(self, *jobs: PlannedJob) -> None:
        """A complete study with these jobs, or one."""
        self.store()
        self.complete(*(jobs or (self.planned(),)))

    def begin_encoded(self, **changes: Any) -> None:
        """A complete study whose one job is encoded."""
        self.begin(self.planned(**changes))
        self.move("k1", JobEvent.SEGMENTED)
        self.encode()

    # -- reading ------------------------------------------------------------------------------------------

    def study(self) -> StudyRow:
        return StudyRow.of(self.ledger.read("SELECT * FROM studies WHERE study_uid = ?", (STUDY_UID,))[0])

    def jobs(self) -> dict[str, JobRow]:
        return {job.job_key: job for job in jobs_of(self.ledger, STUDY_UID)}

    def job(self, job_key: str = "k1") -> JobRow:
        return self.jobs()[job_key]

    def state(self, job_key: str = "k1") -> JobState:
        return self.job(job_key).state

    def deliveries(self) -> list[DeliveryRow]:
        return [DeliveryRow.of(row) for row in self.ledger.read("SELECT * FROM deliveries ORDER BY rowid")]

    def delivery(self, destination: str = "pacs") -> DeliveryRow:
        """The newest delivery to a destination."""
        return [d for d in self.deliveries() if d.destination == destination][-1]

    def timeline(self) -> list[EventRow]:
        return [EventRow.of(row) for row in self.ledger.read("SELECT * FROM events ORDER BY seq")]

    def names(self) -> list[str]:
        return [line.event for line in self.timeline()]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, to compare."""
        tables = [
            row["name"] for row in self.ledger.read("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {table: [tuple(row) for row in self.ledger.read(f"SELECT * FROM {table}")] for table in tables}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """An empty ledger with its book keeper."""
    bus = Bus()
    with Ledger(tmp_path / "ledger.sqlite", bus) as ledger:
        keeper = Book(ledger)
        bus.subscribe(keeper.heard.append)
        yield keeper


@pytest.fixture
def make_headers(tmp_path: Path) -> Callable[..., list[tuple[Path, Dataset]]]:
    """Headers of a made-up series of evenly spaced slices: keywords by name, and how they lie."""

    def make(
        *,
        series: int = 1,
        count: int = 20,
        spacing_mm: float = 1.0,
        origin_mm: float = 0.0,
        orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
        missing: tuple[int, ...] = (),
        **keywords: Any,
    ) -> list[tuple[Path, Dataset]]:
        row, column = orientation[:3], orientation[3:]
        normal = (
            row[1] * column[2] - row[2] * column[1],
            row[2] * column[0] - row[0] * column[2],
            row[0] * column[1] - row[1] * column[0],
        )
        made = []
        for number in (n for n in range(count) if n not in missing):
            header = Dataset()
            header.StudyInstanceUID, header.SeriesInstanceUID = STUDY_UID, f"{STUDY_UID}.{series}"
            header.SOPInstanceUID = f"{STUDY_UID}.{series}.{number + 1}"
            header.Modality, header.SeriesNumber = "CT", series
            header.FrameOfReferenceUID, header.AcquisitionNumber = f"{STUDY_UID}.0", 1
            header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            header.Rows = header.Columns = 8
            header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
            header.PixelRepresentation = 0
            header.PixelSpacing, header.ImageOrientationPatient = [1, 1], list(orientation)
            distance = origin_mm + spacing_mm * number
            header.ImagePositionPatient = [round(distance * part, 4) for part in normal]
            for keyword, value in keywords.items():
                setattr(header, keyword, value)
            header.SOPClassUID = MRImageStorage if header.Modality == "MR" else CTImageStorage
            made.append((tmp_path / f"{header.SOPInstanceUID}.dcm", header))
        return made

    return make


@pytest.fixture
def shelve(book, make_headers: Callable[..., Any], tmp_path: Path) -> Callable[..., None]:
    """Store the slices of a made-up series, as files and in the ledger."""

    def store(*, only: Sequence[int] | None = None, shuffled: bool = False, **given: Any) -> None:
        headers = make_headers(**given)
        chosen = [headers[number] for number in only] if only is not None else headers
        if shuffled:
            random.Random(1).shuffle(chosen)
        for path, header in chosen:
            save_slice(header, path)
            store_slice(book, header, path.relative_to(tmp_path))

    return store


@pytest.fixture
def planner(book, tmp_path: Path) -> Callable[..., Planner]:
    """A planner with these rules, or one for every CT."""

    def make(
        *rules: Rule,
        modality: str = "CT",
        task: str = "tissue",
        leaves_site: bool = False,
        engine: EngineIdentity = ENGINE,
    ) -> Planner:
        chosen = rules or (Rule(name="ct", when={"Modality": "CT"}),)
        compiled = [TaskRule(compile_rule(r), r.task or task, modality, ("pacs",), ("seg",)) for r in chosen]
        secret = SiteSecret(tmp_path / "site-secret")
        return Planner(book.ledger, tmp_path, compiled, secret, engine, leaves_site=leaves_site)

    return make


@pytest.fixture
def plan(book, planner: Callable[..., Planner]) -> Callable[..., StudyPlan]:
    """Plan the study with such a planner."""
    return lambda *rules, **given: planner(*rules, **given).plan(book.study())


@pytest.fixture
def complete(book) -> Callable[[StudyPlan], None]:
    def write(made: StudyPlan) -> None:
        with book.ledger.transaction() as transaction:
            complete_study(transaction, made, evidence="released")

    return write
