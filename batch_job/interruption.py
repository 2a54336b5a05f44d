"""Ending early and in order: on SIGTERM and SIGINT, without a parent, and when Spot takes the machine back.

Whatever a run has finished was put in its place when it was finished, so there is little to do: what is being
written is given `GRACE_S`, children and scratch go, and the process ends, however many runs are on their way
in it. A thread waits for the signals: Python's own handlers wait for the main thread, which may sit in a long
calculation.
"""

import contextlib
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from .children import SIGNALS, end_children
from .contract import EXIT_INTERRUPTED

GRACE_S: Final = 20.0
"""How long what is being written may take; ECS kills 30 s after SIGTERM."""

Tell = Callable[[int, str], None]
"""Takes the exit code, and why in one sentence."""


class Interruption:
    """The one way in which this process ends before its work does.

    Parameters
    ----------
    grace_s
        How long `end` waits for what is being written.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._ending = threading.Lock()
        self._changed = threading.Condition()
        self._is_ending = False
        self._writing: Counter[int] = Counter()
        """How often each thread, by its number, is within `finishing_first`."""
        self._to_remove: list[Path] = []
        self._to_tell: list[Tell] = []

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
        """Hold off the end, within bounds, while something is written; once it has come nothing is begun."""
        thread = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._is_ending or thread in self._writing)
            self._writing[thread] += 1
        try:
            yield
        finally:
            with self._changed:
                self._writing -= Counter((thread,))
                self._changed.notify_all()

    @contextmanager
    def removing(self, folder: Path) -> Iterator[None]:
        """Remove a folder at the end, should that come now."""
        self._to_remove.append(folder)
        try:
            yield
        finally:
            self._to_remove.remove(folder)

    @contextmanager
    def telling(self, tell: Tell) -> Iterator[None]:
        """Tell the exit code and why at the end, should that come now."""
        self._to_tell.append(tell)
        try:
            yield
        finally:
            self._to_tell.remove(tell)

    def end(self) -> None:
        """End the process with `EXIT_INTERRUPTED`; does not return."""
        self._ending.acquire()  # and never release it: the first one ends the process
        try:
            with self._changed:
                self._is_ending = True
                self._changed.wait_for(lambda: not self._writing, self._grace_s)
            end_children()
            for folder in list(self._to_remove):
                shutil.rmtree(folder, ignore_errors=True)
            for tell in list(self._to_tell):
                tell(EXIT_INTERRUPTED, "the run was interrupted")
        finally:
            os._exit(EXIT_INTERRUPTED)


def _read_to_the_end() -> None:
    with contextlib.suppress(OSError):  # closed from the beginning: there never was a parent that holds it
        while os.read(0, 4096):
            pass


def _leave_it_to_the_thread(number: int, frame: FrameType | None) -> None:
    """A handler of Python's must stand there for the signal's number to be written to the pipe."""
