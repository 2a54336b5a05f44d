"""How a measured process says how long its library call took: one line of JSON at the end of its output.

Only the standard library: peers in an environment of their own use it too.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def timed() -> Iterator[None]:
    """Time what is inside; imports and, where a case says so, reading of headers stay outside."""
    start = time.perf_counter()
    yield
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - start}) + "\n")


def synced(path: Path) -> None:
    """Have a written file on disk for good, as the converter's own files are."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
