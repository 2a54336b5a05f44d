"""Asks a PACS what it has of some days, and finds in the ledger what of that is not here.

Studies are asked for day by day, so that no answer is too long (PS3.4 C.6.2.1); where a study has as many
images here as there, nothing more is asked. Of one that is here in part images are compared by their UIDs.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from pydicom import Dataset

from gateway.adapters.dicom.peer import Peer
from gateway.adapters.dicom.retrieval import UNREADABLE, Ask, NotAnswered, asking
from gateway.ledger.backfill import Held, held_of, known_uids
from gateway.ledger.store import Ledger

MOST_MATCHES: Final = 50_000
"""Of one question: a day of a large site has some thousand studies, a series some thousand images."""
_UID: Final = re.compile(r"[0-9.]{1,64}")
_NUMBER: Final = re.compile(r"\d{1,9}")


@dataclass(frozen=True)
class Wanted:
    """Which studies are asked for: those of these days, both included; all modalities where none is named."""

    since: date
    until: date
    modality: str = ""

    @property
    def days(self) -> int:
        """How many days that are."""
        return (self.until - self.since).days + 1


@dataclass(frozen=True)
class MissingSeries:
    """A series of which something is missing here.

    Parameters
    ----------
    images
        How many the PACS has; 0: it does not say.
    missing
        How many of them are not here.
    """

    series_uid: str
    images: int
    missing: int


@dataclass(frozen=True)
class MissingStudy:
    """A study of which so many images are missing here."""

    study_uid: str
    missing: int


class Inquiry:
    """Asks one PACS.

    Parameters
    ----------
    calling_ae_title
        This gateway's own.
    """

    def __init__(self, peer: Peer, calling_ae_title: str, ledger: Ledger, modality: str) -> None:
        self._peer, self._calling_ae_title, self._ledger = peer, calling_ae_title, ledger
        self._modality = modality

    def of_days(self, wanted: Wanted, on_day: Callable[[int], object]) -> list[MissingStudy]:
        """Every study of these days of which something is missing, in the order of the days.

        Parameters
        ----------
        on_day
            Told how many days were asked for.

        Raises
        ------
        NotReached, NotAnswered
        """
        missing: dict[str, int] = {}
        with self._asking() as ask:
            for number in range(wanted.days):
                day = wanted.since + timedelta(days=number)
                for study_uid, images in self._studies(ask, day):
                    if (found := self._of_study(ask, study_uid, images)) is not None:
                        missing[study_uid] = found
                on_day(number + 1)
        return [MissingStudy(study_uid, number) for study_uid, number in missing.items()]

    def series_of(self, study_uid: str) -> list[MissingSeries]:
        """The series of one study of which something is missing now.

        Raises
        ------
        NotReached, NotAnswered
        """
        with self._asking() as ask:
            return self._series(ask, study_uid, held_of(self._ledger, study_uid))

    def sop_class_uids(self, study_uid: str, series_uid: str) -> list[str]:
        """What a series is made of; empty where the PACS does not say.

        Raises
        ------
        NotReached, NotAnswered
        """
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        with self._asking() as ask:
            found = self._images(ask, keys, "SOPClassUID")
        return sorted({uid for uid in found or () if _UID.fullmatch(uid)})

    def _asking(self) -> AbstractContextManager[Ask]:
        return asking(self._peer, self._calling_ae_title, at_most=MOST_MATCHES)

    def _studies(self, ask: Ask, day: date) -> Iterator[tuple[str, int]]:
        """The studies of one day, each with how many images it has; 0: it does not say."""
        keys = {"StudyDate": f"{day:%Y%m%d}", "ModalitiesInStudy": self._modality}
        asked = {**keys, "StudyInstanceUID": "", "NumberOfStudyRelatedInstances": ""}
        for answer in ask("STUDY", asked):
            modalities = self._values(answer, "ModalitiesInStudy")
            if self._modality and modalities and self._modality not in modalities:
                continue  # to match this key is optional (PS3.4 C.6.2.1.2)
            yield self._uid(answer, "StudyInstanceUID"), self._number(answer, "NumberOfStudyRelatedInstances")

    def _of_study(self, ask: Ask, study_uid: str, images: int) -> int | None:
        """How many images are missing of a study that has so many (0: it does not say); None: nothing is."""
        held = held_of(self._ledger, study_uid)
        if held.is_coming or (images and images == sum(held.images.values())):
            return None
        if images and not held.images and not self._modality:
            return images
        series = self._series(ask, study_uid, held)
        return sum(one.missing for one in series) if series else None

    def _series(self, ask: Ask, study_uid: str, held: Held) -> list[MissingSeries]:
        """What is missing of it, series by series."""
        known = known_uids(self._ledger, study_uid)
        asked = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": "", "Modality": ""}
        found = []
        for answer in ask("SERIES", {**asked, "NumberOfSeriesRelatedInstances": ""}):
            if self._modality and self._values(answer, "Modality") != [self._modality]:
                continue
            series_uid = self._uid(answer, "SeriesInstanceUID")
            number = self._number(answer, "NumberOfSeriesRelatedInstances")
            here = held.images.get(series_uid, 0)
            if number and number == here:
                continue
            keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
            missing = self._missing(ask, keys, known, number - here) if known else number
            if missing or (not number and not here):
                found.append(MissingSeries(series_uid, number, missing))
        return found

    def _missing(self, ask: Ask, keys: Mapping[str, str], known: set[str], by_count: int) -> int:
        """How many images of a series are not known here, by their UIDs, or else by their number."""
        uids = self._images(ask, keys, "SOPInstanceUID")
        return max(by_count, 0) if uids is None else len(set(uids) - known)

    def _images(self, ask: Ask, keys: Mapping[str, str], keyword: str) -> list[str] | None:
        """One value of each image of a series; None where the PACS does not answer at this level."""
        try:
            answers = ask("IMAGE", {**keys, "SOPInstanceUID": "", "SOPClassUID": ""})
        except NotAnswered as error:
            if error.status is None:
                raise
            return None
        return [value for answer in answers for value in self._values(answer, keyword)]

    # -- what was answered --------------------------------------------------------------------------------

    def _uid(self, answer: Dataset, keyword: str) -> str:
        value = "".join(self._values(answer, keyword))
        if not _UID.fullmatch(value):
            raise NotAnswered(f"{self._peer} answered C-FIND without {keyword}; look at its log")
        return value

    def _number(self, answer: Dataset, keyword: str) -> int:
        value = "".join(self._values(answer, keyword))
        return int(value) if _NUMBER.fullmatch(value) else 0

    def _values(self, answer: Dataset, keyword: str) -> list[str]:
        """Its values, none where it has none."""
        try:
            value = answer.get(keyword)
            several = value if isinstance(value, list) or type(value).__name__ == "MultiValue" else [value]
            return [str(one).strip() for one in several if one not in (None, "")]
        except UNREADABLE:  # bytes from outside; the text may quote them
            raise NotAnswered(f"{self._peer} answered C-FIND with what cannot be read") from None
