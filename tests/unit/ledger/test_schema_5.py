"""A ledger of the version before keeps everything when it is brought up to date."""

import json
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.completion import images_of, jobs_of
from gateway.ledger.migrations import SCHEMAS
from gateway.ledger.results import current_objects, result_object
from gateway.ledger.store import Ledger

NOW = "2026-11-01T10:00:00.000000Z"


def _row(connection: sqlite3.Connection, table: str, **values: Any) -> None:
    marks = ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def _study(connection: sqlite3.Connection, uid: str, state: str) -> None:
    times = {"received_at": NOW, "last_instance_at": NOW, "updated_at": NOW}
    _row(connection, "studies", study_uid=uid, study_key=f"key of {uid}", state=state, **times)


def _job(connection: sqlite3.Connection, key: str, study_uid: str, state: str, **values: Any) -> None:
    named = {
        "job_key": key,
        "study_uid": study_uid,
        "series_uid": "s",
        "slot": key,
        "rule": "ct",
        "task": "t",
    }
    images = json.dumps([f"{key}.1", f"{key}.2#3"])
    rest = {"options": "{}", "engine": "threshold", "priority": 0, "send_to": "[]", "header_sha256": "h"}
    times = {"created_at": NOW, "updated_at": NOW}
    _row(connection, "jobs", **named, **rest, **times, state=state, instance_uids=images, **values)


def _instance(connection: sqlite3.Connection, uid: str, study_uid: str, *, is_current: int) -> None:
    named = {"sop_instance_uid": uid, "study_uid": study_uid, "series_uid": "s", "sop_class_uid": "1.2"}
    digests = {"header_sha256": "h", "pixel_sha256": "p", "geometry_sha256": "g"}
    rest = {"transfer_syntax_uid": "1.2", "path": uid, "size_bytes": 1, "of_use": 1, "sender": "PACS"}
    row = {**named, **digests, **rest, "revision": 1, "is_current": is_current, "received_at": NOW}
    _row(connection, "instances", **row)


def _delivery(connection: sqlite3.Connection, key: str, job_key: str, study_uid: str, uid: str) -> None:
    named = {"key": key, "job_key": job_key, "study_uid": study_uid, "destination": "pacs", "state": "sent"}
    made = {"path": f"results/{uid}.dcm", "sop_class_uid": "1.2.3", "sop_instance_uid": uid}
    times = {"created_at": NOW, "pending_since": NOW, "updated_at": NOW}
    _row(connection, "deliveries", **named, **made, **times)


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Ledger]:
    connection = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    for name in SCHEMAS[:4]:
        connection.executescript(resources.files("gateway.ledger").joinpath(name).read_text(encoding="utf-8"))
    connection.execute("PRAGMA user_version = 4")
    _study(connection, "1.1", "done")
    _study(connection, "1.2", "failed")
    _study(connection, "1.3", "failed")
    _instance(connection, "i1", "1.1", is_current=1)
    _instance(connection, "i2", "1.1", is_current=0)
    encoded = {"encoded_path": "results/new.dcm", "encoded_sha256": "d", "encoded_uid": "new"}
    _job(connection, "k1", "1.1", "delivered", **encoded)
    _job(connection, "k2", "1.2", "quarantined")
    _job(connection, "k3", "1.3", "failed")
    _delivery(connection, "d1", "k1", "1.1", "old")
    _delivery(connection, "d2", "k1", "1.1", "new")
    connection.close()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def test_ledger_of_schema_4_keeps_the_images_of_its_jobs_in_order(migrated: Ledger) -> None:
    assert [job.job_key for job in jobs_of(migrated, "1.1")] == ["k1"]
    assert images_of(migrated, "k1") == ("k1.1", "k1.2#3")


def test_ledger_of_schema_4_keeps_every_object_and_knows_which_is_current(migrated: Ledger) -> None:
    made = current_objects(migrated, "k1")
    assert [(each.sop_instance_uid, each.sha256) for each in made] == [("new", "d")]
    old = result_object(migrated, "old")
    assert old is not None
    assert (old.path, old.sop_class_uid, old.is_current) == ("results/old.dcm", "1.2.3", 0)


def test_ledger_of_schema_4_tells_held_studies_from_failed_ones(migrated: Ledger) -> None:
    rows = migrated.read("SELECT study_uid, state, images, done_at FROM studies ORDER BY study_uid")
    assert [tuple(row) for row in rows] == [
        ("1.1", "done", 1, NOW),
        ("1.2", "held", 0, None),
        ("1.3", "failed", 0, None),
    ]


def test_ledger_of_schema_4_begins_to_count_with_what_it_holds(migrated: Ledger) -> None:
    counts = {(row["kind"], row["state"]): row["number"] for row in migrated.read("SELECT * FROM counts")}
    assert counts["instance", ""] == 2
    assert counts["delivery", "sent"] == 2
    of_studies = {state: number for (kind, state), number in counts.items() if kind == "study"}
    assert of_studies == {"done": 1, "held": 1, "failed": 1}
