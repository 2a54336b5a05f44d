"""Records what was brought to the disk for good: contents and names, by fsync, and in which order.

A file outlives a power cut where its content was synced before it got its name (else what stood there before
may be gone and the new one torn), where the folder was synced when it had that name in it, and so on up to a
folder that was there before. Everything is kept by inode, so renames need no following.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class SyncRecorder:
    """Records every fsync and rename of this process.

    Parameters
    ----------
    root
        What lies in and above it now counts as durable.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._order = 0
        self._contents: dict[int, tuple[int, int, int]] = {}  # inode -> size, time of change, order
        self._names: dict[tuple[int, str, int], int] = {}  # folder, name, inode -> order
        self._named: dict[int, int] = {}  # inode -> order in which it got its last name
        self._before = {path.stat().st_ino for path in (self.root, *self.root.rglob("*"))}
        self._fsync, self._rename, self._replace = os.fsync, os.rename, os.replace

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Record from now on."""
        patch.setattr(os, "fsync", self._record_fsync)
        patch.setattr(os, "fdatasync", self._record_fsync)
        patch.setattr(os, "rename", self._renaming(self._rename))
        patch.setattr(os, "replace", self._renaming(self._replace))

    def lacks(self, path: Path) -> str:
        """What was not brought to the disk of this file; empty where it is there for good."""
        of = path.stat()
        if of.st_ino in self._before:
            return ""
        size, changed, order = self._contents.get(of.st_ino, (-1, -1, -1))
        if (size, changed) != (of.st_size, of.st_mtime_ns):
            return f"the content of {path.name} was not synced"
        if order > self._named.get(of.st_ino, order):
            return f"the content of {path.name} was synced after it got its name"
        return self._name_that_lacks(path)

    def became_durable(self, path: Path) -> int:
        """The order in which the last of it was brought to the disk."""
        orders = [self._contents[path.stat().st_ino][2]]
        orders += [order for order in map(self._names.get, self._way_up(path)) if order is not None]
        return max(orders)

    def appeared(self, path: Path) -> int:
        """The order in which it got its name."""
        return self._named[path.stat().st_ino]

    def _name_that_lacks(self, path: Path) -> str:
        for folder, name, inode in self._way_up(path):
            if (folder, name, inode) not in self._names:
                return f"the name of {name} was not synced"
        return ""

    def _way_up(self, path: Path) -> Iterator[tuple[int, str, int]]:
        """Each name on the way that was not there before, as it stands in its folder."""
        path = path.resolve()
        while path != self.root and path.stat().st_ino not in self._before:
            yield path.parent.stat().st_ino, path.name, path.stat().st_ino
            path = path.parent

    def _record_fsync(self, descriptor: int) -> None:
        of = os.fstat(descriptor)
        names = list(os.scandir(descriptor)) if stat.S_ISDIR(of.st_mode) else []
        self._fsync(descriptor)
        self._order += 1
        if stat.S_ISDIR(of.st_mode):
            for entry in names:
                self._names.setdefault((of.st_ino, entry.name, entry.inode()), self._order)
        else:
            self._contents[of.st_ino] = (of.st_size, of.st_mtime_ns, self._order)

    def _renaming(self, rename: Any) -> Any:
        def record(source: Any, target: Any, **named: Any) -> None:
            rename(source, target, **named)
            self._order += 1
            self._named[os.stat(target).st_ino] = self._order  # noqa: PTH116

        return record


@contextmanager
def recorded(root: Path) -> Iterator[SyncRecorder]:
    """Record what happens below this folder meanwhile."""
    recorder = SyncRecorder(root)
    with pytest.MonkeyPatch.context() as patch:
        recorder.install(patch)
        yield recorder
