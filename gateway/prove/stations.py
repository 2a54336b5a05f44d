"""What the proof says of each station that the phantom passes, and of the whole way."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """How a station came out."""

    PASSED = "passed"
    NOTED = "noted"
    """It works, and there is something to know or to set."""
    NOT_REACHED = "not reached"
    FAILED = "failed"


@dataclass(frozen=True)
class Station:
    """One station; `fix` is what to do, `seconds` are since the one before."""

    name: str
    verdict: Verdict
    finding: str
    fix: str = ""
    at: datetime | None = None
    seconds: float | None = None


class StationFailed(Exception):
    """The phantom goes no further.

    Parameters
    ----------
    finding, fix
        What is wrong, and what to do about it, each without a full stop.
    """

    def __init__(self, finding: str, fix: str) -> None:
        super().__init__(f"{finding}; {fix}")
        self.finding, self.fix = finding, fix


@dataclass(frozen=True)
class FormFound:
    """How the PACS keeps one form of result."""

    name: str
    verdict: Verdict
    finding: str
    fix: str = ""


@dataclass
class Report:
    """The page's content."""

    began: datetime
    facts: dict[str, str] = field(default_factory=dict)
    """Who and what: the PACS, the gateway, the sender."""
    stations: list[Station] = field(default_factory=list)
    forms: list[FormFound] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    """What this run proves, in sentences."""

    @property
    def failed(self) -> Station | None:
        """The first station that failed."""
        return next((each for each in self.stations if each.verdict is Verdict.FAILED), None)

    @property
    def to_do(self) -> Sequence[str]:
        """What to set or do, the gravest first, each once."""
        told = [each for each in self.stations if each.fix]
        told.sort(key=lambda each: each.verdict is not Verdict.FAILED)
        wanted = defaultdict[str, list[str]](list)
        for form in self.forms:
            wanted[form.fix].append(form.name)
        forms = [f"to have {' and '.join(names)} there: {fix}" for fix, names in wanted.items() if fix]
        return list(dict.fromkeys([*(f"{each.name}: {each.fix}" for each in told), *forms]))

    @property
    def in_a_line(self) -> str:
        """How it came out."""
        if self.failed is not None:
            return f"FAILED at the station {self.failed.name}: {self.failed.finding}"
        noted = sum(each.verdict is Verdict.NOTED for each in self.stations)
        return "PASSED" + (f", with {noted} remarks" if noted > 1 else ", with a remark" if noted else "")

    def as_json(self) -> Mapping[str, object]:
        """The same for programs."""
        return {
            "passed": self.failed is None,
            "result": self.in_a_line,
            "began": self.began.isoformat(timespec="seconds"),
            "facts": self.facts,
            "stations": [
                {**vars(each), "at": each.at.isoformat(timespec="milliseconds") if each.at else None}
                for each in self.stations
            ],
            "forms": [vars(each) for each in self.forms],
            "proven": self.proven,
            "to_do": self.to_do,
        }
