"""What each actor really asks AWS for, beside what its role allows: nothing missing, nothing unused.

The template is deployed to moto; gateway, job and functions work there with the names of the stack, and each
call is judged by the statements of the role, with its resource. The machines' role and the agent's are not
here, nor the schedule's: what uses them is AWS's own program.
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest
from boto3.s3.transfer import TransferConfig

import batch_job.bucket
import gateway.adapters.aws.s3
from batch_job.bucket import BucketPlace
from batch_job.errors import ComeBackLater
from gateway.adapters.aws.sqs_news import SqsNews
from gateway.adapters.checks import Verdict
from gateway.adapters.dicom.peer import parse_peer
from gateway.adapters.errors import OutsideError
from gateway.api.studies.study_filter import StudyQuery
from gateway.app import App
from gateway.backends.aws import the_session
from gateway.backends.stores import open_store
from gateway.cloud.news import UploadNews
from gateway.commands.doctor_aws import examine_aws
from gateway.commands.mirror_rebuild import rebuild_mirror
from gateway.commands.stack_config import config_of_stack
from gateway.commands.status_client import StatusClient
from gateway.config import Config, load_config
from gateway.delivery.sending import send_files
from gateway.events import Bus
from gateway.files.names import API_ADDRESS_NAME, DICOM_ADDRESS_NAME
from gateway.running.hearing import Hearing
from tests.cloud import DEADLINE_S, REGION
from tests.cloud_status import Function, load_handler
from tests.cloud_uploads import NEWS_HANDLER, QUICK_JOB, Cloud, event_of, image
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, ON_DEMAND, SPOT, BatchDouble
from tests.doubles.batch_jobs import Definition, Queue
from tests.doubles.recording_proxy import Answer, RecordingProxy
from tests.infra.comparison import Stack, differences
from tests.infra.conftest import push_image
from tests.infra.deployment import ROOT, Aws, Deployed
from tests.infra.recorded_calls import Call, recorded_in, recording
from tests.system.conftest import write_study

FAST, CPU = "iris-oculus-backend-fast", "iris-oculus-backend-cpu"
SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
PARTS_JOB = ROOT / "tests" / "integration" / "batch_job" / "parts_job.py"
KEY = "a" * 64


def test_differences_between_calls_and_role_are_sentences_that_name_actor_action_and_resource(
    whole: Deployed, batch_double: BatchDouble
) -> None:
    stack = Stack(whole, batch_double)
    elsewhere = Call("s3", "PutObject", {"Bucket": "another", "Key": "key"})
    found = differences("JobRole", stack.statements("JobRole"), stack.asked([elsewhere]))
    assert any("JobRole does not allow s3:PutObject on arn:aws:s3:::another/key" in each for each in found)
    assert any(f"JobRole allows s3:ListBucket on arn:aws:s3:::{stack.bucket} (" in each for each in found)
    put = Call("s3", "PutObject", {"Bucket": stack.bucket, "Key": "uploads/key"})
    denied = differences("JobRole", stack.statements("JobRole"), stack.asked([put]))
    assert any("does not allow s3:PutObject" in each and "/uploads/key" in each for each in denied)


@pytest.fixture(scope="module")
def complete(whole: Deployed, empty_aws: Aws) -> Deployed:
    """The stack, with what moto leaves out of it, and an image."""
    whole.add_what_was_left_out()
    push_image(empty_aws, whole.outputs["Repository"], whole.parameters["ImageTag"])
    return whole


@pytest.fixture
def stack(complete: Deployed, batch_double: BatchDouble) -> Stack:
    """The stack beside a Batch double, whose jobs are quick."""
    command = (sys.executable, str(QUICK_JOB))
    batch_double.queues |= {FAST: Queue(FAST, [SPOT]), CPU: Queue(CPU, [ON_DEMAND])}
    batch_double.definitions[CPU] = Definition(CPU, command, gpus=0)
    batch_double.set_definition(command=command)
    the_session.cache_clear()
    return Stack(complete, batch_double)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# -- the gateway ------------------------------------------------------------------------------------------

RULES = """
[[rule]]
name = "urgent"
when = { Modality = "CT", PatientName = "~Urgent" }
priority = 5

