"""The file into which a data set streams while it is received.

It lies in the gateway's own folder (same file system as the archive, so that a rename moves it), and
remembers an error instead of raising it: the object is read to its end, and its sender gets the right status.
"""

import errno
import os
import struct
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from converter.reading.header_file import HeaderReader

from .coming import ComingInstance
from .header import ReadInstance, read_instance

ROOM_IS_ASKED_EVERY_BYTES = 16_000_000
MAX_OBJECT_BYTES = 8_192_000_000
_PREAMBLE: Final = bytes(128) + b"DICM"


class IncomingFile:
    """One data set on its way in.

    Parameters
    ----------
    has_room
        Whether the disk takes more; asked again and again while a long object comes in.
    max_object_bytes
        What is longer is thrown away.
    reader
        That of its sender's objects before it; None: of this one alone.
    """

    def __init__(
        self,
        folder: Path,
        has_room: Callable[[], bool] = lambda: True,
        max_object_bytes: int = MAX_OBJECT_BYTES,
        reader: HeaderReader | None = None,
    ) -> None:
        self._has_room = has_room
        self._left_bytes = max_object_bytes
        self._unasked_bytes = 0
        self._coming = ComingInstance(reader)
        self.path = folder / f"{uuid.uuid4().hex}.part"
        self.error: OSError | None = None
        self._stream: BinaryIO | None = None
        try:
            self._stream = self.path.open("wb")
        except OSError as error:
            self.error = error

    def begin(self, sop_class_uid: bytes, sop_instance_uid: bytes, transfer_syntax_uid: str) -> None:
        """Write what stands before the data set, with the UIDs as the request has them."""
        self.write(file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid.encode()))

    @property
    def is_too_long(self) -> bool:
        """Whether more came than an object may have."""
        return self._left_bytes < 0

    def write(self, data: bytes | memoryview) -> None:
        """Append; after an error everything is thrown away."""
        if self._stream is not None and self.error is None:
            try:
                self._ask_for_room(len(data))
                self._stream.write(data)
                self._coming.feed(data)
            except OSError as error:
                self.error = error
                self.remove()  # it may be what fills the disk

    def _ask_for_room(self, more_bytes: int) -> None:
        self._left_bytes -= more_bytes
        if self._left_bytes < 0:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        self._unasked_bytes += more_bytes
        if self._unasked_bytes >= ROOM_IS_ASKED_EVERY_BYTES:
            self._unasked_bytes = 0
            if not self._has_room():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self) -> ReadInstance:
        """What is known of it now that all of it is here.

        Raises
        ------
        NotReadable, OSError
            As `header.read_instance`.
        """
        return self._coming.read(self.path) or read_instance(self.path)

    def make_durable(self) -> None:
        """Flush and fsync the content.

        Raises
        ------
        OSError
            Now, or when an earlier write failed.
        """
        if self.error is not None:
            raise self.error
        assert self._stream is not None
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def close(self) -> None:
        """Close without raising: a full disk was reported already."""
        if self._stream is not None:
            try:
                self._stream.close()
            except OSError as error:
                self.error = self.error or error

    def remove(self) -> None:
        """Remove the file where it was not moved away; what a sick disk keeps goes at the next start."""
        self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def file_meta(sop_class_uid: bytes, sop_instance_uid: bytes, transfer_syntax_uid: bytes) -> bytes:
    """Preamble and file meta information (PS3.10 7.1), whatever the UIDs look like."""
    elements = b"".join(
        (
            struct.pack("<HH2sHL2s", 0x0002, 0x0001, b"OB", 0, 2, b"\0\1"),
            _element(0x0002, b"UI", sop_class_uid),
            _element(0x0003, b"UI", sop_instance_uid),
            _element(0x0010, b"UI", transfer_syntax_uid),
            _element(0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID.encode()),
            _element(0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION.encode()),
        )
    )
    return _PREAMBLE + _element(0x0000, b"UL", struct.pack("<L", len(elements))) + elements


def _element(number: int, representation: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if representation == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, representation, len(value)) + value


class IncomingFolder:
    """Where incoming files lie.

    Parameters
    ----------
    max_object_bytes
        What is longer is thrown away.
    """

    def __init__(self, folder: Path, max_object_bytes: int = MAX_OBJECT_BYTES) -> None:
        self.folder = folder
        self.max_object_bytes = max_object_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove what an earlier process left: it was never acknowledged, its sender still has it."""
        for left_over in self.folder.rglob("*.part"):
            left_over.unlink(missing_ok=True)  # a process beside one that was killed removes its own, too

    def new(self, has_room: Callable[[], bool], reader: HeaderReader | None = None) -> IncomingFile:
        """A file for an object; whoever takes it removes it."""
        return IncomingFile(self.folder, has_room, self.max_object_bytes, reader)
