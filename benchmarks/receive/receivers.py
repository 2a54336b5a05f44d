"""Programs that receive: started as their users start them, on ports of their own, watched from outside."""

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measuring import MB
from benchmarks.ports import free_port, is_open
from benchmarks.programs import ProgramFailed, gateway_command, running

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Receiver(ABC):
    """One program that takes C-STORE.

    `name` stands in the table; `durable` says whether what it acknowledges outlives a loss of power.
    """

    name: str
    ae_title: str
    durable: bool

    @abstractmethod
    def command(self, port: int, folder: Path) -> Sequence[str]:
        """What starts it."""


class Iris(Receiver):
    """The gateway."""

    name, ae_title, durable = "iris", "IRIS", True

    def command(self, port: int, folder: Path) -> Sequence[str]:
        """`iris serve` with a file of settings."""
        return gateway_command(folder / "data", port)


class PlainHandler(Receiver):
    """pynetdicom by its documentation."""

    name, ae_title, durable = "pynetdicom", "PLAIN", False

    def command(self, port: int, folder: Path) -> Sequence[str]:
        """The module beside this one."""
        return sys.executable, "-m", "benchmarks.receive.plain_handler", str(port), str(folder)


class Storescp(Receiver):
    """dcmtk's receiver, a process for each association."""

    name, ae_title, durable = "storescp", "STORESCP", False

    def command(self, port: int, folder: Path) -> Sequence[str]:
        """As it comes, but for taking every transfer syntax and several associations."""
        return dcmtk("storescp"), "--fork", "+xa", "-od", str(folder), str(port)


RECEIVERS: Final[Sequence[Receiver]] = (Iris(), PlainHandler(), Storescp())


def dcmtk(program: str) -> str:
    """Path of one of dcmtk's programs: pynetdicom installs its own of the same names.

    Raises
    ------
    ProgramFailed
        It is not installed.
    """
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(entry for entry in os.environ["PATH"].split(os.pathsep) if entry != own)
    found = shutil.which(program, path=path)
    if found is None:
        raise ProgramFailed(f"{program} of dcmtk is not installed")
    return found


@dataclass(frozen=True)
class Usage:
    """Processor time so far, and the largest resident set of any of its processes."""

    cpu_s: float
    peak_mb: float


class Running:
    """A receiver that listens."""

    def __init__(self, receiver: Receiver, port: int, process: subprocess.Popen[bytes]) -> None:
        self.receiver = receiver
        self.port = port
        self._process = process

    def usage(self) -> Usage:
        """Of the process and all its children, those that have ended too."""
        cpu_s, peak_mb = 0.0, 0.0
        for pid in _family(self._process.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu_s += sum(int(ticks) for ticks in fields[11:15]) / _TICKS  # own and ended children's, proc(5)
            status = Path(f"/proc/{pid}/status").read_text()
            [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")] or ["VmHWM: 0"]
            peak_mb += int(line.split()[1]) * 1024 / MB
        return Usage(cpu_s, peak_mb)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


@contextmanager
def listening(receiver: Receiver, folder: Path) -> Iterator[Running]:
    """A receiver that writes into `folder`, ended afterwards.

    Raises
    ------
    ProgramFailed
    """
    folder.mkdir(parents=True)
    port = free_port()
    said = folder.with_name(f"{folder.name}.log")
    with running(receiver.command(port, folder), said, partial(is_open, port)) as process:
        yield Running(receiver, port, process)
