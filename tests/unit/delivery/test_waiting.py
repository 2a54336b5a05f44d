"""What waits for a destination that is away is told why and given up, without all being read each time."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.delivery import waiting
from gateway.delivery.waiting import Waiting
from gateway.ledger.migrations import migrate
from gateway.ledger.records import utc_text
from gateway.ledger.store import Ledger
from gateway.workers.waits import Waits
from tests.ledger_statements import Steps

HOUR_S = 3600.0
BEGUN = datetime(2026, 11, 1, 10, tzinfo=UTC)
NUMBER = 300


class Clock:
    """Both clocks; that on the wall may be set."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.set_by_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    def now(self) -> datetime:
        return BEGUN + timedelta(seconds=self.passed_s + self.set_by_s)


class Site:
    """So many deliveries, one a second, the last of them now; each may wait for an hour."""

    def __init__(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            migrate(connection)
            connection.execute("PRAGMA foreign_keys = OFF")
            at = utc_text(BEGUN)
            connection.execute(
                "INSERT INTO studies (study_uid, study_key, state, received_at, last_instance_at, updated_at)"
                " VALUES ('1.2.3', 'key', 'receiving', ?, ?, ?)",
                (at, at, at),
            )
        connection.close()
        self.path, self.clock = path, Clock()
        self.come(*range(-NUMBER + 1, 1))
        self.ledger = Ledger(path)
        waits = Waits(self.clock.monotonic, self.clock.now)
        self.waiting = Waiting(self.ledger, "pacs", HOUR_S, waits)

    def come(self, *seconds: int) -> None:
        rows = [(f"{at}", f"9.{at}", *[utc_text(BEGUN + timedelta(seconds=at))] * 3) for at in seconds]
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.executemany(
                "INSERT INTO deliveries (key, job_key, study_uid, destination, sop_instance_uid, state,"
                " reason, priority, created_at, pending_since, updated_at)"
                " VALUES (?, 'job', '1.2.3', 'pacs', ?, 'pending', '', 0, ?, ?, ?)",
                rows,
            )
        connection.close()

    def over(self) -> list[int]:
        return [int(row.key) for row in self.waiting.over()]

    def steps_of_a_try(self, reason: str = "away") -> int:
        steps = Steps(self.ledger)
        with steps.counted():
            assert self.over() == []
            self.waiting.tell(reason, lambda: False)
        return steps.steps

    def reasons(self) -> set[tuple[str, int]]:
        rows = self.ledger.read("SELECT reason, count(*) AS number FROM deliveries GROUP BY reason")
        return {(row["reason"], row["number"]) for row in rows}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "ledger.sqlite")
    yield site
    site.ledger.close()


def test_try_looks_at_nothing_that_was_looked_at_and_cannot_be_over(site: Site) -> None:
    first, later = site.steps_of_a_try(), site.steps_of_a_try()
    assert later < first / 100


def test_delivery_is_given_up_when_its_time_is_over_and_a_hundredth_later_at_most(site: Site) -> None:
    assert site.over() == []
    given_up_at: dict[int, float] = {}
    while len(given_up_at) < NUMBER:
        site.clock.passed_s += 10
        for number in site.over():
            given_up_at.setdefault(number, site.clock.passed_s)
        assert site.clock.passed_s < 2 * HOUR_S
    late = [at - (number + HOUR_S) for number, at in given_up_at.items()]
    assert min(late) >= 0
    assert max(late) <= waiting.LATE * HOUR_S + 10


@pytest.mark.parametrize("hours", [-5, 5])
def test_delivery_that_came_since_keeps_its_time_whatever_the_wall_clock_is_set_to(
    site: Site, hours: int
) -> None:
    assert site.over() == []
    site.clock.passed_s = 60
    site.come(60)
    assert site.over() == []
    site.clock.set_by_s = hours * HOUR_S
    site.clock.passed_s = 60 + HOUR_S - 1
    assert sorted(site.over()) == [*range(-NUMBER + 1, 1)]
    site.clock.passed_s = 60 + HOUR_S * (1 + waiting.LATE)
    assert 60 in site.over()


def test_look_that_is_broken_off_is_taken_anew(site: Site) -> None:
    site.clock.passed_s = HOUR_S
    assert next(site.waiting.over()).key == f"{-NUMBER + 1}"
    assert len(site.over()) == NUMBER


def test_another_reason_is_told_at_once_to_what_says_none_and_to_all_after_some_tries(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "TOLD_A_TRY", NUMBER // 2)
    site.waiting.tell("refused", lambda: False)
    assert site.reasons() == {("refused", NUMBER)}
    site.come(1)
    site.waiting.tell("no answer", lambda: False)
    assert site.reasons() == {("refused", NUMBER), ("no answer", 1)}
    site.waiting.tell("no answer", lambda: False)
    site.waiting.tell("no answer", lambda: False)
    assert site.reasons() == {("no answer", NUMBER + 1)}


def test_another_reason_is_told_to_all_at_once_where_few_wait(site: Site) -> None:
    for reason in ("refused", "no answer"):
        site.waiting.tell(reason, lambda: False)
        assert site.reasons() == {(reason, NUMBER)}
