"""A ledger with one planned job, and what waits for it to move; a pytest plugin."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.events import Bus
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import JobRow
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.work import job as job_of

STUDY_UID, SERIES_UID, JOB_KEY = "1.2.3", "1.2.3.4", "a" * 64
DEADLINE_S = 120.0


@dataclass
class Site:
    """A ledger with a study of one instance and its one job."""

    ledger: Ledger
    bus: Bus
    data_dir: Path

    def job(self) -> JobRow:
        job = job_of(self.ledger, JOB_KEY)
        assert job is not None
        return job

    def move(self, event: JobEvent) -> None:
        with self.ledger.transaction() as transaction:
            transaction.move_job(JOB_KEY, event)

    def wait_for(self, condition: Callable[[JobRow], bool]) -> JobRow:
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.job()):
            assert time.monotonic() < deadline, self.job()
            time.sleep(0.01)
        return self.job()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path) as site:
        yield site


@contextmanager
def site_in(folder: Path) -> Iterator[Site]:
    """A site whose data directory is this folder."""
    bus = Bus()
    with Ledger(folder / "ledger.sqlite", bus) as ledger:
        header = StudyHeader(STUDY_UID, "key", "", "", "", "")
        arrived = ArrivedInstance(
            header, SERIES_UID, "1.2.3.4.5", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "CT", 2, "",
            "instances/a.dcm", 1, "h", "p", "g", True, "", "PACS",
        )  # fmt: skip
        planned = PlannedJob(
            JOB_KEY, SERIES_UID, "slot", "ct", "tissue", {}, "threshold", 0, ("1.2.3.4.5",), (), ("seg",), "h"
        )
        with ledger.transaction() as transaction:
            store_instance(transaction, arrived, 1)
        with ledger.transaction() as transaction:
            decided = DecidedVolume(SERIES_UID, 1, 1, JOB_KEY, "taken")
            complete_study(transaction, StudyPlan(STUDY_UID, 1, (planned,), (decided,)), evidence="test")
        yield Site(ledger, bus, folder)
