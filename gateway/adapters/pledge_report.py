"""What a destination says to which it was sent: what it keeps, and what it does not (PS3.4 J.3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Failure Reasons, PS3.3 C.14.1.1
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
CLASS_CONFLICT: Final = 0x0119
CLASS_NOT_SUPPORTED: Final = 0x0122
_MEANINGS: Final = {
    PROCESSING_FAILURE: "it failed to look at it",
    NO_SUCH_INSTANCE: "it does not have it",
    CLASS_CONFLICT: "it has something of another SOP class under its UID; look there what that is",
    CLASS_NOT_SUPPORTED: "it commits itself to nothing of that SOP class",
    0x0131: "it takes the request for one that it has already",
    0x0213: "it has no room for that",
}


@dataclass(frozen=True)
class PledgeReport:
    """One report (PS3.4 table J.3-2).

    Parameters
    ----------
    kept
        SOP Instance UIDs of what it keeps.
    failures
        Those to which it does not commit itself, each with its Failure Reason (PS3.3 C.14.1.1).
    """

    transaction_uid: str
    kept: frozenset[str]
    failures: Mapping[str, int]


def meaning_of_failure(reason: int) -> str:
    """A Failure Reason in words."""
    return f"reason 0x{reason:04X}: {_MEANINGS.get(reason, 'one that the standard does not have')}"
