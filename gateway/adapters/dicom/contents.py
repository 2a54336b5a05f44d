"""Asks a PACS what it holds of a study: by C-FIND at IMAGE level, series by series (PS3.4 C.6.2.1).

A PACS that has no IMAGE level is asked for the number of images of each series, which is an optional key
(PS3.4 C.3.4). What comes back is from outside, and an answer about anything else than what was asked is none.
"""

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from pydicom import Dataset
from pydicom.uid import generate_uid

from gateway.adapters.contents import NoAnswer, NotTold, SeriesContents
from gateway.adapters.errors import Away, CalledOff

from .peer import Calls, NothingAccepted, NotReached, Peer, echo
from .retrieval import UNREADABLE, Ask, NotAnswered, asking

LIMIT_S: Final = 20.0
"""For all questions about one study; Orthanc tells 1,400 images a second."""
MOST_IMAGES: Final = 50_000
_NUMBER_OF_IMAGES: Final = "NumberOfSeriesRelatedInstances"
_UID: Final = re.compile(r"[0-9.]{1,64}")
_NUMBER: Final = re.compile(r"\d{1,9}")


class PacsContents:
    """A PACS that can be asked.

    Parameters
    ----------
    calling_ae_title
        This gateway's own AE title.
    limit_s
        How long all questions about one study may take.
    """

    def __init__(self, peer: Peer, calling_ae_title: str, limit_s: float = LIMIT_S) -> None:
        self._peer, self._calling_ae_title, self._limit_s = peer, calling_ae_title, limit_s
        self._calls = Calls()

    def __str__(self) -> str:
        return f"{self._peer}, TLS" if self._peer.tls is not None else str(self._peer)

    def of_series(self, study_uid: str, series_uids: Iterable[str]) -> Mapping[str, SeriesContents]:
        """What it holds of each of these series of a study.

        Raises
        ------
        NotTold
            It cannot be asked, does not answer in time, or not what it was asked.
        CalledOff
            The gateway stops.
        """
        with self._asked() as ask:
            question = _Question(self._peer, ask, study_uid)
            return {series_uid: question.series(series_uid) for series_uid in series_uids}

    def numbers(self, study_uid: str) -> Mapping[str, int]:
        """How many images each series of a study has, as far as it tells: one question for all of them.

        Raises
        ------
        NotTold
        CalledOff
        """
        with self._asked() as ask:
            return _Question(self._peer, ask, study_uid).numbers()

    def missing(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Which of some instances of a study it does not hold: one question, where it holds them all.

        Parameters
        ----------
        wanted
            Series to SOP Instance UIDs.

        Raises
        ------
        NotTold
        CalledOff
        """
        with self._asked() as ask:
            return _Question(self._peer, ask, study_uid).missing(wanted)

    def answers(self) -> str:
        """Ask for a study that nobody has: at which level it answers, in words.

        Raises
        ------
        NotTold
        CalledOff
        """
        nowhere = generate_uid()
        keys = {"StudyInstanceUID": nowhere, "SeriesInstanceUID": nowhere}
        with self._asked() as ask:
            try:
                ask("IMAGE", {**keys, "SOPInstanceUID": ""})
            except NotAnswered as error:
                if error.status is None:
                    raise
                ask("SERIES", {**keys, _NUMBER_OF_IMAGES: ""})
                return "answers C-FIND at SERIES level only, so images are counted and not compared"
        return "answers C-FIND at IMAGE level"

    def check(self) -> str:
        """C-ECHO, then C-FIND.

        Raises
        ------
        NotTold
        CalledOff
        """
        try:
            echo(self._peer, self._calling_ae_title)
        except NotReached as error:
            raise self._not_told(error, is_late=False) from None
        return f"answers C-ECHO; {self.answers()}"

    def interrupt(self) -> None:
        """Cut what is open, for good: the gateway stops."""
        self._calls.end()

    @contextmanager
    def _asked(self) -> Iterator[Ask]:
        give_up_at = time.monotonic() + self._limit_s
        try:
            with asking(
                self._peer,
                self._calling_ae_title,
                at_most=MOST_IMAGES,
                limit_s=self._limit_s,
                calls=self._calls,
            ) as ask:
                yield ask
        except (NotReached, NotAnswered) as error:
            raise self._not_told(error, is_late=time.monotonic() >= give_up_at) from None
        except UNREADABLE as error:
            raise _nonsense(self._peer, f"an answer that cannot be read ({type(error).__name__})") from None

    def _not_told(self, error: NotReached | NotAnswered, *, is_late: bool) -> Away:
        if self._calls.is_over:
            return CalledOff(str(error))
        if is_late:
            sentence = (
                f"{self._peer} did not answer C-FIND within {self._limit_s:g} s; look at its load and log"
            )
            return NotTold(NoAnswer.SILENT, sentence)
        if isinstance(error, NothingAccepted):  # it is there, and has no C-FIND for us
            return NotTold(NoAnswer.REFUSED, str(error))
        if isinstance(error, NotReached):
            return NotTold(NoAnswer.AWAY, str(error))
        if error.status is None:
            return NotTold(NoAnswer.SILENT, str(error))
        return NotTold(NoAnswer.REFUSED, str(error))


class _Question:
    """The questions about one study, on one association."""

    def __init__(self, peer: Peer, ask: Ask, study_uid: str) -> None:
        self._peer, self._ask, self._study_uid = peer, ask, study_uid
        self._has_images = True

    def series(self, series_uid: str) -> SeriesContents:
        """What is there of one series."""
        keys = {"StudyInstanceUID": self._study_uid, "SeriesInstanceUID": series_uid}
        uids = self._images(keys)
        return SeriesContents(len(uids), uids) if uids else SeriesContents(self._count(keys))

    def _images(self, keys: Mapping[str, str]) -> frozenset[str]:
        """None also where it does not answer at this level."""
        if not self._has_images:
            return frozenset()
        try:
            answers = self._ask("IMAGE", {**keys, "SOPInstanceUID": ""})
        except NotAnswered as error:
            if error.status is None:
                raise
            self._has_images = False
            return frozenset()
        uids = [self._value(answer, keys, "SOPInstanceUID") for answer in answers]
        if not all(map(_UID.fullmatch, uids)):
            raise _nonsense(self._peer, "images without a UID")
        return frozenset(uids)

    def _count(self, keys: Mapping[str, str]) -> int:
        """How many images the series has; 0 also where it does not know the series."""
        answers = self._ask("SERIES", {**keys, _NUMBER_OF_IMAGES: ""})
        counts = [self._value(answer, keys, _NUMBER_OF_IMAGES) for answer in answers]
        return sum(int(count) for count in counts if _NUMBER.fullmatch(count))

    def numbers(self) -> Mapping[str, int]:
        """How many images each series has; empty where it does not answer at this level."""
        keys = {"StudyInstanceUID": self._study_uid}
        try:
            answers = self._ask("SERIES", {**keys, "SeriesInstanceUID": "", _NUMBER_OF_IMAGES: ""})
        except NotAnswered as error:
            if error.status is None:
                raise
            return {}
        said = [
            (str(answer.get("SeriesInstanceUID")), self._value(answer, keys, _NUMBER_OF_IMAGES))
            for answer in answers
        ]
        return {series_uid: int(number) for series_uid, number in said if _NUMBER.fullmatch(number)}

    def missing(self, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Which of these are not there; what cannot be told of a series that it holds counts as there."""
        keys = {"StudyInstanceUID": self._study_uid}
        answers = self._ask("SERIES", {**keys, "SeriesInstanceUID": "", _NUMBER_OF_IMAGES: ""})
        held = {self._value(one, keys, "SeriesInstanceUID"): one for one in answers}
        if not all(map(_UID.fullmatch, held)):
            raise _nonsense(self._peer, "series without a UID")
        missing = set[str]()
        for series_uid, uids in wanted.items():
            if series_uid not in held:
                missing.update(uids)
                continue
            number = self._value(held[series_uid], keys, _NUMBER_OF_IMAGES)
            if len(uids) > (int(number) if _NUMBER.fullmatch(number) else 1):
                images = self._images({**keys, "SeriesInstanceUID": series_uid})
                missing.update(set(uids) - images if images else ())
        return frozenset(missing)

    def _value(self, answer: Dataset, keys: Mapping[str, str], keyword: str) -> str:
        """One value of an answer that is about what was asked."""
        for key, wanted in keys.items():
            if str(answer.get(key) or wanted) != wanted:
                raise _nonsense(self._peer, "an answer about something else")
        value = answer.get(keyword)
        return "" if value is None else str(value)


def _nonsense(peer: Peer, what: str) -> NotTold:
    return NotTold(NoAnswer.NONSENSE, f"{peer} gave {what} to C-FIND; look at it there")
