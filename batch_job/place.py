"""Where a job lies: a folder of this machine or a prefix of a bucket, behind one protocol.

Files are named as in the contract, with `/` between folders. A file that is put is there whole or not at all,
and durable when `put` returns. Every method raises `OSError` or `ComeBackLater` when the place fails.
"""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Attempt:
    """What a run is to its place."""

    run: int = 1
    """The run's number, from `IRIS_RUN`."""
    batch_attempt: int = 1
    """Which attempt of that run it is, where AWS Batch counts them."""
    batch_job_id: str = ""
    """Who runs, where AWS Batch says."""


@dataclass(frozen=True)
class Claim:
    """What an attempt holds while it works."""

    attempt: int
    """For the manifest."""
    outputs: str
    """What the names of outputs begin with: nothing, or the attempt's own folder."""
    is_alone: bool
    """Whether nobody else can write here meanwhile."""


@dataclass(frozen=True)
class Fetched:
    """A file of the place as it lies on this machine."""

    path: Path
    sha256: str


class JobPlace(Protocol):
    """The files of one job."""

    def scratch_parent(self, temporary: Path) -> Path:
        """A folder for scratch: on the same file system, where the place has one, else `temporary`."""
        ...

    def claimed(self, attempt: Attempt) -> AbstractContextManager[Claim]:
        """Hold the job for this attempt.

        Raises
        ------
        FolderBusy, OwnedByAnother
        BadInput
            There is no such place.
        """
        ...

    def size(self, name: str) -> int | None:
        """How many bytes a file has; None where there is none."""
        ...

    def get(self, name: str) -> bytes | None:
        """A small file's content; None where there is none."""
        ...

    def fetch(self, name: str, into: Path) -> Fetched | None:
        """Bring a file of any size here, or name it where it is here; None where there is none.

        Parameters
        ----------
        into
            The folder to put it in; it keeps the last part of its name. What is read of it is never changed.
        """
        ...

    def put(self, name: str, source: Path | bytes) -> None:
        """Write a file or replace it."""
        ...

    def settle(self, name: str, content: bytes, instead_of: bytes | None) -> bool:
        """Write a small file only where none stands, or exactly `instead_of`; whether it was written."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; one that is not there is no error."""
        ...


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
