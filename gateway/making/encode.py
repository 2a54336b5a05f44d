"""The step encode (segmented > encoded, or delivered where nothing was found): label map to DICOM-SEG.

An uploaded NIfTI has no DICOM to go back to: its label map is the result (segmented > delivered).

The object's UID follows from all that goes into it, so the same work done twice gives the same bytes under
the same UID; the file is on disk before the ledger says so.
"""

import json
from typing import Any

import structlog

from batch_job.contract import ContractError, Manifest, engine_facts
from converter.foreign_image import require_grid_of
from converter.geometry import labels_on_frames
from converter.grid import require_own_grid
from converter.results.settings import Algorithm, Terms
from converter.segmentation import (
    ENCODER_VERSION,
    Encoding,
    SegmentationSettings,
    copied_header_digest,
    encode_segmentation,
)
from converter.series import Volume
from converter.uids import derived_uid
from gateway.config import Seg
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.completion import jobs_of
from gateway.ledger.instances import current_instances
from gateway.ledger.records import JobRow, utc_time
from gateway.ledger.results import Result, ResultObject, record_result, revisions_delivered
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import WhyDone
from gateway.workers.attempts import CannotGoOn

from .terms import engine_terms

log = structlog.get_logger(__name__)

LONGEST_DESCRIPTION = 64
"""PS3.5 6.2, value representation LO."""


class Encode:
    """Makes the result object of a segmented job."""

    def __init__(
        self, ledger: Ledger, workplace: Workplace, results: JobResults, seg: Seg, tracking_key: bytes
    ) -> None:
        self._ledger = ledger
        self._workplace = workplace
        self._results = results
        self._seg = seg
        self._encoding = Encoding.named(seg.type, seg.transfer_syntax, is_cropped=seg.crop)
        self._tracking_key = tracking_key

    def __call__(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        ConverterError, CannotGoOn, OSError, Retriable, Permanent, StaleRow
        """
        if job.is_upload:
            self._hand_over(job)
            return
        volume = self._workplace.volume(job)
        manifest = self._results.manifest(job)
        labels_path = self._results.fetch_labels(job, manifest)
        require_own_grid(labels_path, volume)
        labels = labels_on_frames(labels_path, volume)
        if labels.any():
            header_sha256 = copied_header_digest(volume)
            settings = self._settings(job, volume, manifest, header_sha256)
            path = self._workplace.result_path(job, settings.sop_instance_uid)
            encoded = encode_segmentation(volume, labels, manifest.labels, settings, path)
            made = ResultObject(
                output="seg",
                path=str(path.relative_to(self._workplace.data_dir)),
                sha256=encoded.sha256,
                sop_class_uid=encoded.sop_class_uid,
                sop_instance_uid=encoded.sop_instance_uid,
            )
            result = Result((made,), header_sha256, (*job.warnings, *encoded.warnings))
            with self._ledger.transaction() as transaction:
                record_result(transaction, job, result, job.send_to)
        else:
            with self._ledger.transaction() as transaction:
                transaction.move_job(job.job_key, JobEvent.FOUND_NOTHING, expect=JobState.SEGMENTED)
        self._workplace.clear(job)

    def _hand_over(self, job: JobRow) -> None:
        """Of an uploaded NIfTI the label map itself is the result, where it lies on the image."""
        labels_path = self._results.fetch_labels(job, self._results.manifest(job))
        require_grid_of(labels_path, self._workplace.uploaded_image(job))
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key,
                JobEvent.DELIVERED,
                expect=JobState.SEGMENTED,
                reason=WhyDone.LABEL_MAP_READY,
            )
        self._workplace.clear(job)

    def _settings(
        self, job: JobRow, volume: Volume, manifest: Manifest, header_sha256: str
    ) -> SegmentationSettings:
        """All that is said about the object; its UIDs follow from everything else, and are filled in last."""
        if job.segmented_at is None or job.labels_sha256 is None:
            raise CannotGoOn("the ledger does not say when it was segmented; cancel and retry the job")
        said: dict[str, Any] = {
            "series_number": self._series_number(job),
            "series_description": self._description(job, volume),
            "task": job.task,
        }
        terms = _terms_of(job)
        algorithm = Algorithm(
            name=f"{manifest.engine.name} {job.task}",
            version=" ".join(filter(None, [manifest.engine.version, manifest.engine.weights])),
            family=terms.family,
        )
        uid = derived_uid(
            job.job_key,
            "seg",
            json.dumps({**said, "made_at": job.segmented_at}, sort_keys=True),
            f"{algorithm.name} {algorithm.version} {terms.identity()}",
            str(self._encoding),
            self._tracking_key.hex(),
            ENCODER_VERSION,
            header_sha256,
            job.labels_sha256,
        )
        return SegmentationSettings(
            sop_instance_uid=uid,
            series_uid=derived_uid(uid, "series"),
            made_at=utc_time(job.segmented_at),
            algorithm=algorithm,
            structures=terms.structures,
            encoding=self._encoding,
            tracking_key=self._tracking_key,
            **said,
        )

    def _series_number(self, job: JobRow) -> int:
        """9000 plus the source's number; the next free one where two jobs of a study would share it."""
        sources = {
            row.series_uid: row.series_number or 0 for row in current_instances(self._ledger, job.study_uid)
        }
        taken = set(sources.values())
        for other in jobs_of(self._ledger, job.study_uid):
            number = self._seg.series_number + sources.get(other.series_uid, 0)
            while number in taken:
                number += 1
            if other.job_key == job.job_key:
                return number
            taken.add(number)
        raise CannotGoOn("the job is gone from the ledger")

    def _description(self, job: JobRow, volume: Volume) -> str:
        source_number = volume.header.get("SeriesNumber")
        text = self._seg.series_description.format(
            task=f"{job.task} ({job.model_name})" if job.fallback_of else job.task,
            source_number="?" if source_number is None else source_number,
            source_description=volume.header.get("SeriesDescription") or "",
        )
        delivered = revisions_delivered(self._ledger, job)
        return fit_description(f"{text} rev {delivered + 1}" if delivered else text)


def _terms_of(job: JobRow) -> Terms:
    try:
        return engine_terms(engine_facts(job.engine))
    except ContractError as error:
        raise CannotGoOn(f"its engine was taken out of the catalogue: {error}") from None


def fit_description(text: str) -> str:
    """Cut a description to 64 characters, keeping its first and last words: they say what it is for."""
    text = " ".join(text.split())
    if len(text) <= LONGEST_DESCRIPTION:
        return text
    ending = text[text.rfind("(") :] if "(" in text else text.split(" ")[-1]
    ending = ending[-LONGEST_DESCRIPTION + 20 :]
    return f"{text[: LONGEST_DESCRIPTION - len(ending) - 1].rstrip()} {ending}"
