"""What a finished run left in the job folder: manifest and labels, checked before anybody uses them."""

from pathlib import Path

from batch_job.contract import (
    EXIT_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    OWNER_NAME,
    REQUEST_NAME,
    RUN_EXIT_NAME,
    ContractError,
    JobRequest,
    Manifest,
    Owner,
    RunExit,
)
from gateway.adapters.durable import file_digest
from gateway.adapters.objects import ObjectStore, job_object
from gateway.ledger.records import JobRow, utc_text
from gateway.workers.attempts import CannotGoOn

from .workplace import Workplace


class FilesGone(CannotGoOn):
    """What a job had is gone from its folder, or damaged there: it can be made again.

    Parameters
    ----------
    what
        The beginning of a sentence: "its manifest is gone from the job folder".
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; retry the job")
        self.what = what


class ResultUnusable(CannotGoOn):
    """What a run left is no result of its job, and is none at the next look either: it takes another run."""


class JobResults:
    """Reads job folders."""

    def __init__(self, objects: ObjectStore, workplace: Workplace) -> None:
        self._objects = objects
        self._workplace = workplace

    def is_there(self, job: JobRow) -> bool:
        """Whether a manifest is there: without one there is no result.

        Raises
        ------
        Retriable, Permanent
        """
        return self._manifest_bytes(job) is not None

    def is_staged(self, job: JobRow) -> bool:
        """Whether its request is there, and the input that it names.

        Raises
        ------
        Retriable, Permanent
        """
        content = self._objects.get(job_object(job.job_key, REQUEST_NAME))
        try:
            request = JobRequest.from_json(content) if content is not None else None
        except ContractError:
            return False
        if request is None:
            return False
        return self._objects.modified_at(job_object(job.job_key, request.input.name)) is not None

    def verified(self, job: JobRow) -> tuple[Manifest, str]:
        """Fetch manifest and labels and compare their digests; the manifest, and when it was stored.

        Raises
        ------
        CannotGoOn, Retriable, Permanent, OSError
        """
        manifest = self.manifest(job)
        self.fetch(job, manifest, LABELS_NAME).unlink()
        made_at = self._objects.modified_at(job_object(job.job_key, MANIFEST_NAME))
        if made_at is None:
            raise FilesGone("its manifest is gone from the job folder")
        return manifest, utc_text(made_at)

    def manifest(self, job: JobRow) -> Manifest:
        """The job's manifest, checked.

        Raises
        ------
        CannotGoOn
            It is not there, or not as the contract says.
        Retriable, Permanent
        """
        content = self._manifest_bytes(job)
        if content is None:
            raise FilesGone("its manifest is gone from the job folder")
        try:
            manifest = Manifest.from_json(content)
        except ContractError as error:
            raise FilesGone(f"its manifest cannot be used ({error})") from None
        if manifest.job_key != job.job_key or LABELS_NAME not in manifest.outputs:
            raise ResultUnusable("its manifest belongs to another job or names no labels; look at the engine")
        return manifest

    def fetch(self, job: JobRow, manifest: Manifest, name: str) -> Path:
        """Copy an output of the job into the work folder and compare its digest with the manifest's.

        Parameters
        ----------
        name
            "labels.nii.gz", "statistics.json": one that the manifest names.

        Raises
        ------
        CannotGoOn, Retriable, Permanent, OSError
        """
        if name not in manifest.outputs:
            raise ResultUnusable(f"its manifest names no {name}; look at the engine")
        target = self._workplace.work_folder(job) / name
        if not self._objects.fetch(job_object(job.job_key, manifest.where(name)), target):
            raise FilesGone(f"its {name} is gone from the job folder")
        if file_digest(target) != manifest.outputs[name].sha256:
            raise FilesGone(f"its {name} is not the one that the manifest names")
        return target

    def keep(self, job: JobRow, file: Path) -> None:
        """Put a file that was made of its result into its folder, under its own name.

        Raises
        ------
        Retriable, Permanent
        """
        self._objects.put_file(job_object(job.job_key, file.name), file)

    def discard(self, job: JobRow) -> None:
        """Take away the manifest: what lies there is no result any more, and who retries the job gets a run.

        Raises
        ------
        Retriable, Permanent
        """
        self._objects.remove(job_object(job.job_key, MANIFEST_NAME))

    def owner(self, job_key: str, run: int) -> str | None:
        """The queue's name of the run that works, or worked, as this run number; None: nobody began it.

        Raises
        ------
        Retriable, Permanent
        """
        owner = self.owning(job_key, run)
        return owner.batch_job_id if owner is not None else None

    def owning(self, job_key: str, run: int) -> Owner | None:
        """The same, and which of its attempts it was.

        Raises
        ------
        Retriable, Permanent
        """
        content = self._objects.get(job_object(job_key, OWNER_NAME.format(run=run)))
        try:
            return None if content is None else Owner.from_json(content)
        except ContractError:  # the job itself refuses to begin there
            return None

    def exit_of_taken(self, job_key: str, run: int) -> RunExit | None:
        """Why a run failed that another run's process took; None: it did not, as far as is known.

        Raises
        ------
        Retriable, Permanent
        """
        content = self._objects.get(job_object(job_key, RUN_EXIT_NAME.format(run=run)))
        try:
            return RunExit.from_json(content) if content is not None else None
        except ContractError:
            return None

    def exit_of(self, job_key: str, run: int) -> RunExit | None:
        """How a run in a folder of this machine ended, where it could leave word of that.

        Raises
        ------
        Retriable, Permanent
        """
        content = self._objects.get(job_object(job_key, EXIT_NAME))
        try:
            left = RunExit.from_json(content) if content is not None else None
        except ContractError:
            return None
        return left if left is not None and left.run == run else None

    def _manifest_bytes(self, job: JobRow) -> bytes | None:
        return self._objects.get(job_object(job.job_key, MANIFEST_NAME))
