"""Files of jobs of every site whose studies are in the table: each has a prefix of its own in the bucket."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from gateway.adapters.mirror import MirrorReader
from gateway.adapters.objects import ObjectStore
from gateway.backends.job_folders import JobFolderFiles

SITES: Final = 64
"""The stores of so many prefixes are kept."""


class FilesOfAllSites:
    """Finds a job's files where its gateway says that they lie.

    Parameters
    ----------
    own
        The cloud's own prefix, and that of gateways that do not say theirs.
    under
        Opens the same bucket under another prefix.
    """

    def __init__(self, reader: MirrorReader, own: ObjectStore, under: Callable[[str], ObjectStore]) -> None:
        self._reader = reader
        self._own = JobFolderFiles(own)
        self._of = lru_cache(SITES)(lambda prefix: JobFolderFiles(under(prefix)))

    def located(self, job_key: str, name: str) -> Path | str | None:
        """The URL of a file, or None where it is not there (yet)."""
        job = self._reader.job(job_key)
        prefix = str(job.get("prefix", "")) if job is not None else ""
        return (self._of(prefix) if prefix else self._own).located(job_key, name)
