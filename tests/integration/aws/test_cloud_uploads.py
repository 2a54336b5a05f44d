"""Images given to the cloud itself: asked, put, started once; what people do afterwards."""

import base64
import gzip
import hashlib
import json
import sys
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from batch_job.contract import JobRequest
from gateway.adapters.mirror import OPEN_SINCE, counters_in
from gateway.api import models
from gateway.cloud.parts import cloud_parts
from gateway.config import read_config
from gateway.ledger.states import JobState
from tests.cloud_status import VIEWER, Function
from tests.cloud_uploads import BUCKET, QUICK_JOB, Cloud, image
from tests.doubles.batch import MAIN_QUEUE, BatchDouble
from tests.mirrored_ledger import MirroredLedger, make_table

IMAGE = image()
DIGEST = hashlib.sha256(IMAGE).hexdigest()
SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")

pytestmark = pytest.mark.usefixtures("quick_sessions")


@pytest.fixture
def cloud(fresh_moto: str, batch_double: BatchDouble, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    batch_double.set_definition(command=SLEEP)
    return Cloud(monkeypatch, fresh_moto)


@pytest.fixture
def planned(cloud: Cloud) -> str:
    """An upload whose file is there."""
    return cloud.upload(IMAGE)


# -- asking -----------------------------------------------------------------------------------------------


def test_tasks_in_the_cloud_are_the_engines_and_files_are_put(cloud: Cloud) -> None:
    answer = cloud.status.get("/api/v1/tasks").json()
    models.TaskList.model_validate(answer)
    assert (answer["takes"], answer["engine"], answer["default_task"]) == ("put", "threshold", "tissue")
    assert answer["items"] == [
        {"task": "tissue", "modality": "CT", "is_licensed": False, "variants": ["fast"]}
    ]


def test_upload_is_written_down_and_answered_with_a_place_for_exactly_that_file(cloud: Cloud) -> None:
    answer = cloud.ask(IMAGE)
    models.Upload.model_validate(answer)
    url = urlsplit(answer["put"]["url"])
    query = parse_qs(url.query)
    signed = set(query["X-Amz-SignedHeaders"][0].split(";"))
    assert signed == {"host", "content-length", *answer["put"]["headers"]}
    assert answer["put"]["headers"] == {
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(IMAGE).digest()).decode(),
        "x-amz-sdk-checksum-algorithm": "SHA256",
        "x-amz-tagging": "Application=iris-oculus&iris=input",
    }
    assert query["X-Amz-Expires"] == ["900"]
    assert url.path == f"/{BUCKET}/site/jobs/{answer['job_key']}/input.nii.gz"
    study = cloud.study(answer["job_key"])
    models.Study.model_validate(study)
    assert (study["state"], study["jobs"][0]["state"], study["study_key"]) == (
        "receiving", "planned", answer["study_key"],
    )  # fmt: skip
    assert cloud.lines(answer["job_key"]) == ["job.planned"]


