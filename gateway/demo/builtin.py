"""The demo's own small PACS as a child process."""

import sys
from pathlib import Path

from gateway.adapters.dicom.peer import NotReached, Peer, echo

from .children import Child, clean_environment
from .loopback import LOOPBACK, PACS_AE_TITLE
from .storage_scp import PORT_NAME

START_TIMEOUT_S = 40.0


class BuiltinPacs:
    """The small PACS as a process of its own.

    Parameters
    ----------
    folder
        Its objects and its log go there.
    """

    name = "the demo's own small PACS"
    web_page = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._child: Child | None = None
        self._peer = Peer(PACS_AE_TITLE, LOOPBACK, 0)

    @property
    def peer(self) -> Peer:
        """Where it is reached by DICOM."""
        return self._peer

    @property
    def log(self) -> Path:
        """What it says."""
        return self._folder / "pacs.log"

    def start(self) -> None:
        """Start it and wait until it answers C-ECHO.

        Raises
        ------
        DemoError
        """
        port = self._folder / "storage" / PORT_NAME
        port.unlink(missing_ok=True)
        command = [sys.executable, "-m", "gateway.demo.storage_scp", str(port.parent)]
        self._child = Child("the demo's PACS", command, self.log, clean_environment())
        try:
            self._child.wait_until(port.is_file, "has opened no port", START_TIMEOUT_S)
            self._peer = Peer(PACS_AE_TITLE, LOOPBACK, int(port.read_text()))
            self._child.wait_until(self._answers, "has not answered C-ECHO", START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _answers(self) -> bool:
        try:
            echo(self._peer, PACS_AE_TITLE)
        except NotReached:
            return False
        return True
