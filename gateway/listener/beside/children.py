"""Processes beside the gateway's own that serve associations: an interpreter runs one thread at a time.

The first association is served here. Those that come while it is open go to such a process, which reads,
digests and syncs what they bring; filing it in the ledger stays here. A process is started when it is needed
first, and until it is ready, or where there is none, associations are served here.
"""

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Final

import structlog

from ..visits import Visit
from .channel import BEGUN, LENGTH_BYTES, READY, ChildSettings, answer

log = structlog.get_logger(__name__)

MOST: Final = 4
AGAIN_S: Final = 60.0
"""One that has ended is not started anew before that."""
HAND_ON_TIMEOUT_S: Final = 1.0
BEGINS_S: Final = 20.0
"""One that has not begun with an association after so long hangs, and is ended; senders try again."""
END_TIMEOUT_S: Final = 10.5
"""It waits for its objects at hand, for less; the gateway as a whole for more."""


def how_many() -> int:
    """As many as are of use: this process takes a processor, too."""
    return min(MOST, (os.cpu_count() or 1) - 1)


class Children:
    """All of them.

    Parameters
    ----------
    settings
        Each has a folder of its own in the one that is given.
    """

    def __init__(self, number: int, settings: ChildSettings) -> None:
        self._children = [
            _Child(replace(settings, folder=settings.folder / str(n)), n) for n in range(1, number + 1)
        ]
        self._end_until = 0.0

    @property
    def ready(self) -> int:
        """How many take associations."""
        return sum(child.is_ready for child in self._children)

    def hand_on(
        self, visit: Visit, connection: socket.socket, address: tuple[Any, ...], request: bytes
    ) -> bool:
        """Give an association to the one that has the fewest; False where none takes it."""
        for child in self._children:
            child.start_where_needed()
        takers = sorted((child for child in self._children if child.is_ready), key=lambda child: child.open)
        return any(child.takes(visit, connection, address, request) for child in takers)

    def hang_up(self) -> None:
        """Let them abort what is open, and end."""
        self._end_until = time.monotonic() + END_TIMEOUT_S
        for child in self._children:
            child.hang_up()

    def stop(self) -> None:
        """Wait until they have ended, which were told so."""
        for child in self._children:
            child.end(self._end_until)


class _Child:
    """One process, and the next one where that has ended."""

    def __init__(self, settings: ChildSettings, number: int) -> None:
        self._settings = settings
        self._number = number
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._started_at = -AGAIN_S
        self._is_stopping = False
        self.is_ready = False
        self.open = 0
        """Associations that it has."""

    def start_where_needed(self) -> None:
        """Start it where it does not run, in the background."""
        with self._lock:
            is_early = time.monotonic() - self._started_at < AGAIN_S
            if self._process is not None or self._is_stopping or is_early:
                return
            self._started_at = time.monotonic()
            try:
                ours, theirs = socket.socketpair()
                with theirs:
                    self._process = _started(theirs)
            except OSError as error:
                log.error("listener_process_not_started", number=error.errno)
                return
            ours.settimeout(HAND_ON_TIMEOUT_S)
            self._control = ours
            follow = threading.Thread(
                target=self._follow, args=(self._process, ours), name=f"listener-child-{self._number}"
            )
            follow.daemon = True
            follow.start()

    def _follow(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        """Wait until it is ready, and then for its end."""
        try:
            said = pickle.dumps(self._settings)
            control.sendall(len(said).to_bytes(LENGTH_BYTES, "big") + said)
            self.is_ready = _next(control) == READY
            _next(control)
        except OSError:
            pass
        finally:
            self.is_ready = False
            code = process.wait()
            with self._lock:
                self._process = self._control = None
                control.close()
            if not self._is_stopping:
                log.error("listener_process_ended", code=code)

    def takes(
        self, visit: Visit, connection: socket.socket, address: tuple[Any, ...], request: bytes
    ) -> bool:
        """Give it an association; False where it does not take it."""
        ours, theirs = socket.socketpair()
        channel = Connection(ours.detach())
        with theirs, self._lock:
            try:
                if self._control is None:
                    raise ConnectionError
                socket.send_fds(self._control, [b"a"], [connection.fileno(), theirs.fileno()])
            except OSError:
                channel.close()
                return False
        connection.close()  # it has its own
        with self._lock:
            self.open += 1
        try:
            threading.Thread(
                target=self._attend, args=(visit, channel, address, request), name="attendant", daemon=True
            ).start()
        except RuntimeError:  # no thread is left
            with self._lock:
                self.open -= 1
            channel.close()
            raise
        return True

    def _attend(self, visit: Visit, channel: Connection, address: tuple[Any, ...], request: bytes) -> None:
        try:
            with channel:
                channel.send((address, request))
                if not channel.poll(BEGINS_S):
                    self._end_what_hangs()
                elif channel.recv() == BEGUN:
                    answer(visit, channel)
        except (OSError, EOFError):
            log.warning("listener_process_hung_up")
        finally:
            with self._lock:
                self.open -= 1
            visit.over()

    def _end_what_hangs(self) -> None:
        with self._lock:
            if self._process is not None and self.is_ready:  # once, for all that wait for it
                log.error("listener_process_hangs")
                self._process.kill()
            self.is_ready = False

    def hang_up(self) -> None:
        """Let it end."""
        with self._lock:
            self._is_stopping = True
            if self._control is not None:
                self._control.shutdown(socket.SHUT_WR)

    def end(self, until: float) -> None:
        """Wait for its end; kill it where that does not come in time."""
        process = self._process
        if process is None:
            return
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(theirs: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: a file of the folder that the gateway was started in is no module of Python's.
        [sys.executable, "-P", "-m", "gateway.listener.beside.child"],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # Ctrl-C is for this process: that one may not know yet that it ignores it
    )


def _next(control: socket.socket) -> bytes:
    """The next byte, whenever it comes; none where it has ended."""
    while True:
        try:
            return control.recv(1)
        except TimeoutError:
            continue
