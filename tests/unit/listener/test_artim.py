"""The timer of an association (ARTIM, PS3.8 9.1.5): on a busy machine it does not run against a sender."""

import pytest

from gateway.listener.wire import artim
from gateway.listener.wire.artim import Artim


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock; its one element is the time."""
    now = [100.0]
    monkeypatch.setattr(artim.time, "monotonic", lambda: now[0])
    return now


def test_request_that_was_read_at_the_door_is_not_waited_for(now: list[float]) -> None:
    timer = Artim(lambda: True, 5.0)
    timer.start()
    now[0] += 60
    assert not timer.expired


def test_timer_that_is_stopped_late_is_not_over(now: list[float]) -> None:
    timer = Artim(lambda: False, 5.0)
    timer.start()
    now[0] += 60
    timer.stop()
    assert not timer.expired


def test_peer_that_does_not_close_is_waited_for_until_its_time_is_over(now: list[float]) -> None:
    timer = Artim(lambda: False, 5.0)
    timer.start()
    now[0] += 4.9
    assert not timer.expired
    timer.restart()
    now[0] += 5.1
    assert timer.expired
