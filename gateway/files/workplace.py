"""Where a job's files lie on this machine, and the volume that the ledger froze for it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converter.errors import ConverterError
from converter.series import Volume, parse_frame_name, volume_of_frames
from gateway.adapters.durable import make_folder
from gateway.ledger.completion import images_of
from gateway.ledger.instances import current_instances
from gateway.ledger.records import InstanceRow, JobRow
from gateway.ledger.store import Ledger
from gateway.workers.attempts import CannotGoOn

from .kept import FilesLost, ImagesRemoved, lost_files, unreadable_files

THEN_RETRY = ", then retry the job"


class Workplace:
    """The folders `work/` and `results/` below the data directory, and the kept instances.

    Parameters
    ----------
    data_dir
        Absolute.
    """

    def __init__(self, ledger: Ledger, data_dir: Path) -> None:
        self._ledger = ledger
        self.data_dir = data_dir

    def volume(self, job: JobRow) -> Volume:
        """Read the headers of exactly the images that were frozen, in their present revision.

        Raises
        ------
        CannotGoOn
            One of them is gone, or its file is.
        UnusableSeries
            They are no volume any more.
        OSError
        """
        rows, frames = self._images(job)
        lost = lost_files(self.data_dir, list(rows.values()))
        if lost:
            raise FilesLost(lost, THEN_RETRY)
        with self.reading(job):
            return volume_of_frames([(self.data_dir / rows[uid].path, number) for uid, number in frames])

    @contextmanager
    def reading(self, job: JobRow) -> Iterator[None]:
        """While a job's images are read: what goes wrong because their files are lost is said as that.

        Raises
        ------
        FilesLost
            In the place of whatever was raised, where files cannot be read.
        """
        try:
            yield
        except (OSError, ConverterError):
            lost = unreadable_files(self.data_dir, list(self._images(job)[0].values()))
            if lost:
                raise FilesLost(lost, THEN_RETRY) from None
            raise

    def _images(self, job: JobRow) -> tuple[dict[str, InstanceRow], list[tuple[str, int | None]]]:
        """A job's instances by UID, and its frames."""
        current = {row.sop_instance_uid: row for row in current_instances(self._ledger, job.study_uid)}
        frames = [parse_frame_name(name) for name in images_of(self._ledger, job.job_key)]
        wanted = {uid for uid, _ in frames}
        missing = len(wanted - current.keys())
        if missing:
            raise CannotGoOn(f"{missing} of its instances are gone; send the study again{THEN_RETRY}")
        removed = [at for uid in wanted if (at := current[uid].removed_at) is not None]
        if removed:
            raise ImagesRemoved(max(removed), THEN_RETRY)
        return {uid: current[uid] for uid in wanted}, frames

    def uploaded_image(self, job: JobRow) -> Path:
        """The NIfTI that a person uploaded for a job; it is kept as received instances are.

        Raises
        ------
        CannotGoOn
            It is gone.
        """
        rows = current_instances(self._ledger, job.study_uid)
        names = images_of(self._ledger, job.job_key)
        path = next((row.path for row in rows if row.sop_instance_uid in names), None)
        if path is None or not (self.data_dir / path).is_file():
            raise CannotGoOn("its image is gone from the data directory; upload the file again, then retry")
        return self.data_dir / path

    def work_folder(self, job: JobRow) -> Path:
        """The job's own folder for files on their way."""
        folder = self.data_dir / "work" / job.job_key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop(self, job: JobRow, name: str) -> None:
        """Remove one of the files on their way; it can be made again."""
        (self.data_dir / "work" / job.job_key / name).unlink(missing_ok=True)

    def clear(self, job: JobRow) -> None:
        """Remove the files on their way; each can be made again."""
        shutil.rmtree(self.data_dir / "work" / job.job_key, ignore_errors=True)

    def result_path(self, job: JobRow, sop_instance_uid: str) -> Path:
        """Where an encoded object lies; its UID is one that we made ourselves."""
        folder = self.data_dir / "results" / job.job_key
        make_folder(folder)
        return folder / f"{sop_instance_uid}.dcm"