[[rule]]
name = "ct"
when = { Modality = "CT" }
"""


@pytest.fixture
def config(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """What `iris config from-stack` writes, with an engine and times for tests."""
    path = tmp_path / "iris.toml"
    path.write_text(config_of_stack(stack.deployed.stack, REGION) + RULES, encoding="utf-8")
    for name, value in {
        "SITE__DATA_DIR": str(tmp_path / "data"),
        "SITE__LOW_WATER_MB": "0",
        "DICOM__PORT": "0",
        "API__PORT": "0",
        "STUDY__QUIET_S": "0.1",
        "STUDY__TIMEOUT_S": "0.5",
        "ENGINE__NAME": "threshold",
        "ENGINE__VERSION": "",
        "QUEUE__FALLBACK__AFTER_S": "1.0",
        "WATCH__EVERY_S": "1.0",
    }.items():
        monkeypatch.setenv(f"IRIS_{name}", value)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(gateway.adapters.aws.s3, "AT_ONCE_BYTES", 1 << 10)  # inputs go in parts
    the_session.cache_clear()
    return load_config(path)


def begin_upload(stack: Stack, key: str) -> None:
    """What a gateway that was killed leaves."""
    stack.client("s3").create_multipart_upload(Bucket=stack.bucket, Key=key, ChecksumAlgorithm="SHA256")


def send(config: Config, folder: Path, seed: str, name: str = "Test^Body") -> str:
    study_uid = write_study(folder / seed, seed=seed, name=name)
    peer = parse_peer((config.data_dir / DICOM_ADDRESS_NAME).read_text().strip())
    assert all(sent.status == 0 for sent in send_files(sorted((folder / seed).iterdir()), peer, "SENDER"))
    return study_uid


def study_of(config: Config, study_uid: str) -> dict[str, Any]:
    return StatusClient(config.data_dir).study(study_uid)


def is_done(config: Config, study_uid: str) -> bool:
    return bool(study_of(config, study_uid)["state"] == "done")


def ask(config: Config, method: str, path: str) -> httpx.Response:
    address = (config.data_dir / API_ADDRESS_NAME).read_text().strip()
    token = (config.data_dir / "admin-token").read_text().strip()
    return httpx.request(
        method, f"{address}{path}", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )


def follow_studies(stack: Stack, config: Config, folder: Path) -> None:
    """One in the fast lane, one that has to go to the fallback, and one that is cancelled."""
    urgent = send(config, folder, "urgent", name="Urgent^Body")
    until(lambda: is_done(config, urgent))
    [job] = study_of(config, urgent)["jobs"]
    assert ask(config, "GET", f"/api/v1/jobs/{job['job_key']}/labels.nii.gz").status_code == 307
    stack.double.hold_capacity(MAIN_QUEUE)
    waiting = send(config, folder, "waiting")
    until(lambda: is_done(config, waiting))
    stack.double.release_capacity()
    stack.double.set_definition(command=SLEEP)
    unwanted = send(config, folder, "unwanted")
    until(lambda: [job["state"] for job in study_of(config, unwanted)["jobs"]] == ["running"])
    job_key = study_of(config, unwanted)["jobs"][0]["job_key"]
    assert ask(config, "POST", f"/api/v1/jobs/{job_key}/cancel").is_success
    until(lambda: stack.double.jobs(job_key)[0].status == "FAILED")


def stop_while_news_come(stack: Stack, config: Config) -> None:
    """Of two messages that came together one is taken in, and the other handed back."""
    body = json.dumps(event_of(stack.double.events.emitted[-1]))
    for _ in range(2):
        stack.client("sqs").send_message(QueueUrl=config.news.queue_url, MessageBody=body)
    begun, stopped = threading.Event(), threading.Event()

    def take(_: object) -> None:
        begun.set()
        stopped.wait(DEADLINE_S)

    source = SqsNews(the_session(config.aws.region, config.aws.endpoint_url), config.news.queue_url)
    hearing = Hearing(Bus(), source, take)
    hearing.start()
    assert begun.wait(DEADLINE_S)
    hearing.stop()
    stopped.set()


def look_at_what_is_not_as_it_should_be(stack: Stack, config: Config) -> None:
    """Let the doctor ask further: a quota was never changed, and the bucket could be made public."""
    stack.double.quotas.clear()
    s3, bucket = stack.client("s3"), stack.bucket
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    weaker = {**block, "BlockPublicPolicy": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=weaker)
    checks = {check.name: check.verdict for check in examine_aws(config)}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert checks["bucket public access"] is Verdict.WARNING


def put_what_the_ledger_does_not_know(stack: Stack, config: Config) -> None:
    """A line of a study's timeline that was mirrored by a ledger that is lost."""
    study_key = StatusClient(config.data_dir).studies(StudyQuery(limit=1))[0]["study_key"]
    item = {"pk": f"STUDY#{study_key}", "sk": "EVENT#000000999999", "site": "north"}
    stale = {**{name: {"S": of} for name, of in item.items()}, "version": {"N": "1"}}
    stack.client("dynamodb").put_item(TableName=config.mirror.table, Item=stale)


