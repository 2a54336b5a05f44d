"""What waits for a person, made of ledger rows: objects that were put aside, and jobs that are held.

The shapes are those of `gateway.api.models`.
"""

import sqlite3
from typing import Final

from gateway.ledger.records import QuarantineRow
from gateway.ledger.store import Ledger

from .cursors import read_cursor, write_cursor
from .listings import DEFAULT_LIMIT, Json, find_study

END_OF_TIME: Final = ("9999", "")
"""Comes after every time and key."""
# Each reads one page along its own index.
_OBJECTS: Final = (
    "SELECT first_at AS at, key, 'object' AS kind FROM quarantine WHERE (first_at, key) < (?, ?)"
    " ORDER BY first_at DESC, key DESC LIMIT ?"
)
_HELD_JOBS: Final = (
    "SELECT updated_at AS at, job_key AS key, 'job' AS kind FROM jobs INDEXED BY jobs_held"
    " WHERE state = 'quarantined'"
    " AND (updated_at, job_key) < (?, ?) ORDER BY updated_at DESC, job_key DESC LIMIT ?"
)


def list_quarantine(ledger: Ledger, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Json:
    """One page of quarantined objects and held jobs, the latest first.

    Parameters
    ----------
    limit
        1 to 500.
    cursor
        The `next_cursor` of the page before.

    Raises
    ------
    BadCursor
    """
    before = read_cursor(cursor) if cursor is not None else END_OF_TIME
    rows = [*ledger.read(_OBJECTS, (*before, limit + 1)), *ledger.read(_HELD_JOBS, (*before, limit + 1))]
    rows.sort(key=lambda row: (row["at"], row["key"]), reverse=True)
    page = rows[:limit]
    items = [_held_job(ledger, row) if row["kind"] == "job" else _object(ledger, row["key"]) for row in page]
    return {
        "items": [item for item in items if item is not None],  # some may be gone since the first query
        "next_cursor": write_cursor(page[-1]["at"], page[-1]["key"]) if len(rows) > limit else None,
    }


def _held_job(ledger: Ledger, row: sqlite3.Row) -> Json | None:
    found = ledger.read(
        "SELECT j.reason, j.task, s.study_uid, s.study_key FROM jobs j JOIN studies s USING (study_uid)"
        " WHERE j.job_key = ?",
        (row["key"],),
    )
    if not found:
        return None
    return {
        "key": row["key"],
        "kind": "job",
        "reason": "held",
        "sentence": found[0]["reason"],
        "study_uid": found[0]["study_uid"],
        "study_key": found[0]["study_key"],
        "sender": None,
        "task": found[0]["task"],
        "times": 1,
        "first": row["at"],
        "last": row["at"],
    }


def _object(ledger: Ledger, key: str) -> Json | None:
    found = ledger.read("SELECT * FROM quarantine WHERE key = ?", (key,))
    if not found:
        return None
    row = QuarantineRow.of(found[0])
    study = find_study(ledger, row.study_uid) if row.study_uid else None
    return {
        "key": key,
        "kind": "object",
        "reason": row.reason,
        "sentence": row.sentence,
        "study_uid": row.study_uid,
        "study_key": study.study_key if study else None,
        "sender": row.sender,
        "task": None,
        "times": row.times,
        "first": row.first_at,
        "last": row.last_at,
    }
