"""Files that appear whole or not at all: written beside their place, digested and sent to disk meanwhile."""

import hashlib
import io
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

BATCH_BYTES = 1 << 18
MOST_BATCHES = 8
"""On their way to the system at a time: it may keep one waiting for some milliseconds."""
FLUSH_BYTES = 1 << 22


class StagedFile(io.RawIOBase):
    """A file that is being written, and gets its name by `commit`, or else nothing is left of it.

    What is written is digested and handed to the system by one thread, and brought to the disk by another,
    while the caller makes the rest of it; so any call may raise the OSError of an earlier one.

    Parameters
    ----------
    out
        What it will be called; the folder is made. Until then it lies beside that, as `temporary`.

    Raises
    ------
    OSError
    """

    def __init__(self, out: Path) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        self.out = out
        self.temporary = out.with_name(f".{out.name}.part")
        self._stream = self.temporary.open("wb")
        self._digest = hashlib.sha256()
        self._writer, self._flusher = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._written: deque[Future[None]] = deque()
        self._flushed: Future[None] | None = None
        self._batch: list[Any] = []
        self._batch_bytes = self._unflushed_bytes = 0

    @property
    def sha256(self) -> str:
        """The digest of all bytes, in lower-case hex, once it is finished."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Whether it can be written: always."""
        return True

    def write(self, content: Any) -> int:
        """Take bytes, which must not change afterwards."""
        count = memoryview(content).nbytes
        self._batch.append(content)
        self._batch_bytes += count
        if self._batch_bytes >= BATCH_BYTES:
            self._hand_over()
        return count

    def finish(self) -> None:
        """Say that this was all: it can be read then, while the last of it goes to the disk."""
        self._hand_over()
        self._raise_if_not_written(0)
        self._stream.flush()
        self._raise_if_lost()
        self._flush_to_disk()

    def commit(self) -> None:
        """Wait until it is on the disk, and give it its name."""
        try:
            self._raise_if_lost()
            self.temporary.replace(self.out)
            flush_folder(self.out.parent)
        finally:
            self.discard()

    def discard(self) -> None:
        """End it; what has not got its name is removed."""
        self._writer.shutdown()
        self._flusher.shutdown()
        with suppress(OSError):  # on a full disk, of what nobody wants any more
            self._stream.close()
        self.temporary.unlink(missing_ok=True)

    def _hand_over(self) -> None:
        self._raise_if_not_written(MOST_BATCHES - 1)
        if self._unflushed_bytes >= FLUSH_BYTES and (self._flushed is None or self._flushed.done()):
            self._raise_if_lost()
            self._flush_to_disk()
        batch, self._batch = self._batch, []
        self._written.append(self._writer.submit(self._put, batch))
        self._unflushed_bytes += self._batch_bytes
        self._batch_bytes = 0

    def _put(self, batch: list[Any]) -> None:
        content = b"".join(batch)
        self._digest.update(content)
        self._stream.write(content)

    def _flush_to_disk(self) -> None:
        self._unflushed_bytes = 0
        self._flushed = self._flusher.submit(os.fsync, self._stream.fileno())

    def _raise_if_not_written(self, most: int) -> None:
        """Wait until no more batches than so many are on their way."""
        while self._written and (len(self._written) > most or self._written[0].done()):
            self._written.popleft().result()

    def _raise_if_lost(self) -> None:
        """The system says only once that something did not reach the disk."""
        flushed, self._flushed = self._flushed, None
        if flushed is not None:
            flushed.result()


def write_whole(out: Path, parts: Sequence[bytes]) -> str:
    """Write one of many small files of a folder that is there; `flush_folder` brings their names to the disk.

    Returns
    -------
    The digest of all bytes, SHA-256, in lower-case hex.

    Raises
    ------
    OSError
        Nothing is left of it.
    """
    temporary = out.with_name(f".{out.name}.part")
    digest = hashlib.sha256()
    try:
        with temporary.open("wb") as stream:
            for part in parts:
                digest.update(part)
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Bring names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
