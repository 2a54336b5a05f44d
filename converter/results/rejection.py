"""Rejection notes: Key Object Selections that say what is not to be used any more (IHE RAD TF-2 4.66).

Whoever gets one hides what it names (IHE Imaging Object Change Management). It is of the same patient and
study as what it names, as the archive has those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from converter.source_header import PATIENT_AND_STUDY, TYPE_2
from converter.uids import derived_uid
from converter.version import own_version

from .file import write_object
from .header import of_this_header, take_over
from .settings import MANUFACTURER, MODEL_NAME, WrittenObject

QUALITY: Final = "113001"
PATIENT_SAFETY: Final = "113037"
_TITLES: Final = {
    QUALITY: "Rejected for Quality Reasons",
    PATIENT_SAFETY: "Rejected for Patient Safety Reasons",
}
"""PS3.16 CID 7010."""
_OF_A_REFERENCE: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "Columns",
)
_NO_UID: Final = "2.25.0"
"""Until it is known what is said: other bytes have another UID."""


@dataclass(frozen=True, kw_only=True)
class RejectionSettings:
    """What is said in a note.

    Parameters
    ----------
    code
        Its title: `QUALITY` or `PATIENT_SAFETY`.
    made_at
        In whose time zone its dates are.
    """

    code: str
    series_number: int
    made_at: datetime


def write_rejection_note(
    rejected: Sequence[Dataset], whose: Dataset, settings: RejectionSettings, folder: Path
) -> WrittenObject:
    """Write a note about objects of one study; the same again gives the same bytes under the same UID.

    Parameters
    ----------
    rejected
        Their headers.
    whose
        Has patient and study as the archive has them now.
    folder
        The file's name is the note's UID.

    Raises
    ------
    EncodingFailed
        It cannot be made with these headers.
    OSError
    """
    with of_this_header("a rejection note"):
        note = _note(rejected, whose, settings)
        return write_object(note, folder / f"{note.SOPInstanceUID}.dcm")


def _note(rejected: Sequence[Dataset], whose: Dataset, settings: RejectionSettings) -> Dataset:
    import highdicom as hd  # late: few need it, and it takes a second

    title = hd.sr.CodedConcept(settings.code, "DCM", _TITLES[settings.code])
    evidence = [*map(_referred_to, rejected)]
    note = hd.ko.KeyObjectSelectionDocument(
        evidence=evidence,
        content=hd.ko.KeyObjectSelection(document_title=title, referenced_objects=evidence),
        series_instance_uid=_NO_UID,
        series_number=settings.series_number,
        sop_instance_uid=_NO_UID,
        instance_number=1,
        manufacturer=MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    for keyword in (*TYPE_2, *PATIENT_AND_STUDY):
        if keyword in note:
            del note[keyword]
    take_over(note, whose, ("SpecificCharacterSet", *TYPE_2, *PATIENT_AND_STUDY))
    note.ManufacturerModelName, note.SoftwareVersions = MODEL_NAME, own_version()
    note.DeviceSerialNumber = rejected[0].get("DeviceSerialNumber", "")
    note.SeriesDescription = f"IRIS: {_TITLES[settings.code].lower()}"
    _date(note, settings.made_at)
    content = note.to_json()
    note.SeriesInstanceUID = derived_uid("rejection note", "series", content)
    note.SOPInstanceUID = UID(derived_uid("rejection note", content))
    note.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    made: Dataset = note
    return made


def _referred_to(header: Dataset) -> Dataset:
    """What it takes to refer to an object; of the patient nothing: the library quotes that in warnings."""
    made = Dataset()
    for keyword in TYPE_2:
        setattr(made, keyword, None)
    take_over(made, header, _OF_A_REFERENCE)
    return made


def _date(note: Dataset, made_at: datetime) -> None:
    for prefix in ("Content", "Series", "InstanceCreation"):
        setattr(note, f"{prefix}Date", made_at.strftime("%Y%m%d"))
        setattr(note, f"{prefix}Time", made_at.strftime("%H%M%S.%f"))
    for equipment in note.get("ContributingEquipmentSequence", ()):  # the library's own, at the present time
        equipment.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S.%f")
