"""Makes a ledger of which rows are missing hold together again: what is not to be trusted is made anew.

A study of which something is missing begins anew: it is planned again from its images, and what is known of
its jobs and deliveries stays as it is. A job's key and its objects' UIDs follow from the images, so whatever
is made again is the same.
"""

from collections.abc import Callable, Iterator
from typing import Final

from gateway.config import UPLOAD_RULE

from .corrections import SEGMENTATIONS
from .records import utc_now
from .states import AT_THE_QUEUE, DELIVERY_ARRIVED, JobEvent, JobState, StudyEvent, StudyState
from .store import Ledger
from .transaction import Transaction

STUDIES_AT_ONCE: Final = 500

OnProgress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


def mend_rows(transaction: Transaction, study_key_of: Callable[[str], str]) -> None:
    """Leave no row that refers to a missing one, and have a study for every job.

    Parameters
    ----------
    study_key_of
        Makes the opaque study key of a Study Instance UID.
    """
    transaction.execute("PRAGMA defer_foreign_keys = ON")
    # What came in under a study that is not known is filed anew from its files, which say whose it is.
    transaction.execute(
        "DELETE FROM instances WHERE sender <> ? AND study_uid NOT IN (SELECT study_uid FROM studies)",
        (UPLOAD_RULE,),
    )
    now = utc_now()
    missing = transaction.execute(
        "SELECT DISTINCT study_uid FROM jobs WHERE study_uid NOT IN (SELECT study_uid FROM studies)"
    )
    for (study_uid,) in missing.fetchall():
        transaction.execute(
            "INSERT INTO studies (study_uid, study_key, state, received_at, last_instance_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (study_uid, study_key_of(study_uid), StudyState.RECEIVING, now, now, now),
        )
    _drop_halves_of_jobs(transaction)
    while sum(_drop_references(transaction)):
        pass
    _look_at_segmentations_again(transaction)
    _write_lost_runs(transaction, now)
    transaction.execute(
        "UPDATE studies SET is_upload = 1 WHERE study_uid IN (SELECT study_uid FROM jobs WHERE rule = ?)",
        (UPLOAD_RULE,),
    )
    transaction.execute(
        "UPDATE studies SET images = (SELECT count(*) FROM instances i"
        " WHERE i.study_uid = studies.study_uid AND i.is_current = 1)"
    )


def _look_at_segmentations_again(transaction: Transaction) -> None:
    """Let those wait of which the ledger does not say that they are corrections."""
    transaction.execute(
        "INSERT INTO corrections (sop_instance_uid, study_uid, state, received_at)"
        " SELECT sop_instance_uid, study_uid, 'waiting', received_at FROM instances"
        " WHERE is_current = 1 AND removed_at IS NULL AND sop_class_uid IN (?, ?)"
        " AND sop_instance_uid NOT IN (SELECT sop_instance_uid FROM corrections)",
        SEGMENTATIONS,
    )


def _write_lost_runs(transaction: Transaction, now: str) -> None:
    """Have an open run for every job that waits for one; under its number it is looked for at the queue."""
    states = ", ".join("?" for _ in AT_THE_QUEUE)
    waiting = f"SELECT job_key, run, lane, 1, ?, ? FROM jobs WHERE state IN ({states})"
    transaction.execute(
        f"INSERT INTO runs (job_key, run, lane, is_open, submitted_at, waiting_since) {waiting}"
        " ON CONFLICT (job_key, run) DO UPDATE SET is_open = 1",
        (now, now, *AT_THE_QUEUE),
    )


def _drop_halves_of_jobs(transaction: Transaction) -> None:
    """Of a job that lacks images keep what was delivered of it; without that it is planned anew."""
    marks = ", ".join("?" for _ in DELIVERY_ARRIVED)
    transaction.execute(
        "CREATE TEMP TABLE halves AS SELECT j.job_key, EXISTS (SELECT 1 FROM deliveries d"
        f" WHERE d.job_key = j.job_key AND (d.state IN ({marks}) OR d.begun_at IS NOT NULL)) AS has_arrived"
        " FROM jobs j WHERE coalesce("
        " (SELECT count(*) <> max(position) + 1 FROM job_images i WHERE i.job_key = j.job_key), 1)"
        " OR EXISTS (SELECT 1 FROM volumes v WHERE v.job_key = j.job_key AND v.images <>"
        " (SELECT count(*) FROM job_images i WHERE i.job_key = j.job_key))",
        tuple(DELIVERY_ARRIVED),
    )
    transaction.execute("DELETE FROM job_images WHERE job_key IN (SELECT job_key FROM halves)")
    transaction.execute(
        "DELETE FROM jobs WHERE job_key IN (SELECT job_key FROM halves WHERE NOT has_arrived)"
    )
    transaction.execute("DROP TABLE halves")


