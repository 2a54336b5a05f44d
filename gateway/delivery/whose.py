"""Whose a study is: what a result says of it, and what its destination says of it now (PS3.4 C.6.2.1.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, config, dcmread
from pydicom.datadict import tag_for_keyword

from converter.reading.headers import text_of
from gateway.adapters.dicom.retrieval import Ask

LIMIT_S: Final = 10.0
"""So long a destination may take to say it."""
MOST_ANSWERS: Final = 1000
_RESULTS: Final = frozenset({"SEG", "SR", "RTSTRUCT", "OT", "DOC", "KO", "PR"})
"""Modalities of what is made of images: a study of these alone says only what was sent there before."""

_PATIENT_ID: Final = "Patient ID"
_ISSUER: Final = "Issuer of Patient ID"
OF_THE_PATIENT: Final = (_PATIENT_ID, _ISSUER)
"""Attributes by which it is another patient's, not only of another order."""


@dataclass(frozen=True)
class Whose:
    """Of whom and of which order a study is; empty: it is not said."""

    patient_id: str
    issuer_of_patient_id: str
    accession_number: str

    @classmethod
    def of(cls, header: Dataset) -> "Whose":
        """What a header says."""
        with config.disable_value_validation():  # a warning would quote the value
            return cls(*(text_of(header, keyword) for keyword in KEYWORDS))

    @classmethod
    def of_file(cls, path: Path) -> "Whose":
        """What an object says that lies in a file.

        Raises
        ------
        OSError
        """
        with config.disable_value_validation():
            return cls.of(dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS)))

    def differs_from(self, there: "Whose") -> str:
        """The attribute by which this is another's than a destination says; empty where there is none.

        Who says no issuer, or no order, contradicts nobody; who says no patient does where there is one.
        """
        if there.patient_id and self.patient_id != there.patient_id:
            return _PATIENT_ID
        if _contradict(self.issuer_of_patient_id, there.issuer_of_patient_id):
            return _ISSUER
        if _contradict(self.accession_number, there.accession_number):
            return "Accession Number"
        return ""


KEYWORDS: Final = ("PatientID", "IssuerOfPatientID", "AccessionNumber")
"""In the order of the fields of `Whose`."""
assert len(KEYWORDS) == len(fields(Whose))


def _contradict(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def by_find(ask: Ask, study_uid: str, *, with_images: bool) -> list[Whose]:
    """Whose a PACS says a study is, by C-FIND; several where it says so.

    Parameters
    ----------
    with_images
        Only those of whom it holds images of the study, not results alone.

    Raises
    ------
    NotAnswered
    """
    keys = dict.fromkeys((*KEYWORDS, "ModalitiesInStudy"), "")
    answers = ask("STUDY", {"StudyInstanceUID": study_uid, **keys})
    said = [one for one in answers if text_of(one, "StudyInstanceUID") == study_uid]
    if not with_images:
        return [Whose.of(one) for one in said]
    if any(not text_of(one, "ModalitiesInStudy") for one in said):  # an optional key
        series = ask("SERIES", {"StudyInstanceUID": study_uid, "SeriesInstanceUID": "", "Modality": ""})
        modalities = [text_of(one, "Modality") for one in series]
        return [Whose.of(one) for one in said] if _holds_images(modalities) else []
    return [Whose.of(one) for one in said if _holds_images(text_of(one, "ModalitiesInStudy").split("\\"))]


def by_search(found: object, study_uid: str, *, with_images: bool) -> list[Whose]:
    """The same of what a DICOMweb service answered a search for studies (PS3.18 10.6.3, F.2)."""
    said = found if isinstance(found, list) else []
    studies = [one for one in said if _values(one, "StudyInstanceUID") == [study_uid]]
    return [
        Whose(*("\\".join(_values(one, keyword)) for keyword in KEYWORDS))
        for one in studies
        if not with_images or _holds_images(_values(one, "ModalitiesInStudy"))
    ]


def _holds_images(modalities: Sequence[str]) -> bool:
    """Whether anything of this is no result; where nothing is said, it may be."""
    return not modalities or not set(modalities) <= _RESULTS


def _values(item: object, keyword: str) -> list[str]:
    element: Any = item.get(f"{tag_for_keyword(keyword):08X}") if isinstance(item, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return [str(value).strip() for value in values] if isinstance(values, list) else []
