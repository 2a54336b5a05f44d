"""A real ledger, filled through the ledger's own functions, and the API served on a free port."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.errors import OutsideError
from gateway.adapters.queue import Lane
from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.callers.ledger_tokens import LedgerTokens
from gateway.api.callers.sign_in import People
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.live.live import live_feed
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.events import Bus
from gateway.ledger.comparisons import freeze_comparison
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, RefusedObject, StudyHeader, put_aside, store_instance
from gateway.ledger.records import ComparisonRow
from gateway.ledger.results import record_result
from gateway.ledger.runs import begin_run, end_run
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.store import Ledger
from gateway.uploads import NiftiUploads
from tests.nifti import uploads_of
from tests.results import result_of_several

TOKEN = "a-token-of-this-test"


@dataclass
class World:
    """What stands behind the API under test."""

    ledger: Ledger
    bus: Bus
    folder: Path
    readiness: Readiness = field(default_factory=lambda: Readiness(True))
    elsewhere: str | OutsideError = ""
    """Where job files are, when not in the folder; or why that cannot be said."""

    @cached_property
    def tokens(self) -> LedgerTokens:
        return LedgerTokens(self.ledger)

    @cached_property
    def uploads(self) -> NiftiUploads:
        return uploads_of(self.ledger, self.folder)

    def located(self, job_key: str, name: str) -> Path | str | None:
        if isinstance(self.elsewhere, OutsideError):
            raise self.elsewhere
        if self.elsewhere:
            return f"{self.elsewhere}/{job_key}/{name}?signed"
        path = self.folder / "jobs" / job_key / name
        return path if path.is_file() else None

    def write_file(self, job_key: str, name: str, content: bytes) -> None:
        path = self.folder / "jobs" / job_key / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def study(self, number: int = 1, images: int = 2) -> str:
        """A study that is receiving; its UID."""
        uid = f"1.2.826.0.1.{number}"
        header = StudyHeader(uid, f"key{number:04}", f"PID{number}", f"ACC{number}", "20260131", "CT ABDOMEN")
        for image in range(1, images + 1):
            name = f"{uid}.1.{image}"
            arrived = ArrivedInstance(
                header, f"{uid}.1", name, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "CT", 2,
                "PORTAL 3.0", f"instances/{name}.dcm", 1000, "h" * 64, "p" * 64, "g" * 64, True, "", "PACS",
            )  # fmt: skip
            with self.ledger.transaction() as transaction:
                store_instance(transaction, arrived, association=1)
        return uid

    def job(self, study_uid: str, hold: str = "") -> str:
        """The study completed with one job; its key."""
        job_key = hashlib.sha256(study_uid.encode()).hexdigest()
        series_uid = f"{study_uid}.1"
        uids = (f"{series_uid}.1", f"{series_uid}.2")
        planned = PlannedJob(
            job_key, series_uid, f"{series_uid}#1#tissue", "ct", "tissue", {}, "threshold", 0, uids,
            ("pacs",), ("seg",), "h" * 64, hold,
        )  # fmt: skip
        rows = self.ledger.read("SELECT generation FROM studies WHERE study_uid = ?", (study_uid,))
        finding = {"code": "gap", "sentence": "One slice is missing."}
        volume = DecidedVolume(series_uid, 1, 2, job_key, "taken by rule ct", (finding,), ("series 2: thin",))
        plan = StudyPlan(study_uid, rows[0]["generation"], (planned,), (volume,))
        with self.ledger.transaction() as transaction:
            complete_study(transaction, plan, evidence="released")
        return job_key

    def move(self, job_key: str, *events: JobEvent, reason: str = "") -> None:
        for event in events:
            with self.ledger.transaction() as transaction:
                transaction.move_job(job_key, event, reason=reason)

    def runs(self, job_key: str) -> None:
        """The job's first run lost, its second one under way."""
        for run in (1, 2):
            with self.ledger.transaction() as transaction:
                transaction.move_job(job_key, JobEvent.SUBMITTED, columns={"run": run})
                begin_run(transaction, job_key, run, Lane.MAIN, backend="batch")
                if run == 1:
                    transaction.move_job(job_key, JobEvent.RUN_LOST)
                    end_run(transaction, job_key, run, exit_code=137, sentence="memory ran out")

    def encode(self, job_key: str, outputs: Sequence[str] = ("seg",)) -> str:
        """The job segmented and encoded, an object each time that an output is named; its first delivery."""
        self.move(job_key, JobEvent.SEGMENTED)
        uid = f"2.25.{int(job_key[:12], 16)}"
        result = result_of_several(outputs, uid, "h" * 64)
        with self.ledger.transaction() as transaction:
            record_result(transaction, transaction.job(job_key), result, lambda _: ["pacs"])
        return str(self.ledger.read("SELECT key FROM deliveries WHERE job_key = ?", (job_key,))[0]["key"])

    def at(self, event: str, at: str) -> None:
        """When something happened."""
        with self.ledger.transaction() as transaction:
            transaction.execute("UPDATE events SET at = ? WHERE event = ?", (at, event))

    def compare(self, job_key: str, **said: Any) -> None:
        """What its result was compared with."""
        row = ComparisonRow(job_key=job_key, chosen_for="c", **{"why_none": "", **said})
        with self.ledger.transaction() as transaction:
            freeze_comparison(transaction, row)

    def move_delivery(self, key: str, event: DeliveryEvent, reason: str = "") -> None:
        with self.ledger.transaction() as transaction:
            transaction.move_delivery(key, event, reason=reason)

    def refuse(self, key: str = "object1", study_uid: str | None = None) -> None:
        refused = RefusedObject(
            key, "not_dicom", "This is no DICOM object.", f"quarantine/{key}", study_uid, None, "PACS"
        )
        with self.ledger.transaction() as transaction:
            put_aside(transaction, refused)

    def serve(
        self, access: Access, actions: LedgerActions | None = None, people: People | None = None
    ) -> ApiServer:
        api = create_api(
            LedgerStore(self.ledger),
            actions or LedgerActions(self.ledger),
            lambda: self.readiness,
            live_feed(self.ledger),
            access,
            self,
            self.uploads,
            pictures_from=self.elsewhere if isinstance(self.elsewhere, str) else "",
            upload_room=self.uploads,
            tokens=self.tokens,
            people=people,
        )
        return ApiServer(api, "127.0.0.1", 0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bus = Bus()
    with Ledger(tmp_path / "ledger.sqlite", bus) as ledger:
        yield World(ledger, bus, tmp_path)


@pytest.fixture
def token() -> str:
    return TOKEN


@pytest.fixture
def server(world: World) -> Iterator[ApiServer]:
    server = world.serve(Access(TOKEN, find=world.tokens.find))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stranger(server: ApiServer) -> Iterator[httpx.Client]:
    """A client without any token."""
    host, port = server.address
    with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    """A program with the token."""
    host, port = server.address
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(
        base_url=f"http://{host}:{port}", headers=headers, trust_env=False, timeout=60
    ) as client:
        yield client


@pytest.fixture
def open_client(world: World) -> Iterator[httpx.Client]:
    """A client of an API that asks for no token."""
    server = world.serve(Access(None))
    server.start()
    host, port = server.address
    with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=60) as client:
        yield client
    server.stop()
