"""The job folder on this machine: locked while a run works in it, every file written in one step."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .contract import (
    LOCK_NAME,
    MANIFEST_NAME,
    PROGRESS_NAME,
    ContractError,
    JobRequest,
    Manifest,
    OutputFile,
    Progress,
    read_manifest,
    read_request,
)
from .errors import BadInput

TEMPORARY: Final = "unfinished-"
"""What hidden files' names begin with until they are whole; a run that was killed leaves them."""


class FolderBusy(Exception):
    """Another run works in the job folder."""


class JobFolder:
    """What a run reads and writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this run.

        Raises
        ------
        FolderBusy
        BadInput
            There is no such folder.
        """
        try:
            lock = (self.path / LOCK_NAME).open("w")
        except (FileNotFoundError, NotADirectoryError):
            raise BadInput("there is no job folder at that address") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderBusy("another run works in this job folder") from None
            yield

    def request(self) -> JobRequest:
        """Read the request.

        Raises
        ------
        BadInput
            It is missing, or not as the contract says.
        """
        try:
            return read_request(self.path)
        except FileNotFoundError:
            raise BadInput("there is no request.json in the job folder") from None
        except ContractError as error:
            raise BadInput(str(error)) from None

    def input(self, request: JobRequest) -> Path:
        """The input file, with the bytes that the request names.

        Raises
        ------
        BadInput
        """
        path = self.path / request.input.name
        if not path.is_file():
            raise BadInput(f"there is no {request.input.name} in the job folder")
        if file_sha256(path) != request.input.sha256:
            raise BadInput(f"{request.input.name} is not the file that the request names; stage it again")
        return path

    def is_done(self, request: JobRequest) -> bool:
        """Whether a manifest of this job stands there with all the outputs that it names."""
        try:
            manifest = read_manifest(self.path)
        except ContractError:
            return False
        return (
            manifest is not None
            and manifest.job_key == request.job_key
            and all(self._is_as_named(name, output) for name, output in manifest.outputs.items())
        )

    def _is_as_named(self, name: str, output: OutputFile) -> bool:
        path = self.path / name
        return path.is_file() and file_sha256(path) == output.sha256

    def forget_results(self) -> None:
        """Remove what an earlier run left half done: no manifest may stand beside other labels."""
        for name in (MANIFEST_NAME, PROGRESS_NAME):
            (self.path / name).unlink(missing_ok=True)
        for temporary in self.path.glob(f".{TEMPORARY}*"):
            temporary.unlink(missing_ok=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a temporary path with the ending of `name`; what was written there becomes `name`, durably."""
        temporary = self.path / f".{TEMPORARY}{name}"  # the lock makes this run its only writer
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(self.path / name)
            self._sync()
        finally:
            temporary.unlink(missing_ok=True)

    def output(self, name: str) -> OutputFile:
        """The manifest's entry for a file."""
        path = self.path / name
        return OutputFile(sha256=file_sha256(path), bytes=path.stat().st_size)

    def tell(self, progress: Progress) -> None:
        """Replace progress.json; a reader never sees half of it."""
        temporary = self.path / f".{TEMPORARY}{PROGRESS_NAME}"
        temporary.write_bytes(progress.to_json())
        temporary.replace(self.path / PROGRESS_NAME)

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, last of all."""
        with self.writing(MANIFEST_NAME) as path:
            path.write_bytes(manifest.to_json())

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
