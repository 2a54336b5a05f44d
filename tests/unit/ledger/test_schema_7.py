"""A ledger of schema 6 keeps what it knew of the runs of its jobs, in rows of their own."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.migrations import migrate
from gateway.ledger.runs import open_runs, open_runs_of, run_of
from gateway.ledger.store import Ledger
from gateway.ledger.work import job

NOW, SINCE = "2026-11-01T10:00:00.000000Z", "2026-11-01T09:00:00.000000Z"


def _job(connection: sqlite3.Connection, key: str, state: str, **values: Any) -> None:
    named = {"job_key": key, "study_uid": "1.2.3", "series_uid": "s", "slot": key, "rule": "ct", "task": "t"}
    rest = {"options": "{}", "engine": "threshold", "priority": 0, "send_to": "[]", "header_sha256": "h"}
    row = {**named, **rest, "state": state, "created_at": NOW, "updated_at": NOW, **values}
    marks = ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Ledger]:
    with sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None) as connection:
        migrate(connection, 6)
        connection.execute(
            "INSERT INTO studies (study_uid, study_key, state, received_at, last_instance_at, updated_at)"
            " VALUES ('1.2.3', 'key', 'processing', ?, ?, ?)",
            (NOW, NOW, NOW),
        )
        waits = {"waiting_since": SINCE, "waiting_code": "capacity", "blocked_code": "C:X"}
        at_batch = {"queue_id": "b-1", "attempt": 2, "rank": 3, "lane": "fallback", "submitted_at": SINCE}
        _job(connection, "new", "staged")
        _job(connection, "waits", "runnable", run=4, run_open=1, withdrawn_at=NOW, **at_batch, **waits)
        _job(connection, "local", "running", run=1)  # of a version that did not keep more of it
        _job(connection, "followed", "submitted", run=2, run_open=1, followed="north", submitted_at=SINCE)
        _job(connection, "unwanted", "cancelled", run=3, run_open=1, queue_id="b-2", submitted_at=SINCE)
        _job(connection, "done", "delivered", run=2, submitted_at=SINCE, queue_id="b-3")
    connection.close()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def test_run_that_waits_keeps_all_that_is_known_of_it(migrated: Ledger) -> None:
    run = run_of(migrated, "waits", 4)
    assert run is not None
    assert run.model_dump(exclude={"id"}) == {
        "job_key": "waits",
        "run": 4,
        "lane": "fallback",
        "queue_id": "b-1",
        "followed": "",
        "is_open": 1,
        "submitted_at": SINCE,
        "attempt": 2,
        "rank": 3,
        "waiting_since": SINCE,
        "waiting_code": "capacity",
        "blocked_code": "C:X",
        "withdrawn_at": NOW,
        "ended_at": None,
        "exit_code": None,
        "sentence": "",
        "backend": "batch",
        "started_at": None,
        "lost_on": "",
        "instance": "",
        "held_until": None,
        "cost": None,
        "region": "",
        "has_copy": 0,
    }


def test_open_runs_are_those_that_are_waited_for_and_those_that_nobody_wants(migrated: Ledger) -> None:
    found = {each.job.job_key: (each.run.run, each.is_wanted) for each in open_runs(migrated)}
    assert found == {
        "waits": (4, True),
        "local": (1, True),
        "followed": (2, True),
        "unwanted": (3, False),
    }


def test_run_that_is_over_is_closed_and_a_job_that_never_ran_has_none(migrated: Ledger) -> None:
    done = run_of(migrated, "done", 2)
    assert done is not None
    assert (done.is_open, done.ended_at, done.queue_id) == (0, NOW, "b-3")
    assert open_runs_of(migrated, "new") == set()
    rows = migrated.read("SELECT count(*) AS number FROM runs WHERE job_key = 'new'")
    assert rows[0]["number"] == 0
    kept = job(migrated, "new")
    assert kept is not None
    assert kept.run == 0
