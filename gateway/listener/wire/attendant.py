"""Whom an association tells what it does; it may run in another process than who hears it."""

from dataclasses import dataclass
from typing import Protocol

from ..causes import Cause
from ..intake.received import Received


@dataclass(frozen=True)
class StoreRequest:
    """What a C-STORE request says of its object (PS3.7 9.3.1.1).

    Parameters
    ----------
    sop_uids
        Affected SOP Class UID and Affected SOP Instance UID.
    move_originator
        The AE title whose C-MOVE it is a part of; empty: it is none.
    """

    sop_uids: tuple[str, str]
    move_originator: str


class Attendant(Protocol):
    """Attends one association, from its admission to its end."""

    def has_room(self) -> bool:
        """Whether the disk takes more."""
        ...

    def take(self, received: Received, request: StoreRequest) -> int:
        """Take what came with a C-STORE request; the status of the answer."""
        ...

    def refused(self, why: str, cause: Cause) -> None:
        """It is aborted from here; a sentence."""
        ...

    def closed(self, *, released: bool) -> None:
        """It was released, or aborted by either side."""
        ...

    def over(self) -> None:
        """Nothing of it is left; it is told once, and last."""
        ...
