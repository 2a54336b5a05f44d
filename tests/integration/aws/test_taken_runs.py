"""Runs at Batch that take each other: thirty at once on two machines, each done once, whatever is killed."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import nibabel as nib
import numpy as np
import pytest

from gateway.adapters.objects import ObjectStore, job_object
from gateway.backends.stores import open_store
from gateway.config import Config
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import PlannedJob, plan_job
from gateway.ledger.records import JobRow
from gateway.ledger.runs import open_runs_of
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.work import job as job_of
from gateway.running import computing
from gateway.running.following import Intervals
from gateway.running.waiting_room import WaitingRoom
from gateway.workers.steps import StepWorker
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.doubles.batch_jobs import FINISHED
from tests.one_job import SERIES_UID, STUDY_UID, Site, site_in
from tests.quick_start import JOB, quick_python

HELD_JOB = Path(__file__).parents[2] / "doubles" / "held_job.py"

BUCKET = "iris-taken-runs"
MACHINES = 2
OFTEN = Intervals(
    find_s=0.1, end_s=0.1, reconcile_s=0.5, progress_s=0.2, taken_s=0.2, explain_s=3600.0, unseen_s=60.0
)


class Gateway:
    """What of a gateway deals with runs, as the configuration wants it."""

    def __init__(self, site: Site, config: Config, store: ObjectStore) -> None:
        workplace = Workplace(site.ledger, site.data_dir)
        results = JobResults(store, workplace)
        secret = SiteSecret(site.data_dir / "secret")
        engine = EngineIdentity("threshold", "1", "", "1")
        parts = computing.Site(site.ledger, site.bus, store, {}, results, workplace, secret, engine)
        self.remote = computing.computing(config, parts)
        submit = StepWorker("submit", JobState.STAGED, self.remote.submit, site.ledger, site.bus)
        self.workers = (submit, *self.remote.workers)

    def start(self) -> None:
        self.remote.start()
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        for worker in reversed(self.workers):
            worker.stop()


class Many:
    """A site with many staged jobs, and the machines that they are for."""

    def __init__(self, site: Site, folder: Path, double: BatchDouble) -> None:
        self.site, self.double = site, double
        self._client: Any = boto3.client("s3")
        self._client.create_bucket(Bucket=BUCKET)
        self.config = Config(
            objects={"backend": "s3", "bucket": BUCKET, "prefix": folder.name},
            queue={"backend": "batch", "job_queue": MAIN_QUEUE, "job_definition": DEFINITION},
            engine={"name": "threshold", "version": "1"},
        )
        self.store: ObjectStore = open_store(self.config).objects
        self.keys: list[str] = []
        voxels = np.full((24, 20, 6), -1000, np.int16)
        voxels[6:18, 5:15] = 50
        nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4, 5, 1])), folder / "input.nii.gz")
        self._input = (folder / "input.nii.gz").read_bytes()

    def stage(self, priority: int = 0, engine: str = "threshold") -> str:
        """One more staged job, its folder in the bucket."""
        number = len(self.keys)
        key = f"{number:02d}" * 32
        planned = PlannedJob(
            key, SERIES_UID, f"slot {number}", "ct", "tissue", {}, "threshold", priority, ("1.2.3.4.5",), (),
            ("seg",), "h",
        )  # fmt: skip
        request = {
            "contract": 1,
            "job_key": key,
            "task": "tissue",
            "engine": engine,
            "options": {},
            "input": {"name": "input.nii.gz", "sha256": hashlib.sha256(self._input).hexdigest()},
        }
        self.store.put(job_object(key, "input.nii.gz"), self._input)
        self.store.put(job_object(key, "request.json"), json.dumps(request).encode())
        with self.site.ledger.transaction() as transaction:
            plan_job(transaction, STUDY_UID, planned)
        with self.site.ledger.transaction() as transaction:
            transaction.move_job(key, JobEvent.STAGED)
        self.keys.append(key)
        return key

    def job(self, key: str) -> JobRow:
        job = job_of(self.site.ledger, key)
        assert job is not None
        return job

    def states(self) -> Counter[str]:
        return Counter(self.job(key).state.value for key in self.keys)

    def events(self, name: str) -> list[dict[str, Any]]:
        rows = self.site.ledger.read("SELECT detail FROM events WHERE event = ? ORDER BY seq", (name,))
        return [json.loads(row["detail"]) for row in rows]

    def names(self, part: str) -> list[str]:
        """Objects below the prefix whose names have this part."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{self.config.objects.prefix}/"
        )
        found = (each["Key"] for page in pages for each in page.get("Contents", []))
        return [name for name in found if part in name]

    def begun(self) -> Counter[str]:
        """How often each job was worked on."""
        return Counter(name.split("/")[2][:2] for name in self.names("/begun.json"))

    def containers(self) -> int:
        return sum(len(job.attempts) + (job.current is not None) for job in self.double.jobs())