def operations(calls: Iterable[Call]) -> set[str]:
    return {call.operation for call in list(calls)}


def test_gateway_may_do_what_it_was_seen_to_do_and_nothing_else(
    stack: Stack, config: Config, tmp_path: Path
) -> None:
    begin_upload(stack, f"{config.objects.prefix}/jobs/{KEY}/input.nii.gz")
    large = tmp_path / "large"
    large.write_bytes(b"voxels" * 1000)
    with recording() as calls:
        open_store(config).objects.put_file(f"jobs/{KEY}/input.nii.gz", large)
        open_store(config).objects.remove(f"jobs/{KEY}/")
        begin_upload(stack, f"{config.objects.prefix}/jobs/{KEY}/request.json")
        app = App(config)
        app.start()
        try:
            follow_studies(stack, config, tmp_path)
            until(lambda: {"AbortMultipartUpload", "PutMetricData"} <= operations(calls))
        finally:
            app.stop()
        stop_while_news_come(stack, config)
        until(lambda: "ChangeMessageVisibility" in operations(calls))
        look_at_what_is_not_as_it_should_be(stack, config)
        put_what_the_ledger_does_not_know(stack, config)
        assert rebuild_mirror(config, lambda *_: None)
    actor = "GatewayPolicy"
    assert differences(actor, stack.statements(actor), stack.asked(calls)) == []


# -- the job ----------------------------------------------------------------------------------------------


