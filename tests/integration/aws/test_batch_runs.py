"""The real batch job under the Batch double, its folder in moto: done, and done after an interruption."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import nibabel as nib
import numpy as np
import pytest

from batch_job.contract import Manifest
from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.queue import JobTicket, RunEnded
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble

BUCKET = "iris-batch-runs"
KEY = "5f" * 32
FOLDER = f"jobs/{KEY}/"
PARTS_JOB = Path(__file__).parents[1] / "batch_job" / "parts_job.py"
"""The real job with an engine of three parts, which waits where it is told to."""


@pytest.fixture
def bucket(aws_environment: dict[str, str], tmp_path: Path) -> Any:
    """A job folder with a small CT of air and one block of soft tissue, ready to run."""
    voxels = np.full((24, 20, 6), -1000, np.int16)
    voxels[6:18, 5:15] = 50
    nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4, 5, 1])), tmp_path / "input.nii.gz")
    content = (tmp_path / "input.nii.gz").read_bytes()
    request = {
        "contract": 1,
        "job_key": KEY,
        "task": "tissue",
        "engine": "threshold",
        "options": {},
        "input": {"name": "input.nii.gz", "sha256": hashlib.sha256(content).hexdigest()},
    }
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    stale = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    for each in stale:
        client.delete_object(Bucket=BUCKET, Key=each["Key"])
    client.put_object(Bucket=BUCKET, Key=FOLDER + "input.nii.gz", Body=content)
    client.put_object(Bucket=BUCKET, Key=FOLDER + "request.json", Body=json.dumps(request).encode())
    return client


@pytest.fixture
def queue(aws_session: AwsSession) -> BatchQueue:
    return BatchQueue(aws_session, BatchSettings(LaneSettings(MAIN_QUEUE, DEFINITION), None, site="demo"))


def manifest(client: Any) -> Manifest:
    return Manifest.from_json(client.get_object(Bucket=BUCKET, Key=FOLDER + "manifest.json")["Body"].read())


def test_run_leaves_its_result_and_its_owner_in_the_bucket(
    batch_double: BatchDouble, queue: BatchQueue, bucket: Any
) -> None:
    job_id = queue.submit(JobTicket(KEY, 1, f"s3://{BUCKET}/{FOLDER}", 0))
    batch_double.wait_for(job_id, "SUCCEEDED", timeout_s=120)
    assert manifest(bucket).attempt == 1
    owner = json.loads(bucket.get_object(Bucket=BUCKET, Key=FOLDER + "runs/1/owner.json")["Body"].read())
    assert owner["batch_job_id"] == job_id


def test_interrupted_run_goes_on_in_its_next_attempt_from_what_was_finished(
    batch_double: BatchDouble,
    queue: BatchQueue,
    bucket: Any,
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("PARTS_LOG", str(log))
    monkeypatch.setenv("PARTS_WAIT_AT", "low")
    batch_double.set_definition(command=(sys.executable, str(PARTS_JOB)))
    job_id = queue.submit(JobTicket(KEY, 1, f"s3://{BUCKET}/{FOLDER}", 0))
    eventually(lambda: log.exists() and "waits after low" in log.read_text(), 60)
    batch_double.hold_capacity()
    batch_double.interrupt(job_id, notice_s=20, host_is_named=False)
    batch_double.wait_for(job_id, "RUNNABLE", attempt=2, timeout_s=60)
    monkeypatch.delenv("PARTS_WAIT_AT")
    batch_double.release_capacity()
    job = batch_double.wait_for(job_id, "SUCCEEDED", "FAILED", timeout_s=120)
    assert [attempt.exit_code for attempt in job.attempts] == [143, 0]
    assert log.read_text().split("\n")[:-1] == ["low", "waits after low", "middle", "high"]
    (news,) = queue.look([job_id])
    assert isinstance(news, RunEnded)
    assert (news.exit_code, news.attempt) == (0, 2)
    assert manifest(bucket).attempt == 2


def test_second_job_of_a_run_leaves_it_to_the_first(
    batch_double: BatchDouble, queue: BatchQueue, bucket: Any
) -> None:
    ticket = JobTicket(KEY, 1, f"s3://{BUCKET}/{FOLDER}", 0)
    batch_double.run_at_most(1)
    first, second = queue.submit(ticket), queue.submit(ticket)
    batch_double.wait_for(second, "SUCCEEDED", timeout_s=120)
    assert batch_double.job(first).status == "SUCCEEDED"
    owner = json.loads(bucket.get_object(Bucket=BUCKET, Key=FOLDER + "runs/1/owner.json")["Body"].read())
    assert owner["batch_job_id"] == first
    assert manifest(bucket).attempt == 1
