"""Which files of a job can be fetched, by what the ledger says of it."""

from typing import Final

from batch_job.contract import LABELS_NAME, PREVIEW_NAME, STATISTICS_NAME
from gateway.config.outputs import files_of

from .records import JobRow
from .states import JobState

NOTHING_FOUND: Final = "nothing was found"
"""So begins the warning of a job whose label map is empty."""


def files_of_job(job: JobRow) -> list[str]:
    """Their names: what its run left, and the outputs that are files."""
    if job.labels_sha256 is None or job.results_removed_at is not None:
        return []
    is_made = job.state in (JobState.ENCODED, JobState.DELIVERED)
    is_empty = any(warning.startswith(NOTHING_FOUND) for warning in job.warnings)
    made = files_of(job.outputs) if is_made and not is_empty else []
    return [LABELS_NAME, STATISTICS_NAME, PREVIEW_NAME, *made]
