"""What the gateway's process and those beside it tell each other, and how.

A process gets settings when it starts. Each association in it then has a channel to who attends it, with
questions and answers, one at a time. All belong to one gateway and run as one user; what is said are values
of our own.
"""

import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from ..causes import Cause
from ..intake.received import Received
from ..wire.attendant import Attendant, StoreRequest
from ..wire.guard import Limits

LENGTH_BYTES: Final = 4
"""Of the number before a process's settings that says how long they are, big-endian."""
READY: Final = b"r"
"""What a process says when it takes associations."""
BEGUN: Final = "begun"
"""What it says first of each that it was given."""

_QUESTIONS: Final = frozenset({"has_room", "take", "refused", "closed"})


@dataclass(frozen=True)
class ChildSettings:
    """What a process is started with."""

    ae_title: str
    limits: Limits
    folder: Path
    """Where its incoming files lie, and nobody else's."""


class DistantAttendant:
    """Who attends an association, on the other end of a channel.

    What needs an answer raises `ConnectionError` where nobody is there any more; then the association ends.
    """

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._turn = threading.Lock()

    def has_room(self) -> bool:
        """Whether the disk takes more."""
        return bool(self._ask("has_room"))

    def take(self, received: Received, request: StoreRequest) -> int:
        """Have it filed; the status of the answer."""
        return int(self._ask("take", received, request))

    def refused(self, why: str, cause: Cause) -> None:
        """Tell why it is aborted."""
        with suppress(ConnectionError):
            self._ask("refused", why, cause)

    def closed(self, *, released: bool) -> None:
        """Tell how it ended."""
        with suppress(ConnectionError):
            self._ask("closed", released=released)

    def over(self) -> None:
        """Hang up."""
        with self._turn:
            self._channel.close()

    def _ask(self, question: str, *given: Any, **named: Any) -> Any:
        with self._turn:
            try:
                self._channel.send((question, given, named))
                return self._channel.recv()
            except (OSError, EOFError):
                raise ConnectionError("the gateway's own process has ended") from None


def answer(attendant: Attendant, channel: Connection) -> None:
    """Answer what is asked, until the other end hangs up or is gone."""
    while True:
        try:
            question, given, named = channel.recv()
        except (EOFError, OSError):
            return
        if question not in _QUESTIONS:
            raise ValueError(question)
        said = getattr(attendant, question)(*given, **named)
        try:
            channel.send(said)
        except OSError:
            return
