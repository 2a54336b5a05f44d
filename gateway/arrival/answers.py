"""What a PACS's answer says about a study: compared with what came, and with what it answered before."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.adapters.contents import NoAnswer, SeriesContents
from gateway.ledger.evidence import Finding
from gateway.workers.attempts import Backoff

from .witness import Testimony

AGAIN: Final = Backoff(1.0, 30.0)
"""When the same question is asked again that did not settle it, while nothing comes."""
SHARE_OF_TIME: Final = 4
"""About one study no sooner again than this many times what the last question took."""


@dataclass(frozen=True)
class Asked:
    """One question about a study, and what came of it.

    Parameters
    ----------
    generation
        Of the study when it was asked about.
    began_at, took_s
        By the monotonic clock.
    held
        What the PACS holds of each series; empty where it did not tell.
    """

    generation: int
    began_at: float
    took_s: float
    code: Finding | NoAnswer
    held: Mapping[str, SeriesContents]
    missing: int = 0

    def shows_all_of(self, generation: int) -> bool:
        """Whether the study, where it is still the same, has everything as far as this tells."""
        return self.generation == generation and self.code is Finding.ALL_HERE


@dataclass(frozen=True)
class Standing:
    """How a study stands after the last question.

    Parameters
    ----------
    since
        When the first of the questions was asked whose answers are the same; monotonic.
    times
        How many before it were not settled either, the study being the same.
    """

    last: Asked
    since: float
    times: int
    is_settled: bool

    @property
    def testimony(self) -> Testimony | None:
        """What of it is evidence."""
        if self.last.code is Finding.MORE_THERE:
            return Testimony(self.last.missing, is_everything=False)
        return Testimony(0, is_everything=True) if self.is_settled else None

    @property
    def not_before(self) -> float:
        """When the study may be asked about again at the soonest, should more of it come; monotonic."""
        return self.last.began_at + SHARE_OF_TIME * self.last.took_s

    def next_at(self, settle_s: float) -> float:
        """When it is to be asked about again although nothing comes; monotonic."""
        if self.last.code is Finding.ALL_HERE and not self.is_settled:
            return self.since + settle_s
        return max(self.not_before, self.last.began_at + self.last.took_s + AGAIN.delay_s(self.times))


def standing_after(asked: Asked, before: Standing | None, settle_s: float) -> Standing:
    """How a study stands after a further question.

    Parameters
    ----------
    settle_s
        So far apart are two questions with the same answer that nothing is missing.
    """
    if before is None or before.last.generation != asked.generation:
        return Standing(asked, asked.began_at, 0, is_settled=False)
    if (asked.code, asked.held) != (before.last.code, before.last.held):
        return Standing(asked, asked.began_at, before.times + 1, is_settled=False)
    is_apart = asked.began_at >= before.since + settle_s
    is_settled = asked.code is Finding.ALL_HERE and is_apart
    return Standing(asked, before.since, before.times + 1, is_settled=is_settled)


def compare(
    came: Mapping[str, frozenset[str]],
    held: Mapping[str, SeriesContents],
    not_missed: Callable[[Collection[str]], Collection[str]],
) -> tuple[Finding, int]:
    """What the PACS has more than came, series by series.

    Parameters
    ----------
    came
        SOP Instance UIDs by series.
    not_missed
        Which of some instances are not to come at all: our own results, and what is quarantined.

    Returns
    -------
    Finding, int
        With the number of instances that are missing.
    """
    more: set[str] = set()
    number, is_fewer = 0, False
    for series_uid, here in came.items():
        there = held[series_uid]
        if there.instance_uids is None:
            number += max(0, there.number - len(here))
            is_fewer |= there.number < len(here)
        else:
            more |= there.instance_uids - here
            is_fewer |= not here <= there.instance_uids
    if is_fewer:
        return Finding.FEWER_THERE, 0
    number += len(more - set(not_missed(more))) if more else 0
    return (Finding.MORE_THERE, number) if number else (Finding.ALL_HERE, 0)
