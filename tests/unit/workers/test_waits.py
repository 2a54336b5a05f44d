"""Waits, whose wall clock is set to and fro while the monotonic one goes on."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.ledger.records import utc_text
from gateway.workers.attempts import Backoff
from gateway.workers.waits import Rests, Waits


class Clocks:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 11, 29, 12, tzinfo=UTC)
        self.monotonic_s = 100.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.monotonic_s

    def go_on(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic_s += seconds

    def set_wall(self, hours: float) -> None:
        self.wall += timedelta(hours=hours)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def waits(clocks: Clocks) -> Waits:
    return Waits(clocks.monotonic, clocks.now)


@pytest.mark.parametrize("hours", [-2.0, 2.0])
def test_wait_lasts_as_long_as_meant_whatever_the_wall_clock_does(
    waits: Waits, clocks: Clocks, hours: float
) -> None:
    since = utc_text(clocks.wall)
    assert waits.left_after_s("study", since, 5.0) == pytest.approx(5.0)
    clocks.set_wall(hours)
    clocks.go_on(2.0)
    assert waits.left_after_s("study", since, 5.0) == pytest.approx(3.0)
    clocks.go_on(3.0)
    assert waits.left_after_s("study", since, 5.0) == 0.0


def test_wait_that_a_clock_two_hours_ahead_wrote_down_ends_after_its_longest_length(
    waits: Waits, clocks: Clocks
) -> None:
    until = utc_text(clocks.wall + timedelta(hours=2))
    assert waits.left_s("job", until, 300.0) == pytest.approx(300.0)
    clocks.go_on(300.0)
    assert waits.left_s("job", until, 300.0) == 0.0


def test_wait_that_is_over_is_over(waits: Waits, clocks: Clocks) -> None:
    assert waits.left_s("job", utc_text(clocks.wall - timedelta(hours=1)), 300.0) == 0.0


def test_another_wait_of_the_same_key_begins_anew(waits: Waits, clocks: Clocks) -> None:
    waits.left_after_s("study", utc_text(clocks.wall), 5.0)
    clocks.go_on(4.0)
    assert waits.left_after_s("study", utc_text(clocks.wall), 5.0) == pytest.approx(5.0)
    assert waits.left_after_s("study", utc_text(clocks.wall), 60.0) == pytest.approx(60.0)


def test_wait_that_is_not_kept_is_measured_anew(waits: Waits, clocks: Clocks) -> None:
    until = utc_text(clocks.wall + timedelta(hours=2))
    for key in ("kept", "gone"):
        waits.left_s(key, until, 300.0)
    clocks.go_on(100.0)
    waits.keep(["kept"])
    assert waits.left_s("kept", until, 300.0) == pytest.approx(200.0)
    assert waits.left_s("gone", until, 300.0) == pytest.approx(300.0)


def test_rest_is_longer_the_more_often_in_a_row(clocks: Clocks) -> None:
    rests, backoff = Rests(clocks.monotonic), Backoff(1.0, 4.0)
    for most in (1.0, 2.0, 4.0, 4.0):
        delay_s = rests.put_off("job", backoff, "the disk is full")
        assert 0.8 * most <= delay_s <= most
        assert rests.left_s() == {"job": pytest.approx(delay_s)}
        clocks.go_on(delay_s)
        assert rests.left_s() == {}
        assert rests.complaint() == "the disk is full"
    rests.resume("job")
    assert rests.complaint() == ""
    assert rests.put_off("job", backoff, "again") <= 1.0


def test_rest_that_a_person_ends_keeps_its_count(clocks: Clocks) -> None:
    rests = Rests(clocks.monotonic)
    rests.put_off("job", Backoff(10.0, 100.0), "away")
    rests.try_now("job")
    assert (rests.left_s(), rests.known()) == ({}, ["job"])
    assert rests.put_off("job", Backoff(10.0, 100.0), "away") >= 16.0


def test_rests_that_are_not_kept_are_forgotten(clocks: Clocks) -> None:
    rests = Rests(clocks.monotonic)
    for key in ("a", "b"):
        rests.put_off(key, Backoff(10.0, 100.0), f"{key} is away")
    assert rests.complaint() == "a is away (2 wait)"
    rests.keep(["b"])
    assert rests.complaint() == "b is away"
