"""What a PACS holds of a study: who decides whether it is complete asks, `dicom/contents.py` answers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from .errors import Away


class NoAnswer(StrEnum):
    """Why a PACS told nothing."""

    AWAY = "away"  # no association
    SILENT = "silent"  # not in time, or it broke off
    REFUSED = "refused"
    NONSENSE = "nonsense"  # about something else, or not to be read


class NotTold(Away):
    """A PACS did not say what it holds; one sentence that names it."""

    def __init__(self, code: NoAnswer, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class SeriesContents:
    """What a PACS holds of one series.

    Parameters
    ----------
    instance_uids
        SOP Instance UIDs; None where it tells only how many there are.
    """

    number: int
    instance_uids: frozenset[str] | None = None


class Contents(Protocol):
    """A PACS that can be asked. Its calls raise `NotTold`, and `CalledOff` when the gateway stops."""

    def of_series(self, study_uid: str, series_uids: Iterable[str]) -> Mapping[str, SeriesContents]:
        """What it holds of each of these series of a study."""

    def numbers(self, study_uid: str) -> Mapping[str, int]:
        """How many images each series of a study has, as far as it tells; takes a fraction of the time."""

    def answers(self) -> str:
        """Ask for a study that nobody has: how it answers, in words."""

    def interrupt(self) -> None:
        """Cut what is open, for good."""
