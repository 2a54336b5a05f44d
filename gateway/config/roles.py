"""Who may do what, in four words: the roles of tokens and of people."""

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What somebody is let in for."""

    VIEWER = "viewer"  # reads
    OPERATOR = "operator"  # acts: retries, releases, sends again
    ADMIN = "admin"  # erases, says who may ask, sees what was put aside
    SENDER = "sender"  # sends DICOM objects by STOW-RS, and reads nothing

    def may(self, needed: "Role") -> bool:
        """Whether this role does for what needs that one: an admin does for everything."""
        return needed in _DOES_FOR[self]


_DOES_FOR: Final = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.OPERATOR: frozenset({Role.VIEWER, Role.OPERATOR}),
    Role.ADMIN: frozenset(Role),
    Role.SENDER: frozenset({Role.SENDER}),
}
