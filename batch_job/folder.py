"""The job folder on this machine: locked while a run works in it, every file written in one step."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .contract import LOCK_NAME
from .errors import BadInput, FolderBusy
from .place import Attempt, Claim, Fetched, file_sha256

TEMPORARY: Final = ".unfinished-"
"""What the names of files and folders begin with until they are whole; a run that was killed leaves them."""


class JobFolder:
    """A `JobPlace` on a file system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def scratch_parent(self, temporary: Path) -> Path:
        """The folder itself, where the next run finds what a killed one left."""
        return self.path

    @contextmanager
    def claimed(self, attempt: Attempt) -> Iterator[Claim]:
        """Lock the folder; what a killed run left half done is removed first."""
        try:
            lock = (self.path / LOCK_NAME).open("w")
        except (FileNotFoundError, NotADirectoryError):
            raise BadInput("there is no job folder at that address") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderBusy("another run works in this job folder") from None
            for left in list(self.path.rglob(f"{TEMPORARY}*")):
                _remove(left)
            yield Claim(attempt.run, outputs="", is_alone=True)

    def size(self, name: str) -> int | None:
        """How many bytes a file has."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def get(self, name: str) -> bytes | None:
        """A small file's content."""
        path = self.path / name
        return path.read_bytes() if path.is_file() else None

    def fetch(self, name: str, into: Path) -> Fetched | None:
        """Name the file where it lies: nothing is copied."""
        path = self.path / name
        return Fetched(path, file_sha256(path)) if path.is_file() else None

    def put(self, name: str, source: Path | bytes) -> None:
        """Copy into a hidden file, fsync, rename, fsync the folder."""
        target = self.path / name
        self._make_folder(target.parent)
        temporary = target.with_name(f"{TEMPORARY}{target.name}")  # the lock makes this run its only writer
        try:
            with temporary.open("wb") as stream:
                if isinstance(source, bytes):
                    stream.write(source)
                else:
                    with source.open("rb") as content:
                        shutil.copyfileobj(content, stream, 1 << 20)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def settle(self, name: str, content: bytes, instead_of: bytes | None) -> bool:
        """Write it; the lock keeps others away."""
        if self.get(name) != instead_of:
            return False
        self.put(name, content)
        return True

    def remove(self, name: str) -> None:
        """Remove a file or a folder, durably."""
        path = self.path / name
        if path.exists():
            _remove(path)
            _sync(path.parent)

    def _make_folder(self, folder: Path) -> None:
        if folder == self.path or folder.is_dir():  # the job folder is the gateway's: gone means gone
            return
        self._make_folder(folder.parent)
        folder.mkdir()
        _sync(folder.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Fsync a folder: what was renamed into it stays there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
