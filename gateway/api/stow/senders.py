"""What the API needs of whoever takes DICOM objects in, as protocols: the listener's second door is one.

A status is that of a C-STORE response (PS3.4 B.2.3), which PS3.18 I.2 has for its reasons, too.
"""

from typing import Protocol


class Stored(Protocol):
    """What became of one object."""

    @property
    def status(self) -> int:
        """0x0000 stored, 0xBxxx kept with a warning, everything else a failure: its sender keeps it."""

    @property
    def sop_class_uid(self) -> str:
        """As the object says; empty where that cannot be read."""

    @property
    def sop_instance_uid(self) -> str:
        """Likewise."""


class Sending(Protocol):
    """One request: objects one after the other, each begun, written and ended.

    Every call may wait for the disk; they come one at a time, in whatever threads.
    """

    def begin(self) -> object:
        """An object follows."""

    def write(self, data: bytes) -> object:
        """More of it."""

    def end(self) -> Stored:
        """It is whole: take it; what is stored is so for good when this returns."""

    def close(self, *, whole: bool) -> object:
        """The request is over, by its end or broken off; called once."""


class StudyDoor(Protocol):
    """Lets requests in."""

    def open(self, sender: str, address: str, study_uid: str | None) -> Sending | str:
        """Let one in, or say why not; the sender is named as its token, and a study where it is for one."""

    def knows_as_uid(self, study_uid: str) -> bool:
        """Whether it is a UID at all (PS3.5 9.1)."""

    def turn_away(self, address: str, why: str) -> object:
        """Tell a person that one was not let in."""
