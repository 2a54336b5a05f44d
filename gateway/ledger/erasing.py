"""A study that is gone from the ledger, but for a tombstone of keys and times: by its age, or on request."""

from collections.abc import Callable, Collection, Iterator

from gateway.events import ForgetRequested, StudyChanged

from .comparisons import forget_as_prior
from .named import erase_lists_about
from .records import JobRow, StudyRow, TombstoneRow, utc_now
from .removals import Gone, plan_removal
from .states import JOB_TRANSITIONS, DeliveryState, JobEvent
from .store import Ledger
from .transaction import Transaction
from .under_way import call_off

FORGOTTEN = "forgotten"
"""What is told of a study that is gone, in the place of its state."""

_NOT_BY_STUDY = frozenset({"studies", "quarantine", "removals"})
"""Tables whose rows about a study are dealt with by hand, or outlive it."""


def request_forget(transaction: Transaction, study_uid: str) -> None:
    """Record that a person wants a study erased, and cancel what is open of it.

    Raises
    ------
    StaleRow
        There is no such study.
    """
    study = transaction.study(study_uid)
    if study.forget_at is None:
        transaction.update("studies", "study_uid", study_uid, {"forget_at": utc_now()})
        transaction.step_of_study("study.forget_requested", study_uid)
    _cancel_all(transaction, study_uid)
    transaction.publish(ForgetRequested(study_uid))


def studies_to_forget(ledger: Ledger) -> list[str]:
    """The studies that a person wants erased, in the order of the requests."""
    rows = ledger.read("SELECT study_uid FROM studies WHERE forget_at IS NOT NULL ORDER BY forget_at")
    return [row["study_uid"] for row in rows]


def is_known(ledger: Ledger, study_uid: str) -> bool:
    """Whether there is such a study."""
    return bool(ledger.read("SELECT 1 FROM studies WHERE study_uid = ?", (study_uid,)))


def tombstone(ledger: Ledger, study_key: str) -> TombstoneRow | None:
    """What is left of a study that is gone, or None."""
    rows = ledger.read("SELECT * FROM tombstones WHERE study_key = ?", (study_key,))
    return TombstoneRow.of(rows[0]) if rows else None


def forget(transaction: Transaction, study_uid: str, is_busy: Callable[[Collection[str]], bool]) -> bool:
    """Erase a study that a person wants forgotten; False while something of it still runs.

    Parameters
    ----------
    is_busy
        Whether somebody is at work, this moment, on one of these jobs. It is asked when the ledger has called
        all of them off in an earlier transaction, so that nobody begins with one any more.
    """
    study = transaction.study(study_uid)
    if _cancel_all(transaction, study_uid):
        return False
    if _may_still_run(transaction, study_uid):
        return False
    if is_busy([job.job_key for job in _jobs(transaction, study_uid)]):
        return False
    erase_study(transaction, study, why="forgotten")
    return True


def erase_study(transaction: Transaction, study: StudyRow, *, why: str) -> None:
    """Take a study out of the ledger, and write down what is to be removed with it.

    Parameters
    ----------
    why
        "age", or "forgotten": then with what was put aside of it, and what the mirror has.
    """
    uid = study.study_uid
    jobs = [job.job_key for job in _jobs(transaction, uid)]
    _plan_removals(transaction, uid, jobs)
    if why == "forgotten":
        _forget_elsewhere(transaction, study, jobs)
    transaction.execute("DELETE FROM tombstones WHERE study_key = ?", (study.study_key,))
    transaction.insert(
        "tombstones",
        {
            "study_key": study.study_key,
            "job_keys": sorted(jobs),
            "received_at": study.received_at,
            "done_at": study.done_at,
            "removed_at": utc_now(),
            "why": why,
        },
    )
    _delete_rows(transaction, uid, is_forgotten=why == "forgotten")
    transaction.transitions.append("study.erased")
    transaction.publish(StudyChanged(uid, FORGOTTEN))


