"""The job-news function: Batch's events in EventBridge's shape move uploads, and nothing else."""

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.adapters.aws.sqs_news import NotUnderstood
from gateway.adapters.errors import OutsideError
from gateway.cloud import news as cloud_news
from gateway.config import ConfigError
from tests.cloud_status import load_handler
from tests.cloud_uploads import BUCKET, NEWS_HANDLER, QUICK_JOB, Cloud, event_of, image
from tests.doubles.batch import BatchDouble
from tests.mirrored_ledger import MirroredLedger

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
RECONCILE = {"reconcile": True}

pytestmark = pytest.mark.usefixtures("quick_sessions")


@pytest.fixture
def cloud(fresh_moto: str, batch_double: BatchDouble, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    batch_double.set_definition(command=(sys.executable, str(QUICK_JOB)))
    return Cloud(monkeypatch, fresh_moto)


@pytest.fixture
def started(cloud: Cloud) -> str:
    """An upload that was started."""
    key = cloud.upload(image())
    cloud.start(key)
    return key


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask after young jobs, too."""
    monkeypatch.setattr(cloud_news.UploadNews.reconcile, "__defaults__", (timedelta(seconds=-1),))


def test_upload_goes_through_its_states_to_its_result(
    cloud: Cloud, batch_double: BatchDouble, started: str
) -> None:
    cloud.work(batch_double, started)
    job, study = cloud.job(started), cloud.study(started)
    assert (job["state"], job["reason"], job["progress"]["fraction"]) == (
        "delivered",
        "delivered",
        1.0,
    )
    assert (study["state"], study["reason"], study["images"]) == ("done", "label_map_ready", 1)
    assert [line for line in cloud.lines(started) if line != "job.queued"] == [
        "job.planned", "study.completed", "job.submitted", "job.accepted", "job.starting", "job.started",
        "job.segmented", "job.delivered", "study.finished",
    ]  # fmt: skip
    segmented = next(line for line in study["timeline"] if line["event"] == "job.segmented")
    assert segmented["detail"]["stages_s"] == {"segment": 1.0}
    assert segmented["detail"]["machine"] == "g4dn.xlarge"
    items = [item for (_, sort), item in cloud.items().items() if sort.startswith(("STUDY", "JOB"))]
    assert [item["expires_at"] > 0 for item in items] == [True, True]


@pytest.mark.usefixtures("_at_once")
def test_upload_that_waits_for_a_machine_says_why_once(cloud: Cloud, batch_double: BatchDouble) -> None:
    batch_double.hold_capacity()
    batch_double.set_environment(state="DISABLED")
    key = cloud.upload(image())
    cloud.start(key)
    batch_double.wait_for(batch_double.jobs()[0].job_id, "RUNNABLE")
    cloud.tell(batch_double)
    for _ in range(2):
        cloud.hear(RECONCILE, None)
    assert cloud.job(key)["reason"] == "waiting environment_disabled"
    assert cloud.lines(key).count("job.waiting") == 1
    batch_double.set_environment(state="ENABLED")
    batch_double.release_capacity()
    cloud.work(batch_double, key)
    assert cloud.job(key)["state"] == "delivered"


@pytest.mark.parametrize(("backwards", "times"), [(True, 1), (False, 3)], ids=["backwards", "three times"])
def test_news_that_come_late_or_again_change_nothing(
    cloud: Cloud, batch_double: BatchDouble, started: str, backwards: bool, times: int
) -> None:
    batch_double.wait_for(batch_double.jobs()[0].job_id, "SUCCEEDED")
    cloud.tell(batch_double, backwards=backwards, times=times)
    assert cloud.job(started)["state"] == "delivered"
    lines = cloud.lines(started)
    assert len(lines) == len(set(lines))


def test_run_that_lost_its_machine_waits_again_and_goes_on(
    cloud: Cloud, batch_double: BatchDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_double.set_definition(command=SLEEP)
    key = cloud.upload(image())
    cloud.start(key)
    (run,) = batch_double.jobs()
    batch_double.wait_for(run.job_id, "RUNNING")
    batch_double.hold_capacity()
    batch_double.interrupt(run.job_id)
    batch_double.wait_for(run.job_id, "RUNNABLE", attempt=2)
    cloud.tell(batch_double)
    assert cloud.job(key)["state"] == "runnable"
    last = cloud.study(key)["timeline"][-1]
    assert (last["event"], last["detail"]["interruption"]) == ("job.queued", "spot")
    batch_double.release_capacity()
    batch_double.wait_for(run.job_id, "RUNNING", attempt=2)
    cloud.tell(batch_double)
    assert cloud.job(key)["state"] == "running"


def test_queue_that_is_blocked_is_the_reason(cloud: Cloud, batch_double: BatchDouble) -> None:
    batch_double.hold_capacity()
    key = cloud.upload(image())
    cloud.start(key)
    (run,) = batch_double.jobs()
    batch_double.wait_for(run.job_id, "RUNNABLE")
    cloud.tell(batch_double)
    batch_double.block_queue(run.job_id, "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - there are none")
    blocked = event_of(batch_double.events.emitted[-1], "Batch Job Queue Blocked")
    for _ in range(2):
        cloud.hear(blocked, None)
    assert cloud.job(key)["reason"] == "blocked CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
    assert cloud.lines(key).count("job.blocked") == 1


@pytest.mark.parametrize(
    "harm", ["removed", "cut off", "no manifest"], ids=["output removed", "output cut off", "no manifest"]
)
def test_result_that_is_not_whole_fails_the_job(
    cloud: Cloud, batch_double: BatchDouble, started: str, harm: str
) -> None:
    batch_double.wait_for(batch_double.jobs()[0].job_id, "SUCCEEDED")
    name = "manifest.json" if harm == "no manifest" else "labels.nii.gz"
    place = {"Bucket": BUCKET, "Key": f"site/jobs/{started}/{name}"}
    if harm == "cut off":
        cloud.s3.put_object(**place, Body=b"1")
    else:
        cloud.s3.delete_object(**place)
    cloud.tell(batch_double)
    assert (cloud.job(started)["state"], cloud.study(started)["state"]) == ("failed", "failed")
    items = [item for (_, sort), item in cloud.items().items() if "EVENT" not in sort]
    assert all("expires_at" not in item for item in items)


def test_second_job_of_a_run_gives_way_to_its_owner(
    cloud: Cloud, batch_double: BatchDouble, started: str
) -> None:
    """The table has the second one; the first owns the run, and its result counts."""
    (first,) = batch_double.jobs()
    batch_double.wait_for(first.job_id, "SUCCEEDED")
    owner = f"site/jobs/{started}/runs/1/owner.json"
    owned = json.loads(cloud.s3.get_object(Bucket=BUCKET, Key=owner)["Body"].read())
    assert owned["batch_job_id"] == first.job_id
    manifest = {"Bucket": BUCKET, "Key": f"site/jobs/{started}/manifest.json"}
    kept = cloud.s3.get_object(**manifest)["Body"].read()
    cloud.s3.delete_object(**manifest)  # not written yet when the second ends
    other = json.loads(json.dumps(batch_double.events.emitted[-1])) | {"jobId": "b" * 8}
    # An answer that was lost, and found again as the second one:
    table_says = {**other, "status": "RUNNING", "jobId": "b" * 8}
    _forget_queue_id(cloud, started)
    cloud.hear(event_of(table_says), None)
    cloud.hear(event_of(other), None)
    assert cloud.lines(started)[-1] == "job.owned"
    cloud.s3.put_object(**manifest, Body=kept)
    cloud.tell(batch_double)
    assert cloud.job(started)["state"] == "delivered"


def _forget_queue_id(cloud: Cloud, job_key: str) -> None:
    import boto3

    study_key = cloud.job(job_key)["study_key"]
    boto3.resource("dynamodb", region_name="us-east-1").Table(cloud.table).update_item(
        Key={"pk": f"STUDY#{study_key}", "sk": f"JOB#{job_key}"},
        UpdateExpression="SET queue_id = :none",
        ExpressionAttributeValues={":none": ""},
    )


def test_run_of_a_cancelled_upload_that_shows_up_late_is_ended(
    cloud: Cloud, batch_double: BatchDouble
) -> None:
    batch_double.set_definition(command=SLEEP)
    key = cloud.upload(image())
    batch_double.hide_new_jobs(60)
    batch_double.lose_answer()
    cloud.start(key)
    assert cloud.status.post(f"/api/v1/jobs/{key}/cancel").status < 300
    (run,) = batch_double.jobs()
    batch_double.wait_for(run.job_id, "RUNNING")
    cloud.tell(batch_double)
    batch_double.wait_for(run.job_id, "FAILED")
    cloud.tell(batch_double)
    assert cloud.job(key)["state"] == "cancelled"


def test_job_of_a_gateway_or_of_others_is_left_alone(
    cloud: Cloud, batch_double: BatchDouble, started: str, tmp_path: Path, fresh_moto: str
) -> None:
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, cloud.table, site="north")
    ledger.open()
    theirs = ledger.job(ledger.study(1))
    ledger.ship()
    ledger.close()
    batch_double.wait_for(batch_double.jobs()[0].job_id, "SUCCEEDED")
    before = cloud.items()
    detail = batch_double.events.emitted[-1]
    for name in (theirs, "somebodys-job"):
        cloud.hear(event_of({**detail, "jobName": name}), None)
    without_run = {**detail, "container": {**detail["container"], "environment": []}}
    cloud.hear(event_of(without_run), None)
    cloud.hear({**event_of(detail), "source": "aws.ec2"}, None)
    assert cloud.items() == before


def test_event_that_cannot_be_read_is_raised_for_the_dead_letters(cloud: Cloud) -> None:
    with pytest.raises(NotUnderstood):
        cloud.hear(event_of({"jobName": "a"}), None)


def test_news_that_cannot_be_taken_in_are_raised_and_safe_to_hear_again(
    cloud: Cloud, batch_double: BatchDouble, started: str
) -> None:
    batch_double.wait_for(batch_double.jobs()[0].job_id, "SUCCEEDED")
    last = event_of(batch_double.events.emitted[-1])
    place = {"Bucket": BUCKET, "Key": f"site/jobs/{started}/manifest.json"}
    kept = cloud.s3.get_object(**place)["Body"].read()
    for key in cloud.objects(started):
        cloud.s3.delete_object(Bucket=BUCKET, Key=f"site/jobs/{started}/{key}")
    cloud.s3.delete_bucket(Bucket=BUCKET)
    with pytest.raises(OutsideError, match="does not find the bucket"):
        cloud.hear(last, None)
    assert cloud.job(started)["state"] == "submitted"
    cloud.s3.create_bucket(Bucket=BUCKET)
    labels = json.loads(kept)["outputs"]["labels.nii.gz"]["bytes"]
    cloud.s3.put_object(Bucket=BUCKET, Key=f"site/jobs/{started}/labels.nii.gz", Body=b"0" * labels)
    cloud.s3.put_object(**place, Body=kept)
    cloud.hear(last, None)
    assert cloud.job(started)["state"] == "delivered"


# -- what was missed --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_at_once")
def test_missed_events_are_made_up_for(cloud: Cloud, batch_double: BatchDouble, started: str) -> None:
    batch_double.wait_for(batch_double.jobs()[0].job_id, "SUCCEEDED")
    assert cloud.hear(RECONCILE, None) == {"looked_at": 1}
    assert cloud.job(started)["state"] == "delivered"
    assert cloud.hear(RECONCILE, None) == {"looked_at": 0}


def test_young_jobs_are_left_to_their_news(cloud: Cloud, batch_double: BatchDouble, started: str) -> None:
    assert cloud.hear(RECONCILE, None) == {"looked_at": 0}
    assert batch_double.calls("DescribeJobs") == []


@pytest.mark.usefixtures("_at_once")
def test_run_without_an_answer_is_found_by_its_name(cloud: Cloud, batch_double: BatchDouble) -> None:
    key = cloud.upload(image())
    batch_double.lose_answer()
    cloud.start(key)
    batch_double.wait_for(batch_double.jobs()[0].job_id, "SUCCEEDED")
    for _ in range(2):
        cloud.hear(RECONCILE, None)
    assert cloud.job(key)["state"] == "delivered"
    assert len(batch_double.calls("SubmitJob")) == 1


@pytest.mark.usefixtures("_at_once")
def test_run_that_batch_has_forgotten_is_settled_by_what_it_left(
    cloud: Cloud, batch_double: BatchDouble, started: str
) -> None:
    (run,) = batch_double.jobs()
    batch_double.wait_for(run.job_id, "SUCCEEDED")
    lost = cloud.upload(image(9))
    cloud.start(lost)
    (other,) = batch_double.jobs(lost)
    batch_double.wait_for(other.job_id, "SUCCEEDED")
    cloud.s3.delete_object(Bucket=BUCKET, Key=f"site/jobs/{lost}/manifest.json")
    with batch_double.life.lock:
        batch_double.life.jobs.clear()
    assert cloud.hear(RECONCILE, None) == {"looked_at": 2}
    assert (cloud.job(started)["state"], cloud.job(lost)["state"]) == ("delivered", "failed")


@pytest.mark.usefixtures("_at_once")
def test_run_that_was_refused_is_begun_again_and_trouble_is_raised_at_the_end(
    cloud: Cloud, batch_double: BatchDouble, started: str
) -> None:
    refused = cloud.upload(image(9))
    batch_double.deny("SubmitJob")
    assert cloud.status.post(f"/api/v1/nifti/{refused}/start").status == 503
    batch_double.wait_for(batch_double.jobs()[0].job_id, "SUCCEEDED")
    with pytest.raises(OutsideError, match="SubmitJob"):
        cloud.hear(RECONCILE, None)
    assert cloud.job(started)["state"] == "delivered"
    batch_double.forgive()
    cloud.hear(RECONCILE, None)
    assert cloud.job(refused)["state"] == "submitted"


def test_function_without_a_queue_is_refused_with_the_setting(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_QUEUE__BACKEND", "local")
    with pytest.raises(ConfigError, match=r"queue\.backend = 'batch'"):
        load_handler(NEWS_HANDLER)
