"""Results over time in the ledger: what was measured of each, and what each was compared with.

What a result is compared with is chosen when it is first encoded, and stays: the same result, encoded again,
is the same objects. Names, birth dates and Patient IDs stand here as keyed digests only.
"""

from collections.abc import Mapping
from typing import Final

from .records import ComparisonRow, MeasuredRow
from .removals import Gone, keep_file, plan_removal
from .states import JobState
from .store import Ledger
from .transaction import Transaction

KEPT_AS: Final = "results/{job_key}/comparison.json"
"""A copy below data_dir: a ledger that is made anew without the row makes the same objects still."""
FORGOTTEN_PRIOR: Final = "the earlier result was forgotten"
MOST_EARLIER: Final = 50
"""As many earlier results of a patient are looked at."""
MOST_KNOWN: Final = 1000
FINISHED: Final = (JobState.ENCODED, JobState.DELIVERED)
"""A result in another state is not, or no more, what a person sees."""


def write_measured(transaction: Transaction, measured: MeasuredRow) -> None:
    """Let this stand as what was measured of a result."""
    transaction.execute("DELETE FROM measured_results WHERE job_key = ?", (measured.job_key,))
    transaction.insert("measured_results", measured.model_dump())


def earlier_results(ledger: Ledger, measured: MeasuredRow, study_uid: str) -> list[MeasuredRow]:
    """Finished results of this task and subject, of other studies and older images; the latest first."""
    if not measured.subject or not measured.acquired:
        return []
    rows = ledger.read(
        "SELECT m.* FROM measured_results m JOIN jobs j USING (job_key)"
        " WHERE m.subject <> '' AND m.subject = ? AND m.acquired > '' AND m.acquired < ?"
        " AND j.study_uid <> ? AND j.state IN (?, ?) ORDER BY m.acquired DESC, m.job_key DESC LIMIT ?",
        (measured.subject, measured.acquired, study_uid, *FINISHED, MOST_EARLIER),
    )
    return [MeasuredRow.of(row) for row in rows]


def measured_studies(ledger: Ledger, subject: str) -> frozenset[str]:
    """The studies of which this ledger knows, or knew, a result of this task and subject, latest first."""
    rows = ledger.read(
        "SELECT j.study_uid FROM measured_results m JOIN jobs j USING (job_key)"
        " WHERE m.subject <> '' AND m.subject = ? ORDER BY m.acquired DESC LIMIT ?",
        (subject, MOST_KNOWN),
    )
    return frozenset(row["study_uid"] for row in rows)


def comparison_of(ledger: Ledger, job_key: str) -> ComparisonRow | None:
    """What a job's result was compared with, or None."""
    rows = ledger.read("SELECT * FROM comparisons WHERE job_key = ?", (job_key,))
    return ComparisonRow.of(rows[0]) if rows else None


def comparisons_of_study(ledger: Ledger, study_uid: str) -> Mapping[str, ComparisonRow]:
    """What the results of a study were compared with, by job."""
    rows = ledger.read(
        "SELECT c.* FROM jobs j JOIN comparisons c USING (job_key) WHERE j.study_uid = ?", (study_uid,)
    )
    return {row["job_key"]: ComparisonRow.of(row) for row in rows}


def freeze_comparison(
    transaction: Transaction, comparison: ComparisonRow, *, is_known_prior: bool = False
) -> None:
    """Let a job's result be compared with this from now on.

    Parameters
    ----------
    is_known_prior
        It was frozen before; the earlier result need not be in this ledger.

    Raises
    ------
    StaleRow
        The earlier result was forgotten since it was chosen.
    """
    if comparison.prior_job_key is not None and not is_known_prior:
        transaction.job(comparison.prior_job_key)
    keep_file(transaction, KEPT_AS.format(job_key=comparison.job_key))
    transaction.execute("DELETE FROM comparisons WHERE job_key = ?", (comparison.job_key,))
    transaction.insert("comparisons", comparison.model_dump())


def forget_as_prior(transaction: Transaction, study_uid: str) -> None:
    """Take out of the comparisons of later results what is of this study; what was delivered stays."""
    later = transaction.execute("SELECT job_key FROM comparisons WHERE prior_study_uid = ?", (study_uid,))
    kept = [KEPT_AS.format(job_key=row["job_key"]) for row in later.fetchall()]
    plan_removal(transaction, Gone.FILE, kept)
    transaction.execute(
        "UPDATE comparisons SET why_none = ?, prior_job_key = NULL, prior_study_uid = NULL,"
        " prior_date = NULL, interval_days = 0, prior_object = '{}', changes = '[]'"
        " WHERE prior_study_uid = ?",
        (FORGOTTEN_PRIOR, study_uid),
    )
