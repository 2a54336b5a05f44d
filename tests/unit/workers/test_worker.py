"""The thread of every worker: what wakes it, what it survives, and what it says of itself."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from gateway.events import Bus, CompletionRequested, Event, StudyChanged
from gateway.workers import worker as workers
from gateway.workers.attempts import Backoff
from gateway.workers.worker import Worker

DEADLINE_S = 120.0
WAKE = CompletionRequested("1.2.3")
OTHER = StudyChanged("1.2.3", "done")


@pytest.fixture(autouse=True)
def _tracebacks_are_not_drawn() -> Iterator[None]:
    """It takes seconds for each."""
    with capture_logs():
        yield


class Looker(Worker):
    """Counts its looks; each does what it is told."""

    def __init__(self, bus: Bus, do: Callable[[], float | None], limit_s: float = 600.0) -> None:
        super().__init__("looker", bus, limit_s=limit_s)
        self._do = do
        self.looks = 0

    def is_woken_by(self, event: Event) -> bool:
        return event == WAKE

    def work(self) -> float | None:
        self.looks += 1
        return self._do()


def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def begin(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Looker]]:
    """Start workers, whose pauses after a failure are short."""
    monkeypatch.setattr(workers, "AFTER_A_FAILURE", Backoff(0.01, 0.02))
    started: list[Looker] = []

    def start(do: Callable[[], float | None] = lambda: None, limit_s: float = 600.0) -> Looker:
        worker = Looker(bus, do, limit_s)
        worker.start()
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop()


def test_worker_looks_at_its_start_and_at_each_event_that_concerns_it(
    begin: Callable[..., Looker], bus: Bus
) -> None:
    worker = begin()
    until(lambda: worker.looks == 1 and worker.piece is None)
    bus.publish(OTHER)
    bus.publish(WAKE)
    until(lambda: worker.looks == 2)


def test_worker_looks_when_the_time_has_come_that_it_named(begin: Callable[..., Looker]) -> None:
    worker = begin(lambda: 0.05)
    until(lambda: worker.looks > 3)


def test_worker_that_is_woken_in_the_course_of_its_work_looks_again(
    begin: Callable[..., Looker], bus: Bus
) -> None:
    """What came after the look at the ledger, and before the sleep, must not wait for the next event."""

    def come_late() -> None:
        if worker_looks() == 1:
            bus.publish(WAKE)

    def worker_looks() -> int:
        return worker.looks

    worker = Looker(bus, come_late)
    worker.start()
    try:
        until(lambda: worker.looks == 2)
    finally:
        worker.stop()


@pytest.mark.parametrize(
    "error", [ValueError("x"), MemoryError(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
def test_worker_outlives_whatever_its_work_raises_and_tries_again_soon(
    begin: Callable[..., Looker], error: BaseException
) -> None:
    raised = 0

    def fail_twice() -> None:
        nonlocal raised
        if raised < 2:
            raised += 1
            raise error

    worker = begin(fail_twice)
    until(lambda: worker.looks == 3)
    assert worker.is_running
    until(lambda: worker.complaint() == "")


def test_worker_outlives_a_log_that_fails(
    begin: Callable[..., Looker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(workers.log, "exception", fail)
    monkeypatch.setattr(workers, "LAST_RESORT_S", 0.01)
    worker = begin(fail)
    until(lambda: worker.looks > 2)
    assert worker.is_running


def test_worker_whose_work_fails_is_not_woken_before_its_pause_is_over(
    begin: Callable[..., Looker], bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AFTER_A_FAILURE", Backoff(60.0, 60.0))

    def fail() -> None:
        raise ValueError

    worker = begin(fail)
    until(lambda: worker.looks == 1 and worker.piece is None)
    bus.publish(WAKE)
    assert not worker._stopping.wait(0.2)  # nothing to wait for: it must not look
    assert worker.looks == 1
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 40


def test_worker_that_pauses_itself_looks_again_after_the_pause_whatever_wakes_it(
    begin: Callable[..., Looker], bus: Bus
) -> None:
    at: list[float] = []

    def pause() -> None:
        at.append(time.monotonic())
        worker.pause(0.3)
        bus.publish(WAKE)

    worker = Looker(bus, pause)
    worker.start()
    try:
        until(lambda: len(at) > 2)
    finally:
        worker.stop()
    assert min(later - earlier for earlier, later in pairwise(at)) >= 0.3


def test_worker_whose_looks_fail_again_and_again_says_so(begin: Callable[..., Looker]) -> None:
    is_ill = True

    def fail() -> None:
        if is_ill:
            raise OSError(28, "No space left on device")

    worker = begin(fail)
    until(lambda: worker.looks > workers.FAILURES_WORTH_SAYING)
    assert "looks failed: the disk is full" in worker.complaint()
    is_ill = False
    until(lambda: worker.complaint() == "")


def test_worker_that_failed_once_says_nothing(begin: Callable[..., Looker]) -> None:
    failing = iter([ValueError()])

    def fail_once() -> float:
        for error in failing:
            raise error
        return 0.01

    worker = begin(fail_once)
    complaints = set()
    until(lambda: complaints.add(worker.complaint()) or worker.looks > 5)
    assert complaints == {""}


def test_worker_that_hangs_says_at_what_and_since_when(begin: Callable[..., Looker]) -> None:
    go_on = threading.Event()

    def hang() -> None:
        with worker_at():
            go_on.wait(DEADLINE_S)

    def worker_at() -> object:
        return started[0].at("job 3f9a0c", limit_s=0.05)

    started: list[Looker] = []
    worker = Looker(Bus(), hang)
    started.append(worker)
    worker.start()
    try:
        until(lambda: "it has been at job 3f9a0c since 20" in worker.complaint())
        go_on.set()
        until(lambda: worker.complaint() == "")
    finally:
        go_on.set()
        worker.stop()


def test_worker_that_gives_a_heartbeat_is_not_stalled(begin: Callable[..., Looker]) -> None:
    beats, complaints = 0, set()

    def work_long() -> None:
        nonlocal beats
        while beats < 40:
            worker.heartbeat()
            beats += 1
            time.sleep(0.01)

    worker = Looker(Bus(), work_long, limit_s=0.25)
    worker.start()
    try:
        until(lambda: complaints.add(worker.complaint()) or beats == 40)
    finally:
        worker.stop()
    assert complaints == {""}


def test_worker_with_many_short_pieces_is_not_stalled(begin: Callable[..., Looker]) -> None:
    pieces, complaints = 0, set()

    def work_long() -> None:
        nonlocal pieces
        while pieces < 40:
            with worker.at(f"job {pieces}"):
                pieces += 1
            time.sleep(0.01)

    worker = Looker(Bus(), work_long, limit_s=0.25)
    worker.start()
    try:
        until(lambda: complaints.add(worker.complaint()) or pieces == 40)
    finally:
        worker.stop()
    assert complaints == {""}


def test_worker_whose_thread_has_ended_says_so(begin: Callable[..., Looker], bus: Bus) -> None:
    worker = Looker(bus, lambda: None)
    assert worker.complaint() == ""  # not started yet
    worker._run = lambda: None  # type: ignore[method-assign]
    worker._thread = threading.Thread(target=worker._run)
    worker.start()
    worker._thread.join()
    assert worker.complaint() == "its thread has ended; restart the gateway"


def test_worker_that_is_stopped_says_nothing(begin: Callable[..., Looker]) -> None:
    worker = begin()
    assert worker.stop()
    assert worker.complaint() == ""


def test_stop_of_a_worker_that_hangs_returns_in_time_and_says_so(begin: Callable[..., Looker]) -> None:
    go_on = threading.Event()
    worker = begin(lambda: go_on.wait(DEADLINE_S) and None)
    until(lambda: worker.piece is not None)
    assert not worker.stop(0.05)
    go_on.set()
    assert worker.stop()


def test_stop_breaks_off_what_waits_for_somebody_else() -> None:
    go_on = threading.Event()

    class Caller(Looker):
        def interrupt(self) -> None:
            go_on.set()

    worker = Caller(Bus(), lambda: go_on.wait(DEADLINE_S) and None)
    worker.start()
    until(lambda: worker.piece is not None)
    begun = time.monotonic()
    assert worker.stop()
    assert time.monotonic() - begun < 40
