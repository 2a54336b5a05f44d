"""What the present web client sees of a gateway's studies: its own functions' reads, against moto."""

import hashlib
import io
import json
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Key

from batch_job.contract import LABELS_NAME, MANIFEST_NAME, EngineInfo, Manifest, OutputFile
from gateway.adapters.aws.dynamodb_web import WebTable
from gateway.adapters.aws.s3 import BucketStore
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.mirror import Mirror
from gateway.adapters.objects import job_object
from gateway.adapters.queue import Lane
from gateway.config import Config
from gateway.ledger.erasing import forget, request_forget
from gateway.ledger.runs import begin_run
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.mirror.backend import mirror_worker
from gateway.mirror.web_artifacts import WebArtifacts
from gateway.mirror.web_client import WebClientMirror, web_id
from tests.mirrored_ledger import MirroredLedger, dynamodb, make_table

pytestmark = pytest.mark.usefixtures("aws_environment")

USER = "5e0c7a52-1111-2222-3333-444455556666"
FILES = {
    "surface.obj": b"# IRIS Gateway\nmtllib surface.mtl\no spleen\n",
    "surface.mtl": b"newmtl spleen\n",
    "surface.json": b'{"structures": []}',
}
LABELS = b"a label map"
PATIENT = ("PID1", "ACC1", "1.2.826.0.1.1", "20260131", "CT ABDOMEN", "PORTAL", "TELLTALE")


@dataclass
class Client:
    """The reads of the present web client's functions (iris-web), of its table and its bucket."""

    table: str
    bucket: str
    user: str = USER
    items: Any = field(init=False)

    def __post_init__(self) -> None:
        self.items = boto3.resource("dynamodb").Table(self.table)

    def my_images(self) -> list[dict[str, Any]]:
        """GET /my-images."""
        found = self.items.query(
            IndexName="userId-createdAt-index",
            KeyConditionExpression=Key("userId").eq(self.user),
            ScanIndexForward=False,
        )
        return list(found["Items"])

    def job(self, job_id: str) -> dict[str, Any] | None:
        """GET /jobs/{jobId}."""
        found: dict[str, Any] | None = self.items.get_item(Key={"jobId": job_id}).get("Item")
        return found

    def file(self, job_id: str, name: str) -> bytes:
        """GET /files/{jobId}/{filename}, and what its answer leads to."""
        wanted = {"Bucket": self.bucket, "Key": f"results/{job_id}/{name}"}
        with urllib.request.urlopen(
            boto3.client("s3").generate_presigned_url("get_object", wanted)
        ) as answer:
            return bytes(answer.read())

    def keys(self) -> list[str]:
        listed = boto3.client("s3").list_objects_v2(Bucket=self.bucket, Prefix="results/")
        return [each["Key"] for each in listed.get("Contents", [])]


@dataclass
class Site:
    """A mirrored ledger, the job folders of its jobs, and the client."""

    ledger: MirroredLedger
    jobs: BucketStore
    client: Client

    def result(self, job_key: str, outputs: tuple[str, ...] = ("seg", "surface")) -> str:
        """The job's result in its folder and in the ledger; the key of its delivery."""
        told = OutputFile(
            sha256=hashlib.sha256(LABELS).hexdigest(), bytes=len(LABELS), path="attempts/1/labels"
        )
        manifest = Manifest(
            job_key=job_key, outputs={LABELS_NAME: told}, labels={1: "spleen"}, seconds={}, peak_rss_mb=1,
            engine=EngineInfo(name="threshold", version="1", weights=""), attempt=1,
        )  # fmt: skip
        self.jobs.put(job_object(job_key, told.path or ""), LABELS)
        self.jobs.put(job_object(job_key, MANIFEST_NAME), manifest.to_json())
        for name, content in FILES.items() if "surface" in outputs else ():
            self.jobs.put(job_object(job_key, name), content)
        with self.ledger.ledger.transaction() as transaction:
            transaction.update("jobs", "job_key", job_key, {"outputs": outputs})
        return self.ledger.encode(job_key)