def test_place_in_a_bucket_with_a_key_of_its_own_is_sealed_with_it(
    fresh_moto: str, batch_double: BatchDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(monkeypatch, fresh_moto, {"IRIS_OBJECTS__KMS_KEY": "alias/iris"})
    put = cloud.ask(IMAGE)["put"]
    sealing = {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/iris",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
    }
    assert sealing.items() <= put["headers"].items()
    [signed] = parse_qs(urlsplit(put["url"]).query)["X-Amz-SignedHeaders"]
    assert set(sealing) <= set(signed.split(";"))


def test_items_of_an_upload_are_the_mirrors_and_expire_soon(cloud: Cloud) -> None:
    answer = cloud.ask(IMAGE)
    items = cloud.items()
    partition = f"STUDY#{answer['study_key']}"
    study, job = items[partition, "STUDY"], items[partition, f"JOB#{answer['job_key']}"]
    event = items[partition, "EVENT#000000000001"]
    assert {item["site"] for item in items.values()} == {"cloud"}
    assert study["version"] == job["version"] == event["version"] > 10**20
    assert 0 < job["expires_at"] - study["expires_at"] + 1 <= 1
    assert event["expires_at"] > study["expires_at"] + 80 * 24 * 3600
    assert "updated_at" in study
    assert "updated_at" not in job
    assert "job_key" not in study | event
    assert (event["event"], event["details"]) == ("job.planned", {"task": "tissue"})


def test_same_wish_gets_the_same_job_and_another_one_another(cloud: Cloud) -> None:
    first = cloud.ask(IMAGE)
    again = cloud.ask(IMAGE, task="tissue", options='{"fast": false}')
    assert (again["job_key"], again["study_key"]) == (first["job_key"], first["study_key"])
    others = [cloud.ask(IMAGE, options='{"fast": true}'), cloud.ask(image(9))]
    assert len({first["job_key"], *(other["job_key"] for other in others)}) == 3
    assert cloud.lines(first["job_key"]) == ["job.planned"]


def test_upload_whose_file_is_there_already_needs_no_place(cloud: Cloud, planned: str) -> None:
    assert cloud.ask(IMAGE) == {
        "job_key": planned, "study_key": cloud.job(planned)["study_key"], "state": "planned", "put": None,
    }  # fmt: skip


def test_wish_that_cannot_be_fulfilled_is_refused_with_the_way_out(cloud: Cloud) -> None:
    wishes: list[tuple[dict[str, Any], str]] = [
        ({"bytes": 5}, "give sha256 and bytes"),
        ({"sha256": DIGEST}, "give sha256 and bytes"),
        ({"sha256": DIGEST, "bytes": 3_000_000_000}, "give it to a gateway"),
        ({"sha256": DIGEST, "bytes": 5, "task": "brain"}, "it has: tissue"),
        ({"sha256": DIGEST, "bytes": 5, "options": '{"speed": 1}'}, "it has: fast"),
        ({"sha256": DIGEST, "bytes": 5, "options": "fast"}, "options are a JSON object"),
    ]
    for form, words in wishes:
        answer = cloud.status.post("/api/v1/nifti", **form)
        assert (answer.status, answer.headers["content-type"]) == (409, "application/problem+json")
        assert words in answer.json()["detail"]
    assert cloud.items() == {}


def test_viewer_may_not_upload(cloud: Cloud) -> None:
    answer = cloud.status.post("/api/v1/nifti", VIEWER, sha256=DIGEST, bytes=5)
    assert (answer.status, "admin" in answer.json()["detail"]) == (403, True)


def test_status_without_a_queue_takes_no_images_and_says_what_to_set(
    fresh_moto: str, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = Function(monkeypatch, make_table(fresh_moto))
    answer = function.get("/api/v1/tasks")
    assert (answer.status, "queue.backend = 'batch'" in answer.json()["detail"]) == (501, True)


# -- starting ---------------------------------------------------------------------------------------------


def test_start_writes_the_request_and_submits_with_the_gateways_tags(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    assert cloud.start(planned) == "submitted"
    (wish,) = batch_double.calls("SubmitJob")
    assert (wish["jobName"], wish["jobQueue"]) == (planned, MAIN_QUEUE)
    assert wish["containerOverrides"] == {
        "command": [f"s3://{BUCKET}/site/jobs/{planned}/"],
        "environment": [{"name": "IRIS_RUN", "value": "1"}],
    }
    assert wish["tags"] == {"Application": "iris-oculus", "rule": "upload", "site": "cloud"}
    content = cloud.s3.get_object(Bucket=BUCKET, Key=f"site/jobs/{planned}/request.json")["Body"].read()
    request = JobRequest.from_json(content)
    assert (request.task, request.options, request.input.sha256) == ("tissue", {"fast": False}, DIGEST)
    assert cloud.study(planned)["state"] == "processing"
    assert cloud.lines(planned) == ["job.planned", "study.completed", "job.submitted", "job.accepted"]
    assert all("expires_at" not in item for (_, sort), item in cloud.items().items() if "EVENT" not in sort)


def test_start_twice_is_one_run(cloud: Cloud, batch_double: BatchDouble, planned: str) -> None:
    assert [cloud.start(planned) for _ in range(3)] == ["submitted"] * 3
    assert len(batch_double.calls("SubmitJob")) == 1


def test_start_that_read_the_job_before_another_began_it_begins_nothing(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    parts = cloud_parts(read_config())
    assert parts is not None
    read_before = parts.jobs.get(planned)
    assert read_before is not None
    cloud.start(planned)
    found = parts.runs.begin(read_before)
    assert (found.state, found.run) == (JobState.SUBMITTED, 1)
    assert len(batch_double.calls("SubmitJob")) == 1


def test_start_before_the_file_is_there_is_refused(cloud: Cloud, batch_double: BatchDouble) -> None:
    key = cloud.ask(IMAGE)["job_key"]
    answer = cloud.status.post(f"/api/v1/nifti/{key}/start")
    assert (answer.status, "upload the image again" in answer.json()["detail"]) == (409, True)
    cloud.s3.put_object(
        Bucket=BUCKET, Key=f"site/jobs/{key}/input.nii.gz", Body=image(9), ChecksumAlgorithm="SHA256"
    )
    assert cloud.status.post(f"/api/v1/nifti/{key}/start").status == 409
    assert batch_double.calls("SubmitJob") == []
    assert cloud.job(key)["state"] == "planned"


def test_file_that_is_no_image_is_refused_before_a_machine_is_paid_for(
    cloud: Cloud, batch_double: BatchDouble
) -> None:
    for content, words in (
        (gzip.decompress(IMAGE), "send it as .nii.gz"),
        (gzip.compress(b"no image" * 100), "is no NIfTI image"),
        (IMAGE[:10] + b"\xff" * 40, "cannot be unpacked"),
        (gzip.compress(gzip.decompress(IMAGE).replace(b"n+1", b"ni1")), "is no NIfTI image"),
    ):
        key = cloud.upload(content)
        answer = cloud.status.post(f"/api/v1/nifti/{key}/start")
        assert (answer.status, words in answer.json()["detail"]) == (409, True), words
    assert batch_double.calls("SubmitJob") == []


def test_start_of_an_unknown_key_is_not_found_and_of_a_gateways_names_it(
    cloud: Cloud, tmp_path: Any, fresh_moto: str
) -> None:
    assert cloud.status.post("/api/v1/nifti/none/start").status == 404
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, cloud.table, site="north")
    ledger.open()
    key = ledger.job(ledger.study(1))
    ledger.ship()
    ledger.close()
    answer = cloud.status.post(f"/api/v1/nifti/{key}/start")
    assert (answer.status, "the gateway north" in answer.json()["detail"]) == (501, True)


# -- one effective run ------------------------------------------------------------------------------------


def test_run_whose_answer_was_lost_is_found_and_not_submitted_again(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    batch_double.lose_answer()
    assert cloud.start(planned) == "submitted"
    assert "job.unanswered" in cloud.lines(planned)
    assert cloud.start(planned) == "submitted"
    assert len(batch_double.calls("SubmitJob")) == len(batch_double.jobs()) == 1
    assert cloud.lines(planned)[-1] == "job.adopted"


@pytest.mark.parametrize(("unseen_s", "submitted"), [("60", 1), ("0", 2)])
def test_run_that_nobody_saw_is_submitted_again_only_when_it_stayed_unseen(
    fresh_moto: str, batch_double: BatchDouble, monkeypatch: pytest.MonkeyPatch, unseen_s: str, submitted: int
) -> None:
    batch_double.set_definition(command=SLEEP)
    cloud = Cloud(monkeypatch, fresh_moto, {"IRIS_QUEUE__UNSEEN_S": unseen_s})
    key = cloud.upload(IMAGE)
    batch_double.lose_request()
    cloud.start(key)
    assert cloud.start(key) == "submitted"
    assert len(batch_double.calls("SubmitJob")) == submitted
    assert ("job.submitted_again" in cloud.lines(key)) == (submitted == 2)
    assert {
        wish["containerOverrides"]["environment"][0]["value"] for wish in batch_double.calls("SubmitJob")
    } == {"1"}


def test_run_that_batch_refuses_is_said_and_begun_again_later(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    batch_double.deny("SubmitJob")
    answer = cloud.status.post(f"/api/v1/nifti/{planned}/start")
    assert (answer.status, "AWS denies batch:SubmitJob" in answer.json()["detail"]) == (503, True)
    assert (cloud.job(planned)["state"], cloud.job(planned)["reason"]) == ("staged", "run_lost")
    batch_double.forgive()
    cloud.hear({"reconcile": True}, None)
    assert cloud.job(planned)["state"] == "staged"  # it is young yet
    assert cloud.start(planned) == "submitted"


# -- afterwards -------------------------------------------------------------------------------------------


def test_cancelled_upload_ends_at_batch_and_can_be_wanted_again(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    cloud.start(planned)
    (run,) = batch_double.jobs()
    batch_double.wait_for(run.job_id, "RUNNING")
    assert cloud.status.post(f"/api/v1/jobs/{planned}/cancel").json()["state"] == "cancelled"
    batch_double.wait_for(run.job_id, "FAILED")
    cloud.tell(batch_double)
    study = cloud.study(planned)
    assert (study["state"], study["reason"], study["jobs"][0]["state"]) == ("done", "cancelled", "cancelled")
    assert cloud.status.post(f"/api/v1/jobs/{planned}/retry").json()["state"] == "submitted"
    assert batch_double.calls("SubmitJob")[1]["containerOverrides"]["environment"][0]["value"] == "2"
    assert "job.replanned" in cloud.lines(planned)


def test_failed_upload_is_retried_as_the_next_run(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    batch_double.set_definition(command=(sys.executable, str(QUICK_JOB)))
    cloud.plan(planned, b'{"exit": 2}')
    cloud.start(planned)
    cloud.work(batch_double, planned)
    assert (cloud.job(planned)["state"], cloud.job(planned)["reason"]) == ("failed", "failed exit=2")
    assert cloud.study(planned)["reason"] == "job_failed exit=2"
    cloud.plan(planned, b"{}")
    assert cloud.status.post(f"/api/v1/jobs/{planned}/retry").status < 300
    cloud.work(batch_double, planned)
    assert (cloud.job(planned)["state"], cloud.job(planned)["attempts"]) == ("delivered", 2)


def test_actions_that_do_not_fit_are_refused(cloud: Cloud, planned: str) -> None:
    study_key = cloud.job(planned)["study_key"]
    for path, words in (
        (f"jobs/{planned}/retry", "the job is planned"),
        (f"studies/{study_key}/complete", "this is an upload"),
    ):
        answer = cloud.status.post(f"/api/v1/{path}")
        assert (answer.status, words in answer.json()["detail"]) == (409, True)
    choice = {"series_uid": "1.2.3", "number": 1}
    answer = cloud.status.post_json(f"/api/v1/studies/{study_key}/use", choice)
    assert (answer.status, "nothing to choose" in answer.json()["detail"]) == (409, True)


def test_upload_is_erased_with_all_versions_of_its_files_and_all_its_items(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    cloud.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    batch_double.set_definition(command=(sys.executable, str(QUICK_JOB)))
    cloud.start(planned)
    cloud.work(batch_double, planned)
    study_key = cloud.job(planned)["study_key"]
    answer = cloud.status.delete(f"/api/v1/studies/{study_key}")
    assert (answer.status, answer.json()["state"]) == (202, "forgotten")
    assert answer.json()["sentence"].startswith("The upload is erased: ")
    assert _numbers(cloud) == ({}, None)
    left = cloud.s3.list_object_versions(Bucket=BUCKET, Prefix=f"site/jobs/{planned}/")
    assert (left.get("Versions"), left.get("DeleteMarkers")) == (None, None)
    assert cloud.status.get(f"/api/v1/studies/{study_key}").status == 404
    assert cloud.status.delete(f"/api/v1/studies/{study_key}").status == 404
    cloud.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def test_upload_that_runs_is_ended_before_it_is_erased(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    batch_double.hold_capacity()
    cloud.start(planned)
    study_key = cloud.job(planned)["study_key"]
    path = f"/api/v1/studies/{study_key}"
    batch_double.lose_request("TerminateJob", times=None)
    assert cloud.status.delete(path).status >= 500
    batch_double.forgive()
    while (answer := cloud.status.delete(path)).status == 409:
        assert "being ended" in answer.json()["detail"]
    assert answer.json()["state"] == "forgotten"
    assert _numbers(cloud) == ({}, None)
    assert batch_double.jobs()[0].status == "FAILED"


def test_running_uploads_progress_is_that_of_its_file(
    cloud: Cloud, batch_double: BatchDouble, planned: str, eventually: Callable[..., None]
) -> None:
    cloud.start(planned)
    batch_double.wait_for(batch_double.jobs()[0].job_id, "RUNNING")
    cloud.tell(batch_double)
    progress = {
        "contract": 1,
        "stage": "segment",
        "fraction": 0.4,
        "eta_s": None,
        "at": "2026-01-31T08:00:00Z",
    }
    cloud.s3.put_object(
        Bucket=BUCKET, Key=f"site/jobs/{planned}/progress.json", Body=json.dumps(progress).encode()
    )
    assert cloud.job(planned)["progress"] == {"stage": "segment", "fraction": 0.4}
    assert cloud.study(planned)["jobs"][0]["progress"]["fraction"] == 0.4


def test_result_that_is_there_already_is_taken_without_a_run(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    batch_double.set_definition(command=(sys.executable, str(QUICK_JOB)))
    cloud.start(planned)
    cloud.work(batch_double, planned)
    for partition, sort in cloud.items():  # it expired
        _delete(cloud, partition, sort)
    again = cloud.ask(IMAGE)
    assert (again["job_key"], again["put"]) == (planned, None)
    assert cloud.start(planned) == "delivered"
    assert len(batch_double.calls("SubmitJob")) == 1
    answer = cloud.status.get(f"/api/v1/jobs/{planned}/labels.nii.gz")
    with urllib.request.urlopen(answer.headers["location"], timeout=60) as labels:
        assert labels.read().startswith(b"\x1f\x8b")


def _delete(cloud: Cloud, partition: str, sort: str) -> None:
    import boto3

    table = boto3.resource("dynamodb", region_name="us-east-1").Table(cloud.table)
    table.delete_item(Key={"pk": partition, "sk": sort})


def _numbers(cloud: Cloud) -> tuple[dict[tuple[str, str], int], object]:
    """The counts of the cloud's own uploads but for those that are 0, and since when any is open."""
    item = cloud.items().get(("COUNTS", "SITE#cloud"), {})
    counted = {counted: int(number) for counted, number in counters_in(item).items() if number}
    return counted, item.get(OPEN_SINCE)


def test_uploads_count_in_the_metrics_from_when_somebody_starts_them(
    cloud: Cloud, batch_double: BatchDouble, planned: str
) -> None:
    assert _numbers(cloud) == ({}, None)
    cloud.start(planned)
    counted, since = _numbers(cloud)
    assert counted == {("study", "processing"): 1, ("job", "submitted"): 1, ("instance", ""): 1}
    assert since is not None
    assert 'iris_studies{state="processing"} 1.0' in cloud.status.get("/metrics").content.decode()
    cloud.status.post(f"/api/v1/jobs/{planned}/cancel")
    counted, since = _numbers(cloud)
    assert counted == {("study", "done"): 1, ("job", "cancelled"): 1, ("instance", ""): 1}
    assert since is None
