"""Uploads in the cloud under test: both functions as AWS calls them, over moto's table and bucket."""

import gzip
import hashlib
import struct
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
import pytest

from tests.cloud_status import HANDLER, Function, load_handler
from tests.doubles.batch import DEFINITION, MAIN_QUEUE, BatchDouble
from tests.mirrored_ledger import items_in, make_table

NEWS_HANDLER = HANDLER.parents[1] / "job_news" / "handler.py"
QUICK_JOB = Path(__file__).parent / "doubles" / "quick_job.py"
VARIABLES = {
    "IRIS_SITE__NAME": "cloud",
    "IRIS_QUEUE__BACKEND": "batch",
    "IRIS_QUEUE__JOB_QUEUE": MAIN_QUEUE,
    "IRIS_QUEUE__JOB_DEFINITION": DEFINITION,
}
BUCKET = "iris-data"


def image(voxels: int = 8) -> bytes:
    """A NIfTI-1 file of 16-bit integers, compressed."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, voxels, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + b"\0\0" * voxels, mtime=0)


class Cloud:
    """A table, a bucket, the status function and the job-news function."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, url: str, also: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.url, self.table = url, make_table(url)
        self.s3 = boto3.client("s3", region_name="us-east-1")
        self.s3.create_bucket(Bucket=BUCKET)
        self.status = Function(monkeypatch, self.table, BUCKET, {**VARIABLES, **also})
        self.hear = load_handler(NEWS_HANDLER)
        self._told = 0

    # -- what a person does -------------------------------------------------------------------------------

    def ask(self, content: bytes, **form: Any) -> dict[str, Any]:
        """Say that an image is to come; the answer."""
        wish = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **form}
        answer = self.status.post("/api/v1/nifti", **wish)
        assert answer.status == 202, answer.json()
        return dict(answer.json())

    def upload(self, content: bytes, **form: Any) -> str:
        """Say it and put it; the job's key."""
        answer = self.ask(content, **form)
        put = answer["put"]
        headers = {"Content-Type": "application/octet-stream", **put["headers"]}
        request = urllib.request.Request(put["url"], content, headers, method="PUT")
        with urllib.request.urlopen(request, timeout=60) as stored:
            assert stored.status == 200
        return str(answer["job_key"])

    def start(self, job_key: str) -> str:
        """Start it; its state."""
        answer = self.status.post(f"/api/v1/nifti/{job_key}/start")
        assert answer.status == 202, answer.json()
        return str(answer.json()["state"])

    # -- what AWS does ------------------------------------------------------------------------------------

    def tell(self, double: BatchDouble, *, backwards: bool = False, times: int = 1) -> None:
        """Let the function hear what has happened at Batch since the last time."""
        news = double.events.emitted[self._told :]
        self._told += len(news)
        for detail in reversed(news) if backwards else news:
            for _ in range(times):
                self.hear(event_of(detail), None)

    def work(self, double: BatchDouble, job_key: str) -> None:
        """Let the run go to its end, and the function hear of it."""
        double.wait_for(double.jobs(job_key)[-1].job_id, "SUCCEEDED", "FAILED")
        self.tell(double)

    # -- what is known ------------------------------------------------------------------------------------

    def job(self, job_key: str) -> dict[str, Any]:
        answer = self.status.get(f"/api/v1/jobs/{job_key}")
        assert answer.status == 200, answer.json()
        return dict(answer.json())

    def study(self, job_key: str) -> dict[str, Any]:
        return dict(self.status.get(f"/api/v1/studies/{self.job(job_key)['study_key']}").json())

    def lines(self, job_key: str) -> list[str]:
        return [line["event"] for line in self.study(job_key)["timeline"]]

    def items(self) -> dict[tuple[str, str], dict[str, Any]]:
        return items_in(self.url, self.table)

    def objects(self, job_key: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"site/jobs/{job_key}/")
        return [each["Key"].removeprefix(f"site/jobs/{job_key}/") for each in found.get("Contents", [])]

    def plan(self, job_key: str, plan: bytes) -> None:
        """Say what the quick job is to do."""
        self.s3.put_object(Bucket=BUCKET, Key=f"site/jobs/{job_key}/plan", Body=plan)


def event_of(detail: Mapping[str, Any], kind: str = "Batch Job State Change") -> dict[str, Any]:
    """An event as EventBridge hands it to a function."""
    return {
        "version": "0",
        "id": "c8f9c4b5-76e5-d76a-f980-7011e206042b",
        "detail-type": kind,
        "source": "aws.batch",
        "account": "123456789012",
        "time": "2026-01-31T08:00:00Z",
        "region": "us-east-1",
        "resources": [detail.get("jobArn", "")],
        "detail": dict(detail),
    }
