"""The step submit, where input and request still lie in the job folder; else the job is staged again."""

from collections.abc import Callable

import structlog

from gateway.files.results import JobResults
from gateway.ledger.lost import make_again
from gateway.ledger.records import JobRow
from gateway.ledger.store import Ledger

log = structlog.get_logger(__name__)


class SubmitWhatIsStaged:
    """Submits a job whose folder is there; sends one whose folder is gone back to where it is made.

    Job folders are no archive: somebody may clear them away, and a run in an empty one can only fail.
    """

    def __init__(self, ledger: Ledger, results: JobResults, submit: Callable[[JobRow], None]) -> None:
        self._ledger = ledger
        self._results = results
        self._submit = submit

    def __call__(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        StaleRow, Retriable, Permanent
        """
        if self._results.is_there(job) or self._results.is_staged(job):
            self._submit(job)
            return
        log.warning("job_folder_gone", job_key=job.job_key)
        with self._ledger.transaction() as transaction:
            make_again(transaction, job, "its job folder is gone")
