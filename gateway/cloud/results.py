"""What a run of an upload left in its job folder, looked at without fetching it: manifest, sizes, owner."""

from typing import TYPE_CHECKING

from batch_job.contract import (
    LABELS_NAME,
    MANIFEST_NAME,
    OWNER_NAME,
    ContractError,
    Manifest,
    Owner,
)
from gateway.adapters.objects import job_object

if TYPE_CHECKING:
    from gateway.adapters.aws.s3 import BucketStore


class Unusable(Exception):
    """There is a manifest, but no result that it describes; the text says why."""


class UploadResults:
    """Reads job folders in the bucket."""

    def __init__(self, objects: "BucketStore") -> None:
        self._objects = objects

    def manifest(self, job_key: str) -> Manifest | None:
        """The manifest, with every output there in its size; None where there is none: no result.

        Raises
        ------
        Unusable
        Retriable, Permanent
        """
        content = self._objects.get(job_object(job_key, MANIFEST_NAME))
        if content is None:
            return None
        try:
            manifest = Manifest.from_json(content)
        except ContractError as error:
            raise Unusable(f"its manifest cannot be used: {error}") from None
        if manifest.job_key != job_key or LABELS_NAME not in manifest.outputs:
            raise Unusable("its manifest belongs to another job or names no labels")
        for name, output in manifest.outputs.items():
            held = self._objects.held(job_object(job_key, manifest.where(name)))
            if held is None or held.size_bytes != output.bytes:
                raise Unusable(f"its output {name} is not there in the size that its manifest names")
        return manifest

    def is_there(self, job_key: str) -> bool:
        """Whether there is a manifest, of whatever use."""
        return self._objects.get(job_object(job_key, MANIFEST_NAME)) is not None

    def owner(self, job_key: str, run: int) -> str | None:
        """The Batch job that works, or worked, as this run number; None: nobody began it."""
        content = self._objects.get(job_object(job_key, OWNER_NAME.format(run=run)))
        try:
            return None if content is None else Owner.from_json(content).batch_job_id
        except ContractError:  # the job itself refuses to begin there
            return None

    def next_run(self, job_key: str, after: int) -> int:
        """The first run number after this one that nobody ever began."""
        run = after + 1
        while self._objects.get(job_object(job_key, OWNER_NAME.format(run=run))) is not None:
            run += 1
        return run
