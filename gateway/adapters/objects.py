"""The object store: where job folders lie. One backend a module; keys are built here and nowhere else."""

from datetime import datetime
from pathlib import Path
from typing import Protocol


class ObjectStore(Protocol):
    """Files under keys such as `jobs/KEY/manifest.json`.

    Every method raises `Retriable` (with `Away`) or `Permanent` when the store does not do its part.
    """

    def address(self, prefix: str) -> str:
        """How the batch job is told where this prefix lies; ends with a slash."""
        ...

    def put_file(self, key: str, source: Path) -> None:
        """Store a file durably; one that is there is replaced in one step."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Store a few bytes durably; what is there is replaced in one step."""
        ...

    def get(self, key: str) -> bytes | None:
        """Read a small object; None when there is none."""
        ...

    def fetch(self, key: str, target: Path) -> bool:
        """Copy an object into a local file; False when there is none."""
        ...

    def settle(self, key: str, content: bytes, instead_of: bytes | None) -> bool:
        """Store a few bytes only where nothing stands, or exactly `instead_of`; whether they were stored.

        The store itself decides between several that try at once, on several machines too where it is shared.
        """
        ...

    def modified_at(self, key: str) -> datetime | None:
        """When an object was stored (UTC); None when there is none."""
        ...

    def remove(self, key: str) -> None:
        """Remove an object; or all below a prefix that ends with a slash, with earlier versions of it.

        Nothing there is no error.
        """
        ...

    def located(self, key: str) -> Path | str | None:
        """Where a browser gets an object: a file here, or a URL that is good for minutes; None: no object."""
        ...


def job_prefix(job_key: str) -> str:
    """The folder of a job."""
    return f"jobs/{job_key}/"


def waiting_prefix(group: str) -> str:
    """Where runs are marked that wait for a machine and may be taken by each other."""
    return f"waiting/{group}/"


def job_object(job_key: str, name: str) -> str:
    """One file in the folder of a job."""
    return f"{job_prefix(job_key)}{name}"
