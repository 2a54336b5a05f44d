"""What both sides are to the plan: something that takes studies and to which things happen."""

import os
import subprocess
import time
from pathlib import Path
from typing import Final, Protocol

from benchmarks.receive.receivers import dcmtk

DISK_MB: Final = 2048
"""What each side may write on: a file system in memory, so that it can be full."""


class Taker(Protocol):
    """Something that takes C-STORE on this machine."""

    ae_title: str
    port: int


class Side(Taker, Protocol):
    """IRIS or BOA, set up by its own documentation."""

    name: str
    running: Path
    """In this folder is a file for each run of the stand-in engine at the moment."""

    def start(self) -> None:
        """Start all that belongs to it."""

    def stop(self) -> None:
        """End all that belongs to it, and give back what it held."""

    def kill_worker(self) -> None:
        """Kill the process that computes; it is started again as its own deployment does."""

    def restart_queue(self, away_s: float) -> None:
        """Take away what keeps work that is waiting, and bring it back after so many seconds."""

    @property
    def disk(self) -> Path:
        """Where the file system is mounted on which it works."""


class Disk:
    """A file system of its own in memory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._made = not place.exists()

    def mount(self) -> None:
        """Mount it; for that one has to be root."""
        self.place.mkdir(exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "beside", str(self.place)], check=True
        )

    def unmount(self) -> None:
        """Unmount it, with all that is on it."""
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)
        if self._made:
            self.place.rmdir()


def fill(disk: Path, seconds: float) -> None:
    """Leave no room on a file system for some seconds."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as stream:
            block = bytes(1 << 20)
            while stream.write(block) == len(block):
                pass
    except OSError:
        pass  # full
    give_back_at = time.monotonic() + seconds
    while time.monotonic() < give_back_at:
        time.sleep(0.5)
    filler.unlink()


def send(files: list[Path], to: Taker) -> bool:
    """Send files on one association, by dcmtk's storescu; whether all were taken."""
    program = [dcmtk("storescu"), "-R", "-aet", "PACS", "-aec", to.ae_title, "127.0.0.1", str(to.port)]
    answer = subprocess.run(
        [*program, *map(str, files)],
        capture_output=True,
        check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=120,
    )
    return answer.returncode == 0 and b"E: " not in answer.stderr + answer.stdout