@pytest.fixture
def many(batch_double: BatchDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Many]:
    monkeypatch.setattr(computing, "_intervals", lambda config: OFTEN)
    batch_double.run_at_most(MACHINES)
    with site_in(tmp_path) as site:
        yield Many(site, tmp_path, batch_double)


@contextmanager
def gateway_of(many: Many, eventually: Callable[..., None]) -> Iterator[Gateway]:
    """A gateway whose jobs get machines when all of them wait."""
    many.double.hold_capacity()
    gateway = Gateway(many.site, many.config, many.store)
    gateway.start()
    try:
        eventually(lambda: len(many.names("/waiting/")) == len(many.keys), timeout_s=60)
        many.double.release_capacity()
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture
def held(many: Many, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One machine, whose processes wait in their second study until this file is there."""
    monkeypatch.setenv("HELD_LOG", str(tmp_path / "segmented"))
    monkeypatch.setenv("HELD_UNTIL", str(tmp_path / "go"))
    many.double.set_definition(command=(quick_python(JOB), str(HELD_JOB)))
    many.double.run_at_most(1)
    return tmp_path / "go"


def is_done(many: Many, **states: int) -> bool:
    """Whether the jobs are in these states, and nothing is at Batch any more."""
    return many.states() == states and all(job.status in FINISHED for job in many.double.jobs())


def test_runs_that_wait_are_taken_and_done_once_each_by_the_processes_that_are_there(
    many: Many, eventually: Callable[..., None]
) -> None:
    for number in range(6):
        many.stage(priority=number % 2)
    with gateway_of(many, eventually):
        eventually(lambda: is_done(many, segmented=6), timeout_s=120)
    assert set(many.begun().values()) == {1}
    assert many.names("/waiting/") == []
    taken = many.events("job.taken")
    assert many.containers() + len(taken) >= 6  # each was begun by its own container, or taken
    assert many.containers() < 6
    assert {each["queue_id"] for each in taken} <= {job.job_id for job in many.double.jobs()}


def test_run_that_was_taken_and_cannot_be_done_fails_with_its_own_reason(
    many: Many, eventually: Callable[..., None]
) -> None:
    many.double.run_at_most(1)
    many.stage()
    bad = many.stage(engine="nonsense")
    with gateway_of(many, eventually):
        eventually(lambda: is_done(many, segmented=1, failed=1), timeout_s=60)
    assert "nonsense" in many.job(bad).reason
    assert [name.split("/")[2] for name in many.names("/runs/1/exit.json")] == [bad]  # it was taken


def test_killed_process_gives_back_what_it_took(
    many: Many, held: Path, eventually: Callable[..., None]
) -> None:
    keys = [many.stage() for _ in range(3)]
    with gateway_of(many, eventually):
        eventually(
            lambda: many.events("job.taken") and many.job(keys[0]).state is JobState.SEGMENTED, timeout_s=60
        )
        taker = many.double.jobs()[0]
        many.double.interrupt(taker.job_id, notice_s=0.1)
        held.touch()
        eventually(lambda: is_done(many, segmented=3), timeout_s=60)
    lost = many.events("job.run_lost")
    assert lost
    assert {each["on"] for each in lost} == {"machine"}
    assert many.job(keys[0]).run == 1  # what was done before is not done again
    assert [name.split("/")[2] for name in many.names("/attempts/2/labels")].count(keys[0]) == 0
    assert many.names("/waiting/") == []


def test_taken_run_that_nobody_wants_any_more_does_not_end_the_process_that_has_it(
    many: Many, held: Path, eventually: Callable[..., None]
) -> None:
    keys = [many.stage() for _ in range(3)]
    with gateway_of(many, eventually):
        eventually(lambda: len(many.events("job.taken")) == 2, timeout_s=60)
        with many.site.ledger.transaction() as transaction:
            transaction.move_job(keys[1], JobEvent.CANCELLED)
        eventually(lambda: not open_runs_of(many.site.ledger, keys[1]))
        held.touch()
        eventually(lambda: is_done(many, segmented=2, cancelled=1), timeout_s=60)
    assert many.containers() == 1


def test_run_that_is_cancelled_while_it_waits_is_not_offered_any_more(
    many: Many, eventually: Callable[..., None]
) -> None:
    key = many.stage()
    many.double.run_at_most(0)
    with gateway_of(many, eventually):
        with many.site.ledger.transaction() as transaction:
            transaction.move_job(key, JobEvent.CANCELLED)
        eventually(lambda: not many.names("/waiting/"))


@pytest.mark.long
@pytest.mark.parametrize("takes", [True, False])
def test_thirty_runs_at_once_on_two_machines(
    many: Many, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch, takes: bool
) -> None:
    if not takes:
        monkeypatch.setattr(WaitingRoom, "addresses", lambda room, job: "")
    for _ in range(30):
        many.stage()
    with gateway_of(many, eventually):
        eventually(lambda: is_done(many, segmented=30), timeout_s=300)
    assert set(many.begun().values()) == {1}
    jobs = [job for job in many.double.jobs() if job.attempts]
    work_s = sum((each.stopped_at - each.started_at) / 1000 for job in jobs for each in job.attempts)
    span_s = (max(job.stopped_at for job in jobs) - min(job.attempts[0].started_at for job in jobs)) / 1000
    said = {"containers": len(jobs), "work_s": work_s, "idle_s": MACHINES * span_s - work_s}
    print(f"\n{'takers' if takes else 'as before'}: {said}")
    assert len(jobs) <= 10 if takes else len(jobs) == 30


@pytest.mark.long
@pytest.mark.parametrize("number", range(1, 31))
def test_process_killed_before_any_request_that_changes_something_leaves_each_run_to_be_done_once(
    many: Many,
    held: Path,
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    number: int,
) -> None:
    held.touch()
    monkeypatch.setenv("KILLED_AT", str(number))
    monkeypatch.setenv("KILLED", str(tmp_path / "killed"))
    keys = [many.stage() for _ in range(3)]
    with gateway_of(many, eventually):
        eventually(lambda: is_done(many, segmented=3), timeout_s=120)
    assert (tmp_path / "killed").exists()
    assert len(many.names("/manifest.json")) == 3
    results = Counter(name.split("/")[2] for name in many.names("/labels.nii.gz"))
    assert set(results) == set(keys)
    assert sum(results.values()) <= 5  # what was cut off between its labels and its manifest is done again
    assert many.names("/waiting/") == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_thirty_runs_with_machines_taken_away_at_any_time_are_all_done(
    many: Many, eventually: Callable[..., None], seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(30):
        many.stage()
    kills = 0

    def look() -> bool:
        nonlocal kills
        running = [job for job in many.double.jobs() if job.status == "RUNNING"]
        if running and kills < 12 and chance.random() < 0.03:
            many.double.interrupt(chance.choice(running).job_id, notice_s=0.0)
            kills += 1
        return is_done(many, segmented=30)

    with gateway_of(many, eventually):
        eventually(look, timeout_s=600)
    assert kills == 12
    assert len(many.names("/manifest.json")) == 30
    assert many.names("/waiting/") == []
