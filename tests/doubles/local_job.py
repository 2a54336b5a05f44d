"""Stands for `python -m batch_job --serve` in tests of the local queue; it knows the standard library only.

What it does lies in the job folder, in `plan`; `worked/` has a file for each run that began, and `met` is
made where one finds another at work. As the real job it leaves labels, the manifest, and last `exit.json`.
"""

import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

AT = "2026-01-01T00:00:00Z"


def main() -> int:
    """Do one run; the exit code, which is all that is answered."""
    wanted = json.loads(sys.stdin.readline())
    folder, run = Path(wanted["address"]), int(wanted["run"])
    plan = json.loads((folder / "plan").read_text()) if (folder / "plan").exists() else {}
    _end_when_asked_to(plan.get("deaf", 0.0))
    with (folder / "job.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (folder / "met").touch()
        (folder / "exit.json").unlink(missing_ok=True)
        (folder / "worked").mkdir(exist_ok=True)
        (folder / "worked" / str(run)).touch()
        _work(folder, plan)
        if plan.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        code = int(plan.get("exit", 0))
        if code == 0:
            _finish(folder, run)
        left = {"contract": 1, "run": run, "code": code, "sentence": plan.get("sentence", ""), "at": AT}
        _write(folder / "exit.json", left)
    return code


def _end_when_asked_to(after_s: float) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        time.sleep(after_s)
        os._exit(143)

    signal.signal(signal.SIGTERM, end)


def _work(folder: Path, plan: dict[str, Any]) -> None:
    until = time.monotonic() + plan.get("seconds", 0.0)
    fraction = plan.get("progress")
    while True:
        if fraction is not None:
            said = {"contract": 1, "stage": "segment", "fraction": fraction, "eta_s": None, "at": AT}
            _write(folder / "progress.json", said)
            fraction = round(min(1.0, fraction + 0.01), 2) if "further" in plan else None
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, plan.get("further", left_s)))


def _finish(folder: Path, run: int) -> None:
    (folder / "labels.nii.gz").write_bytes(b"labels")
    sha256 = hashlib.sha256(b"labels").hexdigest()
    manifest = {
        "contract": 1,
        "job_key": folder.name,
        "outputs": {"labels.nii.gz": {"sha256": sha256, "bytes": 6}},
        "labels": {"1": "bone"},
        "engine": {"name": "threshold", "version": "1", "weights": ""},
        "seconds": {"segment": 1.0},
        "peak_rss_mb": 1.0,
        "attempt": run,
    }
    _write(folder / "manifest.json", manifest)


def _write(path: Path, content: dict[str, Any]) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
