"""A second region: what gets no machine at home runs there once, its result comes home, and nothing stays."""

import gzip
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import nibabel as nib
import numpy as np
import pytest

from gateway.adapters.aws.batch import BatchQueue
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.errors import Away
from gateway.adapters.objects import job_object, job_prefix
from gateway.api.studies.listings import show_job
from gateway.backends import aws
from gateway.backends.stores import open_store
from gateway.config import Config
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.records import RunRow
from gateway.ledger.runs import run_of
from gateway.ledger.states import JobEvent, JobState
from gateway.running import abroad, computing
from gateway.running.following import Intervals
from gateway.workers.steps import StepWorker
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.one_job import JOB_KEY, Site

QUICK_JOB = Path(__file__).parents[2] / "doubles" / "quick_job.py"
HOME, THERE = "us-east-1", "eu-west-1"
BUCKETS = {HOME: "iris-first-region", THERE: "iris-second-region"}
OFTEN = Intervals(
    find_s=0.1, end_s=0.1, reconcile_s=0.3, progress_s=0.2, taken_s=0.2, explain_s=0.1, unseen_s=60.0
)
INPUT = gzip.compress(nib.Nifti1Image(np.full((4, 4, 2), -1000, np.int16), np.eye(4)).to_bytes())
FOLDER = job_prefix(JOB_KEY)


