"""Stands for the container in tests of the queue: owns its run, waits, leaves labels and a manifest.

As the real job it does nothing under a run number that another Batch job owns, and the manifest comes last.
What it does and how often it did it lies in the job folder: `plan` says the exit code and the seconds to
wait, `worked` has a line for each time that it really worked.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

LABELS = b"labels"


def main() -> int:
    """Run; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    folder = Path(sys.argv[1])
    run, batch_job_id = os.environ["IRIS_RUN"], os.environ["AWS_BATCH_JOB_ID"]
    owner = folder / "runs" / run / "owner.json"
    owner.parent.mkdir(parents=True, exist_ok=True)
    try:
        with owner.open("x") as stream:
            json.dump({"contract": 1, "batch_job_id": batch_job_id}, stream)
    except FileExistsError:
        if json.loads(owner.read_text())["batch_job_id"] != batch_job_id:
            return 0
    with (folder / "worked").open("a") as stream:
        stream.write(f"{run} {batch_job_id}\n")
    plan = json.loads((folder / "plan").read_text()) if (folder / "plan").exists() else {}
    time.sleep(plan.get("seconds", 0.0))
    if plan.get("exit", 0):
        return int(plan["exit"])
    (folder / "labels.nii.gz").write_bytes(LABELS)
    manifest = {
        "contract": 1,
        "job_key": folder.name,
        "outputs": {"labels.nii.gz": {"sha256": hashlib.sha256(LABELS).hexdigest(), "bytes": len(LABELS)}},
        "labels": {"1": "bone"},
        "engine": {"name": "threshold", "version": "1", "weights": ""},
        "seconds": {"segment": 1.0},
        "peak_rss_mb": 1.0,
        "attempt": int(run),
        "machine": "g4dn.xlarge",
    }
    unfinished = folder / "manifest.unfinished"
    unfinished.write_text(json.dumps(manifest))
    unfinished.rename(folder / "manifest.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
