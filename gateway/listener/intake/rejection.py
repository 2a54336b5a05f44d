"""Rejection notes: Key Object Selections that say what is not to be used any more (IHE RAD TF-2 4.66)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, config, dcmread
from pydicom.uid import KeyObjectSelectionDocumentStorage

from gateway.ledger.rejected import MEANINGS
from gateway.ledger.rejections import Rejection, patient_of, studies_of
from gateway.ledger.store import Ledger

from .header import ReadInstance, is_valid_uid
from .refusals import Damaged

MOST: Final = 50_000
"""Instances that one note names."""
MOST_BYTES: Final = 1 << 25
_NOT_UNDERSTOOD: Final = (
    "it is a rejection note, and what it names cannot be told; nothing was changed, so reject it anew"
)
_ANOTHER_STUDY: Final = (
    "it is a rejection note that names instances of another study than its own; nothing was changed, so write"
    " a note for each study"
)
_ANOTHER_PATIENT: Final = (
    "it is a rejection note of another patient than the images of its study here; nothing was changed, so"
    " send the corrected images first"
)


def rejection_in(ledger: Ledger, path: Path, read: ReadInstance) -> Rejection | None:
    """What an object at `path` rejects; None where it is no rejection note.

    Raises
    ------
    Damaged
        It is one, and contradicts itself or what is here.
    OSError
    """
    if read.text("SOPClassUID") != KeyObjectSelectionDocumentStorage:
        return None
    if read.size_bytes > MOST_BYTES:
        raise Damaged("rejection_not_understood", _NOT_UNDERSTOOD)
    try:
        with config.disable_value_validation():  # a warning would quote a value
            note = dcmread(path)
            code = _title(note)
            named = _named(note) if code else ()
    except OSError:
        raise
    except Exception:  # whatever a parser raises on bytes from outside; the text may quote them
        raise Damaged("rejection_not_understood", _NOT_UNDERSTOOD) from None
    if not code:
        return None
    study_uid, patient_id = read.text("StudyInstanceUID"), read.text("PatientID")
    if {study for study, _ in named} != {study_uid}:
        raise Damaged("rejection_of_another_study", _ANOTHER_STUDY)
    uids = tuple(uid for _, uid in named)
    if studies_of(ledger, uids) - {study_uid}:
        raise Damaged("rejection_of_another_study", _ANOTHER_STUDY)
    here = patient_of(ledger, study_uid)
    if here and patient_id and here != patient_id:
        raise Damaged("rejection_of_another_patient", _ANOTHER_PATIENT)
    return Rejection(read.text("SOPInstanceUID"), study_uid, patient_id, code, uids)


def _title(note: Dataset) -> str:
    """The code of its title where that is one of a rejection note, else an empty text (PS3.16 TID 2010)."""
    for code in note.get("ConceptNameCodeSequence") or ():
        if code.get("CodingSchemeDesignator") == "DCM" and code.get("CodeValue") in MEANINGS:
            return str(code.CodeValue)
    return ""


def _named(note: Dataset) -> tuple[tuple[str, str], ...]:
    """Study and instance of each object in its content, which its evidence has to list (PS3.3 C.17.2.2).

    Raises
    ------
    LookupError, ValueError
    """
    studies = dict(_evidence(note))
    found = dict.fromkeys(_referenced(note))
    if not found or len(found) > MOST or not all(map(is_valid_uid, found)):
        raise ValueError
    return tuple((studies[uid], uid) for uid in found)


def _evidence(note: Dataset) -> Iterator[tuple[str, str]]:
    for study in note.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                yield str(item.ReferencedSOPInstanceUID), str(study.StudyInstanceUID)


def _referenced(item: Any) -> Iterator[str]:
    for content in item.get("ContentSequence") or ():
        for reference in content.get("ReferencedSOPSequence") or ():
            yield str(reference.ReferencedSOPInstanceUID)
