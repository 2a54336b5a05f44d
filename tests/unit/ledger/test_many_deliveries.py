"""What waits for a destination or a mirror is found as fast in a backlog of thousands as in one of a few."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.ledger.deliveries import (
    MOST_PUT_OFF,
    awaited_destinations,
    is_any_pending,
    next_delivery,
    pending_deliveries,
    put_off_deliveries,
    still_pending,
    tell_all,
)
from gateway.ledger.migrations import migrate
from gateway.ledger.outbox import backlog_of, lag_of
from gateway.ledger.store import Ledger
from tests.ledger_statements import Steps

FEW, MANY = 60, 3 * MOST_PUT_OFF
AWAY = "nobody is there"
_DELIVERY = (
    "INSERT INTO deliveries (key, job_key, study_uid, destination, sop_instance_uid, state, reason,"
    " priority, not_before, created_at, pending_since, updated_at)"
    " VALUES (?, 'job', '1.2.3', ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _at(number: int) -> str:
    return f"2026-11-01T10:{number // 60 % 60:02}:{number % 60:02}.{number:06}Z"


def _ledger_of(path: Path, number: int) -> Ledger:
    """So many wait for "pacs", as many were put off, as many arrived, and as many changes wait."""
    with sqlite3.connect(path) as connection:
        migrate(connection)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executemany(
            _DELIVERY,
            [
                (f"{kind} {of}", to, f"{kind}.{of}", state, AWAY, of == number // 2, until, *[_at(of)] * 3)
                for of in range(number)
                for kind, to, state, until in (
                    ("waits", "pacs", "pending", None),
                    ("put off", "pacs", "pending", _at(of)),
                    ("arrived", "pacs", "sent", None),
                    ("unclaimed", "gone", "pending", None),
                )
            ],
        )
        connection.executemany(
            "INSERT INTO mirror_outbox (study_uid, kind, key, due_at) VALUES ('1.2.3', 'event', ?, ?)",
            [(f"{of}", _at(of)) for of in range(number)],
        )
    connection.close()
    return Ledger(path)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with _ledger_of(tmp_path_factory.mktemp("few") / "ledger.sqlite", FEW) as ledger:
        yield ledger


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with _ledger_of(tmp_path_factory.mktemp("many") / "ledger.sqlite", MANY) as ledger:
        yield ledger


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda ledger: next_delivery(ledger, "pacs"), id="next"),
        pytest.param(lambda ledger: next_delivery(ledger, "pacs", (), {"put off 7"}), id="next that is due"),
        pytest.param(lambda ledger: is_any_pending(ledger, "pacs"), id="any"),
        pytest.param(lambda ledger: still_pending(ledger, "pacs", {"waits 7", "arrived 7"}), id="still"),
        pytest.param(lambda ledger: tell_all(ledger, "pacs", AWAY), id="told already"),
        pytest.param(awaited_destinations, id="names"),
        pytest.param(lag_of, id="lag"),
        pytest.param(backlog_of, id="backlog of the mirror"),
    ],
)
def test_what_waits_is_found_for_as_little_however_much_waits(
    few: Ledger, many: Ledger, ask: Callable[[Ledger], object]
) -> None:
    costs = []
    for ledger in (few, many):
        steps = Steps(ledger)
        with steps.counted():
            ask(ledger)
        costs.append(steps.steps)

    assert 0 < costs[1] <= 1.1 * costs[0]


def test_next_delivery_is_of_the_most_urgent_job_put_off_or_not(many: Ledger) -> None:
    urgent, urgent_and_put_off = f"waits {MANY // 2}", f"put off {MANY // 2}"

    assert [
        row and row.key
        for row in (
            next_delivery(many, "pacs"),
            next_delivery(many, "pacs", {urgent}),
            next_delivery(many, "pacs", {urgent}, {"put off 3", urgent_and_put_off}),
            next_delivery(many, "nobody"),
        )
    ] == [urgent, "waits 0", urgent_and_put_off, None]


def test_of_what_was_put_off_the_first_are_looked_at(many: Ledger) -> None:
    assert [*put_off_deliveries(many, "pacs")] == [f"put off {number}" for number in range(MOST_PUT_OFF)]


def test_everything_that_waits_is_walked_once_the_longest_wait_first(many: Ledger) -> None:
    waits = [row.key for row in pending_deliveries(many, "pacs")]

    assert len(waits) == len({*waits}) == 2 * MANY
    assert waits[:2] == ["put off 0", "waits 0"]


def test_all_that_waits_is_told_why_but_what_does_not_wait(few: Ledger) -> None:
    with sqlite3.connect(few.path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        studies = (
            "INSERT INTO studies (study_uid, study_key, state, received_at, last_instance_at, updated_at)"
        )
        connection.execute(f"{studies} VALUES ('1.2.3', 'key', 'receiving', ?, ?, ?)", [_at(0)] * 3)

    tell_all(few, "gone", "gone is no [[destination]]")

    assert {row.reason for row in pending_deliveries(few, "gone")} == {"gone is no [[destination]]"}
    assert {row.reason for row in pending_deliveries(few, "pacs")} == {AWAY}
