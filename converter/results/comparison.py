"""What a result says of the change since an earlier one of the same patient, structure by structure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class NotCompared(StrEnum):
    """Why a structure that was found has no change."""

    CUT_NOW = "cut_now"
    CUT_THEN = "cut_then"
    CUT_BOTH = "cut_both"
    NOT_FOUND_NOW = "not_found_now"
    NOT_FOUND_THEN = "not_found_then"

    @property
    def in_words(self) -> str:
        """The same for a person, behind "not compared: "."""
        return _WORDS[self]


_WORDS = {
    NotCompared.CUT_NOW: "the scan cuts it off now",
    NotCompared.CUT_THEN: "the earlier scan cut it off",
    NotCompared.CUT_BOTH: "both scans cut it off",
    NotCompared.NOT_FOUND_NOW: "it was not found now",
    NotCompared.NOT_FOUND_THEN: "it was not found then",
}


@dataclass(frozen=True)
class Change:
    """One structure then and now; a volume is None where it was not found."""

    structure: str
    then_ml: float | None
    now_ml: float | None
    why_not: NotCompared | None = None
    """Set where the two volumes must not be set against each other."""

    @property
    def is_cut(self) -> bool:
        """Whether a scan cuts it off, so that a volume is that of a part."""
        return self.why_not in (NotCompared.CUT_NOW, NotCompared.CUT_THEN, NotCompared.CUT_BOTH)

    @property
    def ml(self) -> float | None:
        """By how much it grew; None where it is not compared."""
        if self.why_not is not None or self.then_ml is None or self.now_ml is None:
            return None
        return round(self.now_ml - self.then_ml, 3)

    @property
    def percent(self) -> float | None:
        """The same as a share of what it was."""
        return None if self.ml is None or not self.then_ml else round(100 * self.ml / self.then_ml, 2)


@dataclass(frozen=True)
class PriorObject:
    """An object of the earlier result, which a report refers to."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str


@dataclass(frozen=True)
class Comparison:
    """How a result differs from an earlier one, or why it is compared with none.

    Parameters
    ----------
    why_none
        A part of a sentence; empty where there is a prior. Then `prior_date` is set, the day on which its
        images were taken, and `interval_days`, the days since.
    """

    why_none: str = ""
    prior_date: date | None = None
    interval_days: int = 0
    changes: tuple[Change, ...] = ()
    prior: PriorObject | None = None

    @property
    def sentence(self) -> str:
        """What it is compared with, or why with nothing."""
        if self.prior_date is None:
            return f"Not compared with an earlier result: {self.why_none}."
        days = f"{self.interval_days} day{'' if self.interval_days == 1 else 's'}"
        before = f"{days} before" if self.interval_days else "on the same day"
        return f"Compared with the result of the scan of {self.prior_date.isoformat()}, {before}."

    def of(self, structure: str) -> Change | None:
        """The change of one structure."""
        return next((change for change in self.changes if change.structure == structure), None)

    def not_found_now(self) -> Iterator[Change]:
        """What the earlier result had, and this one has not."""
        return (change for change in self.changes if change.why_not is NotCompared.NOT_FOUND_NOW)
