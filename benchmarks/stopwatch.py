"""How a measured process says what its library call took: one line of JSON at the end of its output.

Only the standard library: peers in an environment of their own use it too.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def timed() -> Iterator[None]:
    """Time what is inside; imports and, where a case says so, reading of headers stay outside."""
    start, cpu_start = time.perf_counter(), _cpu_s()
    yield
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": _cpu_s() - cpu_start}
    sys.stdout.write(json.dumps(took) + "\n")


def _cpu_s() -> float:
    """Processor time of this process and of the children that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def synced(path: Path) -> None:
    """Have a written file on disk for good, as the converter's own files are."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
