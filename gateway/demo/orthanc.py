"""Orthanc as the demo's PACS: a configuration of its own in the working folder, on this machine only."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.adapters.dicom.peer import NotReached, Peer, echo

from .children import Child, DemoError, clean_environment
from .loopback import LOOPBACK, PACS_AE_TITLE, free_port

START_TIMEOUT_S = 40.0
ATTEMPTS = 3
"""Ports are chosen before Orthanc opens them: somebody else may be quicker."""
USER = "demo"
MOST_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")
"""Where it may lie although PATH does not say so: Debian keeps it among the administrator's programs."""


def find_orthanc() -> str | None:
    """The Orthanc program, or None."""
    for name in ("Orthanc", "orthanc"):
        found = shutil.which(name) or shutil.which(name, path=":".join(MOST_PLACES))
        if found:
            return found
    return None


class Orthanc:
    """An Orthanc of our own.

    Parameters
    ----------
    folder
        Its configuration, database and log go there.
    program
        The Orthanc program.
    callers
        AE titles on this machine that may talk to it. Orthanc opens its DICOM port on every address of the
        machine, so it is told to check both title and address.
    configuration
        Keys of Orthanc's configuration that are added or replaced.
    """

    def __init__(
        self,
        folder: Path,
        program: str,
        callers: Sequence[str] = (PACS_AE_TITLE, "IRIS", "IRIS-DEMO"),
        configuration: dict[str, Any] | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._program = program
        self._callers = tuple(callers)
        self._more = configuration or {}
        self._password = secrets.token_urlsafe(12)
        self._child: Child | None = None
        self._peer = Peer(PACS_AE_TITLE, LOOPBACK, 0)
        self.http_port = 0

    @property
    def name(self) -> str:
        """Orthanc with its version."""
        answer = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=False)
        words = answer.stdout.split()
        return f"Orthanc {words[1]}" if len(words) > 1 else "Orthanc"

    @property
    def peer(self) -> Peer:
        """Where it is reached by DICOM."""
        return self._peer

    @property
    def web_page(self) -> str:
        """Orthanc's explorer."""
        return f"http://{LOOPBACK}:{self.http_port}/ (user {USER}, password {self._password})"

    @property
    def rest(self) -> tuple[str, tuple[str, str]]:
        """The address of its REST API, with user and password."""
        return f"http://{LOOPBACK}:{self.http_port}", (USER, self._password)

    @property
    def log(self) -> Path:
        """What it says."""
        return self._folder / "orthanc.log"

    def start(self) -> None:
        """Start it and wait until it answers C-ECHO.

        Raises
        ------
        DemoError
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start_once()
                return
            except DemoError:
                self.stop()
                if attempt == ATTEMPTS:
                    raise

    def _start_once(self) -> None:
        self._peer = Peer(PACS_AE_TITLE, LOOPBACK, free_port())
        self.http_port = free_port()
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "orthanc.json"
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps(self._settings(), indent=2), encoding="utf-8")
        self._child = Child(
            "Orthanc",
            [self._program, str(configuration)],
            self.log,
            # dcmtk answers in two writes: without this each image waits for a delayed acknowledgement.
            clean_environment(TCP_NODELAY="1"),
        )
        self._child.wait_until(self._answers, "has not answered C-ECHO", START_TIMEOUT_S)

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _answers(self) -> bool:
        try:
            echo(self._peer, self._callers[0])
        except NotReached:
            return False
        return True

    def _settings(self) -> dict[str, Any]:
        return {
            "Name": "IRIS demo PACS",
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "Plugins": [],
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: self._password},
            "DicomAet": PACS_AE_TITLE,
            "DicomPort": self._peer.port,
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": False,
            "DicomCheckCalledAet": False,
            "DicomCheckModalityHost": True,
            "DicomModalities": {title: [title, LOOPBACK, 104] for title in self._callers},
            "UnknownSopClassAccepted": True,
            **self._more,
        }
