"""One object that was received: whether it is on the disk for good, and what was read of it.

All values are plain: it is told from one process of the listener to another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from .header import ReadInstance, read_instance, uids_of_file_meta
from .incoming import IncomingFile
from .refusals import NotReadable

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Received:
    """What came, as a file that nobody has filed yet."""

    path: Path
    is_durable: bool
    """Whether it outlives a loss of power; else its sender has to keep it."""
    read: ReadInstance | None = None
    why_not: NotReadable | None = None
    """Why it could not be read."""
    file_meta_uids: tuple[str, str] = ("", "")
    """SOP class and instance UID as the file's meta information has them, where it could not be read."""

    @property
    def size_bytes(self) -> int:
        """How long the file is; 0 where it could not be read."""
        return self.read.size_bytes if self.read is not None else 0

    @property
    def sop_uids(self) -> tuple[str, str]:
        """SOP class and instance UID as it says itself; empty where it does not."""
        if self.read is None:
            return self.file_meta_uids
        return self.read.text("SOPClassUID"), self.read.text("SOPInstanceUID")


def receive(incoming: IncomingFile) -> Received:
    """Bring what came to the disk, and read it."""
    try:
        incoming.make_durable()
        return _looked_at(incoming.path, incoming.read)
    except OSError as error:
        log.error("instance_not_durable", error=type(error).__name__, number=error.errno)
    except Exception:
        log.exception("intake_failed")
    return Received(incoming.path, is_durable=False, file_meta_uids=uids_of_file_meta(incoming.path))


def found(path: Path) -> Received:
    """Read a file that lies there.

    Raises
    ------
    OSError
    """
    return _looked_at(path, lambda: read_instance(path))


def _looked_at(path: Path, read: Callable[[], ReadInstance]) -> Received:
    try:
        return Received(path, is_durable=True, read=read())
    except NotReadable as why_not:
        named = uids_of_file_meta(path)
        return Received(path, is_durable=True, why_not=why_not, file_meta_uids=named)
