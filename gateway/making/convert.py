"""The steps convert (planned > converted) and stage (converted > staged): from DICOM to a job folder.

A NIfTI that a person uploaded needs no conversion, and goes the same way from there.
"""

from collections.abc import Collection
from pathlib import Path

from batch_job.contract import INPUT_NAMES, REQUEST_NAME, JobInput, JobRequest
from converter.nifti.conversion import convert_volume
from gateway.adapters.durable import file_digest
from gateway.adapters.objects import ObjectStore, job_object
from gateway.files.workplace import Workplace
from gateway.ledger.records import JobRow
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.workers.attempts import CannotGoOn

INPUT_NAME = INPUT_NAMES[0]


class Convert:
    """Makes the NIfTI of a job's volume in its work folder."""

    def __init__(self, ledger: Ledger, workplace: Workplace) -> None:
        self._ledger = ledger
        self._workplace = workplace

    def __call__(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        if job.is_upload:
            self._take_upload(job)
            return
        volume = self._workplace.volume(job)
        with self._workplace.reading(job):
            converted = convert_volume(volume, self._workplace.work_folder(job) / INPUT_NAME)
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key,
                JobEvent.CONVERTED,
                expect=JobState.PLANNED,
                columns={"warnings": converted.warnings},
                converter=converted.converter_version,
                images=len(volume.frames),
                warnings=list(converted.warnings),
            )

    def _take_upload(self, job: JobRow) -> None:
        """It is a NIfTI already, written anew when it came."""
        self._workplace.uploaded_image(job)
        with self._ledger.transaction() as transaction:
            transaction.move_job(job.job_key, JobEvent.CONVERTED, expect=JobState.PLANNED)


class Stage:
    """Puts input and request into the job folder; the request last, so that it never lacks its input.

    Parameters
    ----------
    kept_here
        The names of rules whose images may not go there. What a person uploads goes by no rule.
    """

    def __init__(
        self, ledger: Ledger, workplace: Workplace, objects: ObjectStore, kept_here: Collection[str] = ()
    ) -> None:
        self._ledger = ledger
        self._workplace = workplace
        self._objects = objects
        self._kept_here = frozenset(kept_here)

    def __call__(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        ConverterError, CannotGoOn, OSError, Retriable, Permanent
        """
        if job.rule in self._kept_here:  # planned when job folders still lay here
            raise CannotGoOn(
                f"its rule {job.rule} keeps images on the site, and job folders now lie elsewhere; cancel it,"
                " or set objects.backend = 'local'"
            )
        converted = self._input(job)
        request = JobRequest(
            job_key=job.job_key,
            task=job.task,
            engine=job.engine,
            options=job.options,
            input=JobInput(name=INPUT_NAME, sha256=file_digest(converted)),
        )
        self._objects.put_file(job_object(job.job_key, INPUT_NAME), converted)
        self._objects.put(job_object(job.job_key, REQUEST_NAME), request.to_json())
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key,
                JobEvent.STAGED,
                expect=JobState.CONVERTED,
                input_mb=round(converted.stat().st_size / 1e6, 1),
            )
        self._workplace.drop(job, INPUT_NAME)  # not the folder: the next step may be at work in it already

    def _input(self, job: JobRow) -> Path:
        if job.is_upload:
            return self._workplace.uploaded_image(job)
        converted = self._workplace.work_folder(job) / INPUT_NAME
        if not converted.is_file():  # the work folder is no archive: it may have been emptied
            with self._workplace.reading(job):
                convert_volume(self._workplace.volume(job), converted)
        return converted