def _plan_removals(transaction: Transaction, study_uid: str, jobs: Collection[str]) -> None:
    transaction.execute(
        "INSERT OR IGNORE INTO removals (kind, name, since) SELECT ?, path, ? FROM instances"
        " WHERE study_uid = ? AND removed_at IS NULL",
        (Gone.FILE, utc_now(), study_uid),
    )
    for job_key in jobs:
        plan_removal(transaction, Gone.FOLDER, [f"results/{job_key}", f"work/{job_key}"], job_key)
        plan_removal(transaction, Gone.OBJECTS, [f"jobs/{job_key}/"], job_key)


def _forget_elsewhere(transaction: Transaction, study: StudyRow, jobs: Collection[str]) -> None:
    """What was put aside of it, and its items in the mirror."""
    uid = study.study_uid
    aside = transaction.execute("SELECT path FROM quarantine WHERE study_uid = ?", (uid,)).fetchall()
    plan_removal(transaction, Gone.FILE, [row["path"] for row in aside])
    transaction.execute("DELETE FROM quarantine WHERE study_uid = ?", (uid,))
    mirror = transaction.one("SELECT is_on FROM mirror")
    if mirror is not None and mirror["is_on"]:
        lines = transaction.execute("SELECT seq FROM events WHERE study_uid = ?", (uid,)).fetchall()
        items = ["study/", *(f"job/{key}" for key in jobs), *(f"event/{line['seq']}" for line in lines)]
        plan_removal(transaction, Gone.MIRROR, [f"{study.study_key}/{item}" for item in items])


def _delete_rows(transaction: Transaction, study_uid: str, *, is_forgotten: bool) -> None:
    """Whatever table names the study, or one of its jobs: also those that come later."""
    transaction.execute("PRAGMA defer_foreign_keys = ON")
    transaction.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only unlinked
    if is_forgotten:
        forget_as_prior(transaction, study_uid)
    erase_lists_about(transaction, study_uid)
    by_study, by_job = [], []
    for table, columns in _tables(transaction):
        if table in _NOT_BY_STUDY:
            continue
        if "study_uid" in columns:
            by_study.append(table)
        elif "job_key" in columns:
            by_job.append(table)
    for table in by_job:
        transaction.execute(
            f"DELETE FROM {table} WHERE job_key IN (SELECT job_key FROM jobs WHERE study_uid = ?)",
            (study_uid,),
        )
    for table in [*by_study, "studies"]:
        transaction.execute(f"DELETE FROM {table} WHERE study_uid = ?", (study_uid,))


def _tables(transaction: Transaction) -> Iterator[tuple[str, set[str]]]:
    tables = transaction.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for name in (table["name"] for table in tables):
        yield name, {column["name"] for column in transaction.execute(f"PRAGMA table_info({name})")}


def _may_still_run(transaction: Transaction, study_uid: str) -> bool:
    """Whether a run of ours may live at a queue: what it writes must not outlast the study."""
    sql = (
        "SELECT 1 FROM jobs j JOIN runs r USING (job_key)"
        " WHERE j.study_uid = ? AND r.is_open = 1 AND r.followed = '' LIMIT 1"
    )
    return transaction.one(sql, (study_uid,)) is not None


def _jobs(transaction: Transaction, study_uid: str) -> list[JobRow]:
    return [JobRow.of(r) for r in transaction.execute("SELECT * FROM jobs WHERE study_uid = ?", (study_uid,))]


def _cancel_all(transaction: Transaction, study_uid: str) -> bool:
    """Call off every job and delivery that is open; whether there was one."""
    open_deliveries = transaction.execute(
        "SELECT key FROM deliveries WHERE study_uid = ? AND state IN (?, ?)",
        (study_uid, DeliveryState.PENDING, DeliveryState.FAILED),
    ).fetchall()
    open_jobs = [
        job for job in _jobs(transaction, study_uid) if (job.state, JobEvent.CANCELLED) in JOB_TRANSITIONS
    ]
    for job in open_jobs:
        transaction.move_job(job.job_key, JobEvent.CANCELLED)
    for row in open_deliveries:
        call_off(transaction, row["key"], "")
    return bool(open_jobs or open_deliveries)
