"""The whole gateway with a mirror: everything that happens is in the table, and nothing of the patient is."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from pydicom import Dataset, dcmread

from gateway.adapters.dicom.peer import parse_peer
from gateway.delivery.sending import send_files
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.doubles.news_queue import NewsQueue
from tests.doubles.recording_proxy import RecordingProxy, traces_of
from tests.mirrored_ledger import dynamodb, items_in, make_table

DEADLINE_S = 60.0
SENDER = "TELLTALE-SCU"
TELLING = {
    "PatientName": "Telltale^Zebediah^Öx",
    "PatientID": "PID-7731-TELL",
    "PatientBirthDate": "19470623",
    "OtherPatientIDs": "OPID-88-TELL",
    "AccessionNumber": "ACC-TELL-4711",
    "StudyID": "STUDYID-TELL",
    "StudyDate": "20190807",
    "SeriesDate": "20190807",
    "ContentDate": "20190807",
    "AcquisitionDate": "20190807",
    "StudyDescription": "Telling study of the abdomen",
    "SeriesDescription": "Telling portal venous",
    "ProtocolName": "Telling protocol",
    "InstitutionName": "Telltale Hospital",
    "ReferringPhysicianName": "Telltale^Doctor",
    "StationName": "TELLSTATION",
    "RequestedProcedureDescription": "Telling request",
    "PatientComments": "Telling comment",
}


def _mark(folder: Path, **changes: str) -> list[str]:
    """Write telling values into every file of a study; all that must not be seen elsewhere."""
    values: set[str] = {SENDER}
    for path in folder.glob("*.dcm"):
        image = dcmread(path)
        for keyword, value in {**TELLING, **changes}.items():
            setattr(image, keyword, value)
            values |= {value, *(part for part in value.split("^") if len(part) > 3)}
        image.save_as(path)
        values |= _uids(image)
    return sorted(values)


def _uids(image: Dataset) -> set[str]:
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    return {str(image[name].value) for name in names}


def _send(world: Any, folder: Path) -> None:
    peer = parse_peer((world.data_dir / "dicom-address").read_text().strip())
    send_files(sorted(folder.glob("*.dcm")), peer, SENDER)


def _until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def test_studies_full_of_telling_values_leave_none_of_them_in_what_is_sent_to_the_mirror(
    make_world: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    recording_proxy: RecordingProxy,
    aws_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    table = make_table(recording_proxy.target)
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start(
        IRIS_MIRROR__BACKEND="dynamodb",
        IRIS_MIRROR__TABLE=table,
        IRIS_AWS__ENDPOINT_URL=recording_proxy.url,
    )
    plain, gap, refused = (tmp_path / name for name in ("plain", "gap", "refused"))
    values: set[str] = set()
    studies = {}
    for folder in (plain, gap, refused):
        studies[folder.name] = write_study(folder, seed=folder.name)
        values |= set(_mark(folder))
    (gap / "004.dcm").unlink()  # held for a person
    recording_pacs.status = 0xA900
    for folder in (gap, refused):
        _send(world, folder)
    world.until(studies["gap"], lambda study: study["state"] == "held")
    world.until(studies["refused"], lambda study: study["state"] == "failed")
    recording_pacs.status = 0x0000
    _send(world, plain)
    world.until(studies["plain"], lambda study: study["state"] == "done")
    values |= set(_mark(plain, PatientName="Telltale^Rectified"))
    _send(world, plain)  # a corrected header: encoded and sent again
    world.until(studies["plain"], lambda study: study["state"] == "done" and len(study["deliveries"]) == 2)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    image = dcmread(plain / "000.dcm")
    image.PixelData = image.PixelData[:100] + b"\xff" * (len(image.PixelData) - 100)
    image.save_as(damaged / "000.dcm")
    _send(world, damaged)  # other pixels under a known UID: quarantined
    values |= recording_pacs.objects
    _until(lambda: _mirror(world)["waiting"] == 0, lambda: _mirror(world))
    assert world.stop() == 0

    items = items_in(recording_proxy.target, table)
    of_studies = {item["reason"]: item["state"] for (_, sort), item in items.items() if sort == "STUDY"}
    assert of_studies == {"delivered": "done", "job_held": "held", "delivery_failed attempts=0": "failed"}
    events = {item["event"] for (_, sort), item in items.items() if sort.startswith("EVENT#")}
    assert {"study.completed", "job.segmented", "job.held", "delivery.sent", "delivery.failed"} <= events
    sent = recording_proxy.everything()
    assert set(recording_proxy.operations()) == {"PutItem"}
    assert traces_of(["job.segmented", "site"], sent) == ["job.segmented", "site"]
    assert traces_of(values | {str(world.data_dir), "SENDER", "instances/"}, sent) == []


def test_study_full_of_telling_values_leaves_none_of_them_in_what_any_service_is_sent(
    make_world: Callable[..., Any],
    write_study: Callable[..., str],
    recording_pacs: Any,
    recording_proxy: RecordingProxy,
    batch_double: BatchDouble,
    news_queue: NewsQueue,
    tmp_path: Path,
) -> None:
    """S3, SQS, DynamoDB and CloudWatch behind one proxy, Batch behind another."""
    table = make_table(recording_proxy.target)
    boto3.client("s3").create_bucket(Bucket="iris-telling")
    before_batch = RecordingProxy(batch_double.url)
    stop = before_batch.serve()
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start(
        AWS_ENDPOINT_URL=recording_proxy.url,
        AWS_ENDPOINT_URL_BATCH=before_batch.url,
        IRIS_MIRROR=json.dumps({"backend": "dynamodb", "table": table}),
        IRIS_OBJECTS=json.dumps({"backend": "s3", "bucket": "iris-telling"}),
        IRIS_QUEUE=json.dumps({"backend": "batch", "job_queue": MAIN_QUEUE, "job_definition": DEFINITION}),
        IRIS_NEWS=json.dumps({"backend": "sqs", "queue_url": news_queue.url}),
        IRIS_WATCH=json.dumps({"backend": "cloudwatch", "every_s": 1}),
    )
    study_uid = write_study(tmp_path / "study", seed="telling")
    values = set(_mark(tmp_path / "study"))
    _send(world, tmp_path / "study")
    study = world.until(study_uid, lambda study: study["state"] in ("done", "failed"))
    assert study["reason"] == "delivered", study
    _until(lambda: _mirror(world)["waiting"] == 0, lambda: _mirror(world))
    _until(lambda: b"DeliverTime" in recording_proxy.everything(), lambda: recording_proxy.operations())
    figures = world._request("GET", "/metrics").text
    assert "iris_news_poison_total 0.0" in figures
    assert world.stop() == 0
    stop()
    asked = set(recording_proxy.operations()) | {sent.path for sent in before_batch.sent}
    assert asked >= {"PutItem", "ReceiveMessage", "DeleteMessageBatch", "/v1/submitjob", "/v1/listjobs"}
    sent = recording_proxy.everything() + before_batch.everything()
    assert traces_of(["input.nii.gz", study["jobs"][0]["job_key"]], sent) != []
    private = values | recording_pacs.objects | {str(world.data_dir), "instances/"}
    assert traces_of(private, sent) == []


def test_rebuild_through_the_running_gateway_restores_a_table_that_lost_everything(
    make_world: Callable[..., Any], moto_server: str, aws_environment: dict[str, str], small_study: Path
) -> None:
    table = make_table(moto_server)
    world = make_world()
    settings = {"IRIS_MIRROR__BACKEND": "dynamodb", "IRIS_MIRROR__TABLE": table}
    world.start(**settings)
    _send(world, small_study)
    study_uid = str(dcmread(next(small_study.glob("*.dcm"))).StudyInstanceUID)
    world.until(study_uid, lambda study: study["state"] == "done")
    _until(lambda: _mirror(world)["waiting"] == 0, lambda: _mirror(world))
    before = items_in(moto_server, table)
    client = dynamodb(moto_server)
    for partition, sort in before:
        client.delete_item(TableName=table, Key={"pk": {"S": partition}, "sk": {"S": sort}})
    command = [sys.executable, "-m", "gateway.cli", "mirror", "rebuild"]
    done = subprocess.run(
        [*command, "--config", str(world.folder / "iris.toml")],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    _until(
        lambda: set(items_in(moto_server, table)) == set(before), lambda: items_in(moto_server, table).keys()
    )
    assert world.stop() == 0


def _mirror(world: Any) -> dict[str, Any]:
    answer = world._request("GET", "/api/v1/mirror")
    return dict(answer.json())
