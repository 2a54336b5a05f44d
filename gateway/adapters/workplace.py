"""Where one worker of the local queue has its process: made when it is wanted, kept while it may be again."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .installed import Installed, installed_packages
from .worker_process import WorkerProcess


class Workplace:
    """A place for one process at a time.

    Parameters
    ----------
    keep_warm_s
        For how many seconds a process without work is kept.
    """

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str], keep_warm_s: float) -> None:
        self._command = command
        self._environment = dict(environment)
        self._keep_warm_s = keep_warm_s
        self._worker: WorkerProcess | None = None
        self._made_of: Installed = frozenset()
        self.waits = False

    @property
    def is_warm(self) -> bool:
        """Whether a process is there that can take a run."""
        return self._worker is not None and self._worker.is_fit

    @property
    def left_s(self) -> float | None:
        """How long a process without work is kept yet; None where there is none."""
        if self._worker is None:
            return None
        return max(0.0, self._worker.free_since + self._keep_warm_s - time.monotonic())

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Say meanwhile that it waits for a run."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False

    def worker(self) -> WorkerProcess:
        """The process that is here, or a new one, also where packages were installed since it began.

        That one has parts of the old ones loaded, and would load the rest of the new ones.

        Raises
        ------
        OSError
            It cannot be started.
        """
        installed = installed_packages()
        if self._worker is None or not self._worker.is_fit or self._made_of != installed:
            self.close()
            self._made_of = installed
            self._worker = WorkerProcess(self._command, self._environment)
        return self._worker

    def clear_away(self) -> None:
        """End a process that is of no use any more, or had nothing to do for too long."""
        if not self.is_warm or self.left_s == 0:
            self.close()

    def close(self) -> None:
        """End the process, if there is one, and wait for that."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.close()
