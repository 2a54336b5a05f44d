"""Flags in the ledger: what a person should know before trusting a job's result, and where it comes from."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Final

from gateway.config.arrival import (
    CLOSED_AFTER_ABORT,
    CLOSED_BY_TIMEOUT,
    HOW_IT_ARRIVED,
    NAMED_INSTANCES_MISSING,
    RELEASED_BY_A_PERSON,
)

from .instances import FOUND_AT_START
from .records import JobFlagRow, StudyRow, utc_now, utc_time
from .states import JobState
from .store import Ledger
from .transaction import Transaction


class FlagSource(StrEnum):
    """Who says a flag."""

    ARRIVAL = "arrival"
    RESULT = "result"


@dataclass(frozen=True)
class Flag:
    """One flag (`docs/quality.md`); `sentence` holds nothing of the patient's header."""

    code: str
    structure: str | None
    number: float
    unit: str
    sentence: str


def write_flags(transaction: Transaction, job_key: str, source: FlagSource, flags: Iterable[Flag]) -> None:
    """Let these stand with a job, in the place of what the same source said before."""
    transaction.execute("DELETE FROM job_flags WHERE job_key = ? AND source = ?", (job_key, source))
    for position, flag in enumerate(flags):
        _write(transaction, job_key, source, position, flag)


def add_flag(transaction: Transaction, job_key: str, source: FlagSource, flag: Flag) -> None:
    """Let one more stand with a job."""
    last = transaction.one(
        "SELECT max(position) AS position FROM job_flags WHERE job_key = ? AND source = ?", (job_key, source)
    )
    position = -1 if last is None or last["position"] is None else int(last["position"])
    _write(transaction, job_key, source, position + 1, flag)


def copy_arrival_flags(transaction: Transaction, of: str, to: str) -> None:
    """Let a job say of its images what another one of the same images says."""
    transaction.execute(
        "INSERT INTO job_flags (job_key, source, position, code, structure, number, unit, sentence)"
        " SELECT ?, source, position, code, structure, number, unit, sentence FROM job_flags"
        " WHERE job_key = ? AND source = ?",
        (to, of, FlagSource.ARRIVAL),
    )


def _write(transaction: Transaction, job_key: str, source: FlagSource, position: int, flag: Flag) -> None:
    transaction.execute(
        "INSERT INTO job_flags (job_key, source, position, code, structure, number, unit, sentence)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (job_key, source, position, *astuple(flag)),
    )


def flags_of(ledger: Ledger, job_key: str) -> list[JobFlagRow]:
    """The flags of a job: first what arrival says, then the result's in its order."""
    rows = ledger.read("SELECT * FROM job_flags WHERE job_key = ? ORDER BY source, position", (job_key,))
    return [JobFlagRow.of(row) for row in rows]


def flags_of_studies(ledger: Ledger, study_uids: Sequence[str]) -> Mapping[str, list[JobFlagRow]]:
    """The flags of all jobs of these studies, by job, each in the order of `flags_of`."""
    rows = ledger.read(
        "SELECT f.* FROM jobs j JOIN job_flags f USING (job_key)"
        " WHERE j.study_uid IN (SELECT value FROM json_each(?)) ORDER BY f.job_key, f.source, f.position",
        (json.dumps(list(study_uids)),),
    )
    flags = defaultdict[str, list[JobFlagRow]](list)
    for row in rows:
        flags[row["job_key"]].append(JobFlagRow.of(row))
    return flags


def note_how_it_arrived(
    transaction: Transaction, study: StudyRow, job_keys: Sequence[str], *, is_by_timeout: bool, missing: int
) -> None:
    """Let jobs of a study that was just closed say whether its sender ever said that it had no more, and
    how many instances did not come that somebody named.

    What is delivered keeps what was said then. Of a study all of whose files were found here (the ledger was
    made anew) nobody knows, and nothing is said here: what stood with its results is kept beside them.
    """
    is_by_timeout = is_by_timeout and _has_a_sender(transaction, study)
    for job_key in job_keys:
        row = transaction.one("SELECT state FROM jobs WHERE job_key = ?", (job_key,))
        if row is None or row["state"] == JobState.DELIVERED:
            continue
        transaction.execute(
            "DELETE FROM job_flags WHERE job_key = ? AND source = ? AND code IN (?, ?, ?)",
            (job_key, FlagSource.ARRIVAL, *HOW_IT_ARRIVED),
        )
        if is_by_timeout:
            add_flag(transaction, job_key, FlagSource.ARRIVAL, _closed_without_release(study))
        if missing:
            add_flag(transaction, job_key, FlagSource.ARRIVAL, _named_instances_missing(missing))


_SENT: Final = "SELECT 1 FROM instances WHERE study_uid = ? AND sender <> ? LIMIT 1"


def _has_a_sender(transaction: Transaction, study: StudyRow) -> bool:
    return transaction.one(_SENT, (study.study_uid, FOUND_AT_START)) is not None


def was_found_here(ledger: Ledger, study_uid: str) -> bool:
    """Whether all of a study's files were found here: how they came this ledger does not know."""
    return not ledger.read(_SENT, (study_uid, FOUND_AT_START))


def _closed_without_release(study: StudyRow) -> Flag:
    since = max(study.last_instance_at, study.evidence_at or "")
    waited_s = max(0.0, (utc_time(utc_now()) - utc_time(since)).total_seconds())
    if study.evidence == "aborted":
        code, why = CLOSED_AFTER_ABORT, "its sender broke the transfer off"
    else:
        code, why = CLOSED_BY_TIMEOUT, "its sender never said that it had no more"
    sentence = (
        f"The study was taken as complete {waited_s:.0f} s after its last image, since {why}: images may"
    )
    return Flag(code, None, round(waited_s, 1), "s", f"{sentence} be missing.")


def _named_instances_missing(missing: int) -> Flag:
    what = "1 image" if missing == 1 else f"{missing} images"
    sentence = f"{what} did not come that the PACS or the sender named: volumes may be incomplete."
    return Flag(NAMED_INSTANCES_MISSING, None, float(missing), "", sentence)


def released_by_a_person(held_for: str) -> Flag:
    """What a person let go on although images are missing; `held_for` is the sentence that says so."""
    return Flag(RELEASED_BY_A_PERSON, None, 1.0, "", f"A person released it, which was held: {held_for}")
