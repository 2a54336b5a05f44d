"""Failed sign-ins: counted, logged, slowed; and nobody else is locked out."""

from dataclasses import dataclass, field

import httpx
import pytest

from gateway.api.callers import attempts as attempts_module
from gateway.api.callers.access import ADMIN, Caller, NotKnown
from gateway.api.callers.attempts import (
    AGAIN_S,
    BURST,
    BURST_IN_ALL,
    MOST_ADDRESSES,
    Attempts,
    TooManyFailures,
)

RIGHT = "the-right-token"
HERE, ELSEWHERE = "192.0.2.7", "198.51.100.9"


@dataclass
class Door:
    """Attempts, and a clock that goes by hand."""

    now_s: float = 1000.0
    attempts: Attempts = field(init=False)

    def __post_init__(self) -> None:
        self.attempts = Attempts(lambda: self.now_s)

    def offer(self, token: str, address: str = HERE) -> Caller:
        return self.attempts.known(address, "token", token, _find)

    def fail(self, times: int, address: str = HERE) -> None:
        for number in range(times):
            with pytest.raises(NotKnown):
                self.offer(f"wrong {number}", address)

    def figures(self) -> dict[str, float]:
        return {figure.labels.get("way", figure.name): figure.value for figure in self.attempts.figures()}


def _find(offered: str) -> Caller:
    if offered == "over":
        raise NotKnown("it is over", is_guess=False)
    if offered != RIGHT:
        raise NotKnown("this is no token")
    return ADMIN


@pytest.fixture
def door() -> Door:
    return Door()


def test_address_that_failed_too_often_is_not_looked_at_until_some_time_is_over(door: Door) -> None:
    door.fail(BURST)
    with pytest.raises(TooManyFailures) as slowed:
        door.offer(RIGHT)
    assert 0 < slowed.value.again_s <= AGAIN_S
    door.now_s += slowed.value.again_s
    assert door.offer(RIGHT) == ADMIN


def test_other_addresses_are_not_slowed_by_it(door: Door) -> None:
    door.fail(BURST)
    assert door.offer(RIGHT, ELSEWHERE) == ADMIN


def test_who_was_right_before_is_let_in_from_an_address_that_is_slowed(door: Door) -> None:
    door.offer(RIGHT)
    door.fail(BURST)
    with pytest.raises(TooManyFailures):
        door.offer("another")
    assert door.offer(RIGHT) == ADMIN


def test_many_addresses_that_fail_slow_those_that_failed_and_nobody_else(door: Door) -> None:
    for number in range(BURST_IN_ALL):
        door.fail(1, f"203.0.113.{number}")
    with pytest.raises(TooManyFailures):
        door.offer("wrong", "203.0.113.1")
    assert door.offer(RIGHT, ELSEWHERE) == ADMIN


def test_addresses_of_one_machine_count_as_one(door: Door) -> None:
    for number in range(BURST):
        door.fail(1, f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooManyFailures):
        door.offer("wrong", "2001:db8:1:2:ffff::1")
    door.fail(1, "2001:db8:1:3::1")
    door.fail(BURST, "::ffff:192.0.2.50")
    with pytest.raises(TooManyFailures):
        door.offer("wrong", "192.0.2.50")


def test_what_was_good_once_is_no_guess_and_slows_nobody(door: Door) -> None:
    for _ in range(2 * BURST):
        with pytest.raises(NotKnown):
            door.offer("over")
    assert door.figures()["token"] == 2 * BURST
    assert door.offer(RIGHT) == ADMIN


def test_addresses_that_are_remembered_have_an_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "MOST_ADDRESSES", 3)
    assert MOST_ADDRESSES > 3
    for number in range(5):
        door.fail(1, f"203.0.113.{number}")
    assert len(door.attempts._by_address) == 3


def test_failures_are_logged_with_the_address_and_never_what_was_offered(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, dict[str, object]]] = []

    class Recorder:
        def warning(self, event: str, **keys: object) -> None:
            lines.append((event, keys))

    monkeypatch.setattr(attempts_module, "log", Recorder())
    door.fail(1)
    assert lines == [("sign_in_failed", {"address": HERE, "way": "token", "is_guess": True})]


def test_failed_sign_ins_stand_in_the_metrics_from_the_start_and_are_slowed_by_429(
    client: httpx.Client, stranger: httpx.Client
) -> None:
    assert 'iris_failed_sign_ins_total{way="cookie"} 0.0' in client.get("/metrics").text
    stranger.get(client.post("/api/v1/sign-in-codes").json()["path"])  # a session that begins before it
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [stranger.get("/api/v1/me", headers=wrong).status_code for _ in range(BURST + 2)]
    assert statuses == [401] * BURST + [429] * 2
    answer = stranger.post("/", data={"token": "wrong"})
    assert (answer.status_code, answer.headers["retry-after"].isdecimal()) == (429, True)
    assert stranger.get("/api/v1/me").status_code == 200
    text = client.get("/metrics").text
    assert f'iris_failed_sign_ins_total{{way="token"}} {BURST:.1f}' in text
    assert "iris_slowed_sign_ins_total 3.0" in text
