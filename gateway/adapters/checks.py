"""What a check of something outside finds, in neutral words: for `iris doctor`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from .errors import OutsideError


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing that was checked; `fix` says what to do unless all is well."""

    name: str
    verdict: Verdict
    finding: str
    fix: str = ""


def until_refused(
    name: str, checks: Iterable[Check], verdict: Verdict = Verdict.FAILED, unseen: str = ""
) -> Iterator[Check]:
    """Pass checks on; what refuses the next look becomes the last one.

    Parameters
    ----------
    verdict
        What a refusal is worth: a warning, where only the look itself needs what is refused.
    unseen
        What could not be looked at, put before the refusal.
    """
    try:
        yield from checks
    except OutsideError as error:
        finding, _, fix = str(error).partition("; ")
        yield Check(name, verdict, f"{unseen}: {finding}" if unseen else finding, fix or "see what it says")