class Killed(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class SessionAt(AwsSession):
    """A session of a region whose Batch is a double of its own."""

    batch_url: str = ""

    def batch(self) -> Any:
        return self._session.client("batch", **{**self._settings(), "endpoint_url": self.batch_url})

    def batch_for_submitting(self) -> Any:
        return self._session.client("batch", **{**self._settings(tries=1), "endpoint_url": self.batch_url})


class Regions:
    """Two regions, and a staged job of a gateway in the first one, which has no machines."""

    def __init__(self, site: Site, doubles: dict[str, BatchDouble], client: Any) -> None:
        self.site, self.doubles, self._client = site, doubles, client
        for region, bucket in BUCKETS.items():
            where = {} if region == HOME else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            client.create_bucket(Bucket=bucket, **where)
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        doubles[HOME].hold_capacity()
        self._stack = ExitStack()
        site.move(JobEvent.STAGED)
        request = {
            **{"contract": 1, "job_key": JOB_KEY, "task": "tissue", "engine": "threshold", "options": {}},
            "input": {"name": "input.nii.gz", "sha256": hashlib.sha256(INPUT).hexdigest()},
        }
        home = open_store(self.config()).objects
        home.put(job_object(JOB_KEY, "input.nii.gz"), INPUT)
        home.put(job_object(JOB_KEY, "request.json"), json.dumps(request).encode())

    def config(self, *, after_s: float = 0.3, regions: tuple[str, ...] = ()) -> Config:
        fallback = {
            **{"after_s": after_s, "region": THERE, "bucket": BUCKETS[THERE], "prefix": "there"},
            **{"job_queue": MAIN_QUEUE, "job_definition": DEFINITION},
        }
        return Config(
            objects={"backend": "s3", "bucket": BUCKETS[HOME]},
            queue={
                **{"backend": "batch", "job_queue": MAIN_QUEUE, "job_definition": DEFINITION},
                "fallback": fallback,
            },
            engine={"name": "threshold", "version": "1"},
            rule=[{"name": "ct", "when": {"Modality": "CT"}, "regions": list(regions)}],
            aws={"region": HOME},
        )

    def computing(self, **settings: Any) -> computing.Computing:
        config, site = self.config(**settings), self.site
        objects = open_store(config).objects
        workplace = Workplace(site.ledger, site.data_dir)
        parts = computing.Site(
            site.ledger,
            site.bus,
            objects,
            {},
            JobResults(objects, workplace),
            workplace,
            SiteSecret(site.data_dir / "secret"),
            EngineIdentity("threshold", "1", "", "1"),
        )
        return computing.computing(config, parts)

    def start(self, **settings: Any) -> None:
        remote = self.computing(**settings)
        submit = StepWorker("submit", JobState.STAGED, remote.submit, self.site.ledger, self.site.bus)
        remote.start()
        for worker in (submit, *remote.workers):
            worker.start()
            self._stack.callback(worker.stop)

    def stop(self) -> None:
        self._stack.close()

    def wait_for_state(self, *states: JobState) -> None:
        self.site.wait_for(lambda job: job.state in states)

    def wait_until_abroad(self) -> None:
        self.site.wait_for(lambda job: job.lane == "fallback" and job.state is JobState.RUNNABLE)

    def run(self, number: int) -> RunRow:
        run = run_of(self.site.ledger, JOB_KEY, number)
        assert run is not None
        return run

    def names(self, region: str) -> list[str]:
        """The files in the job's folder there, without their attempts' folders."""
        found = self._client.list_objects_v2(Bucket=BUCKETS[region]).get("Contents", [])
        return sorted(each["Key"].partition(FOLDER)[2] for each in found if FOLDER in each["Key"])

    def versions(self, region: str) -> int:
        answer = self._client.list_object_versions(Bucket=BUCKETS[region])
        found = answer.get("Versions", []) + answer.get("DeleteMarkers", [])
        return sum(FOLDER in each["Key"] for each in found)

    def worked(self) -> dict[str, int]:
        """In which region how many runs were given machines."""
        return {
            region: sum(bool(job.attempts) or job.current is not None for job in double.jobs())
            for region, double in self.doubles.items()
        }

    def reasons(self) -> list[str]:
        rows = self.site.ledger.read("SELECT detail FROM events WHERE event = 'job.run_lost' ORDER BY seq")
        return [json.loads(row["detail"])["reason"] for row in rows]


@pytest.fixture
def regions(
    site: Site, fresh_moto: str, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Regions]:
    doubles = {region: BatchDouble(fresh_moto) for region in (HOME, THERE)}
    for double in doubles.values():
        double.set_definition(command=[sys.executable, str(QUICK_JOB)])
    sessions = {region: SessionAt(region, "", doubles[region].url) for region in doubles}
    monkeypatch.setattr(aws, "the_session", lambda region, endpoint_url: sessions[region])
    monkeypatch.setattr(computing, "_intervals", lambda config: OFTEN)
    regions = Regions(site, doubles, boto3.client("s3"))
    yield regions
    regions.stop()
    for double in doubles.values():
        double.close()


def test_run_that_gets_no_machine_runs_once_in_the_second_region_and_its_result_comes_home(
    regions: Regions, eventually: Callable[..., None]
) -> None:
    regions.start()
    regions.wait_for_state(JobState.SEGMENTED)
    assert regions.worked() == {HOME: 0, THERE: 1}
    assert [(regions.run(number).region, regions.run(number).is_open) for number in (1, 2)] == [
        (HOME, 0),
        (THERE, 0),
    ]
    assert {"manifest.json", "labels.nii.gz"} <= set(regions.names(HOME))
    assert regions.reasons()[0].startswith(f"moved to the fallback queue in {THERE}: ")
    eventually(lambda: regions.versions(THERE) == 0)
    assert show_job(regions.site.ledger, JOB_KEY)["region"] == THERE


def test_rule_that_names_its_regions_never_leaves_them(regions: Regions) -> None:
    regions.start(after_s=0.1, regions=(HOME,))
    regions.site.wait_for(lambda job: bool(job.reason) and job.state is JobState.RUNNABLE)
    regions.doubles[HOME].release_capacity()
    regions.wait_for_state(JobState.SEGMENTED)
    assert regions.worked() == {HOME: 1, THERE: 0}
    assert regions.versions(THERE) == 0
    assert not regions.doubles[HOME].calls("CancelJob")


def test_job_that_a_changed_rule_keeps_goes_home_before_anything_is_copied(regions: Regions) -> None:
    _stage_for_abroad(regions)
    regions.start(regions=(HOME,))
    regions.site.wait_for(lambda job: job.lane == "main" and job.state is JobState.RUNNABLE)
    assert regions.versions(THERE) == 0


def _stage_for_abroad(regions: Regions) -> None:
    with regions.site.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", JOB_KEY, {"lane": "fallback"})


def test_gateway_that_was_killed_between_moving_and_submitting_submits_once(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stage_for_abroad(regions)

    def die(*_: object) -> str:
        raise Killed

    remote = regions.computing()
    with monkeypatch.context() as dying:
        dying.setattr(BatchQueue, "submit", die)
        with pytest.raises(Killed):
            remote.submit(regions.site.job())
    assert regions.names(THERE) == ["input.nii.gz", "request.json"]
    monkeypatch.setattr(computing, "_intervals", lambda config: replace(OFTEN, unseen_s=0.5))
    regions.start()
    regions.wait_for_state(JobState.SEGMENTED)
    assert len(regions.doubles[THERE].jobs()) == 1


def test_gateway_that_was_killed_while_the_result_came_home_takes_it_up_again(
    regions: Regions, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    settled: list[str] = []
    settle = abroad.ResultsFromAbroad._bring

    def interrupted(results: abroad.ResultsFromAbroad, job: Any) -> None:
        if not settled:
            settled.append("interrupted")
            raise Away("the network is away")
        settle(results, job)

    monkeypatch.setattr(abroad.ResultsFromAbroad, "_bring", interrupted)
    regions.start()
    regions.wait_for_state(JobState.SEGMENTED)
    assert settled
    assert regions.worked() == {HOME: 0, THERE: 1}
    eventually(lambda: regions.names(THERE) == [])


def test_submission_abroad_whose_answer_was_lost_is_found_there(regions: Regions) -> None:
    regions.doubles[THERE].lose_answer("SubmitJob")
    regions.start()
    regions.wait_for_state(JobState.SEGMENTED)
    assert len(regions.doubles[THERE].jobs()) == 1


def test_job_that_the_second_region_refuses_goes_home_and_stays_there(
    regions: Regions, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    monkeypatch.setattr(abroad, "REFUSALS_ALLOWED", 1)
    regions.doubles[THERE].deny("SubmitJob")
    regions.start(after_s=0.1)
    regions.site.wait_for(lambda job: job.run == 3 and job.state is JobState.RUNNABLE)
    assert regions.site.job().lane == "main"
    assert regions.reasons()[-1].startswith(f"back from {THERE} to the main queue: ")
    eventually(lambda: regions.names(THERE) == [])
    regions.doubles[HOME].release_capacity()
    regions.wait_for_state(JobState.SEGMENTED)
    assert regions.worked() == {HOME: 1, THERE: 0}


def test_job_goes_home_when_nobody_answers_in_the_second_region(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abroad, "AWAY_S", 0.0)
    regions.doubles[THERE].answer_500(times=None)
    regions.start()
    regions.site.wait_for(lambda job: job.run == 2 and job.lane == "main")
    regions.doubles[HOME].release_capacity()
    regions.wait_for_state(JobState.SEGMENTED)
    assert regions.versions(THERE) == 0


def test_job_that_gets_no_machine_abroad_either_goes_home(regions: Regions) -> None:
    there = regions.doubles[THERE]
    there.hold_capacity()
    regions.start()
    regions.wait_until_abroad()
    there.cancel_by_time_limit(there.jobs()[0].job_id, "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY")
    regions.site.wait_for(lambda job: job.lane == "main" and job.state is JobState.RUNNABLE)
    regions.doubles[HOME].release_capacity()
    regions.wait_for_state(JobState.SEGMENTED)
    assert regions.worked() == {HOME: 1, THERE: 0}


def test_result_of_a_run_at_home_that_started_after_all_is_the_only_one(
    regions: Regions, eventually: Callable[..., None]
) -> None:
    home, there = regions.doubles[HOME], regions.doubles[THERE]
    there.hold_capacity()
    home.lose_request("CancelJob", times=None)
    regions.start()
    eventually(lambda: bool(home.calls("CancelJob")))
    home.release_capacity()
    regions.wait_for_state(JobState.SEGMENTED)
    assert regions.worked() == {HOME: 1, THERE: 0}
    assert regions.site.job().run == 1


def test_cancelled_job_is_ended_abroad_and_its_copy_erased_with_all_versions(
    regions: Regions, eventually: Callable[..., None]
) -> None:
    there = regions.doubles[THERE]
    there.hold_capacity()
    regions.start()
    regions.wait_until_abroad()
    assert regions.names(THERE) == ["input.nii.gz", "request.json"]
    regions.site.move(JobEvent.CANCELLED)
    there.wait_for(there.jobs()[0].job_id, "FAILED")
    eventually(lambda: regions.versions(THERE) == 0)
