"""What the runs of one process share: its engines, its memory, its scratch, and the way it ends."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .contract import EXIT_SOFTWARE_ERROR
from .engines import Engine, Segmented, Work, check_segmented, load_engine
from .errors import BadInput, ComeBackLater, meaning_of
from .image import ImageSize
from .interruption import Interruption
from .quiet import write_failure
from .resources import PeakMemory, check_memory, needed_memory


class Engines:
    """The engines of this process: each is loaded once, and again after it has failed.

    What one leaves that fails may spoil the process for the next image, as an error in CUDA does: the second
    failure that looks like a defect is therefore not held against its image.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Engine] = {}
        self._loading = threading.Lock()
        self._may_be_spoilt = False

    def get(self, name: str) -> Engine:
        """The engine of that name; the request was checked against the contract before."""
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = load_engine(name)
            return self._loaded[name]

    def segment(self, name: str, work: Work) -> Segmented:
        """Let it segment an image; what it raises is raised.

        Raises
        ------
        ComeBackLater
            It failed where another image had failed before; a run in another process will tell.
        """
        try:
            segmented = self.get(name).segment(work)
            check_segmented(segmented, work.image)
            return segmented
        except BadInput:
            raise
        except BaseException as error:
            with self._loading:
                self._loaded.pop(name, None)  # what it kept may be the reason
            if meaning_of(error)[0] != EXIT_SOFTWARE_ERROR:
                raise
            if not self._may_be_spoilt:
                self._may_be_spoilt = True
                raise
            write_failure(error)
            raise ComeBackLater(
                "the engine failed in a process in which it had failed before; the next run tells why"
            ) from None


class Room:
    """Memory for images, of which each run has its share until it ends."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._promised: list[int] = []

    @contextmanager
    def taken(self, size: ImageSize, bytes_a_voxel: int) -> Iterator[None]:
        """Have what a run on that image takes; it is waited for while other runs of this process have it.

        What those have is counted as if they were still to take all of it: an image is not decoded early
        where that could cost the present one its memory.

        Raises
        ------
        BadInput, ComeBackLater
            As `check_memory`.
        """
        needed = needed_memory(size, bytes_a_voxel)
        with self._changed:
            while True:
                try:
                    check_memory(size, bytes_a_voxel, promised_bytes=sum(self._promised))
                    break
                except ComeBackLater:
                    if not self._promised:
                        raise
                    self._changed.wait()
            self._promised.append(needed)
        try:
            yield
        finally:
            with self._changed:
                self._promised.remove(needed)
                self._changed.notify_all()


@dataclass(frozen=True)
class Shared:
    """All of it; one of each in a process."""

    interruption: Interruption
    engines: Engines = field(default_factory=Engines)
    room: Room = field(default_factory=Room)
    peak_memory: PeakMemory = field(default_factory=PeakMemory)
    temporary: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    """The folder for temporary files as it was at first: an engine that works may have set its own."""
