"""How far the cloud's own running jobs are: read where the job writes it, whenever somebody looks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batch_job.contract import PROGRESS_NAME, ContractError, Progress
from gateway.adapters.errors import OutsideError
from gateway.adapters.mirror import Item, MirroredStudy, MirrorReader
from gateway.adapters.objects import job_object
from gateway.ledger.states import JobState

if TYPE_CHECKING:
    from gateway.adapters.aws.s3 import BucketStore


@dataclass(frozen=True)
class WithProgress:
    """A MirrorReader whose running uploads have their stage and fraction."""

    reader: MirrorReader
    objects: "BucketStore"
    site: str

    def studies(self, state: str, since: str, until: str, at_once: int) -> Iterator[Item]:
        """See `MirrorReader.studies`."""
        return self.reader.studies(state, since, until, at_once)

    def study(self, study_key: str) -> MirroredStudy:
        """See `MirrorReader.study`."""
        found = self.reader.study(study_key)
        return MirroredStudy(found.study, [self._now(job) for job in found.jobs])

    def timeline(self, study_key: str, job_key: str | None, most: int) -> tuple[list[Item], int]:
        """See `MirrorReader.timeline`."""
        return self.reader.timeline(study_key, job_key, most)

    def job(self, job_key: str) -> Item | None:
        """See `MirrorReader.job`."""
        found = self.reader.job(job_key)
        return None if found is None else self._now(found)

    def counts(self) -> Iterator[Item]:
        """See `MirrorReader.counts`."""
        return self.reader.counts()

    def _now(self, job: Item) -> Item:
        if job["site"] != self.site or job["state"] != JobState.RUNNING:
            return job
        try:
            content = self.objects.get(job_object(job["job_key"], PROGRESS_NAME))
            progress = Progress.from_json(content) if content is not None else None
        except (ContractError, OutsideError):  # what the table has is shown all the same
            progress = None
        return job if progress is None else {**job, "stage": progress.stage, "fraction": progress.fraction}
