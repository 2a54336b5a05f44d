"""Programs that are measured: started as their users start them, and ended; none of them is imported."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.measuring import ROOT

READY_TIMEOUT_S: Final = 60.0
END_TIMEOUT_S: Final = 60.0
LOOK_EVERY_S: Final = 0.01

NEVER_COMPLETE: Final = """
[study]
quiet_s = 3000
timeout_s = 3000
"""
"""Nothing happens by itself to what comes while it is measured."""
_SETTINGS: Final = """
[site]
data_dir = "{data_dir}"
low_water_mb = 1
[dicom]
port = {port}
[api]
port = 0
{more}
"""


class ProgramFailed(Exception):
    """A program ended, is not ready in time, or does not do its part; the text is the last line it said."""


def gateway_command(data_dir: Path, port: int, more: str = NEVER_COMPLETE) -> Sequence[str]:
    """What starts a gateway, with a file of settings beside its data directory.

    Parameters
    ----------
    port
        Of its DICOM listener.
    more
        Further settings, as TOML.
    """
    settings = data_dir.with_name(f"{data_dir.name}.toml")
    text = _SETTINGS.format(data_dir=data_dir.absolute(), port=port, more=more)
    settings.write_text(text, encoding="utf-8")
    return sys.executable, "-m", "gateway.cli", "serve", "--config", str(settings.absolute())


@contextmanager
def running(
    command: Sequence[str], said: Path, is_ready: Callable[[], bool], timeout_s: float = READY_TIMEOUT_S
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that is ready.

    Parameters
    ----------
    said
        The file for what it prints.

    Raises
    ------
    ProgramFailed
    """
    environment = {**os.environ, "TCP_NODELAY": "1"}  # else dcmtk waits for delayed acknowledgements
    with said.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT, env=environment
        )
    try:
        give_up_at = time.monotonic() + timeout_s
        while not is_ready():
            if process.poll() is not None or time.monotonic() > give_up_at:
                lines = said.read_text(errors="replace").splitlines()
                raise ProgramFailed(lines[-1] if lines else f"{command[0]} was not ready in time")
            time.sleep(LOOK_EVERY_S)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
