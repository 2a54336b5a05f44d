"""What the demo wants of a PACS, and which one it takes: Orthanc where it is installed, else a small one."""

from pathlib import Path
from typing import Protocol

from gateway.adapters.dicom.peer import Peer

from .builtin import BuiltinPacs
from .children import DemoError
from .orthanc import Orthanc, find_orthanc


class Pacs(Protocol):
    """A receiving PACS on this machine: C-ECHO, C-STORE, C-FIND, C-GET."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def peer(self) -> Peer:
        """Where it is reached by DICOM."""

    @property
    def web_page(self) -> str:
        """Where a person looks at it, and how to sign in; empty when there is no such page."""

    def start(self) -> None:
        """Start it and wait until it answers C-ECHO; DemoError when it does not."""

    def stop(self) -> None:
        """End it."""


def choose_pacs(kind: str, folder: Path) -> Pacs:
    """The PACS of a kind: `orthanc`, `builtin`, or `auto` for Orthanc where it is installed.

    Raises
    ------
    DemoError
        There is no such kind, or Orthanc is wanted and not installed.
    """
    if kind not in ("auto", "orthanc", "builtin"):
        raise DemoError(f"there is no PACS {kind!r}; use auto, orthanc or builtin")
    program = None if kind == "builtin" else find_orthanc()
    if program is not None:
        return Orthanc(folder, program)
    if kind == "orthanc":
        raise DemoError("Orthanc is not installed (Debian: apt-get install orthanc); or use --pacs builtin")
    return BuiltinPacs(folder)