@pytest.fixture
def site(tmp_path: Path, fresh_moto: str) -> Iterator[Site]:
    bucket, table = f"iris-{uuid.uuid4().hex[:12]}", f"iris-web-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    boto3.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "jobId", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": "jobId", "AttributeType": "S"},
            {"AttributeName": "userId", "AttributeType": "S"},
            {"AttributeName": "createdAt", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "userId-createdAt-index",
                "KeySchema": [
                    {"AttributeName": "userId", "KeyType": "HASH"},
                    {"AttributeName": "createdAt", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    session = AwsSession("us-east-1")
    jobs, web = BucketStore(session, bucket, "gateway"), BucketStore(session, bucket)

    def wrap(own: Mirror) -> Mirror:
        return WebClientMirror(own, WebTable(dynamodb(fresh_moto), table), WebArtifacts(jobs, web), USER)

    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, make_table(fresh_moto), wrap)
    ledger.open()
    yield Site(ledger, jobs, Client(table, bucket))
    ledger.close()


def test_client_lists_a_study_and_serves_its_surface_when_it_is_there(site: Site) -> None:
    job = site.ledger.job(site.ledger.study())
    site.ledger.ship()
    (item,) = site.client.my_images()
    job_id = item["jobId"]
    assert job_id == web_id(job)
    assert len(job_id) == len("aws-") + 12
    assert (item["status"], item["artifacts"], "errorMessage" in item) == ("pending", {}, False)
    bucket = site.client.bucket
    assert item["inputFile"] == f"s3://{bucket}/gateway/jobs/{job}/input.nii.gz"
    site.ledger.move(job, JobEvent.SUBMITTED, run=1, columns={"run": 1})
    site.ledger.ship()
    assert [each["status"] for each in site.client.my_images()] == ["queued"]
    delivery = site.result(job)
    site.ledger.ship()
    done = site.client.job(job_id)
    assert done is not None
    assert (done["status"], done["createdAt"]) == ("completed", item["createdAt"])
    assert done["updatedAt"] >= item["updatedAt"]
    assert done["artifacts"] == done["expectedArtifacts"] == {
        "obj": f"s3://{bucket}/results/{job_id}/Result.obj",
        "mtl": f"s3://{bucket}/results/{job_id}/materials.mtl",
        "json": f"s3://{bucket}/results/{job_id}/Result.json",
        "zip": f"s3://{bucket}/results/{job_id}/result.zip",
    }  # fmt: skip
    served = {
        name: site.client.file(job_id, name)
        for name in ("Result.obj", "materials.mtl", "Result.json", "segmentations.nii.gz")
    }
    assert served["Result.obj"] == b"# IRIS Gateway\nmtllib materials.mtl\no spleen\n"
    assert json.loads(served["Result.json"]) == {"structures": []}
    assert served["segmentations.nii.gz"] == LABELS
    with zipfile.ZipFile(io.BytesIO(site.client.file(job_id, "result.zip"))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == served
    with site.ledger.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    site.ledger.ship()
    over = site.client.job(job_id)
    assert over is not None
    assert over["ttl"] > over["updatedAt"]
    shown = json.dumps([item, done, over], default=str)
    assert [word for word in PATIENT if word in shown] == []


def test_gateway_that_is_configured_so_writes_into_both_tables(site: Site) -> None:
    config = Config(
        aws={"endpoint_url": site.ledger.url},
        objects={"backend": "s3", "bucket": site.client.bucket, "prefix": "gateway"},
        mirror={
            "backend": "dynamodb", "table": site.ledger.table, "layout": "iris-web",
            "web_table": site.client.table, "web_user": USER,
        },
        rule=[{"name": "ct", "outputs": ["surface"]}],
    )  # fmt: skip
    worker = mirror_worker(config, site.ledger.ledger, site.ledger.bus)
    assert worker is not None
    job = site.ledger.job(site.ledger.study())
    site.result(job)
    worker.work()
    assert [each["status"] for each in site.client.my_images()] == ["completed"]
    assert site.ledger.item(f"JOB#{job}")["outputs"][-1] == "surface.json"
    assert site.client.file(web_id(job), "Result.json") == FILES["surface.json"]


def test_client_is_told_of_a_failure_by_its_code_and_of_the_queues_own_name(site: Site) -> None:
    job = site.ledger.job(site.ledger.study())
    with site.ledger.ledger.transaction() as transaction:
        transaction.move_job(job, JobEvent.SUBMITTED, columns={"run": 1})
        begin_run(transaction, job, 1, Lane.MAIN, backend="batch")
        transaction.execute("UPDATE runs SET queue_id = 'batch-id-1'")
    site.ledger.move(job, JobEvent.FAILED, reason="a sentence of the engine's", exit_code=2)
    site.ledger.ship()
    item = site.client.job(web_id(job))
    assert item is not None
    assert (item["status"], item["errorMessage"]) == ("failed", "failed exit=2")
    assert item["batchJobId"] == "batch-id-1"


def test_files_are_copied_once_and_result_without_surface_has_what_there_is(site: Site) -> None:
    job = site.ledger.job(site.ledger.study())
    site.result(job, outputs=("seg",))
    site.ledger.ship()
    job_id = web_id(job)
    item = site.client.job(job_id)
    assert item is not None
    assert list(item["artifacts"]) == ["zip"]
    assert site.client.keys() == [f"results/{job_id}/result.zip", f"results/{job_id}/segmentations.nii.gz"]
    boto3.client("s3").delete_object(Bucket=site.client.bucket, Key=f"results/{job_id}/segmentations.nii.gz")
    site.ledger.progress(job, 1.0)
    site.ledger.age(60)
    site.ledger.ship()
    assert site.client.keys() == [f"results/{job_id}/result.zip"]  # nothing changed: nothing is copied


def test_forgotten_study_is_gone_from_the_clients_table_and_bucket(site: Site) -> None:
    uid = site.ledger.study()
    job = site.ledger.job(uid)
    site.result(job)
    site.ledger.ship()
    assert len(site.client.keys()) == 5
    with site.ledger.ledger.transaction() as transaction:
        request_forget(transaction, uid)
    with site.ledger.ledger.transaction() as transaction:
        assert forget(transaction, uid, lambda _: False)
    site.ledger.ship()
    assert site.client.my_images() == []
    assert site.client.keys() == []


def test_result_that_was_removed_here_has_no_files_there(site: Site) -> None:
    uid = site.ledger.study()
    job = site.ledger.job(uid)
    site.result(job)
    site.ledger.ship()
    with site.ledger.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", job, {"results_removed_at": "2026-11-30T00:00:00.000000Z"})
        transaction.note("study.results_removed", study_uid=uid)
    site.ledger.ship()
    item = site.client.job(web_id(job))
    assert item is not None
    assert (item["status"], item["artifacts"]) == ("completed", {})
    assert site.client.keys() == []


def test_late_item_and_one_of_the_clients_own_change_nothing(site: Site) -> None:
    job = site.ledger.job(site.ledger.study())
    site.ledger.ship()
    item = site.client.job(web_id(job))
    assert item is not None
    table = WebTable(dynamodb(site.ledger.url), site.client.table)
    table.put({**item, "status": "late", "version": int(item["version"]) - 1})
    table.remove(item["jobId"], int(item["version"]))
    assert site.client.job(item["jobId"]) == item
    site.client.items.put_item(Item={"jobId": "aws-000000000000", "userId": USER, "createdAt": 1})
    table.put({"jobId": "aws-000000000000", "userId": "other", "version": 10**30})
    table.remove("aws-000000000000", 10**30)
    own = site.client.job("aws-000000000000")
    assert own is not None
    assert own["userId"] == USER
