"""Whether two files that are encoded differently have the same pixels, looked at in a process of its own.

Codecs are programs in C that get bytes from outside: what a damaged image does to one must not end the
gateway, nor what it says of its size take all of the memory.
"""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from pydicom import dcmread

from gateway.files.kept import is_lost

log = structlog.get_logger(__name__)

MEMORY_BYTES: Final = 8_000_000_000
"""What wants more is not compared."""
TIMEOUT_S: Final = 120.0
_ALIKE, _DIFFERENT, _NOT_COMPARABLE, _ERRNO = 0, 10, 11, 64
"""How the child ends; the last one plus the system's number of an error."""


def decode_alike(kept: Path, came: Path) -> bool:
    """Whether they do; what cannot be decoded does not.

    Raises
    ------
    OSError, MemoryError
        The machine cannot tell.
    """
    command = [sys.executable, "-P", "-m", __name__, str(kept), str(came)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = subprocess.DEVNULL
    try:
        code = subprocess.run(
            command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, check=False, timeout=TIMEOUT_S
        ).returncode
    except subprocess.TimeoutExpired:  # a codec that hangs
        code = _NOT_COMPARABLE
    if code == -signal.SIGKILL:  # by the system, where memory runs out
        raise MemoryError
    if code > _ERRNO:
        raise OSError(code - _ERRNO, os.strerror(code - _ERRNO))
    if code not in (_ALIKE, _DIFFERENT):
        log.warning("pixels_not_comparable")
    return code == _ALIKE


def _compare(kept: str, came: str) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        alike = np.array_equal(dcmread(kept).pixel_array, dcmread(came).pixel_array)
    except Exception as error:
        if isinstance(error, OSError) and error.errno and not is_lost(error):
            return _ERRNO + error.errno
        return _NOT_COMPARABLE
    return _ALIKE if alike else _DIFFERENT


if __name__ == "__main__":
    sys.exit(_compare(*sys.argv[1:]))
