"""Which packages are installed beside this Python, to see whether they are still those that were loaded."""

import os
import sys
from contextlib import suppress

Installed = frozenset[tuple[str, int]]


def installed_packages() -> Installed:
    """Each package's folder of facts, whose name holds its version, and when it was written last.

    The folders' names are read and no more: a few thousandths of a second, however many there are.
    """
    found = set()
    for folder in dict.fromkeys(sys.path):
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.endswith(".dist-info"):
                    found.add((entry.path, entry.stat().st_mtime_ns))
    return frozenset(found)
