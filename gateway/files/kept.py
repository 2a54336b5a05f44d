"""Whether what was kept and made is on the disk as the ledger says; what is said where it is not.

A disk loses files after the ledger took them: a bad block, a clean-up, a restore that was not whole. What
needs them says so with the way out, and goes on when they are there again.
"""

import errno
from collections.abc import Sequence
from pathlib import Path

from converter.errors import ConverterError
from converter.series import HeaderReader
from gateway.adapters.durable import file_digest
from gateway.ledger.records import InstanceRow, ResultObjectRow
from gateway.workers.attempts import CannotGoOn

_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR)
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_OF_THE_MACHINE = frozenset((*_SHORT_OF, *_CANNOT_WRITE))
_CHUNK_BYTES = 1 << 20


class FilesLost(CannotGoOn):
    """Kept files are lost or cannot be read: how many, and the way out.

    Parameters
    ----------
    then
        What is to be done when they are there again; empty where nobody needs to do anything.
    """

    def __init__(self, files: int, then: str = "") -> None:
        what = "1 kept file is" if files == 1 else f"{files} kept files are"
        super().__init__(f"{what} lost or cannot be read; send the study again{then}")
        self.files = files


class ImagesRemoved(CannotGoOn):
    """Images were removed for their age, or for room: when, and the way out.

    Parameters
    ----------
    then
        What is to be done when they are here again; empty where nobody needs to do anything.
    """

    def __init__(self, removed_at: str, then: str = "") -> None:
        super().__init__(f"its images were removed on {removed_at[:10]}; send the study again{then}")


def is_lost(error: OSError) -> bool:
    """Whether an error at a kept file says something of the file, and not of the machine."""
    return error.errno not in _OF_THE_MACHINE


def is_there(data_dir: Path, row: InstanceRow) -> bool:
    """Whether the file of an instance is there in the size that was kept.

    Raises
    ------
    OSError
        The machine cannot tell.
    """
    try:
        return (data_dir / row.path).stat().st_size == row.size_bytes
    except OSError as error:
        if is_lost(error):
            return False
        raise


def is_readable(data_dir: Path, row: InstanceRow) -> bool:
    """Whether it can be read to its end, and its header be parsed; costs as much as reading it.

    Raises
    ------
    OSError
        The machine cannot tell.
    """
    path = data_dir / row.path
    try:
        HeaderReader().read(path)
        with path.open("rb") as stream:
            while stream.read(_CHUNK_BYTES):
                pass
        return True
    except ConverterError:  # it could be parsed when it came
        return False
    except OSError as error:
        if is_lost(error):
            return False
        raise


def lost_files(data_dir: Path, rows: Sequence[InstanceRow]) -> int:
    """How many of these instances' files are not there in the size that was kept."""
    return sum(not is_there(data_dir, row) for row in rows)


def unreadable_files(data_dir: Path, rows: Sequence[InstanceRow]) -> int:
    """How many of these instances' files are not there, or cannot be read to their end."""
    return sum(not (is_there(data_dir, row) and is_readable(data_dir, row)) for row in rows)


def is_whole(data_dir: Path, made: ResultObjectRow) -> bool:
    """Whether the file of a result object is there with the content that was recorded; reads all of it.

    Raises
    ------
    OSError
        The machine cannot tell.
    """
    try:
        return made.sha256 in ("", file_digest(data_dir / made.path))
    except OSError as error:
        if is_lost(error):
            return False
        raise
