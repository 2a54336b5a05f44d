"""Ending early and in order: on SIGTERM and SIGINT, without a parent, and when Spot takes the machine back.

Whatever a run has finished was put in its place when it was finished, so there is little to do: what is being
written is given `GRACE_S`, children and scratch go, and the process ends. A thread waits for the signals:
Python's own handlers wait for the main thread, which may sit in a long calculation.
"""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from .children import SIGNALS, end_children
from .contract import EXIT_INTERRUPTED

GRACE_S: Final = 20.0
"""How long what is being written may take; ECS kills 30 s after SIGTERM."""


class Interruption:
    """The one way in which this process ends before its work does.

    Parameters
    ----------
    grace_s
        How long `end` waits for what is being written.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._writing = threading.RLock()
        self._ending = threading.Lock()
        self._to_remove: Path | None = None
        self._tell: Callable[[int, str], None] = lambda code, sentence: None

    def watch_signals(self) -> None:
        """End on SIGTERM and SIGINT from now on; to be called in the main thread."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _leave_it_to_the_thread)
        self.end_after(lambda: os.read(reading, 1), "signals")

    def watch_parent(self) -> None:
        """End when standard input closes: the parent held its other end, so there is nobody to work for."""
        self.end_after(_read_to_the_end, "parent")

    def end_after(self, wait: Callable[[], object], name: str) -> None:
        """End once `wait` returns, which is called in a thread of that name."""

        def follow() -> None:
            wait()
            self.end()

        threading.Thread(target=follow, name=name, daemon=True).start()

    @contextmanager
    def finishing_first(self) -> Iterator[None]:
        """Hold off the end, within bounds, while something is written."""
        with self._writing:
            yield

    @contextmanager
    def removing(self, folder: Path) -> Iterator[None]:
        """Remove a folder at the end, should that come now."""
        self._to_remove = folder
        try:
            yield
        finally:
            self._to_remove = None

    @contextmanager
    def telling(self, tell: Callable[[int, str], None]) -> Iterator[None]:
        """Tell the exit code and why at the end, should that come now."""
        before, self._tell = self._tell, tell
        try:
            yield
        finally:
            self._tell = before

    def end(self) -> None:
        """End the process with `EXIT_INTERRUPTED`; does not return."""
        self._ending.acquire()  # and never release it: the first one ends the process
        try:
            self._writing.acquire(timeout=self._grace_s)
            end_children()
            if self._to_remove is not None:
                shutil.rmtree(self._to_remove, ignore_errors=True)
            self._tell(EXIT_INTERRUPTED, "the run was interrupted")
        finally:
            os._exit(EXIT_INTERRUPTED)


def _read_to_the_end() -> None:
    with contextlib.suppress(OSError):  # closed from the beginning: there never was a parent that holds it
        while os.read(0, 4096):
            pass


def _leave_it_to_the_thread(number: int, frame: FrameType | None) -> None:
    """A handler of Python's must stand there for the signal's number to be written to the pipe."""
