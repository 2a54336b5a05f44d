"""A run's progress: what is worked out, and when it is written."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_job import progress as progress_module
from batch_job.contract import STAGES, Progress
from batch_job.errors import ComeBackLater
from batch_job.folder import JobFolder
from batch_job.progress import SHARES, ProgressWriter, Stages

DEADLINE_S = 120.0


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress_module, "time", made)
    return made


def test_stages_shares_cover_the_contracts_stages() -> None:
    assert tuple(SHARES) == STAGES
    assert sum(SHARES.values()) == pytest.approx(1)


def test_stages_fraction_never_falls_and_an_end_is_foreseen(clock: Clock) -> None:
    told: list[Progress] = []
    stages = Stages(told.append)
    for name in ("fetch", "load"):
        with stages.stage(name):
            clock.now += 1
    with stages.stage("segment"):
        for number, share in enumerate((0.1, 0.5, 0.2, 1.0, 2.0)):
            clock.now += 10
            stages.got(share, f"model {number + 1} of 5")
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(SHARES["fetch"] + SHARES["load"] + SHARES["segment"])
    assert (told[-1].stage, told[-1].step) == ("segment", "model 5 of 5")
    assert told[0].eta_s is None  # nothing can be said at the beginning
    rest = (1 - fractions[-1]) / fractions[-1]
    assert told[-1].eta_s == pytest.approx(52 * rest, abs=0.1)
    assert stages.seconds == {"fetch": 1, "load": 1, "segment": 50}


class Place:
    """Stands in for a place; says what was put, and when, and fails or hangs where it is told to."""

    def __init__(self) -> None:
        self.put_at: list[tuple[float, Progress]] = []
        self.changed = threading.Condition()
        self.fails: Exception | None = None
        self.hangs = threading.Event()
        self.hangs.set()
        self.asked = threading.Event()

    def put(self, name: str, content: bytes) -> None:
        self.asked.set()
        assert self.hangs.wait(DEADLINE_S)
        with self.changed:
            self.put_at.append((time.monotonic(), Progress.from_json(content)))
            self.changed.notify()
        if self.fails is not None:
            raise self.fails

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_S)

    @property
    def fractions(self) -> list[float]:
        return [progress.fraction for _, progress in self.put_at]


def at(fraction: float) -> Progress:
    return Progress.model_validate(
        {"stage": "segment", "fraction": fraction, "eta_s": None, "at": "2026-01-01T00:00:00Z"}
    )


def writer_to(place: Any, interval_s: float) -> ProgressWriter:
    return ProgressWriter(place, interval_s)


def test_progress_is_written_at_once_and_then_the_newest_after_the_interval() -> None:
    place = Place()
    writer = writer_to(place, interval_s=0.3)
    with writer.running():
        writer.tell(at(0.1))
        place.wait_for(lambda: len(place.put_at) == 1)
        for step in range(2, 9):
            writer.tell(at(step / 10))
        place.wait_for(lambda: len(place.put_at) == 2)
        writer.tell(at(0.9))
        place.wait_for(lambda: len(place.put_at) == 3)
    assert place.fractions == [0.1, 0.8, 0.9]
    times = [when for when, _ in place.put_at]
    assert min(times[1] - times[0], times[2] - times[1]) >= 0.3


def test_progress_that_cannot_be_written_is_tried_again_with_the_next() -> None:
    place = Place()
    place.fails = ComeBackLater("S3 is away")
    writer = writer_to(place, interval_s=0.01)
    with writer.running():
        for number, fraction in enumerate((0.1, 0.2)):
            writer.tell(at(fraction))
            place.wait_for(lambda number=number: len(place.put_at) == number + 1)  # type: ignore[misc]
    assert place.fractions == [0.1, 0.2]


def test_progress_that_hangs_holds_up_neither_work_nor_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "LAST_PUT_S", 0.1)
    place = Place()
    place.hangs.clear()
    writer = writer_to(place, interval_s=0.0)
    with writer.running():
        writer.tell(at(0.0))
        assert place.asked.wait(DEADLINE_S)
        for step in range(1, 5):
            writer.tell(at(step / 10))  # returns, though the first one hangs
    assert place.put_at == []
    place.hangs.set()
    place.wait_for(lambda: place.fractions == [0.0])


def test_progress_told_last_is_written_at_the_end_without_the_wait() -> None:
    place = Place()
    writer = writer_to(place, interval_s=DEADLINE_S)
    with writer.running():
        writer.tell(at(0.1))
        place.wait_for(lambda: len(place.put_at) == 1)
        for fraction in (0.8, 0.9, 1.0):
            writer.tell(at(fraction))
    assert place.fractions == [0.1, 1.0]
    assert place.put_at[1][0] - place.put_at[0][0] < DEADLINE_S / 2


def test_progress_of_work_that_failed_is_not_written_any_more() -> None:
    place = Place()
    writer = writer_to(place, interval_s=DEADLINE_S)

    def work() -> None:
        with writer.running():
            writer.tell(at(0.1))
            place.wait_for(lambda: len(place.put_at) == 1)
            writer.tell(at(0.9))
            raise ComeBackLater("the disk is full")

    with pytest.raises(ComeBackLater):
        work()
    assert place.fractions == [0.1]


def test_progress_is_not_written_after_the_end(tmp_path: Path) -> None:
    writer = ProgressWriter(JobFolder(tmp_path), interval_s=0.0)
    with writer.running():
        pass
    writer.tell(at(0.5))
    assert not any(thread.name == "progress" for thread in threading.enumerate())
    assert list(tmp_path.iterdir()) == []
