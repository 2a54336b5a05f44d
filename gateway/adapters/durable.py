"""Files that survive a power cut (temporary file, fsync, rename, fsync of the folder), and their digests."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder, with its parents, whose entries survive a power cut."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Fsync a folder: what was renamed into it stays there."""
    sync_file(path)


def sync_file(path: Path) -> None:
    """Fsync what others wrote into a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def in_one_step(target: Path) -> Iterator[Path]:
    """A temporary name beside `target` to write to; it takes the target's place, or goes on an error."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_durably(target: Path, source: Path | bytes) -> None:
    """Put bytes, or a copy of a file, at `target` in one step.

    Raises
    ------
    OSError
        Nothing is left behind, and what stood at `target` still does.
    """
    make_folder(target.parent)
    with in_one_step(target) as temporary, temporary.open("wb") as stream:
        if isinstance(source, bytes):
            stream.write(source)
        else:
            with source.open("rb") as content:
                shutil.copyfileobj(content, stream, 1 << 20)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(target.parent)


def remove_file(path: Path) -> None:
    """Remove a file, so that it stays away after a power cut; one that is not there is no error."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, so that it stays away after a power cut.

    Raises
    ------
    OSError
        Something in it cannot be removed; the rest may be gone.
    """
    if path.is_dir():
        shutil.rmtree(path)
    if path.parent.is_dir():
        sync_folder(path.parent)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
