"""Every worker of a running gateway: one that is in trouble is named by `/readyz` and by `iris doctor`."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.adapters.checks import Check, Verdict
from gateway.app import App
from gateway.commands.doctor import examine
from gateway.config import Config
from gateway.workers import worker as workers
from gateway.workers.attempts import Backoff
from gateway.workers.worker import Worker

DEADLINE_S = 30.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setattr(workers, "AFTER_A_FAILURE", Backoff(0.01, 0.01))
    site = {"data_dir": tmp_path / "data", "low_water_mb": 0}
    gateway = App(Config(site=site, dicom={"port": 0}, api={"port": 0}))
    gateway.start()
    yield gateway
    gateway.stop()


def worker_named(gateway: App, name: str) -> Worker:
    return next(worker for worker in gateway._workers if worker.name == name)


def doctor_says(gateway: App, name: str) -> Check | None:
    return next((check for check in examine(gateway.config) if check.name == name), None)


def test_worker_in_trouble_makes_readyz_degraded_and_doctor_fail_by_its_name(
    gateway: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway.readiness().degraded == ()
    assert doctor_says(gateway, "encode") is None

    def fail() -> None:
        raise OSError(28, "No space left on device")

    worker = worker_named(gateway, "encode")
    with monkeypatch.context() as patch:
        patch.setattr(worker, "work", fail)
        worker.look_again()
        until(lambda: gateway.readiness().degraded)
        now = gateway.readiness()
        assert now.ready
        assert [sentence.partition(":")[0] for sentence in now.degraded] == ["encode"]
        assert "the disk is full" in now.degraded[0]
        check = doctor_says(gateway, "encode")
        assert check is not None
        assert (check.verdict, "the disk is full" in check.finding) == (Verdict.FAILED, True)
        assert check.fix == "make room, it then goes on by itself"
    until(lambda: not gateway.readiness().degraded)
