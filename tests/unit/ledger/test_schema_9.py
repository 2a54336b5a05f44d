"""A ledger of schema 8 counts the lost runs of jobs that are on their way as before."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.migrations import migrate
from gateway.ledger.runs import lost_runs, runs_of
from gateway.ledger.store import Ledger

NOW = "2026-11-01T10:00:00.000000Z"


def _job(connection: sqlite3.Connection, key: str, state: str, run: int, *lines: tuple[str, Any]) -> None:
    """A job with its present run, and lines of its timeline."""
    connection.execute(
        "INSERT INTO jobs (job_key, study_uid, series_uid, slot, rule, task, options, engine, priority,"
        " send_to, state, header_sha256, created_at, updated_at, run)"
        " VALUES (?, '1.2.3', 's', ?, 'ct', 't', '{}', 'threshold', 0, '[]', ?, 'h', ?, ?, ?)",
        (key, key, state, NOW, NOW, run),
    )
    connection.execute(
        "INSERT INTO runs (job_key, run, lane, queue_id, is_open, submitted_at)"
        " VALUES (?, ?, 'main', ?, 0, ?)",
        (key, run, f"b-{key}", NOW),
    )
    for event, detail in lines:
        connection.execute(
            "INSERT INTO events (at, study_uid, job_key, event, detail) VALUES (?, '1.2.3', ?, ?, ?)",
            (NOW, key, f"job.{event}", json.dumps(detail)),
        )


def _lost(run: int, **detail: Any) -> tuple[str, Any]:
    return "run_lost", {"run": run, "reason": "gone", **detail}


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Ledger]:
    machine, nobody = {"blameless": True, "on": "machine"}, {"blameless": True}
    with sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None) as connection:
        migrate(connection, 8)
        connection.execute(
            "INSERT INTO studies (study_uid, study_key, state, received_at, last_instance_at, updated_at)"
            " VALUES ('1.2.3', 'key', 'processing', ?, ?, ?)",
            (NOW, NOW, NOW),
        )
        lines = (_lost(1), _lost(2, exit_code=75, **machine), _lost(3, **nobody), _lost(4, exit_code=137))
        _job(connection, "waits", "staged", 4, *lines)
        _job(connection, "asked", "running", 3, _lost(1), _lost(2), ("retried", {}))
        _job(connection, "done", "delivered", 2, _lost(1))
    connection.close()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def test_lost_runs_of_a_job_on_its_way_are_counted_as_before(migrated: Ledger) -> None:
    assert [run.run for run in lost_runs(migrated, "waits")] == [1, 4]
    assert [(run.run, run.exit_code) for run in lost_runs(migrated, "waits", "machine")] == [(2, 75)]
    assert [run.run for run in runs_of(migrated, "waits")] == [1, 2, 3, 4]
    assert [run.sentence for run in runs_of(migrated, "waits")][:3] == ["gone"] * 3


def test_runs_before_a_person_asked_anew_do_not_count(migrated: Ledger) -> None:
    assert lost_runs(migrated, "asked") == []


def test_run_at_a_queue_elsewhere_says_where_it_was(migrated: Ledger) -> None:
    assert [(run.run, run.backend) for run in runs_of(migrated, "done")] == [(2, "batch")]
