"""A wall clock that is set while the gateway runs makes nothing old."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.config import Retention as Settings
from gateway.retention.age import AgeClock
from gateway.retention.remover import Remover
from gateway.retention.worker import Retention
from tests.place import Place


class Clocks:
    """A wall clock that can be set, and the time that passes."""

    def __init__(self) -> None:
        self.wall = datetime.now(UTC)
        self.passed_s = 100.0

    def pass_by(self, **time: float) -> None:
        self.wall += timedelta(**time)
        self.passed_s += timedelta(**time).total_seconds()

    def age_clock(self) -> AgeClock:
        return AgeClock(lambda: self.wall, lambda: self.passed_s)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def worker(place: Place, clocks: Clocks, **settings: float) -> Retention:
    remover = Remover(place.ledger, place.data_dir, place.objects, place.locks)
    return Retention(
        Settings(**settings),
        place.ledger,
        place.bus,
        remover,
        place.data_dir,
        is_busy=lambda _: False,
        free=lambda _: 10**12,
        clock=clocks.age_clock(),
    )


def test_clock_that_is_set_ten_years_forward_removes_nothing_and_says_so(
    place: Place, clocks: Clocks
) -> None:
    place.done("1.1")
    place.put_aside("a" * 64)
    retention = worker(place, clocks, images_days=30, results_days=30, quarantine_days=30, ledger_days=60)
    clocks.wall += timedelta(days=3650)
    before = place.files()
    retention.work()
    assert place.files() == before
    assert "was set forward by 87,600 h" in retention.complaint()
    clocks.wall -= timedelta(days=3650)
    retention.work()
    assert retention.complaint() == ""


def test_age_that_really_passed_counts_while_the_clock_is_ahead(place: Place, clocks: Clocks) -> None:
    place.done("1.1")
    retention = worker(place, clocks, images_days=30, results_days=30)
    clocks.wall += timedelta(days=3650)
    clocks.pass_by(days=31)
    retention.work()
    assert place.files() == set()


def test_clock_that_is_set_back_or_a_little_forward_is_followed(clocks: Clocks) -> None:
    clock = clocks.age_clock()
    for hours in (-48.0, 0.9):
        clocks.wall += timedelta(hours=hours)
        assert clock.now() == clocks.wall
        assert clock.complaint() == ""


def test_clock_ahead_is_not_worth_a_word_where_nothing_goes_for_its_age(place: Place, clocks: Clocks) -> None:
    retention = worker(place, clocks)
    clocks.wall += timedelta(days=3)
    retention.work()
    assert retention.complaint() == ""
