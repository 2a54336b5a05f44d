"""What waits for a person, made of ledger rows: objects that were put aside, and jobs that are held.

The shapes are those of `gateway.api.models`.
"""

import sqlite3
from typing import Final

from gateway.ledger.keys import Kind, beginning_with
from gateway.ledger.quarantine import HELD, put_aside_row, reason_of
from gateway.ledger.states import JobState
from gateway.ledger.store import Ledger
from gateway.ledger.watched import kept_counts

from ..cursors import read_cursor, write_cursor
from ..languages import for_the_reader
from ..store import Cut, WhichQuarantined
from ..studies.listings import DEFAULT_LIMIT, Json, find_study

END_OF_TIME: Final = ("9999", "")
"""Comes after every time and key."""
_ALL: Final = WhichQuarantined()
_FIRST: Final = Cut(DEFAULT_LIMIT)
# Each reads one page along its own index.
_OBJECTS: Final = (
    "SELECT first_at AS at, key, 'object' AS kind FROM quarantine"
    " WHERE dismissed_at IS NULL AND (first_at, key) < (?, ?) ORDER BY first_at DESC, key DESC LIMIT ?"
)
_OF_REASON: Final = (
    "SELECT first_at AS at, key, 'object' AS kind FROM quarantine INDEXED BY quarantine_by_reason"
    " WHERE dismissed_at IS NULL AND (first_at, key) < (?1, ?2) AND reason = ?3 AND (?4 = '' OR sender = ?4)"
    " ORDER BY first_at DESC, key DESC LIMIT ?5"
)
_OF_SENDER: Final = (
    "SELECT first_at AS at, key, 'object' AS kind FROM quarantine INDEXED BY quarantine_by_sender"
    " WHERE dismissed_at IS NULL AND (first_at, key) < (?, ?) AND sender = ? ORDER BY first_at DESC, key DESC"
    " LIMIT ?"
)
_DISMISSED: Final = (
    "SELECT first_at AS at, key, 'object' AS kind FROM quarantine INDEXED BY quarantine_dismissed"
    " WHERE dismissed_at IS NOT NULL AND (first_at, key) < (?1, ?2) AND (?3 = '' OR reason = ?3)"
    " AND (?4 = '' OR sender = ?4) ORDER BY first_at DESC, key DESC LIMIT ?5"
)
_NEXT_REASON: Final = (
    "SELECT reason AS name FROM quarantine INDEXED BY quarantine_by_reason"
    " WHERE dismissed_at IS NULL AND reason > ? ORDER BY reason LIMIT 1"
)
_NEXT_SENDER: Final = (
    "SELECT sender AS name FROM quarantine INDEXED BY quarantine_by_sender"
    " WHERE dismissed_at IS NULL AND sender > ? ORDER BY sender LIMIT 1"
)
_HELD_JOBS: Final = (
    "SELECT updated_at AS at, job_key AS key, 'job' AS kind FROM jobs INDEXED BY jobs_held"
    " WHERE state = 'quarantined'"
    " AND (updated_at, job_key) < (?, ?) ORDER BY updated_at DESC, job_key DESC LIMIT ?"
)


def list_quarantine(ledger: Ledger, which: WhichQuarantined = _ALL, cut: Cut = _FIRST) -> Json:
    """One page of quarantined objects and held jobs, the latest first; and how many wait for what.

    Raises
    ------
    BadCursor
    """
    before = read_cursor(cut.cursor) if cut.cursor is not None else END_OF_TIME
    rows = _page(ledger, which, before, cut.limit + 1)
    page = rows[: cut.limit]
    items = [_shown(ledger, Kind(row["kind"]), row["key"]) for row in page]
    return {
        "items": [item for item in items if item is not None],  # some may be gone since the first query
        "next_cursor": write_cursor(page[-1]["at"], page[-1]["key"]) if len(rows) > cut.limit else None,
        **_waiting(ledger),
    }


def show_quarantined(ledger: Ledger, key: str) -> Json | None:
    """One object, also one that was dismissed, or one held job, by its key or how that begins; or None."""
    found = beginning_with(ledger, key, (Kind.OBJECT, Kind.JOB))
    return _shown(ledger, found[0].kind, found[0].key) if len(found) == 1 else None


def _shown(ledger: Ledger, kind: Kind, key: str) -> Json | None:
    return _held_job(ledger, key) if kind is Kind.JOB else _object(ledger, key)


def _page(ledger: Ledger, which: WhichQuarantined, before: tuple[str, str], limit: int) -> list[sqlite3.Row]:
    rows: list[sqlite3.Row] = []
    if which.is_dismissed:
        rows += ledger.read(_DISMISSED, (*before, which.reason, which.sender, limit))
    elif which.reason:
        rows += ledger.read(_OF_REASON, (*before, which.reason, which.sender, limit))
    elif which.sender:
        rows += ledger.read(_OF_SENDER, (*before, which.sender, limit))
    else:
        rows += ledger.read(_OBJECTS, (*before, limit))
    if which.reason in ("", HELD) and not which.sender and not which.is_dismissed:
        rows += ledger.read(_HELD_JOBS, (*before, limit))
    return sorted(rows, key=lambda row: (row["at"], row["key"]), reverse=True)


def _waiting(ledger: Ledger) -> Json:
    """How many wait, for which reasons, and from whom."""
    counts = kept_counts(ledger)
    held = counts["job", JobState.QUARANTINED]
    reasons = [*([HELD] if held else []), *_each_name(ledger, _NEXT_REASON)]
    return {
        "waiting": held + counts["quarantine", ""],
        "reasons": [{"reason": name, "what": for_the_reader(reason_of(name).what)} for name in reasons],
        "senders": _each_name(ledger, _NEXT_SENDER),
    }


def _each_name(ledger: Ledger, sql: str) -> list[str]:
    """Every name once, in their order: one entry of the index is read for each."""
    names: list[str] = []
    while rows := ledger.read(sql, (names[-1] if names else "",)):
        names.append(rows[0]["name"])
    return names


def _held_job(ledger: Ledger, job_key: str) -> Json | None:
    found = ledger.read(
        "SELECT j.reason, j.task, j.updated_at, s.study_uid, s.study_key FROM jobs j"
        " JOIN studies s USING (study_uid) WHERE j.job_key = ? AND j.state = 'quarantined'",
        (job_key,),
    )
    if not found:
        return None
    row = found[0]
    return {
        "key": job_key,
        "kind": "job",
        "sentence": row["reason"],
        "study_uid": row["study_uid"],
        "study_key": row["study_key"],
        "sender": None,
        "task": row["task"],
        "times": 1,
        "first": row["updated_at"],
        "last": row["updated_at"],
        "dismissed": None,
        "dismissed_by": "",
        **_meaning(HELD),
    }


def _object(ledger: Ledger, key: str) -> Json | None:
    row = put_aside_row(ledger, key)
    if row is None:
        return None
    study = find_study(ledger, row.study_uid) if row.study_uid else None
    return {
        "key": key,
        "kind": "object",
        "sentence": row.sentence,
        "study_uid": row.study_uid,
        "study_key": study.study_key if study else None,
        "sender": row.sender,
        "task": None,
        "times": row.times,
        "first": row.first_at,
        "last": row.last_at,
        "dismissed": row.dismissed_at,
        "dismissed_by": row.dismissed_by,
        **_meaning(row.reason),
    }


def _meaning(code: str) -> Json:
    reason = reason_of(code)
    return {
        "reason": code,
        "what": for_the_reader(reason.what),
        "to_do": for_the_reader(reason.to_do),
        "releasable": reason.may_be_taken_in,
    }
