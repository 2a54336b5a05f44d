"""What hours and days brought, read of a timeline."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.adapters.measures import Measure
from gateway.ledger.history import bytes_a_day, past, received
from gateway.ledger.records import utc_text
from gateway.ledger.store import Ledger
from tests.unit.ledger.test_migrations import IMAGES, STUDIES, old_ledger

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def _note(ledger: Ledger, event: str, at: datetime, job: str = "j", **detail: float) -> None:
    with ledger.transaction() as transaction:
        transaction.note(event, study_uid="1.2.3", job_key=job, **detail)
        transaction.execute(
            "UPDATE events SET at = ? WHERE seq = (SELECT max(seq) FROM events)", (utc_text(at),)
        )


def test_hour_has_what_ended_in_it_and_nothing_of_the_hours_beside(ledger: Ledger) -> None:
    for hour, minutes in ((10, 1), (11, 2), (12, 3)):
        at = NOON.replace(hour=hour)
        _note(ledger, "job.segmented", at, f"j{hour}", usd_estimate=0.25, usd_shared=0.05)
        _note(ledger, "job.encoded", at + timedelta(minutes=minutes), f"j{hour}")
        _note(ledger, "job.delivered", at + timedelta(minutes=minutes), f"j{hour}")
    _note(ledger, "job.failed", NOON + 2 * HOUR)

    found = past(ledger, NOON - HOUR, NOON)
    assert found.spans_s(Measure.ENCODE_TIME) == (120.0,)
    assert found.lines == {"job.segmented": 1, "job.encoded": 1, "job.delivered": 1}
    assert found.usd == pytest.approx(0.30)
    assert past(ledger, NOON, NOON + 3 * HOUR).lines["job.failed"] == 1
    for begins in (NOON - 9 * HOUR, NOON + 9 * HOUR):
        assert past(ledger, begins, begins + HOUR).lines == {}
    assert past(ledger, NOON + HOUR, NOON + 2 * HOUR).usd is None


def test_hours_are_found_where_old_lines_are_gone(ledger: Ledger) -> None:
    for minute in range(50):
        _note(ledger, "job.delivered", NOON + timedelta(minutes=minute))
    with ledger.transaction() as transaction:
        transaction.execute("DELETE FROM events WHERE seq <= 30", ())
    assert past(ledger, NOON, NOON + HOUR).lines == {"job.delivered": 20}
    assert past(ledger, NOON - HOUR, NOON).lines == {}
    assert past(ledger, NOON + timedelta(minutes=40), NOON + HOUR).lines == {"job.delivered": 10}


def test_ledger_of_an_older_version_knows_what_it_received(tmp_path: Path) -> None:
    with Ledger(old_ledger(tmp_path / "ledger.sqlite")) as ledger:  # all of it came at 10:00
        came = received(ledger, NOON - 2 * HOUR, NOON - HOUR)
        assert (came.studies, came.instances, came.bytes) == (STUDIES, STUDIES * IMAGES, STUDIES * IMAGES)
        assert received(ledger, NOON, NOON + HOUR).studies == 0


def test_images_take_so_much_a_day_as_in_the_week_before(ledger: Ledger) -> None:
    assert bytes_a_day(ledger, NOON) == 0
    with ledger.transaction() as transaction:
        for days_ago, size in ((20, 900_000), (6, 70_000), (1, 70_000)):
            transaction.execute(
                "INSERT INTO received (ten_minutes, bytes) VALUES (?, ?)",
                (utc_text(NOON - timedelta(days=days_ago))[:15], size),
            )
    assert bytes_a_day(ledger, NOON) == 20_000


def test_one_study_in_the_first_hour_is_not_taken_as_the_rate_of_a_day(ledger: Ledger) -> None:
    with ledger.transaction() as transaction:
        key = utc_text(NOON)[:15]
        transaction.execute("INSERT INTO received (ten_minutes, bytes) VALUES (?, 5000)", (key,))
    assert bytes_a_day(ledger, NOON + timedelta(minutes=5)) == 5000
