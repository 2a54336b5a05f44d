"""Carries objects into a folder: another program, or a share, takes them from there.

Each lies under STUDY/SERIES/OBJECT.dcm, named by their UIDs, whole or not at all: until then its name begins
with a dot, and what a kill left of it goes with the next try. The folder itself is never made: a share that
is not mounted must not fill the disk under it.
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gateway.adapters.durable import in_one_step, sync_folder
from gateway.adapters.errors import Away, Unanswered
from gateway.config import Destination
from gateway.config.outputs import Form
from gateway.taken import Taken

from .carrier import KNOWN_TO_FEW, Outcome, Receipt

_CHUNK_BYTES = 1 << 20
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class FolderCarrier:
    """Writes into one folder."""

    def __init__(self, destination: Destination) -> None:
        self._folder = Path(destination.folder).expanduser().absolute()

    def __str__(self) -> str:
        return f"the folder {self._folder}"

    def carry(self, path: Path) -> Receipt:
        """Copy it; what lies there under its name already is replaced by the same."""
        try:
            target = self._target(path)
        except (InvalidDicomError, AttributeError):
            return Receipt(Outcome.REFUSED, f"{path.name} is no DICOM file; cancel the job, then retry it")
        with path.open("rb") as source:
            self._write(target, source)
        return Receipt(Outcome.ARRIVED, f"written into {self}")

    def takes(self, forms: Collection[Form]) -> Taken:
        """All but what few programs can read."""
        return Taken(frozenset(form for form in forms if form.sop_class_uid not in KNOWN_TO_FEW))

    @property
    def holdings(self) -> None:
        """What lies there may be taken away at any time: nothing is looked for."""
        return None

    def check(self) -> str:
        """Write a file that goes at once."""
        with self._understood():
            self._require_folder()
            with tempfile.TemporaryFile(dir=self._folder) as probe:
                probe.write(b"iris")
        return "can be written"

    def interrupt(self) -> None:
        """Nothing here waits for somebody else."""

    def _target(self, path: Path) -> Path:
        wanted = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
        header = dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        uids = header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID
        study, series, name = (_safe(str(uid)) for uid in uids)
        return self._folder / study / series / f"{name}.dcm"

    def _write(self, target: Path, source: BinaryIO) -> None:
        with self._understood():
            self._require_folder()
            _make_folder(target.parent)
            for left in target.parent.glob(f".{target.name}.*.part"):
                left.unlink(missing_ok=True)
            with in_one_step(target) as temporary, temporary.open("wb") as stream:
                while chunk := _read(source):
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            try:
                _sync_folder(target.parent)
            except OSError as error:  # it stands there by now
                raise Unanswered(self._why_not(error)) from None

    def _require_folder(self) -> None:
        if not self._folder.is_dir():
            raise Away(f"{self} is not there; make it, or mount what it lies on")

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """What goes wrong there is the destination's, whatever it is."""
        try:
            yield
        except _SourceFailed as failed:
            raise failed.error from None
        except OSError as error:
            raise Away(self._why_not(error)) from None

    def _why_not(self, error: OSError) -> str:
        why = os.strerror(error.errno) if error.errno else "no reason given"
        return f"{self} cannot be written ({why}); see to its rights and its room"


def _make_folder(path: Path) -> None:
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Fsync a folder where its file system can: a share may have nothing to be synced, and says so."""
    try:
        sync_folder(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


class _SourceFailed(Exception):
    """Our own copy cannot be read: nothing is wrong with the destination."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(_CHUNK_BYTES)
    except OSError as error:
        raise _SourceFailed(error) from None


def _safe(uid: str) -> str:
    """A UID as a name; where a sender made one up that could lead elsewhere, its digest."""
    return uid if _UID.fullmatch(uid) else hashlib.sha256(uid.encode()).hexdigest()[:32]