def _drop_references(transaction: Transaction) -> Iterator[int]:
    """Remove rows that refer to missing ones, or only what they say of them where they may say nothing."""
    tables = transaction.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        keys = transaction.execute(
            'SELECT k."from", k."table", i."notnull", coalesce(k."to", p.name)'
            ' FROM pragma_foreign_key_list(?) k JOIN pragma_table_info(?) i ON i.name = k."from"'
            ' JOIN pragma_table_info(k."table") p ON p.pk = 1',
            (table, table),
        )
        for column, other, needs_it, key in keys.fetchall():
            lost = f'"{column}" IS NOT NULL AND "{column}" NOT IN (SELECT "{key}" FROM "{other}")'
            what = f'DELETE FROM "{table}"' if needs_it else f'UPDATE "{table}" SET "{column}" = NULL'
            yield transaction.execute(f"{what} WHERE {lost}").rowcount


def make_whole(ledger: Ledger, has_files: Callable[[str], bool], on_progress: OnProgress) -> int:
    """Have everything made again that is missing; the number of studies that begin anew.

    Parameters
    ----------
    has_files
        Whether objects of this job lie on the disk, whatever the ledger knows of them.
    """
    for job_key in _jobs_without_objects(ledger, has_files):
        with ledger.transaction() as transaction:
            reason = "its objects or deliveries were lost with the ledger"
            transaction.move_job(job_key, JobEvent.HEADER_CORRECTED, reason=reason)
    lacking = _studies_that_lack_something(ledger)
    for study_uid in lacking:
        with ledger.transaction() as transaction:
            columns = {"complete_requested": 1, "generation": transaction.study(study_uid).generation + 1}
            transaction.move_study(study_uid, StudyEvent.INSTANCE_STORED, columns=columns)
            transaction.note("study.begun_anew", study_uid=study_uid)
    rest = ledger.read("SELECT study_uid FROM studies WHERE state <> ?", (StudyState.RECEIVING,))
    for first in range(0, len(rest), STUDIES_AT_ONCE):
        on_progress(first, len(rest))
        with ledger.transaction() as transaction:
            for row in rest[first : first + STUDIES_AT_ONCE]:
                transaction.settle_later(row["study_uid"])
    return len(lacking)


def _jobs_without_objects(ledger: Ledger, has_files: Callable[[str], bool]) -> list[str]:
    """Jobs that are encoded or delivered, and of whose objects or deliveries some are not known."""
    rows = ledger.read(
        "SELECT j.job_key, j.state, json_array_length(j.send_to) AS destinations,"
        " count(DISTINCT o.sop_instance_uid) AS objects, count(d.key) AS deliveries FROM jobs j"
        " LEFT JOIN result_objects o ON o.job_key = j.job_key AND o.is_current = 1"
        " LEFT JOIN deliveries d ON d.sop_instance_uid = o.sop_instance_uid"
        " JOIN studies s ON s.study_uid = j.study_uid AND s.images_removed_at IS NULL"
        " WHERE j.state IN (?, ?) AND j.rule <> ? AND j.results_removed_at IS NULL GROUP BY j.job_key",
        (JobState.ENCODED, JobState.DELIVERED, UPLOAD_RULE),
    )
    lacking = []
    for row in rows:
        is_encoded, expected = row["state"] == JobState.ENCODED, row["objects"] * row["destinations"]
        if not row["objects"]:
            lacks = is_encoded or has_files(row["job_key"])  # else nothing was found, and nothing made
        else:  # one that is delivered may have had fewer destinations than its rule
            lacks = row["deliveries"] < (expected if is_encoded else min(expected, 1))
        if lacks:
            lacking.append(row["job_key"])
    return lacking


def _studies_that_lack_something(ledger: Ledger) -> list[str]:
    """Complete studies whose files are here, and of whose volumes, jobs or images something is not known."""
    over = (JobState.CANCELLED, JobState.SUPERSEDED)
    rows = ledger.read(
        "SELECT study_uid FROM studies s WHERE state <> ? AND images > 0 AND images_removed_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = s.study_uid AND j.rule = ?)"
        " AND (NOT EXISTS (SELECT 1 FROM volumes v WHERE v.study_uid = s.study_uid)"
        " OR EXISTS (SELECT 1 FROM volumes v WHERE v.study_uid = s.study_uid AND v.job_key IS NOT NULL"
        "  AND v.job_key NOT IN (SELECT job_key FROM jobs))"
        " OR EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = s.study_uid AND j.state NOT IN (?, ?)"
        "  AND NOT EXISTS (SELECT 1 FROM volumes v WHERE v.job_key = j.job_key))"
        " OR EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = s.study_uid"
        "  AND NOT EXISTS (SELECT 1 FROM job_images i WHERE i.job_key = j.job_key)))",
        (StudyState.RECEIVING, UPLOAD_RULE, *over),
    )
    return [row["study_uid"] for row in rows]
