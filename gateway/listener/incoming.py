"""The file into which a data set streams while it is received.

pynetdicom writes a C-STORE's fragments into whatever `NamedTemporaryFile` gives it, in the thread that reads
the socket; an error there would end the association without an answer. This file lies in the gateway's own
folder (same file system as the archive, so that a rename moves it), remembers an error instead of raising it,
so that the sender gets the right status, and is removed whatever happens to the association.
"""

import errno
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom import _config, dimse_messages
from pynetdicom.dsutils import create_file_meta

ROOM_IS_ASKED_EVERY_BYTES = 16_000_000
MAX_OBJECT_BYTES = 8_192_000_000
NO_UID = "0.0"
"""Stands in a file's meta header where the request had none."""


class IncomingFile:
    """One data set on its way in; the part of NamedTemporaryFile that pynetdicom uses.

    Parameters
    ----------
    has_room
        Whether the disk takes more; asked again and again while a long object comes in.
    max_object_bytes
        What is longer is thrown away.
    """

    def __init__(
        self,
        folder: Path,
        has_room: Callable[[], bool] = lambda: True,
        max_object_bytes: int = MAX_OBJECT_BYTES,
    ) -> None:
        self._has_room = has_room
        self._left_bytes = max_object_bytes
        self._unasked_bytes = 0
        self.path = folder / f"{uuid.uuid4().hex}.part"
        self.name = str(self.path)
        self.error: OSError | None = None
        self._stream: BinaryIO | None = None
        try:
            self._stream = self.path.open("wb")
        except OSError as error:
            self.error = error

    @property
    def file(self) -> "IncomingFile":
        """Pynetdicom flushes `.file` after each fragment; one flush at the end is enough."""
        return self

    @property
    def is_too_long(self) -> bool:
        """Whether more came than an object may have."""
        return self._left_bytes < 0

    def flush(self) -> None:
        """Do nothing: `make_durable` flushes once."""

    def write(self, data: bytes) -> int:
        """Append; after an error everything is thrown away."""
        if self._stream is not None and self.error is None:
            try:
                self._ask_for_room(len(data))
                self._stream.write(data)
            except OSError as error:
                self.error = error
                self.remove()  # it may be what fills the disk
            except ValueError:  # closed meanwhile: its association is over
                self._stream = None
        return len(data)

    def _ask_for_room(self, more_bytes: int) -> None:
        self._left_bytes -= more_bytes
        if self._left_bytes < 0:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        self._unasked_bytes += more_bytes
        if self._unasked_bytes >= ROOM_IS_ASKED_EVERY_BYTES:
            self._unasked_bytes = 0
            if not self._has_room():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

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
        """Remove the file where it was not moved away."""
        self.close()
        self.path.unlink(missing_ok=True)


def _file_meta_of(**uids: UID | str | None) -> FileMetaDataset:
    """File meta that can be written even where the request names no UIDs: raised there, in the thread that
    reads the socket, an error would end the association without a word to the sender.
    """
    return create_file_meta(**{keyword: UID(uid or NO_UID) for keyword, uid in uids.items()})


class IncomingFolder:
    """Makes incoming files and knows which thread reads each, so that none outlives its association."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.has_room: Callable[[], bool] = lambda: True
        self.max_object_bytes = MAX_OBJECT_BYTES
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("*.part"):  # never acknowledged: the sender still has it
            left_over.unlink()
        self._of_reader: dict[threading.Thread, list[IncomingFile]] = {}
        self._lock = threading.Lock()

    def install(self) -> None:
        """Make pynetdicom stream C-STORE data sets into this folder (in this process)."""
        _config.STORE_RECV_CHUNKED_DATASET = True
        vars(dimse_messages)["NamedTemporaryFile"] = self._make
        vars(dimse_messages)["create_file_meta"] = _file_meta_of

    def new(self) -> IncomingFile:
        """A file for an object; whoever takes it removes it."""
        return IncomingFile(self.folder, self.has_room, self.max_object_bytes)

    def _make(self, **_: object) -> IncomingFile:
        incoming = self.new()
        with self._lock:
            self._of_reader.setdefault(threading.current_thread(), []).append(incoming)
        return incoming

    def done(self, incoming: IncomingFile) -> None:
        """What this file brought was taken or refused: remove it where it was not moved away."""
        with self._lock:
            for reader, files in list(self._of_reader.items()):
                if incoming in files:
                    files.remove(incoming)
                    if not files:
                        del self._of_reader[reader]
        incoming.remove()

    def forget(self, reader: threading.Thread) -> None:
        """The association whose socket `reader` read is over: remove what it left."""
        with self._lock:
            left_over = self._of_reader.pop(reader, [])
        for incoming in left_over:
            incoming.remove()

    def forget_the_dead(self) -> None:
        """Do so for every reader that ended without its association saying so."""
        with self._lock:
            dead = [reader for reader in self._of_reader if not reader.is_alive()]
        for reader in dead:
            self.forget(reader)
