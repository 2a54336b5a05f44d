"""Another task on a volume that has a job: what that job is to be, by the engine and the site's secret."""

from collections.abc import Mapping
from typing import Any

from batch_job.contract import ContractError, EngineFacts, canonical_options
from converter.series import parse_frame_name
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import PlannedJob, images_of
from gateway.ledger.instances import current_instances
from gateway.ledger.records import InstanceRow, JobRow
from gateway.ledger.slots import slot_beside
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible


class Reprocessing:
    """Says which job a wish for another task is.

    Parameters
    ----------
    facts
        What the engine of this gateway can do.
    """

    def __init__(
        self, ledger: Ledger, facts: EngineFacts, secret: SiteSecret, engine: EngineIdentity
    ) -> None:
        self._ledger = ledger
        self._facts = facts
        self._secret = secret
        self._engine = engine

    def planned(self, job: JobRow, task: str, options: Mapping[str, Any]) -> PlannedJob:
        """The job of this task on the same images, to be made of and sent to what `job` is.

        Raises
        ------
        NotPossible
            The engine has no such task or option, the task is for images of another modality, or images are
            not here any more.
        """
        try:
            full = canonical_options(self._facts, task, options)
        except ContractError as error:
            raise NotPossible(str(error)) from None
        names = images_of(self._ledger, job.job_key)
        rows = {row.sop_instance_uid: row for row in current_instances(self._ledger, job.study_uid)}
        images = [(name, rows.get(parse_frame_name(name)[0])) for name in names]
        here = [(name, row) for name, row in images if row is not None and row.removed_at is None]
        if not here or len(here) < len(images):
            raise NotPossible("images of this job are not here any more; send the study again from the PACS")
        self._require_modality(task, here[0][1])
        digests = [(name, row.pixel_sha256, row.geometry_sha256) for name, row in here]
        return PlannedJob.like(
            job,
            job_key=self._secret.job_key(digests, task, full, self._engine),
            instance_uids=names,
            slot=slot_beside(job.slot, task),
            task=task,
            options=full,
            engine=self._engine.name,
            is_wished=True,
        )

    def _require_modality(self, task: str, image: InstanceRow) -> None:
        """Refuse what a rule cannot ask for either; of an uploaded image nobody knows."""
        wanted = self._facts.task(task).modality
        if image.modality and image.modality != wanted:
            raise NotPossible(f"the task {task} works on {wanted}, these images are {image.modality}")
