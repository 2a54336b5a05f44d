"""Jobs at both kinds of address: a folder, and a prefix of a bucket in a moto server over real HTTP."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import nibabel as nib
import numpy as np
import pytest

from batch_job.address import open_place
from batch_job.contract import Manifest
from batch_job.place import JobPlace
from tests.quick_start import JOB, quick_python

DEADLINE_S = 120.0
BUCKET = "iris-jobs"


@dataclass
class JobAt:
    """A job somewhere, seen from outside."""

    address: str
    environment: dict[str, str] = field(default_factory=dict)
    python: str = field(default_factory=lambda: quick_python(JOB))

    def names(self) -> set[str]:
        """Every file, but for the lock."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        raise NotImplementedError

    def write(self, name: str, content: bytes) -> None:
        raise NotImplementedError

    def delete(self, name: str) -> None:
        raise NotImplementedError

    def start_afresh(self) -> None:
        """Let runs be started as users do, with nothing loaded."""
        self.python = sys.executable

    # -- the same everywhere ------------------------------------------------------------------------------

    def place(self) -> JobPlace:
        return open_place(self.address)

    def has(self, name: str) -> bool:
        return name in self.names()

    def stage(self, content: bytes, name: str = "input.nii.gz", **fields: Any) -> None:
        """Write input and request; fields replace those of the request."""
        self.write(name, content)
        request = {
            "contract": 1,
            "job_key": "key-1",
            "task": "tissue",
            "engine": "threshold",
            "options": {},
            "input": {"name": name, "sha256": hashlib.sha256(content).hexdigest()},
        }
        self.write("request.json", json.dumps({**request, **fields}).encode())

    def manifest(self) -> Manifest:
        return Manifest.from_json(self.read("manifest.json"))

    def output(self, name: str) -> bytes:
        """An output, from where the manifest says, with the bytes that it says."""
        entry = self.manifest().outputs[name]
        content = self.read(entry.path or name)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (entry.sha256, entry.bytes)
        return content

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, *(command or ("-m", "batch_job")), self.address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment, **environment},
        )

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(**environment) as process:
            try:
                _, said = process.communicate(timeout=DEADLINE_S)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, "", said)


class JobInFolder(JobAt):
    """A job folder on this machine."""

    def names(self) -> set[str]:
        root = Path(self.address)
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        return found - {"job.lock"}

    def read(self, name: str) -> bytes:
        return (Path(self.address) / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        path = Path(self.address) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def delete(self, name: str) -> None:
        (Path(self.address) / name).unlink()


class JobInBucket(JobAt):
    """A job under a prefix of a bucket."""

    def __init__(self, address: str, environment: dict[str, str]) -> None:
        super().__init__(address, environment)
        self.prefix = address.removeprefix(f"s3://{BUCKET}/")
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def names(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self.prefix)
        found = {item["Key"] for page in pages for item in page.get("Contents", [])}
        return {key.removeprefix(self.prefix) for key in found}

    def read(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=self.prefix + name)["Body"].read())

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=self.prefix + name, Body=content)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=self.prefix + name)


@pytest.fixture(scope="module")
def object_store(moto_server: str) -> str:
    """The address of a moto server that holds the bucket."""
    client: Any = boto3.client(
        "s3",
        endpoint_url=moto_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    return moto_server


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(name="wait_until", scope="session")
def _wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds; fail at the deadline."""
    return wait_until


@pytest.fixture
def job_in_folder(tmp_path: Path) -> JobInFolder:
    folder = tmp_path / "job"
    folder.mkdir()
    return JobInFolder(f"{folder}/")


@pytest.fixture
def job_in_bucket(tmp_path: Path, object_store: str, monkeypatch: pytest.MonkeyPatch) -> JobInBucket:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {
        "AWS_ENDPOINT_URL": object_store,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(scratch),
    }
    for name, value in environment.items():  # for places that the test itself opens
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    return JobInBucket(f"s3://{BUCKET}/site/jobs/{uuid.uuid4().hex}/", environment)


@pytest.fixture(params=["folder", "bucket"])
def job(request: pytest.FixtureRequest) -> JobAt:
    """A job at each kind of address."""
    found: JobAt = request.getfixturevalue(f"job_in_{request.param}")
    return found


@pytest.fixture(scope="session")
def small_ct(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A body of fat, muscle, a spine and a bubble in air, as a compressed NIfTI of 48 x 40 x 6 voxels."""
    row, column = np.mgrid[0:48, 0:40]
    plane = np.full((48, 40), -1000, np.int16)
    for half, value in ((17, -100), (14, 50)):
        plane[((row - 24) / (half + 4)) ** 2 + ((column - 20) / half) ** 2 <= 1] = value
    plane[22:27, 8:13] = 600
    plane[30:34, 22:26] = -950
    path = tmp_path_factory.mktemp("ct") / "small.nii.gz"
    nib.save(nib.Nifti1Image(np.repeat(plane[..., None], 6, axis=2), np.diag([4.0, 4, 5, 1])), path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def staged() -> Callable[..., Path]:
    """`staged(folder, content)`: make a job folder with that input, named as the job."""

    def make(folder: Path, content: bytes) -> Path:
        folder.mkdir()
        JobInFolder(str(folder)).stage(content, job_key=folder.name)
        return folder

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 2 MB; skipped where this user may not mount one."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=DEADLINE_S)
