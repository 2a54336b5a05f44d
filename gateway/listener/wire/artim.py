"""The timer of an association that ends (ARTIM, PS3.8 9.1.5), by the monotonic clock."""

import time
from collections.abc import Callable

from pynetdicom.timer import Timer


class Artim(Timer):
    """How long the peer may take to close the connection (PS3.8 9.1.5), whatever is done to the wall clock.

    The request is not waited for: it was read whole, at the door, before there is an association. By itself
    pynetdicom's would end that of a machine so busy that it serves it late, and blame the sender.
    """

    def __init__(self, is_idle: Callable[[], bool], timeout_s: float | None) -> None:
        super().__init__(timeout_s)
        self._is_idle = is_idle
        self._ends_at: float | None = None

    def start(self) -> None:
        """Begin anew."""
        if self.timeout is not None and not self._is_idle():
            self._ends_at = time.monotonic() + self.timeout

    def stop(self) -> None:
        """Nothing is waited for."""
        self._ends_at = None

    @property
    def expired(self) -> bool:
        """Whether it took too long."""
        return self._ends_at is not None and time.monotonic() > self._ends_at
