"""NIfTI images in the ledger: each in a study of its own, with one job for each task that is asked of it.

The image stands among the instances, though it is no DICOM: it has a file, digests and a name that jobs are
made of. It is never of use to a rule, whatever else may come in under its study.
"""

from dataclasses import dataclass

from gateway.config import UPLOAD_RULE

from .completion import PlannedJob, plan_job
from .erasing import erase_study
from .records import JobRow, StudyRow, utc_now
from .removals import keep_file
from .states import StudyEvent, StudyState
from .store import Ledger
from .transaction import NotPossible, Transaction

DESCRIPTION = "NIfTI upload"
WHY_NO_RULE_TAKES_IT = "a NIfTI that was uploaded: its tasks are asked for by hand"


@dataclass(frozen=True)
class UploadedImage:
    """One image that lies, durable, under `path` (below data_dir); every UID is derived from what it is."""

    study_uid: str
    study_key: str
    series_uid: str
    name: str
    """Its SOP Instance UID, as it were: what its jobs are made of."""
    path: str
    size_bytes: int
    voxels_sha256: str
    geometry_sha256: str


def record_upload(transaction: Transaction, image: UploadedImage, planned: PlannedJob) -> JobRow:
    """Write the image's study, where it is new, and its job, where that is; the job as it stands now.

    An image that was removed for its age, with its label maps, is a new one.

    Raises
    ------
    NotPossible
        It is being forgotten at this moment.
    """
    keep_file(transaction, image.path)
    row = transaction.one("SELECT * FROM studies WHERE study_uid = ?", (image.study_uid,))
    study = StudyRow.of(row) if row is not None else None
    if study is not None and study.forget_at is not None:
        raise NotPossible("this image is being forgotten, as a person asked; upload it again in a minute")
    if study is not None and study.images_removed_at is not None and study.state is StudyState.DONE:
        erase_study(transaction, study, why="age")
        study = None
    known = transaction.one("SELECT 1 FROM jobs WHERE job_key = ?", (planned.job_key,))
    if known is None:
        if study is None:
            _add_study(transaction, image)
        plan_job(transaction, image.study_uid, planned)
        transaction.settle_later(image.study_uid)
    return transaction.job(planned.job_key)


def _add_study(transaction: Transaction, image: UploadedImage) -> None:
    now = utc_now()
    transaction.insert(
        "studies",
        {
            "study_uid": image.study_uid,
            "study_key": image.study_key,
            "state": StudyState.RECEIVING,
            "study_description": DESCRIPTION,
            "received_at": now,
            "last_instance_at": now,
            "updated_at": now,
            "images": 1,
            "is_upload": 1,
        },
    )
    _add_image(transaction, image, now)
    transaction.move_study(
        image.study_uid,
        StudyEvent.COMPLETED,
        columns={"completed_at": now},
        evidence="uploaded",
        jobs=1,
    )


def _add_image(transaction: Transaction, image: UploadedImage, now: str) -> None:
    transaction.insert(
        "instances",
        {
            "sop_instance_uid": image.name,
            "revision": 1,
            "is_current": 1,
            "study_uid": image.study_uid,
            "series_uid": image.series_uid,
            "sop_class_uid": "",
            "transfer_syntax_uid": "",
            "series_description": DESCRIPTION,
            "path": image.path,
            "size_bytes": image.size_bytes,
            "header_sha256": "",
            "pixel_sha256": image.voxels_sha256,
            "geometry_sha256": image.geometry_sha256,
            "of_use": 0,
            "why_not": WHY_NO_RULE_TAKES_IT,
            "sender": UPLOAD_RULE,
            "received_at": now,
        },
    )


def upload_job(ledger: Ledger, job_key: str) -> JobRow | None:
    """A job on an uploaded image, or None."""
    rows = ledger.read("SELECT * FROM jobs WHERE job_key = ? AND rule = ?", (job_key, UPLOAD_RULE))
    return JobRow.of(rows[0]) if rows else None
