"""Looks in a PACS for what it holds of a patient, within a few seconds: nothing waits for it.

What a PACS answers is not believed: a study of another patient, of a later day or without a UID is left out.
"""

import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from converter.reading.headers import text_of
from converter.results.settings import MANUFACTURER
from converter.seg.settings import SOP_CLASSES
from gateway.adapters.dicom.peer import Calls, NotReached, Peer
from gateway.adapters.dicom.retrieval import UNREADABLE, NotAnswered, find, get
from gateway.adapters.errors import Away, CalledOff
from gateway.adapters.holdings import Held, Sought

LIMIT_S: Final = 6.0
MOST_STUDIES: Final = 12
"""So many are looked into, the latest first."""
MOST_SERIES: Final = 8
"""So many series of a study and modality are fetched."""
MOST_ANSWERS: Final = 2000
CLASSES: Final = {
    "SR": [str(Comprehensive3DSRStorage)],
    "SEG": [str(uid) for uid in SOP_CLASSES.values()],
}
"""By modality, in the order in which a study's are looked for."""
_UID: Final = re.compile(r"[0-9.]{1,64}")
_WILD_CARDS: Final = frozenset("*?\\")


class Limits(TypedDict):
    """For every call of the peer."""

    limit_s: float
    calls: Calls


@dataclass(frozen=True)
class Looking:
    """One search.

    Parameters
    ----------
    calls
        Through which another thread can end it, when the gateway stops.
    """

    peer: Peer
    calling_ae_title: str
    calls: Calls
    limit_s: float = LIMIT_S

    def __call__(self, sought: Sought, folder: Path) -> Generator[Held, None, None]:
        """Fetch reports, then segmentations, of each study.

        Raises
        ------
        Away
            Also where some of it could not be fetched, after the rest.
        """
        if not sought.patient_id or _WILD_CARDS & set(sought.patient_id):
            return  # it would be matched against others
        search = _Search(self, folder, time.monotonic() + self.limit_s)
        try:
            for study_uid in search.studies(sought)[:MOST_STUDIES]:
                yield from search.held(study_uid)
        except (NotReached, NotAnswered) as error:
            if self.calls.is_over:
                raise CalledOff(str(error)) from None
            if search.left_s() <= 0:
                raise Away(f"{self.peer} did not answer within {self.limit_s:g} s") from None
            raise Away(str(error)) from None
        except UNREADABLE as error:
            raise Away(f"{self.peer} gave an answer that cannot be read ({type(error).__name__})") from None
        if search.failed:
            raise Away(search.failed[0])


class _Search:
    """One question to the peer, with the time that is left for it."""

    def __init__(self, looking: Looking, folder: Path, give_up_at: float) -> None:
        self._looking, self._folder, self._give_up_at = looking, folder, give_up_at
        self.failed: list[str] = []
        """Why a series could not be fetched."""

    def left_s(self) -> float:
        """How long it may still take."""
        return self._give_up_at - time.monotonic()

    def studies(self, sought: Sought) -> list[str]:
        """Study Instance UIDs, the latest first."""
        answers = self._find(
            "STUDY",
            PatientID=sought.patient_id,
            IssuerOfPatientID="",
            StudyDate=f"-{sought.until}",
            StudyTime="",
            StudyInstanceUID="",
            ModalitiesInStudy="",
        )
        fitting = [answer for answer in answers if _is_sought(answer, sought)]
        fitting.sort(key=lambda one: (text_of(one, "StudyDate"), text_of(one, "StudyTime")), reverse=True)
        return list(dict.fromkeys(text_of(answer, "StudyInstanceUID") for answer in fitting))

    def held(self, study_uid: str) -> Iterator[Held]:
        """What one study has, reports first."""
        keys = dict.fromkeys(
            ("SeriesInstanceUID", "Modality", "Manufacturer", "NumberOfSeriesRelatedInstances"), ""
        )
        answers = self._find("SERIES", StudyInstanceUID=study_uid, **keys)
        for modality in CLASSES:
            fitting = [answer for answer in answers if _may_be_ours(answer, modality)]
            paths = [
                path for one in fitting[:MOST_SERIES] for path in self._fetched(study_uid, one, modality)
            ]
            if paths:
                yield Held(study_uid, tuple(paths))

    def _fetched(self, study_uid: str, series: Dataset, modality: str) -> list[Path]:
        series_uid = text_of(series, "SeriesInstanceUID")
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        if not text_of(series, "Manufacturer"):  # its class shows whether it can come to us at all
            images = self._find("IMAGE", **keys, SOPInstanceUID="", SOPClassUID="")
            classes = {text_of(image, "SOPClassUID") for image in images} - {""}
            if classes and not classes & set(CLASSES[modality]):
                return []
        try:
            return get(
                self._looking.peer,
                self._looking.calling_ae_title,
                self._folder,
                sop_class_uids=CLASSES[modality],
                study_uid=study_uid,
                series_uid=series_uid,
                **self._limits(),
            )
        except NotAnswered as error:
            self._require_time()
            self.failed.append(str(error))
            return []

    def _find(self, level: str, **keys: str) -> list[Dataset]:
        looking = self._looking
        return find(
            looking.peer, looking.calling_ae_title, level, keys, at_most=MOST_ANSWERS, **self._limits()
        )

    def _limits(self) -> Limits:
        self._require_time()
        return {"limit_s": self.left_s(), "calls": self._looking.calls}

    def _require_time(self) -> None:
        if self.left_s() <= 0:
            raise NotAnswered(f"{self._looking.peer} takes too long")


def _is_sought(answer: Dataset, sought: Sought) -> bool:
    """Whether a study is the patient's, as far as it says, and may hold a result."""
    study_uid, day = text_of(answer, "StudyInstanceUID"), text_of(answer, "StudyDate")
    issuer = text_of(answer, "IssuerOfPatientID")
    modalities = set(text_of(answer, "ModalitiesInStudy").split("\\")) - {""}
    return bool(
        _UID.fullmatch(study_uid)
        and study_uid not in sought.other_than
        and text_of(answer, "PatientID") == sought.patient_id
        and issuer in ("", sought.issuer_of_patient_id)
        and day <= sought.until
        and (not modalities or modalities & CLASSES.keys())
    )


def _may_be_ours(answer: Dataset, modality: str) -> bool:
    """Whether a series may be a result of ours, as far as it says."""
    return bool(
        _UID.fullmatch(text_of(answer, "SeriesInstanceUID"))
        and text_of(answer, "Modality") == modality
        and text_of(answer, "Manufacturer") in ("", MANUFACTURER)
        and text_of(answer, "NumberOfSeriesRelatedInstances") in ("", "1")
    )
