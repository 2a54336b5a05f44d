"""The whole gateway with its job folders in a bucket: a study in, a segmentation out, nobody named."""

import gzip
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from pydicom import dcmread

ATTRIBUTES = (
    *("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SOPInstanceUID", "FrameOfReferenceUID", "AccessionNumber", "StudyDate", "StudyTime"),
    *("StudyDescription", "SeriesDescription", "InstitutionName", "Manufacturer", "StationName"),
)


@pytest.fixture
def bucket(aws_environment: dict[str, str]) -> str:
    name = f"iris-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def stored(bucket: str) -> dict[str, bytes]:
    """Every object, unpacked where it is packed."""
    client = boto3.client("s3")
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    contents = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    return {key: gzip.decompress(it) if key.endswith(".gz") else it for key, it in contents.items()}


def test_study_goes_through_a_bucket_and_leaves_no_identity_there(
    make_world: Callable[..., Any], recording_pacs: Any, small_study: Path, bucket: str
) -> None:
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start(IRIS_OBJECTS__BACKEND="s3", IRIS_OBJECTS__BUCKET=bucket, IRIS_OBJECTS__PREFIX="a/site")
    world.send(small_study)
    images = [dcmread(path, stop_before_pixels=True) for path in small_study.glob("*.dcm")]
    study = world.until(images[0].StudyInstanceUID, lambda s: s["state"] in ("done", "failed"))
    assert (study["state"], study["reason"]) == ("done", "delivered"), study
    assert len(recording_pacs.sends) == 1
    assert not (world.data_dir / "objects").exists()

    (job,) = study["jobs"]
    objects = stored(bucket)
    prefix = f"a/site/jobs/{job['job_key']}/"
    names = {key.removeprefix(prefix) for key in objects}
    assert {"input.nii.gz", "request.json", "progress.json", "manifest.json"} <= names
    assert "attempts/1/labels.nii.gz" in names
    said = {str(image.get(name, "")) for image in images for name in ATTRIBUTES} - {""}
    assert len(said) > len(images)
    haystack = b"\0".join([*objects.values(), *(key.encode() for key in objects)])
    assert [text for text in said if len(text) > 3 and text.encode() in haystack] == []

    answer = world._request("GET", f"/api/v1/jobs/{job['job_key']}/labels.nii.gz")
    assert answer.status_code == 307
    labels = httpx.get(answer.headers["location"], trust_env=False)
    assert gzip.decompress(labels.content) == objects[f"{prefix}attempts/1/labels.nii.gz"]
    assert world.stop() == 0
