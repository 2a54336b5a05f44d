"""Child processes of the demo: started with their own log, waited for with a deadline, ended in the end."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_S = 15.0
LOOK_EVERY_S = 0.05


class DemoError(Exception):
    """A step of the demo failed; one sentence that says which and why."""


class Child:
    """One process and the file that takes what it says.

    Parameters
    ----------
    name
        What the demo calls it in its sentences.
    command
        The program and its arguments.
    log
        Standard output and error go there, appended.
    environment
        Its whole environment.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("ab") as stream:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                )
        except OSError as error:
            raise DemoError(f"{name} cannot be started: {error.strerror}") from None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise DemoError when it has ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise DemoError(f"{self.name} ended with exit code {code}; its log is {self.log}")

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for a condition while the process runs.

        Raises
        ------
        DemoError
            The process ended, or the condition did not come true in time.
        """
        deadline = time.monotonic() + timeout_s
        while not is_so():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name} {what} for {timeout_s:.0f} s; its log is {self.log}")
            time.sleep(LOOK_EVERY_S)

    def stop(self) -> None:
        """End it and wait for its end; one that does not listen is killed."""
        if self.is_running:
            self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of its log."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
        except OSError:
            return []


def clean_environment(**more: str) -> dict[str, str]:
    """Give this environment without the caller's IRIS_ variables: they belong to another gateway.

    The working folder does not shadow the installed packages (PYTHONSAFEPATH).
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IRIS_")}
    return {**kept, "PYTHONSAFEPATH": "1", **more}
