"""Which of its studies the mirror's table can be asked for: by state and time; the rest is refused."""

from dataclasses import dataclass
from typing import Final, Self

from gateway.ledger.finding import StudyFilter
from gateway.ledger.ordering import Order, Sort
from gateway.ledger.records import utc_text
from gateway.ledger.states import StudyState
from gateway.ledger.waiting import BY_STUDY, Waits

from ..store import NotHere

EARLIEST, LATEST = "0", "9"
"""Before and after every time as we write it."""
_ITS_ORDER: Final = Order(Sort.UPDATED, is_descending=True)


@dataclass(frozen=True)
class Stretch:
    """A stretch of time, as the table has times; its end is not in it."""

    since: str
    until: str

    @classmethod
    def of(cls, wanted: StudyFilter) -> Self:
        """The one in which studies were received."""
        since, until = (utc_text(at) if at is not None else None for at in (wanted.since, wanted.until))
        return cls(since or EARLIEST, until or LATEST)

    def __contains__(self, at: str) -> bool:
        return self.since <= at < self.until


def refuse_what_is_not_here(wanted: StudyFilter, order: Order | None, *, is_counted: bool) -> None:
    """Refuse what the table does not know, or has not in order.

    Raises
    ------
    NotHere
    """
    if wanted.sought:
        raise NotHere("nothing of a patient is known here: search at the gateway that has the study")
    by_state = StudyFilter(since=wanted.since, until=wanted.until, state=wanted.state, waits=wanted.waits)
    if wanted != by_state or (wanted.waits and Waits(wanted.waits) not in BY_STUDY):
        raise NotHere("studies are found here by state and time alone: look at the gateway that has them")
    if order not in (None, _ITS_ORDER) or is_counted:
        raise NotHere("the last changed are first here, and nobody counts them: look at the gateway for that")


def states_of(wanted: StudyFilter) -> list[str]:
    """The states in which they may be."""
    states = [wanted.state] if wanted.state else [state.value for state in StudyState]
    return [state for state in states if not wanted.waits or state in BY_STUDY[Waits(wanted.waits)]]
