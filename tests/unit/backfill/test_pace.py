"""The pace of a backfill: so many studies in an hour, at certain times of the day."""

from datetime import UTC, datetime

import pytest

from gateway.backfill.pace import HOUR_S, Limits, Pace, Window

NIGHT = Window.parse("20:00-06:00")


class Clocks:
    def __init__(self, hour: int, minute: int = 0) -> None:
        self.wall = datetime(2026, 11, 30, hour, minute, tzinfo=UTC)
        self.monotonic_s = 100.0

    def pace(self, limits: Limits) -> Pace:
        return Pace(limits, lambda: self.wall, lambda: self.monotonic_s)


@pytest.mark.parametrize(
    ("text", "hour", "minute", "opens_in_h"),
    [
        ("20:00-06:00", 19, 30, 0.5),
        ("20:00-06:00", 20, 0, 0),
        ("20:00-06:00", 5, 59, 0),
        ("20:00-06:00", 6, 0, 14),
        ("12:30-13:00", 12, 45, 0),
        ("12:30-13:00", 13, 0, 23.5),
    ],
)
def test_window_is_open_from_its_begin_to_its_end_also_over_midnight(
    text: str, hour: int, minute: int, opens_in_h: float
) -> None:
    assert Window.parse(text).opens_in_s(Clocks(hour, minute).wall) == opens_in_h * HOUR_S


@pytest.mark.parametrize("text", ["", "20-06", "20:00", "24:00-06:00", "20:60-06:00", "08:00-08:00"])
def test_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"20:00-06:00|leave it out"):
        Window.parse(text)


def test_window_knows_how_long_it_is() -> None:
    assert (NIGHT.length_h, Window.parse("12:30-13:00").length_h) == (10, 0.5)


def test_studies_are_spread_over_the_hour() -> None:
    clocks = Clocks(12)
    pace = clocks.pace(Limits(per_hour=4))
    assert pace.wait()[0] == 0
    pace.begin()
    assert pace.wait()[0] == HOUR_S / 4
    clocks.monotonic_s += HOUR_S / 4
    assert pace.wait()[0] == 0


def test_nothing_is_waited_for_without_limits() -> None:
    pace = Clocks(12).pace(Limits())
    pace.begin()
    assert pace.wait()[0] == 0


def test_closed_window_says_when_it_goes_on() -> None:
    clocks = Clocks(12)
    pace = clocks.pace(Limits(window=NIGHT))
    assert pace.wait() == (8 * HOUR_S, "it goes on at 20:00")
    clocks.wall = clocks.wall.replace(hour=23)
    assert pace.wait()[0] == 0


@pytest.mark.parametrize(
    ("hour", "open_h", "passes_h"),
    [
        (22, 0, 0),
        (22, 8, 8),
        (22, 9, 23),  # eight hours of this night, fourteen of the day, one of the next night
        (12, 10, 18),
        (12, 10.5, 32.5),
        (12, 30, 8 + 10 + 14 + 10 + 14 + 10),
    ],
)
def test_window_knows_when_it_was_open_for_so_long(hour: int, open_h: float, passes_h: float) -> None:
    assert NIGHT.passes_s(open_h * HOUR_S, Clocks(hour).wall) == passes_h * HOUR_S
