"""Programs with a life of their own: started, killed, started again on the same port."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.programs import ProgramFailed

READY_TIMEOUT_S: Final = 90.0
END_TIMEOUT_S: Final = 30.0
LOOK_EVERY_S: Final = 0.2
_KEPT: Final = ("PATH", "LANG", "HOME", "TMPDIR")


class Part:
    """One program.

    Parameters
    ----------
    name
        For its log and for messages.
    is_ready
        Asked after each start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command, self._folder, self._is_ready = tuple(command), folder, is_ready
        kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
        self._environment = {**kept, "TCP_NODELAY": "1", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the program while it lives."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises
        ------
        ProgramFailed
        """
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                self._command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )
        give_up_at = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            if self.pid is None or time.monotonic() > give_up_at:
                raise ProgramFailed(f"{self.name} is not ready; {self.log} says why")
            time.sleep(LOOK_EVERY_S)

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started without a word."""
        self._end(signal.SIGKILL)

    def _end(self, by: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        if by is signal.SIGKILL:
            os.killpg(self._process.pid, by)
        else:
            self._process.send_signal(by)
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
