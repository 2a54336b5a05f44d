"""One lock for each file's name: who moves a file to its place and writes it down, and who removes one.

Without it a file that comes again could be removed between its move and the ledger's commit.
"""

import threading
import zlib

_LOCKS = 64
_LETTERS = 32


class FileLocks:
    """The locks of the files in one folder of the data directory, by the first letters of their names."""

    def __init__(self) -> None:
        self._locks = [threading.RLock() for _ in range(_LOCKS)]

    def of(self, name: str) -> threading.RLock:
        """The lock of a file of this name; several share one."""
        return self._locks[zlib.crc32(name[:_LETTERS].encode("utf-8", "surrogateescape")) % _LOCKS]


class DataLocks:
    """The locks of everything that is kept for long below the data directory.

    Who holds one of `instances` may take one of `quarantine`, and never the other way.
    """

    def __init__(self) -> None:
        self.instances = FileLocks()
        self.quarantine = FileLocks()
        self.uploads = FileLocks()

    def of(self, path: str) -> threading.RLock:
        """The lock of a file, by its path below data_dir."""
        folder, _, rest = path.partition("/")
        locks: FileLocks = getattr(self, folder)
        return locks.of(rest.rpartition("/")[2])
