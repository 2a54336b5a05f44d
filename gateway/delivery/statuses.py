"""What a C-STORE answer means for a delivery (PS3.4 Table B.2-1, PS3.7 Annex C), and the same as a failure or
warning reason of STOW-RS (PS3.18 I.2.2).
"""

from enum import Enum

DUPLICATE_INSTANCE = 0x0111
DOES_NOT_MATCH = 0xB007
"""A warning: stored, though the data set does not match its SOP class; an IRIS gateway has put it aside."""

_NOT_TAKEN = {
    0x0122: "it does not support the SOP class",
    0xC122: "it does not support the transfer syntax",
}
_PERMANENT = {
    0x0117: "it finds the object instance invalid",
    0x0124: "it is not authorized for this AE title",
}
_RETRIED = {0x0110: "it failed to process the object"}
_WARNINGS = {
    0xB000: "stored, with data elements changed",
    0xB006: "stored, without some of its data elements",
    DOES_NOT_MATCH: "stored, though it finds that the data set does not match its SOP class",
}


class Answer(Enum):
    """What to do after an answer."""

    STORED = "stored"  # it has the object, be it with a warning
    ALREADY_THERE = "already there"  # it says so: ask by C-FIND
    TRY_AGAIN = "try again"
    NOT_TAKEN = "not taken"  # in this form; another one may do
    REFUSED = "refused"  # a person has to change something


def understand(status: int | None) -> Answer:
    """Sort a C-STORE status; None stands for no answer at all."""
    if status is None:
        return Answer.TRY_AGAIN
    if status == 0x0000 or status == 0x0001 or 0xB000 <= status <= 0xBFFF:
        return Answer.STORED
    if status == DUPLICATE_INSTANCE:
        return Answer.ALREADY_THERE
    if status in _NOT_TAKEN:
        return Answer.NOT_TAKEN
    if status in _PERMANENT or 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF:
        return Answer.REFUSED
    return Answer.TRY_AGAIN  # 0xA7xx, 0x0110, and what nobody documented: bounded by the time to give up


def meaning(status: int | None) -> str:
    """Say a status in words."""
    if status is None:
        return "no answer; the association broke or timed out"
    words = (
        _NOT_TAKEN.get(status) or _PERMANENT.get(status) or _RETRIED.get(status) or _range_in_words(status)
    )
    return f"status 0x{status:04X}: {words}"


def _range_in_words(status: int) -> str:
    if status == 0x0000:
        return "stored"
    if status == DUPLICATE_INSTANCE:
        return "it has an object of that UID"
    if 0xB000 <= status <= 0xBFFF or status == 0x0001:
        return _WARNINGS.get(status, "stored, with a warning")
    if 0xA700 <= status <= 0xA7FF:
        return "it is out of resources"
    if 0xA900 <= status <= 0xA9FF:
        return "the data set does not match its SOP class"
    if 0xC000 <= status <= 0xCFFF:
        return "it cannot understand the object"
    return "not stored"