def stage(stack: Stack, prefix: str) -> None:
    """Input and request, as a gateway writes them."""
    volume = nib.Nifti1Image(np.full((8, 8, 8), 50, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    content = gzip.compress(volume.to_bytes())
    request = {
        "contract": 1,
        "job_key": KEY,
        "task": "tissue",
        "engine": "threshold",
        "options": {},
        "input": {"name": "input.nii.gz", "sha256": hashlib.sha256(content).hexdigest()},
    }
    put = stack.client("s3").put_object
    put(Bucket=stack.bucket, Key=f"{prefix}input.nii.gz", Body=content)
    put(Bucket=stack.bucket, Key=f"{prefix}request.json", Body=json.dumps(request).encode())


def put_in_parts(address: str, file: Path, proxy: RecordingProxy) -> None:
    """A file in parts; and once more, when S3 takes no part."""
    place = BucketPlace.at(address.removeprefix("s3://"))
    place.put("checkpoint/large", file)
    proxy.instead = lambda sent: Answer(403, b"") if "partNumber=" in sent.path else None
    with pytest.raises(ComeBackLater):
        place.put("checkpoint/large", file)


def test_job_may_do_what_it_was_seen_to_do_and_nothing_else(
    stack: Stack, recording_proxy: RecordingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"{stack.deployed.parameters['Prefix']}/jobs/{KEY}/"
    address = f"s3://{stack.bucket}/{prefix}"
    stage(stack, prefix)
    waiting = f"{stack.deployed.parameters['Prefix']}/waiting/group/"
    marker = json.dumps({"address": address, "run": 2}).encode()  # its own next run
    stack.client("s3").put_object(Bucket=stack.bucket, Key=f"{waiting}1", Body=marker)
    program = [sys.executable, "-m", "tests.infra.recorded_calls", str(tmp_path / "calls"), str(PARTS_JOB)]
    batch = {
        **{"AWS_BATCH_JOB_ID": "0123", "IRIS_RUN": "1", "PARTS_LOG": str(tmp_path / "log")},
        **{"IRIS_WAITING": f"s3://{stack.bucket}/{waiting}", "IRIS_TAKE_FOR_S": "60"},
    }
    done = subprocess.run(
        [*program, address], env={**os.environ, **batch}, cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    large = tmp_path / "large"
    large.write_bytes(bytes(9 << 20))
    parts = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=5 << 20)
    monkeypatch.setattr(batch_job.bucket, "PARTS", parts)
    monkeypatch.setenv("AWS_ENDPOINT_URL", recording_proxy.url)
    with recording() as calls:
        put_in_parts(address, large, recording_proxy)
    calls += recorded_in(tmp_path / "calls")
    assert {"UploadPart", "AbortMultipartUpload", "DeleteObject"} <= operations(calls)
    assert differences("JobRole", stack.statements("JobRole"), stack.asked(calls)) == []


# -- the functions ----------------------------------------------------------------------------------------


class DeployedCloud(Cloud):
    """Both functions of the stack, with the variables that the template gives them; their calls."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bucket, self._told = stack.bucket, 0
        functions = dict(stack.deployed.of_type("AWS::Lambda::Function"))
        variables = {
            name: str(value)
            for of in functions.values()
            for name, value in of["Environment"]["Variables"].items()
        }
        self.table = variables["IRIS_MIRROR__TABLE"]
        self.s3 = stack.client("s3")
        with recording() as self.status_calls:
            self.status = Function(monkeypatch, self.table, self.bucket, variables)
        the_session.cache_clear()
        with recording() as self.news_calls:
            self.hear = load_handler(NEWS_HANDLER)


def work_with_uploads(cloud: DeployedCloud, double: BatchDouble) -> None:
    """One that succeeds; one that is refused, begun again by the other function, and cancelled."""
    done = cloud.upload(image(8))
    cloud.start(done)
    cloud.work(double, done)
    assert cloud.job(done)["state"] == "delivered"
    assert cloud.study(done)["state"] == "done"
    assert cloud.status.get("/api/v1/studies").json()["items"]
    assert cloud.status.get(f"/api/v1/jobs/{done}/labels.nii.gz").status == 307
    assert cloud.status.get("/metrics").status == 200
    assert cloud.status.delete(f"/api/v1/studies/{cloud.job(done)['study_key']}").status == 202

    double.set_definition(command=SLEEP)
    definition = double.definitions.pop(DEFINITION)
    refused = cloud.upload(image(9))
    assert cloud.status.post(f"/api/v1/nifti/{refused}/start").status == 503
    with pytest.raises(OutsideError, match="no active job definition"):
        cloud.hear({"reconcile": True}, None)
    double.definitions[DEFINITION] = definition
    cloud.hear({"reconcile": True}, None)
    assert cloud.job(refused)["state"] == "submitted"
    double.wait_for(double.jobs(refused)[0].job_id, "RUNNING")
    cloud.tell(double)
    assert cloud.status.post(f"/api/v1/jobs/{refused}/cancel").status < 300
    assert cloud.status.post(f"/api/v1/jobs/{refused}/retry").status < 300


def lose_a_run(cloud: DeployedCloud, double: BatchDouble) -> None:
    """A run whose answer is lost, and which goes on when nobody wants it any more."""
    double.lose_answer()
    late = cloud.upload(image(10))
    cloud.start(late)
    cloud.hear({"reconcile": True}, None)
    (run,) = double.jobs(late)
    double.wait_for(run.job_id, "RUNNING")
    double.deny("TerminateJob", times=1)
    cloud.status.post(f"/api/v1/jobs/{late}/cancel")
    cloud.tell(double)
    double.wait_for(run.job_id, "FAILED")


def wait_for_a_machine(cloud: DeployedCloud, double: BatchDouble) -> None:
    """A run for which there is no machine; also in an account whose quotas were never changed."""
    double.hold_capacity(MAIN_QUEUE)
    waiting = cloud.upload(image(11))
    cloud.start(waiting)
    double.wait_for(double.jobs(waiting)[0].job_id, "RUNNABLE")
    cloud.tell(double)
    cloud.hear({"reconcile": True}, None)
    double.quotas.clear()
    cloud.hear({"reconcile": True}, None)
    assert "job.waiting" in cloud.lines(waiting)


def test_functions_may_do_what_they_were_seen_to_do_and_nothing_else(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UploadNews.reconcile, "__defaults__", (timedelta(seconds=-1),))  # young jobs, too
    cloud = DeployedCloud(stack, monkeypatch)
    work_with_uploads(cloud, stack.double)
    lose_a_run(cloud, stack.double)
    wait_for_a_machine(cloud, stack.double)
    for actor, calls in {"StatusRole": cloud.status_calls, "JobNewsRole": cloud.news_calls}.items():
        assert differences(actor, stack.statements(actor), stack.asked(calls)) == []
