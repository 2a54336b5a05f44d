"""The demo tells each step of a study as the status API shows it."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from gateway.demo.children import DemoError
from gateway.demo.following import Follower
from gateway.demo.screen import Screen

RELEASED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Client:
    """Gives one answer after the other, and the last again."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = list(answers)

    def study(self, study: str) -> dict[str, Any]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Gateway:
    """A process that lives, or does not."""

    def __init__(self, *, lives: bool = True) -> None:
        self._lives = lives

    def check(self) -> None:
        if not self._lives:
            raise DemoError("the gateway ended with exit code 1")


def _line(after_s: float, event: str, job_key: str | None = None, **detail: Any) -> dict[str, Any]:
    at = (RELEASED_AT + timedelta(seconds=after_s)).isoformat()
    return {"at": at, "event": event, "detail": detail, "job_key": job_key, "delivery_key": None}


def _study(state: str, reason: str = "", *timeline: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "state": state, "reason": reason, "timeline": list(timeline), "timeline_left_out": 0,
        "jobs": [], "series": [], **more,
    }  # fmt: skip


def _follow(*answers: dict[str, Any], lives: bool = True) -> str:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=160, force_terminal=False))
    Follower(Client(*answers), Gateway(lives=lives), screen, "2.25.1", RELEASED_AT).follow()
    return out.getvalue()


def test_follower_of_a_study_that_is_delivered_tells_each_step_once_with_its_own_time() -> None:
    timeline = [
        _line(-1, "study.instance_stored"),
        _line(1.25, "study.completed", evidence="released"),
        _line(1.25, "job.planned", "a", rule="ct", task="tissue"),
        _line(1.75, "job.converted", "a"),
        _line(3.0, "job.converted", "b"),
        _line(4.75, "job.segmented", "a", engine="threshold 1.0.0", stages_s={"fetch": 0.1, "segment": 2.5}),
        _line(5.0, "delivery.sent", "a", destination="pacs"),
    ]
    said = _follow(
        _study("receiving", "", *timeline[:2]),
        _study("processing", "", *timeline[:5]),
        _study("done", "delivered", *timeline),
    )
    told = [line.split() for line in said.splitlines()]
    assert [words[1] for words in told] == [
        "Complete", "Chosen", "Converted", "Converted", "Segmented", "Delivered",
    ]  # fmt: skip
    assert [float(words[-2]) for words in told] == [1.25, 0.0, 0.5, 1.75, 3.0, 0.25]
    assert "threshold 1.0.0 (of which segment 2.5 s)" in said


def test_follower_of_a_long_timeline_whose_beginning_is_left_out_tells_what_is_new() -> None:
    first = [_line(1, "study.completed"), _line(2, "job.converted", "a")]
    later = _study("done", "delivered", first[1], _line(3, "job.staged", "a"), timeline_left_out=1)
    said = _follow(_study("processing", "", *first), later)
    assert [line.split()[1] for line in said.splitlines()] == ["Complete", "Converted", "Staged"]


def test_follower_of_a_study_that_failed_raises_with_the_reason() -> None:
    with pytest.raises(DemoError, match="the study is failed: a slice is missing"):
        _follow(_study("failed", "a slice is missing"))


def test_follower_of_a_study_that_no_rule_takes_says_why_for_each_series() -> None:
    volume = {"number": 1, "job_key": None, "why": "rule ct: Modality is not CT"}
    series = [{"number": 4, "volumes": [volume]}]
    with pytest.raises(DemoError, match="nothing to do; series 4: rule ct: Modality is not CT"):
        _follow(_study("done", "nothing to do", series=series))


def test_follower_whose_gateway_ends_raises() -> None:
    with pytest.raises(DemoError, match="the gateway ended"):
        _follow(_study("processing"), lives=False)
