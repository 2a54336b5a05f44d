"""A folder for a run's own files: gone at every ending, also after a kill, when the next run sweeps up."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .folder import TEMPORARY

PREFIX: Final = f"{TEMPORARY}iris-scratch-"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent`, and remove it at the end; those of runs that live no more are removed, too.

    Raises
    ------
    OSError
        `parent` cannot be written to.
    """
    _sweep(parent)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with _opened(folder) as descriptor:
            if descriptor is None:
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not folder.is_dir():  # swept up by another run before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def _sweep(parent: Path) -> None:
    for folder in list(parent.glob(f"{PREFIX}*")):
        with _opened(folder) as descriptor:
            if descriptor is None:
                continue
            with contextlib.suppress(BlockingIOError):  # its run lives
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A descriptor of a folder; None where it is gone or another user's."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
