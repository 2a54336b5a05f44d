"""IRIS: one gateway, with the stand-in as the program of its engine `container`."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.measuring import ROOT
from benchmarks.ports import free_port, is_open

from .orthancs import Orthanc
from .parts import Part
from .sides import Disk

_SETTINGS: Final = """
[site]
name = "beside"
data_dir = "{data_dir}"
[dicom]
port = {port}
[api]
port = 0
auth = "none"
[study]
find = {{ ae_title = "PACS", host = "127.0.0.1", port = {pacs_port} }}
[engine]
name = "container"
version = "1"
task = "balls"
command = {command}
[[destination]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs_port}
{destination}
[[rule]]
name = "ct"
when = {{ Modality = "CT" }}
"""


class Iris:
    """`iris serve` with what docs/pacs.md tells a site to enter; all else is its default.

    Parameters
    ----------
    port
        Of its listener, which the PACS knows.
    destination
        Further keys of the PACS as a destination, as TOML.
    """

    name, ae_title = "IRIS", "IRIS"

    def __init__(self, folder: Path, port: int, pacs: Orthanc, engine_s: float, destination: str) -> None:
        self.running = folder / "running"
        self.running.mkdir()
        self.port = port
        self._disk = Disk(folder / "data")
        command = [sys.executable, str(Path(__file__).parent / "stand_in.py"), "{input}", "{output}"]
        settings = folder / "iris.toml"
        settings.write_text(
            _SETTINGS.format(
                data_dir=self._disk.place,
                port=port,
                pacs_port=pacs.port,
                command=json.dumps([*command, str(engine_s), str(self.running)]),
                destination=destination,
            ),
            encoding="utf-8",
        )
        self._part = Part(
            "iris",
            [sys.executable, "-m", "gateway.cli", "serve", "--config", str(settings)],
            folder,
            lambda: is_open(port),
            {"PYTHONPATH": str(ROOT)},
        )

    @property
    def disk(self) -> Path:
        """Its data directory."""
        return self._disk.place

    def start(self) -> None:
        """Start the gateway."""
        self._disk.mount()
        self._part.start()

    def stop(self) -> None:
        """End it."""
        self._part.stop()
        self._disk.unmount()

    def kill_worker(self) -> None:
        """Kill the process of the job, and the program that it runs; the gateway starts another."""
        pid = self._part.pid
        for process in _family(pid) if pid else []:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if b"batch_job" in words or any(word.endswith(b"stand_in.py") for word in words):
                os.kill(process, signal.SIGKILL)
        for mark in self.running.iterdir():
            mark.unlink(missing_ok=True)

    def restart_queue(self, away_s: float) -> None:
        """Kill the gateway itself: it is its own queue."""
        self._part.kill()
        time.sleep(away_s)
        self._part.start()


def _family(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_family(int(child))]
    return found


def a_port() -> int:
    """For its listener."""
    return free_port()
