"""The object store as a folder on this machine."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .durable import in_one_step, make_folder, remove_file, remove_folder, write_durably
from .errors import Permanent, Retriable


class FolderStore:
    """Objects as files below a root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with _understood():
            make_folder(root)
        self._lock_path = root / ".settle.lock"

    def address(self, prefix: str) -> str:
        """The prefix as a path with a slash at its end."""
        return f"{self.path(prefix)}/"

    def path(self, key: str) -> Path:
        """Where an object lies.

        Raises
        ------
        Permanent
            The key leads out of the store.
        """
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise Permanent("the key leads out of the object store")
        return path

    def put_file(self, key: str, source: Path) -> None:
        """Copy a file into the store, durably."""
        with _understood():
            write_durably(self.path(key), source)

    def put(self, key: str, content: bytes) -> None:
        """Write a few bytes into the store, durably."""
        with _understood():
            write_durably(self.path(key), content)

    def get(self, key: str) -> bytes | None:
        """Read an object; None when there is none."""
        with _understood():
            try:
                return self.path(key).read_bytes()
            except FileNotFoundError:
                return None

    def fetch(self, key: str, target: Path) -> bool:
        """Copy an object out of the store; False when there is none."""
        with _understood():
            try:
                with in_one_step(target) as temporary:
                    shutil.copyfile(self.path(key), temporary)
            except FileNotFoundError:
                if self.path(key).exists():  # then it is the target that has no folder
                    raise
                return False
            return True

    def settle(self, key: str, content: bytes, instead_of: bytes | None) -> bool:
        """Write where nothing, or exactly that, stands; a lock on the store decides between several."""
        with _understood(), self._lock_path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.get(key) != instead_of:
                return False
            self.put(key, content)
            return True

    def modified_at(self, key: str) -> datetime | None:
        """When an object was written (UTC); None when there is none."""
        with _understood():
            try:
                return datetime.fromtimestamp(self.path(key).stat().st_mtime, UTC)
            except FileNotFoundError:
                return None

    def remove(self, key: str) -> None:
        """Remove an object, or all below a prefix that ends with a slash."""
        if not key.strip("/"):
            raise Permanent("nobody removes the whole object store")
        with _understood():
            path = self.path(key)
            if key.endswith("/"):
                remove_folder(path)
            else:
                remove_file(path)

    def located(self, key: str) -> Path | None:
        """The file itself."""
        path = self.path(key)
        return path if path.is_file() else None


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Retriable(f"the object folder failed ({error.strerror}); see to its disk") from error
