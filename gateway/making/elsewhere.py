"""Earlier results that this ledger does not know: looked for where a job's results go.

Each is a report or a segmentation of ours that a destination gives back, and no more is believed of it than
it says itself. Nothing waits for a destination: one that cannot be asked, or does not answer soon, has none.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from pydicom import Dataset

from converter.earlier import EarlierResult, read_earlier
from converter.reading.headers import text_of
from converter.seg.segments import tracked_subject
from gateway.adapters.errors import Away, CalledOff
from gateway.adapters.holdings import Held, Holdings, Sought
from gateway.config import Config
from gateway.ledger.records import JobRow, MeasuredRow

from .makers import Making
from .whose import STUDY_TIME, acquired, is_another_person

log = structlog.get_logger(__name__)

RESTS_S: Final = 60.0
"""One that could not be asked is not asked again so soon: each time may take some seconds."""
TRUNCATED: Final = "truncated"
"""The flag of a structure that the scan cuts."""
_NOT_OF_THE_MODEL: Final = "statistics = "


@dataclass(frozen=True)
class Asked:
    """What asking one destination gave, in a sentence for a person."""

    destination: str
    why: str


@dataclass(frozen=True)
class Found:
    """What the destinations gave.

    Parameters
    ----------
    result
        The latest that may be used.
    why_none
        A part of a sentence where there is none; empty where nobody had anything.
    """

    result: EarlierResult | None = None
    why_none: str = ""
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """What an earlier result has to be like."""

    making: Making
    now: MeasuredRow
    now_header: Dataset
    patient: tuple[str, str]
    """Issuer and Patient ID."""

    def refusal(self, result: EarlierResult, study_uid: str) -> str | None:
        """Why it cannot be used; None where it can, empty where it is nothing like it."""
        header, issuer = result.header, text_of(result.header, "IssuerOfPatientID") or self.patient[0]
        is_patients = (issuer, text_of(header, "PatientID")) == self.patient
        is_removed = text_of(header, "PatientIdentityRemoved").upper() == "YES"
        if not is_patients or is_removed or text_of(header, "StudyInstanceUID") != study_uid:
            return "of another patient"
        if is_another_person(self.now_header, header):
            return "of another name or birth date"
        if result.algorithm != self.making.algorithm.name or not result.volumes:
            return ""
        if result.parameters - _told_else(result) != self._told():
            return "with other options"
        if result.flags - {TRUNCATED}:
            return "with quality flags"
        if not result.says_flags:
            return "that does not say its quality flags"
        then = acquired(header, [STUDY_TIME])
        return None if then and then < self.now.acquired else ""

    def _told(self) -> frozenset[str]:
        options = self.making.job.options.items()
        told = (f"{name} = {json.dumps(value)}" for name, value in options)
        return frozenset(each for each in told if not each.startswith(_NOT_OF_THE_MODEL))


def _told_else(result: EarlierResult) -> frozenset[str]:
    return frozenset(each for each in result.parameters if each.startswith(_NOT_OF_THE_MODEL))


@dataclass
class Elsewhere:
    """Looks for earlier results at destinations.

    Parameters
    ----------
    holdings
        By the name of the destination, what looks there.
    """

    config: Config
    holdings: Mapping[str, Holdings]
    _away: dict[str, tuple[float, str]] = field(default_factory=dict)

    def __call__(self, job: JobRow, making: Making, now: MeasuredRow, known: frozenset[str]) -> Found:
        """The first that may be used of what the job's destinations have.

        Parameters
        ----------
        known
            Studies that are not looked for: what is to know of them stands in the ledger.

        Raises
        ------
        CalledOff
            The gateway stops.
        """
        kind, *who = tracked_subject(making.volume, making.issuer_of_patient_id)
        if kind != "patient":
            return Found()
        wanted = _Wanted(making, now, making.volume.header, (who[0], who[1]))
        sought = Sought(who[1], who[0], now.acquired[:8], known | {job.study_uid})
        asked: list[Asked] = []
        refused: dict[str, str] = {}
        for name in self._destinations(job):
            result, sentence = self._ask(name, sought, wanted, refused)
            asked += [Asked(name, sentence)] if sentence else []
            if result is not None:
                return Found(result, asked=tuple(asked))
        return Found(None, _why_none(asked, refused), tuple(asked))

    def _destinations(self, job: JobRow) -> Iterable[str]:
        names = [self.config.names_for(job.rule, job.send_to, each) for each in job.outputs]
        found = {name for each in names for name in each}
        return [to.name for to in self.config.destination if to.name in found and to.name in self.holdings]

    def _ask(
        self, name: str, sought: Sought, wanted: _Wanted, refused: MutableMapping[str, str]
    ) -> tuple[EarlierResult | None, str]:
        rests_until, away = self._away.get(name, (0.0, ""))
        if time.monotonic() >= rests_until:
            try:
                with (
                    tempfile.TemporaryDirectory(prefix="iris-earlier-") as folder,
                    closing(self.holdings[name](sought, Path(folder))) as held,
                ):
                    for of_study in held:
                        found = _best(of_study, wanted, refused)
                        if found is not None:
                            return found, "It holds an earlier result, which this one is compared with."
                return None, ""
            except CalledOff:
                raise
            except (Away, OSError) as error:
                away = str(error) if isinstance(error, Away) else "what it sent could not be kept here"
                self._away[name] = time.monotonic() + RESTS_S, away
                log.warning("earlier_results_not_asked", destination=name)
        return None, f"It could not be asked for an earlier result: {away}."


def _best(held: Held, wanted: _Wanted, refused: MutableMapping[str, str]) -> EarlierResult | None:
    """The newest that is like what is wanted, where it can be used: an older one was made again since.

    A study that is refused once is, whatever else it has.
    """
    results = [result for path in held.paths if (result := read_earlier(path)) is not None]
    for result in sorted(results, key=lambda one: one.made_at, reverse=True):
        refusal = wanted.refusal(result, held.study_uid)
        if refusal is None and held.study_uid not in refused:
            return result
        if refusal:
            refused[held.study_uid] = refusal
            return None
    return None


def _why_none(asked: Iterable[Asked], refused: MutableMapping[str, str]) -> str:
    counted = Counter(refused.values())
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(counted.items()))
    said = [f"none that can be used at its destinations either ({reasons})"] if reasons else []
    said += [f"{one.destination} could not be asked for one" for one in asked]
    return "; ".join(said)
