"""Threads, memory and disk: what a run takes, and whether it is there before it begins."""

import contextlib
import itertools
import os
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .cgroup import Memory, cores, memory
from .errors import BadInput, ComeBackLater

if TYPE_CHECKING:
    from .image import ImageSize  # NumPy comes after `set_threads`

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip

CLEAR_PEAK: Final = Path("/proc/self/clear_refs")
"""Where 5 is written for Linux to count `VmHWM` anew (proc_pid_clear_refs(5))."""

BASE_BYTES: Final = 150_000_000
"""The interpreter with its libraries, before there is an image."""
DISK_BASE_BYTES: Final = 50_000_000
DISK_TIMES_INPUT: Final = 2
"""The input's copy, and as much again for what is made of it."""


def set_threads() -> None:
    """Give numeric libraries a thread for each core, unless told otherwise; before NumPy is loaded."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(cores()))


def needed_memory(size: "ImageSize", bytes_a_voxel: int) -> int:
    """What a run on that image takes, in bytes; `bytes_a_voxel` is the engine's, from the catalogue."""
    return BASE_BYTES + size.bytes + size.voxels * bytes_a_voxel


def check_memory(
    size: "ImageSize", bytes_a_voxel: int, there: Memory | None = None, promised_bytes: int = 0
) -> None:
    """Refuse an image for which memory does not suffice, before it is read.

    Parameters
    ----------
    bytes_a_voxel
        The engine's, from the catalogue.
    promised_bytes
        What of that which is free is somebody else's, who has not taken it yet.

    Raises
    ------
    BadInput
        The machine has too little of it at all.
    ComeBackLater
        It would suffice, were it not in use.
    """
    there = memory() if there is None else there
    needed = needed_memory(size, bytes_a_voxel)
    what = f"the input's {size.voxels / 1e6:.0f} million voxels need {_mb(needed)} of memory"
    if there.total is not None and needed > there.total:
        raise BadInput(f"{what} and the job may have {_mb(there.total)}; give it more, or a smaller image")
    if there.free is not None and needed + promised_bytes > there.free:
        raise ComeBackLater(f"{what} and {_mb(there.free)} are free; give the job more, or run fewer at once")


def check_disk(input_bytes: int, folder: Path) -> None:
    """Refuse to begin where the disk has no room for the run's files.

    Raises
    ------
    ComeBackLater
    """
    needed = DISK_BASE_BYTES + DISK_TIMES_INPUT * input_bytes
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ComeBackLater(
            f"the job needs {_mb(needed)} of disk for its files and {_mb(free)} are free; make room, or set"
            " TMPDIR to a larger disk"
        )


def peak_rss_mb() -> float:
    """Peak resident memory in 10^6 bytes: of this process, and of its largest ended child beside it."""
    own = _high_water_mark() or _bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return (own + _bytes(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)) / 1e6


def memory_share() -> float | None:
    """What this process holds of the memory that it may have, 0 to 1; None where the system does not say."""
    total = memory().total
    try:
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return resident_pages * resource.getpagesize() / total if total else None


class PeakMemory:
    """The peak of each of several runs in this process, whose times overlap."""

    def __init__(self) -> None:
        self._changed = threading.Lock()
        self._peaks_mb: dict[int, float] = {}
        self._numbers = itertools.count()

    @contextmanager
    def watched(self) -> Iterator[Callable[[], float]]:
        """Watch from here on; gives what tells the peak since then, as `peak_rss_mb` does."""
        number = next(self._numbers)
        self._note(number)
        try:
            yield lambda: self._note(number)
        finally:
            with self._changed:
                del self._peaks_mb[number]

    def _note(self, number: int) -> float:
        """Note the peak for all that are watched, and let the system count anew; the peak of one."""
        with self._changed:
            reached_mb = peak_rss_mb()
            self._peaks_mb = {each: max(peak_mb, reached_mb) for each, peak_mb in self._peaks_mb.items()}
            with contextlib.suppress(OSError):  # then it counts from the beginning of the process
                CLEAR_PEAK.write_text("5")
            return self._peaks_mb.setdefault(number, 0.0)


def _high_water_mark() -> int | None:
    """What Linux says of this program alone: `ru_maxrss` counts the process that started it, too."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _bytes(ru_maxrss: int) -> int:
    """The system says KiB on Linux, bytes on macOS."""
    return ru_maxrss if sys.platform == "darwin" else ru_maxrss * 1024


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
