"""Every worker of a running gateway: one that is in trouble is named by `/readyz` and by `iris doctor`."""

import errno
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.arrival import completeness
from gateway.commands.doctor import examine
from gateway.config import Config
from gateway.delivery import worker as delivery
from gateway.delivery.sending import send_files
from gateway.ledger.store import Ledger
from gateway.workers import attempts
from gateway.workers import worker as workers
from gateway.workers.attempts import Backoff, Policy
from gateway.workers.worker import Worker

DEADLINE_S = 120.0


@pytest.fixture(autouse=True)
def _tracebacks_are_not_drawn() -> Iterator[None]:
    """It takes seconds for each."""
    with capture_logs():
        yield


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


# -- the ledger fails in every thread ---------------------------------------------------------------------


def busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def unforeseen() -> RuntimeError:
    return RuntimeError("Doe^Jane")


class FailingLedger:
    """Lets what a worker's thread does with the ledger fail so often, reading and writing, then no more."""

    def __init__(self, ledger: Ledger, names: Iterable[str], make: Callable[[], Exception]) -> None:
        self._make = make
        self._really = {"read": ledger.read, "transaction": ledger.transaction}
        self._left = {(name, how): TIMES for name in names for how in self._really}
        self.raised: Counter[str] = Counter()

    def fails(self, how: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            name = threading.current_thread().name
            if self._left.get((name, how), 0):
                self._left[name, how] -= 1
                self.raised[name] += 1
                raise self._make()
            return self._really[how](*given, **named)

        return call


TIMES = 3
"""Less than `failures_allowed`: what is counted must not fail the job yet."""


@pytest.mark.parametrize("make", [busy, full, unforeseen], ids=lambda make: make.__name__)
def test_study_goes_through_though_the_ledger_fails_in_every_worker_again_and_again(
    tmp_path: Path,
    small_study: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], Exception],
) -> None:
    soon = Backoff(0.01, 0.05)
    monkeypatch.setattr(workers, "AFTER_A_FAILURE", soon)
    monkeypatch.setattr(attempts, "POLICY", Policy(own=soon, machine=soon, outside=soon))
    monkeypatch.setattr(delivery, "POLICY", Policy(own=soon, machine=soon, outside=soon))
    monkeypatch.setattr(completeness, "LOOK_AGAIN_S", 0.2)
    (tmp_path / "share").mkdir()
    gateway = App(
        Config(
            site={"data_dir": tmp_path / "data", "low_water_mb": 0},
            dicom={"port": 0},
            api={"port": 0},
            study={"quiet_s": 0.1},
            destination=[{"name": "share", "folder": str(tmp_path / "share")}],
        )
    )
    names = {worker.name for worker in gateway._workers}
    failing = FailingLedger(gateway._ledger, names, make)
    for how in ("read", "transaction"):
        monkeypatch.setattr(gateway._ledger, how, failing.fails(how))
    gateway.start()
    try:
        host, port = gateway.listener.address
        sent = send_files(sorted(small_study.glob("*.dcm")), Peer("IRIS", host, port), "TEST")
        assert {one.status for one in sent} == {0x0000}
        until(lambda: list((tmp_path / "share").rglob("*.dcm")))
        state = "SELECT state FROM studies"
        until(lambda: [row["state"] for row in gateway._ledger.read(state)] == ["done"])
        assert all(worker.is_running for worker in gateway._workers)
        until(lambda: gateway.readiness().degraded == ())
    finally:
        gateway.stop()
    steps = {"convert", "stage", "submit", "encode", "run", "completeness", "delivery-share"}
    assert steps <= {name for name, times in failing.raised.items() if times >= TIMES}
    timeline = gateway._ledger.path.read_bytes()
    assert b"Doe" not in timeline
