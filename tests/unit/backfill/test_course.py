"""The course of a backfill: who is away is waited for, who refuses is left out, and both are said once."""

from collections.abc import Callable

import pytest

from gateway.adapters.dicom.peer import NotReached
from gateway.adapters.dicom.retrieval import NotAnswered
from gateway.adapters.errors import Away, Permanent
from gateway.backfill import course
from gateway.backfill.course import TRIES, Course
from gateway.backfill.missing import MissingStudy
from gateway.backfill.pace import Limits, Pace
from gateway.workers.waits import wall_clock

STUDIES = [MissingStudy(uid, 1) for uid in ("1.1", "1.2", "1.3")]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "AGAIN_S", 0.0)


class Ran:
    """A course that was run to its end, and what was said."""

    def __init__(self, fetch: Callable[[MissingStudy], object]) -> None:
        self.said: list[str] = []
        self.over: list[int] = []
        self.course = Course(fetch, Pace(Limits(), wall_clock), self.said.append, self.over.append)
        self.course.run(STUDIES)


def raising(study_uid: str, *errors: Exception) -> tuple[Callable[[MissingStudy], object], list[str]]:
    """Fetches, but one study only after these errors; and in what order it was asked to."""
    left, asked = list(errors), list[str]()

    def fetch(study: MissingStudy) -> None:
        asked.append(study.study_uid)
        if study.study_uid == study_uid and left:
            raise left.pop(0)

    return fetch, asked


@pytest.mark.parametrize("kind", [NotReached, Away])
def test_who_is_away_is_waited_for_however_long_and_that_is_said_once(kind: type[Exception]) -> None:
    fetch, asked = raising("1.2", *(kind("nobody is there") for _ in range(10)))
    ran = Ran(fetch)
    assert (ran.course.fetched, ran.course.failed, ran.over) == (3, 0, [1, 2, 3])
    assert asked == ["1.1", *["1.2"] * 11, "1.3"]
    assert ran.said == ["nobody is there; it is waited for"]


@pytest.mark.parametrize("kind", [NotAnswered, Permanent])
def test_study_that_is_refused_is_tried_some_times_and_left_out(kind: type[Exception]) -> None:
    fetch, asked = raising("1.2", *(kind("it sent half") for _ in range(10)))
    ran = Ran(fetch)
    assert (ran.course.fetched, ran.course.failed, ran.over) == (2, 1, [1, 2, 3])
    assert asked == ["1.1", *["1.2"] * TRIES, "1.3"]
    assert ran.said == ["study 1.2 is left out: it sent half; the same command tries it again"]


def test_study_that_comes_at_the_second_try_is_fetched() -> None:
    fetch, _ = raising("1.3", NotAnswered("it sent half"))
    ran = Ran(fetch)
    assert (ran.course.fetched, ran.course.failed, ran.said) == (3, 0, [])
