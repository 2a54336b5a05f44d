"""Stands for the container in tests of the queue: owns its run, waits, leaves labels and a manifest.

As the real job it does nothing under a run number that another Batch job owns, and the manifest comes last.
What it does and how often it did it lies in the job folder: `plan` says the exit code and the seconds to
wait, `worked/` has an object for each time that it really worked. It knows the standard library only, and
starts in no time. Labels are 1 where the image is brighter than air.
"""

import array
import gzip
import hashlib
import json
import os
import signal
import struct
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path

UINT8, AIR_HU = 2, -500
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"}
"""moto looks whether a request is signed, and not how."""


class Folder:
    """A job folder on this machine."""

    def __init__(self, address: str) -> None:
        self._path = Path(address)

    def get(self, name: str) -> bytes | None:
        path = self._path / name
        return path.read_bytes() if path.is_file() else None

    def put(self, name: str, content: bytes, *, only_new: bool = False) -> bool:
        """Write in one step; whether it was written."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        unfinished.write_bytes(content)
        try:
            os.link(unfinished, path)
        except FileExistsError:
            if only_new:
                return False
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return True


class Bucket:
    """A job folder in the moto server."""

    def __init__(self, address: str) -> None:
        self._url = f"{os.environ['AWS_ENDPOINT_URL']}/{address.removeprefix('s3://')}"

    def get(self, name: str) -> bytes | None:
        return self._ask(urllib.request.Request(self._url + name, headers=SIGNED))

    def put(self, name: str, content: bytes, *, only_new: bool = False) -> bool:
        headers = {**SIGNED, "Content-Type": "application/octet-stream"}
        headers |= {"If-None-Match": "*"} if only_new else {}
        request = urllib.request.Request(self._url + name, content, headers, method="PUT")
        return self._ask(request) is not None

    def _ask(self, request: urllib.request.Request) -> bytes | None:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code not in (404, 412):
                raise
            return None


def labels_of(image: bytes | None) -> bytes:
    """A label map on the grid of a NIfTI-1 file of 16-bit integers; a few bytes where there is no image."""
    if image is None:
        return b"labels"
    plain = gzip.decompress(image)
    header, start = bytearray(plain[:352]), int(struct.unpack_from("<f", plain, 108)[0])
    values = array.array("h", plain[start:])
    struct.pack_into("<hh", header, 70, UINT8, 8)
    struct.pack_into("<fff", header, 108, 352.0, 1.0, 0.0)
    return gzip.compress(bytes(header) + bytes(value > AIR_HU for value in values), 1)


def main() -> int:
    """Run; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    address = sys.argv[1]
    place = Bucket(address) if address.startswith("s3://") else Folder(address)
    begun_s, begun_at = time.time(), datetime.now(UTC).isoformat()
    run, batch_job_id = os.environ["IRIS_RUN"], os.environ["AWS_BATCH_JOB_ID"]
    owner = f"runs/{run}/owner.json"
    mine = json.dumps({"contract": 1, "batch_job_id": batch_job_id}).encode()
    if not place.put(owner, mine, only_new=True) and place.get(owner) != mine:
        return 0
    if place.get("manifest.json") is not None:
        return 0
    attempt = os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1")
    plan = json.loads(place.get("plan") or b"{}")
    place.put(f"worked/{run}-{batch_job_id}-{attempt}", b"")
    time.sleep(plan.get("seconds", 0.0))
    if plan.get("exit", 0):
        return int(plan["exit"])
    labels = labels_of(place.get("input.nii.gz"))
    place.put("labels.nii.gz", labels)
    manifest = {
        "contract": 1,
        "job_key": address.rstrip("/").rpartition("/")[2],
        "outputs": {"labels.nii.gz": {"sha256": hashlib.sha256(labels).hexdigest(), "bytes": len(labels)}},
        "labels": {"1": "bone"},
        "engine": {"name": "threshold", "version": "1", "weights": ""},
        "seconds": {"segment": 1.0},
        "peak_rss_mb": 1.0,
        "attempt": int(run),
        "machine": "g4dn.xlarge",
        "machine_use": {
            **{"instance": f"i-{batch_job_id}", "zone": "us-east-1a", "is_spot": True, "up_s": 200.0},
            **{"begun_at": begun_at, "machine_s": round(time.time() - begun_s + 0.001, 3), "gpu_s": 0.5},
        },
    }
    place.put("manifest.json", json.dumps(manifest).encode(), only_new=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
