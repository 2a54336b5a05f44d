"""A data directory with studies whose files are really there, and the worker that removes what is done."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.config import Retention as Settings
from gateway.events import Bus
from gateway.files.locks import DataLocks
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, RefusedObject, StudyHeader, put_aside, store_instance
from gateway.ledger.records import DeliveryRow, EventRow, JobRow, StudyRow, utc_text
from gateway.ledger.results import Result, ResultObject, record_result
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.uploads import UploadedImage, record_upload
from gateway.ledger.work import job as job_of
from gateway.retention.remover import Remover
from gateway.retention.worker import Retention
from tests.results import SEGMENTATION_STORAGE


@dataclass
class Place:
    """A ledger with the files that it speaks of."""

    ledger: Ledger
    bus: Bus
    data_dir: Path
    objects: FolderStore
    locks: DataLocks = field(default_factory=DataLocks)
    busy: set[str] = field(default_factory=set)
    free_mb: int = 1_000_000

    # -- what there is ------------------------------------------------------------------------------------

    def receive(self, study: str, images: int = 3, **changes: Any) -> None:
        for number in range(images):
            self.store(study, number, **changes)

    def arrived(self, study: str, number: int, **changes: Any) -> ArrivedInstance:
        path = f"instances/{study}/{number}-{changes.get('header_sha256', 'h')}.dcm"
        return ArrivedInstance(
            study=StudyHeader(study, f"key-{study}", "Doe^Jane", "A1", "20260102", "abdomen"),
            **{
                "series_uid": f"{study}.1",
                "sop_instance_uid": f"{study}.1.{number}",
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "modality": "CT",
                "series_number": 2,
                "series_description": "thin",
                "path": path,
                "size_bytes": 4,
                "header_sha256": "h",
                "pixel_sha256": f"p{number}",
                "geometry_sha256": "g",
                "of_use": True,
                "why_not": "",
                "sender": "PACS",
                **changes,
            },
        )

    def store(self, study: str, number: int, **changes: Any) -> None:
        arrived = self.arrived(study, number, **changes)
        self.write(arrived.path)
        with self.ledger.transaction() as transaction:
            store_instance(transaction, arrived, 1)

    def write(self, path: str) -> None:
        target = self.data_dir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"DICM")

    def complete(self, study: str, *, send_to: tuple[str, ...] = ("pacs",), **changes: Any) -> str:
        """Plan its one job; the key."""
        key = f"job-{study}"
        planned = PlannedJob(
            key, f"{study}.1", f"{study}.1#1#tissue", changes.pop("rule", "ct"), "tissue", {}, "threshold", 0,
            (f"{study}.1.0",), send_to, ("seg",), "header", **changes,
        )  # fmt: skip
        with self.ledger.transaction() as transaction:
            plan = StudyPlan(study, self.study(study).generation, (planned,), ())
            complete_study(transaction, plan, evidence="released")
        return key

    def upload(self, study: str) -> str:
        """Take a NIfTI in; the key of its job."""
        key = f"job-{study}"
        image = UploadedImage(
            study, f"key-{study}", f"{study}.1", f"{study}.1.0", f"uploads/{study}.nii.gz", 4, "v", "g"
        )
        planned = PlannedJob(
            key, image.series_uid, key, "upload", "tissue", {}, "threshold", 0, (image.name,), (), (), ""
        )
        with self.locks.of(image.path):
            self.write(image.path)
            with self.ledger.transaction() as transaction:
                return record_upload(transaction, image, planned).job_key

    def segment(self, study: str) -> None:
        key = f"job-{study}"
        for name in ("input.nii.gz", "request.json", "labels.nii.gz", "manifest.json", "checkpoint/part"):
            self.objects.put(job_object(key, name), b"{}")
        self.write(f"work/{key}/labels.nii.gz")
        self.move(key, JobEvent.SEGMENTED)

    def encode(self, study: str, revision: int = 1) -> None:
        key = f"job-{study}"
        job = self.job(key)
        made = ResultObject(
            "seg", f"results/{key}/{study}.{revision}.dcm", "s" * 64, SEGMENTATION_STORAGE,
            f"2.25.{study}.{revision}",
        )  # fmt: skip
        self.write(made.path)
        with self.ledger.transaction() as transaction:
            record_result(transaction, job, Result((made,), "header", ()), lambda _: job.send_to)

    def deliver(self, study: str, event: DeliveryEvent = DeliveryEvent.SENT) -> None:
        for delivery in self.deliveries(study):
            if delivery.state is DeliveryState.PENDING:
                with self.ledger.transaction() as transaction:
                    transaction.move_delivery(delivery.key, event)

    def done(self, study: str, *, days_ago: float = 0.0, **changes: Any) -> str:
        """A study that was delivered so long ago; the key of its job."""
        self.receive(study)
        key = self.complete(study, **changes)
        self.segment(study)
        self.encode(study)
        self.deliver(study)
        self.age(study, days_ago)
        return key

    def age(self, study: str, days: float) -> None:
        """Let a study be done since so long ago."""
        at = utc_text(datetime.now(UTC) - timedelta(days=days))
        with self.ledger.transaction() as transaction:
            transaction.execute(
                "UPDATE studies SET done_at = ? WHERE study_uid = ? AND done_at IS NOT NULL", (at, study)
            )

    def put_aside(self, key: str, study: str | None = None, *, days_ago: float = 0.0) -> None:
        refused = RefusedObject(key, "cut_short", "it is cut", f"quarantine/{key}.dcm", study, None, "PACS")
        self.write(refused.path)
        at = utc_text(datetime.now(UTC) - timedelta(days=days_ago))
        with self.ledger.transaction() as transaction:
            put_aside(transaction, refused)
            transaction.execute("UPDATE quarantine SET last_at = ? WHERE key = ?", (at, key))

    def move(self, job_key: str, *events: JobEvent) -> None:
        for event in events:
            with self.ledger.transaction() as transaction:
                transaction.move_job(job_key, event)

    # -- retention ----------------------------------------------------------------------------------------

    def worker(self, **settings: Any) -> Retention:
        return Retention(
            Settings(**settings),
            self.ledger,
            self.bus,
            Remover(self.ledger, self.data_dir, self.objects, self.locks),
            self.data_dir,
            is_busy=lambda keys: bool(self.busy & set(keys)),
            free=lambda _: self.free_mb * 1_000_000,
        )

    def look(self, **settings: Any) -> Retention:
        """One look of a worker with these settings."""
        worker = self.worker(**settings)
        worker.work()
        return worker

    # -- reading ------------------------------------------------------------------------------------------

    def study(self, study: str) -> StudyRow:
        return StudyRow.of(self.ledger.read("SELECT * FROM studies WHERE study_uid = ?", (study,))[0])

    def job(self, job_key: str) -> JobRow:
        job = job_of(self.ledger, job_key)
        assert job is not None
        return job

    def deliveries(self, study: str) -> list[DeliveryRow]:
        rows = self.ledger.read("SELECT * FROM deliveries WHERE study_uid = ?", (study,))
        return [DeliveryRow.of(row) for row in rows]

    def timeline(self, study: str) -> list[EventRow]:
        rows = self.ledger.read("SELECT * FROM events WHERE study_uid = ? ORDER BY seq", (study,))
        return [EventRow.of(row) for row in rows]

    def events(self, study: str) -> list[str]:
        return [line.event for line in self.timeline(study)]

    def files(self, *folders: str) -> set[str]:
        """Every file below these folders of the data directory."""
        return {
            str(path.relative_to(self.data_dir))
            for folder in folders or ("instances", "objects", "results", "work", "quarantine", "uploads")
            for path in (self.data_dir / folder).rglob("*")
            if path.is_file() and path.name != ".settle.lock"
        }


def open_place(data_dir: Path) -> Place:
    """Open a data directory."""
    bus = Bus()
    return Place(Ledger(data_dir / "ledger.sqlite", bus), bus, data_dir, FolderStore(data_dir / "objects"))
