"""NIfTI files that a person gives this gateway: checked, written anew, durable, and a job in the ledger.

The file's own name is never looked at: it may be a patient's.
"""

import errno
import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import structlog

from batch_job.contract import ContractError, canonical_options
from converter.errors import ImageTooLarge, UnusableImage
from converter.nifti.foreign_image import ForeignImage, stage_image
from converter.uids import derived_uid
from gateway.adapters.durable import make_folder, sync_folder
from gateway.api.store import NO_ROOM, Json, NoRoom, TooLarge, UploadWish
from gateway.config import UPLOAD_RULE, Config
from gateway.files.locks import DataLocks
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import PlannedJob
from gateway.ledger.instances import names_of_known_files
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible
from gateway.ledger.uploads import UploadedImage, record_upload, upload_job

log = structlog.get_logger(__name__)

FOLDER: Final = "uploads"
ROOM_FACTOR: Final = 3
"""A file lies on the disk as it came, written anew, and in its job folder."""
SEND_THE_FILE = "send the image itself, as the form's part `file`: this gateway takes it directly"


@dataclass(frozen=True)
class _Wanted:
    """A wish that the engine can fulfil."""

    task: str
    options: dict[str, Any]


class NiftiUploads:
    """The `Uploads` of a gateway, and the room for them.

    Parameters
    ----------
    config
        Checked already.
    locks
        Those of whoever else moves or removes files here; None: nobody does.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        secret: SiteSecret,
        engine: EngineIdentity,
        locks: DataLocks | None = None,
    ) -> None:
        self._locks = locks or DataLocks()
        self._ledger = ledger
        self._secret = secret
        self._engine = engine
        self._facts = config.engine.facts
        self._site_name = config.site.name
        self._data_dir = config.data_dir
        self._low_water_bytes = config.site.low_water_mb * 1_000_000
        self._max_bytes = config.api.max_upload_mb * 1_000_000
        self._one_at_a_time = threading.Lock()

    # -- room (`gateway.api.upload_gate.UploadRoom`) --------------------------------------------------------

    @property
    def max_bytes(self) -> int:
        """The largest file that is taken, as it comes and unpacked."""
        return self._max_bytes

    def has_room(self, coming_bytes: int) -> bool:
        """Whether the disk stays above its low-water mark."""
        free = shutil.disk_usage(self._data_dir).free
        return free - ROOM_FACTOR * coming_bytes >= self._low_water_bytes

    def begin(self) -> None:
        """Make the folder, remove what is half written, and say what in it the ledger does not know.

        That was taken in by a process which was killed before it wrote it down, and nobody was told of it; or
        the ledger is an older one that was put back, and somebody was. So it is kept: the same image that is
        uploaded again takes its place.
        """
        make_folder(self._data_dir / FOLDER)
        for path in (self._data_dir / FOLDER).glob(".*.part"):
            path.unlink()
        known = names_of_known_files(self._ledger, FOLDER)
        unknown = sum(path.name not in known for path in (self._data_dir / FOLDER).iterdir())
        if unknown:
            log.warning("uploads_unknown", files=unknown, folder=FOLDER)

    # -- uploads (`gateway.api.store.Uploads`) --------------------------------------------------------------

    def tasks(self) -> Json:
        """What the engine can be asked for."""
        facts = self._facts
        return {
            "engine": self._engine.name,
            "default_task": facts.default_task,
            "takes": "file",
            "max_bytes": self._max_bytes,
            "items": [
                {
                    "task": task,
                    "modality": of.modality,
                    "is_licensed": of.is_licensed,
                    "variants": list(of.variants),
                }
                for task, of in facts.tasks.items()
            ],
        }

    def take(self, wish: UploadWish, file: BinaryIO) -> Json:
        """Take a file in; when this returns it is on the disk for good, and its job in the ledger.

        Raises
        ------
        NotPossible
        """
        wanted = self._wanted(wish)
        _require_as_said(wish, file)
        with self._one_at_a_time, self._as_refusals(), self._rewritten(file) as written:
            image = self._image(written)
            planned = self._planned(image, wanted)
            with self._locks.of(image.path):
                self._keep(written, image)
                with self._ledger.transaction() as transaction:
                    job = record_upload(transaction, image, planned)
        log.info("nifti_taken", job_key=job.job_key, megabytes=round(image.size_bytes / 1e6, 1))
        return {"job_key": job.job_key, "study_key": image.study_key, "state": job.state.value, "put": None}

    def offer(self, wish: UploadWish) -> Json:
        """Refuse with the way out: there is nowhere else to put it."""
        raise NotPossible(SEND_THE_FILE)

    def start(self, job_key: str) -> Json | None:
        """Say how far it is: it began when the file came."""
        job = upload_job(self._ledger, job_key)
        return None if job is None else {"kind": "job", "key": job.job_key, "state": job.state.value}

    # -- parts ----------------------------------------------------------------------------------------------

    def _wanted(self, wish: UploadWish) -> _Wanted:
        task = wish.task or self._facts.default_task
        try:
            options = json.loads(wish.options or "{}")
        except (ValueError, RecursionError):
            raise NotPossible('the options are no JSON; {"fast": true} would be') from None
        if not isinstance(options, dict):
            raise NotPossible('the options must be a JSON object, such as {"fast": true}')
        try:
            return _Wanted(task, canonical_options(self._facts, task, options))
        except ContractError as error:
            raise NotPossible(str(error)) from None

    @contextmanager
    def _rewritten(self, file: BinaryIO) -> Iterator[ForeignImage]:
        """It written anew, durably, where nobody looks for it."""
        folder = self._data_dir / "work" / "temporary" / uuid.uuid4().hex
        try:
            written = stage_image(file, folder / "image.nii.gz", most_bytes=self._max_bytes)
            written.staged.commit()
            yield written
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, written: ForeignImage, image: UploadedImage) -> None:
        """Move it to its place, under a name that follows from what it is."""
        target = self._data_dir / image.path
        make_folder(target.parent)
        written.staged.out.replace(target)
        sync_folder(target.parent)

    def _image(self, written: ForeignImage) -> UploadedImage:
        key = self._secret.image_key(written.voxels_sha256, written.geometry_sha256)
        study_uid = derived_uid(key, "study")
        return UploadedImage(
            study_uid=study_uid,
            study_key=self._secret.study_key(self._site_name, study_uid),
            series_uid=derived_uid(key, "series"),
            name=derived_uid(key, "image"),
            path=f"{FOLDER}/{key}.nii.gz",
            size_bytes=written.staged.out.stat().st_size,
            voxels_sha256=written.voxels_sha256,
            geometry_sha256=written.geometry_sha256,
        )

    def _planned(self, image: UploadedImage, wanted: _Wanted) -> PlannedJob:
        digests = (image.name, image.voxels_sha256, image.geometry_sha256)
        job_key = self._secret.job_key([digests], wanted.task, wanted.options, self._engine)
        return PlannedJob(
            job_key=job_key,
            series_uid=image.series_uid,
            slot=job_key,
            rule=UPLOAD_RULE,
            task=wanted.task,
            options=wanted.options,
            engine=self._engine.name,
            priority=0,
            instance_uids=(image.name,),
            outputs=(),
            send_to=(),
            header_sha256="",
        )

    @contextmanager
    def _as_refusals(self) -> Iterator[None]:
        try:
            yield
        except ImageTooLarge as error:
            raise TooLarge(f"{error}; api.max_upload_mb sets that") from None
        except UnusableImage as error:
            raise NotPossible(str(error)) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRoom(NO_ROOM) from None
            raise


def _require_as_said(wish: UploadWish, file: BinaryIO) -> None:
    """Refuse a file that is not the one that was meant."""
    size_bytes = file.seek(0, 2)
    file.seek(0)
    if wish.size_bytes is not None and wish.size_bytes != size_bytes:
        raise NotPossible(f"the file has {size_bytes} bytes, not {wish.size_bytes}; send it again")
    if wish.sha256 is not None:
        if hashlib.file_digest(cast(Any, file), "sha256").hexdigest() != wish.sha256:
            raise NotPossible("the file is not the one that sha256 names; it changed on its way: send it")
        file.seek(0)
