"""What went wrong once, from outside, against the real process: each case has its right outcome."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.test_kill import done, has_event, has_job

HASTY_IRIS = Path(__file__).with_name("hasty_iris.py")

DISK_MB = 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which a test can fill."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    subprocess.run([mount, *options], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take the last byte of a disk; the file that took it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            return filler


def until(condition: Callable[[], bool], what: Callable[[], Any], deadline_s: float = 120.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


def is_full_and_says_so(world: Any) -> bool:
    return any("the disk is full" in reason for reason in world.readyz().get("degraded", []))


def test_disk_that_is_full_for_a_while_fails_no_job_and_everything_goes_on_by_itself(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], small_disk: Path
) -> None:
    world = make_world(("pacs", "RECORDER", recording_pacs.port), folder=small_disk)
    studies = [write_study(world.folder / f"study-{n}", seed=f"full {n}") for n in range(4)]
    world.program = [str(HASTY_IRIS)]
    world.start(IRIS_STUDY__QUIET_S="1.5")
    for number in range(4):
        world.send(world.folder / f"study-{number}")
    filler = fill(small_disk)
    until(lambda: is_full_and_says_so(world), world.readyz)
    filler.unlink()
    for study_uid in studies:
        study = world.until(study_uid, done)
        assert not has_event("job.failed")(study)
        assert not has_event("study.failed")(study)
    assert len(recording_pacs.objects) == 4
    until(lambda: world.readyz()["degraded"] == [], world.readyz)
    assert world.stop() == 0


def test_kept_file_that_is_lost_is_healed_by_sending_the_study_again(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    study_uid = write_study(tmp_path / "study", seed="lost")
    world.start(IRIS_STUDY__QUIET_S="3")
    world.send(tmp_path / "study")
    kept = sorted((world.data_dir / "instances").rglob("*.dcm"))
    kept[2].unlink()
    kept[5].write_bytes(b"")
    study = world.until(study_uid, lambda s: "send the study again" in s["reason"])
    assert study["reason"].startswith("2 ")
    world.send(tmp_path / "study")
    world.until(study_uid, done)
    assert len(recording_pacs.objects) == 1


def test_result_that_cannot_be_read_does_not_hold_up_the_others(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    recording_pacs.status = 0xA700
    spoiled = write_study(tmp_path / "spoiled", seed="spoiled")
    world.start()
    world.send(tmp_path / "spoiled")
    world.until(spoiled, lambda s: any(d["reason"] for d in s["deliveries"]))
    (result,) = (world.data_dir / "results").rglob("*.dcm")
    kept = result.read_bytes()
    result.unlink()
    result.mkdir()  # opens, and cannot be read
    recording_pacs.status = 0x0000
    other = write_study(tmp_path / "other", seed="other")
    world.send(tmp_path / "other")
    world.until(other, done)
    result.rmdir()
    result.write_bytes(kept)
    study = world.until(spoiled, lambda s: done(s) or s["state"] == "failed")
    if not done(study):
        world.post(f"/api/v1/deliveries/{study['deliveries'][0]['key']}/retry")
    world.until(spoiled, done)
    assert len(recording_pacs.objects) == 2


def test_job_that_failed_can_be_cancelled(
    make_world: Callable[..., Any], write_study: Callable[..., str], tmp_path: Path
) -> None:
    world = make_world()
    study_uid = write_study(tmp_path / "study", seed="failed")
    world.start("job.staged:after")
    world.send(tmp_path / "study")
    world.until_dead()
    (spoiled,) = (world.data_dir / "objects" / "jobs").glob("*/input.nii.gz")
    spoiled.write_bytes(b"spoiled")
    world.start()
    study = world.until(study_uid, has_job("failed"))
    world.post(f"/api/v1/jobs/{study['jobs'][0]['job_key']}/cancel")
    world.until(study_uid, lambda s: done(s) and s["reason"] == "cancelled")
