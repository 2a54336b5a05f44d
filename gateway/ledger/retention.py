"""What may be removed by age or for room: first the ledger says so, study by study, in one transaction each.

Only what is done goes, and of that only what nobody waits for: images of a study that is done, results that
every destination has (or that nobody wants any more), uploads with their label maps. Results that no
destination has exist here only, and stay.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .erasing import erase_study
from .records import JobRow, StudyRow, utc_now
from .removals import Gone, plan_removal
from .states import CorrectionState, DeliveryState, StudyState
from .store import Ledger
from .transaction import ResultsHere, Transaction


class Part(StrEnum):
    """What of a study is removed at once."""

    IMAGES = "images"  # what was received, and the inputs that were made of it
    RESULTS = "results"  # the result objects and the job folders
    UPLOADS = "uploads"  # of an uploaded NIfTI: the image and its label maps
    ROWS = "rows"  # what the ledger says of it


@dataclass(frozen=True)
class DoneStudy:
    """A study of which something lies here, and since when it is done."""

    study_uid: str
    study_key: str
    done_at: str


_NOT_MIRRORED: Final = "EXISTS (SELECT 1 FROM mirror_outbox o WHERE o.study_uid = s.study_uid)"
_WITH: Final = {
    Part.IMAGES: "images_here = 1 AND is_upload = 0",
    Part.RESULTS: "results_here = 1 AND is_upload = 0",
    Part.UPLOADS: "images_here = 1 AND is_upload = 1",
    Part.ROWS: f"images_here = 0 AND results_here = 0 AND NOT {_NOT_MIRRORED}",
}
"""Each has its index, so that what was removed long ago is not gone through again."""


def oldest_with(ledger: Ledger, part: Part, after: DoneStudy | None = None) -> DoneStudy | None:
    """The study that is done for the longest of those of which this part may go; None where there is none.

    Parameters
    ----------
    after
        Only those after this one in that order: it was looked at.
    """
    place = (after.done_at, after.study_uid) if after is not None else ("", "")
    rows = ledger.read(
        "SELECT study_uid, study_key, done_at FROM studies s WHERE (done_at, study_uid) > (?, ?)"
        " AND forget_at IS NULL"
        f" AND {_WITH[part]} ORDER BY done_at, study_uid LIMIT 1",
        place,
    )
    return DoneStudy(**dict(rows[0])) if rows else None


@dataclass(frozen=True)
class Terms:
    """What is to be known beside the ledger.

    Parameters
    ----------
    input_names
        The names of inputs in job folders: they are images.
    """

    input_names: Collection[str] = ()


def remove_part(transaction: Transaction, study: DoneStudy, part: Part, terms: Terms, *, why: str) -> bool:
    """Say that a part of a study is gone, and write down what is to be removed.

    Parameters
    ----------
    why
        "age" or "room".

    Returns
    -------
    Whether it may go: False where the study is not done any more, or somebody waits for something of it.
    """
    row = transaction.study(study.study_uid)
    if row.done_at != study.done_at or not _is_settled(transaction, row):
        return False
    if part is Part.RESULTS and row.results_here == ResultsHere.ONLY:
        return False
    if part is Part.ROWS:
        erase_study(transaction, row, why="age")
        return True
    if part in (Part.IMAGES, Part.UPLOADS):
        _remove_images(transaction, row, why, terms.input_names)
    if part in (Part.RESULTS, Part.UPLOADS):
        _remove_results(transaction, row, why)
    return True


def remove_put_aside(transaction: Transaction, last_before: str, limit: int) -> int:
    """Take objects out of the quarantine that came for the last time before then; how many they were."""
    rows = transaction.execute(
        "SELECT key, path FROM quarantine WHERE last_at <= ? ORDER BY last_at LIMIT ?", (last_before, limit)
    ).fetchall()
    plan_removal(transaction, Gone.FILE, [row["path"] for row in rows])
    transaction.transitions.append("quarantine.emptied")
    for row in rows:
        transaction.execute("DELETE FROM quarantine WHERE key = ?", (row["key"],))
    return len(rows)


def oldest_put_aside(ledger: Ledger) -> str | None:
    """When the object in quarantine that came least lately came last; None where there is none."""
    at: str | None = ledger.read("SELECT min(last_at) AS at FROM quarantine")[0]["at"]
    return at


def _is_settled(transaction: Transaction, study: StudyRow) -> bool:
    """Whether nobody waits for anything of a study: the one place that says what delivered means here."""
    if study.state is not StudyState.DONE or study.forget_at is not None:
        return False
    if transaction.one("SELECT 1 FROM choices WHERE study_uid = ? AND is_open = 1", (study.study_uid,)):
        return False
    if _is_to_be_looked_at(transaction, study.study_uid):
        return False
    rows = transaction.execute(
        "SELECT state, unkept_since FROM deliveries WHERE study_uid = ?", (study.study_uid,)
    )
    return not any(
        row["state"] in (DeliveryState.PENDING, DeliveryState.FAILED) or row["unkept_since"] is not None
        for row in rows
    )


def _is_to_be_looked_at(transaction: Transaction, study_uid: str) -> bool:
    """Whether a segmentation came of which nobody knows yet whether it is a correction."""
    sql = "SELECT 1 FROM corrections WHERE study_uid = ? AND state = ? AND job_key IS NULL"
    return transaction.one(sql, (study_uid, CorrectionState.WAITING)) is not None


def _remove_images(transaction: Transaction, study: StudyRow, why: str, input_names: Collection[str]) -> None:
    """All revisions of the images, what lies ready of them for jobs, and the jobs' inputs."""
    now, uid = utc_now(), study.study_uid
    transaction.execute(
        "INSERT OR IGNORE INTO removals (kind, name, since) SELECT ?, path, ? FROM instances"
        " WHERE study_uid = ? AND removed_at IS NULL",
        (Gone.FILE, now, uid),
    )
    files = transaction.execute(
        "UPDATE instances SET removed_at = ? WHERE study_uid = ? AND removed_at IS NULL", (now, uid)
    ).rowcount
    transaction.execute("UPDATE studies SET images_here = 0 WHERE study_uid = ?", (uid,))
    if not files:
        return
    transaction.execute("UPDATE studies SET images_removed_at = ? WHERE study_uid = ?", (now, uid))
    for job in _jobs(transaction, uid):
        inputs = [f"jobs/{job.job_key}/{name}" for name in input_names]
        plan_removal(transaction, Gone.OBJECTS, inputs, job.job_key)
        plan_removal(transaction, Gone.FOLDER, [f"work/{job.job_key}"], job.job_key)
    transaction.step_of_study("study.images_removed", uid, files=files, why=why)


def _remove_results(transaction: Transaction, study: StudyRow, why: str) -> None:
    """The objects that were made, and the job folders; which they were stays known."""
    now, uid = utc_now(), study.study_uid
    transaction.execute("UPDATE studies SET results_here = 0 WHERE study_uid = ?", (uid,))
    jobs = [job for job in _jobs(transaction, uid) if job.results_removed_at is None]
    for job in jobs:
        plan_removal(transaction, Gone.FOLDER, [f"results/{job.job_key}"], job.job_key)
        plan_removal(transaction, Gone.OBJECTS, [f"jobs/{job.job_key}/"], job.job_key)
        transaction.update("jobs", "job_key", job.job_key, {"results_removed_at": now})
    if jobs:
        transaction.step_of_study("study.results_removed", uid, jobs=len(jobs), why=why)


def _jobs(transaction: Transaction, study_uid: str) -> list[JobRow]:
    return [JobRow.of(r) for r in transaction.execute("SELECT * FROM jobs WHERE study_uid = ?", (study_uid,))]
