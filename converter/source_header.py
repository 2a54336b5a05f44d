"""What a result takes over from its source images, and nothing else: made once, digested, and handed on.

Patient and study come from the Patient, General Study and Patient Study modules (PS3.3 C.7.1.1, C.7.2.1,
C.7.2.2). A value that its representation does not allow (PS3.5 6.2) is left out, since encoders refuse it;
what identifies patient and study is kept as it is, because the PACS holds it that way.
"""

import hashlib
import re
from typing import Any

from pydicom import Dataset, config
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.sequence import Sequence
from pydicom.valuerep import DA, TM, format_number_as_ds, validate_value

from .reading.headers import text_of, value_of
from .series import Volume
from .uids import derived_uid

UTF_8 = "ISO_IR 192"
SEXES = ("M", "F", "O")
SIDES = ("R", "L")

IDENTIFYING = ("PatientName", "PatientID", "StudyInstanceUID", "StudyID", "AccessionNumber")
TYPE_2 = (
    *IDENTIFYING,
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""There even where the source lacks them, empty then."""
FRAME_OF_REFERENCE = ("FrameOfReferenceUID", "PositionReferenceIndicator")
"""There always, the indicator empty where the source lacks it (C.7.4.1)."""
PATIENT_AND_STUDY = (
    # Patient (C.7.1.1)
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientBirthTime",
    "QualityControlSubject",
    "PatientComments",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "StrainDescription",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # Clinical Trial Subject and Study (C.7.1.3, C.7.2.3)
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "IssuerOfClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "IssuerOfClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "IssuerOfClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "IssuerOfClinicalTrialSubjectReadingID",
    "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
    "ClinicalTrialTimePointID",
    "IssuerOfClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "ClinicalTrialTimePointTypeCodeSequence",
    "LongitudinalTemporalOffsetFromEvent",
    "LongitudinalTemporalEventType",
    "ConsentForClinicalTrialUseSequence",
    # General Study and Patient Study (C.7.2.1, C.7.2.2)
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianIdentificationSequence",
    "StudyDescription",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "ProcedureCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientSexNeutered",
    "PregnancyStatus",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    # What counts for all of the above (SOP Common, C.12.1)
    "TimezoneOffsetFromUTC",
    "LongitudinalTemporalInformationModified",
)
"""Copied as they are, where they are there."""
HOW_IDENTITY_WAS_REMOVED = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
METHOD_NOT_SAID = "not said in the images"
"""Where identity was removed one of the two has to be there (C.7.1.1)."""
SCANNER = (
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "DeviceSerialNumber",
    "StationName",
    "InstitutionName",
)
"""What made the images, for Contributing Equipment (C.12.1)."""
LOSSY_COMPRESSION = (
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
NOT_IN_THE_DIGEST = ("BodyPartExamined", "Laterality")
"""Of the General Series Module (C.7.3.1): taken over since later than results whose digests are known. In the
digest they would make a revision of each of them; a correction of them alone makes none."""
OPTIONAL = (
    *PATIENT_AND_STUDY,
    *SCANNER,
    *LOSSY_COMPRESSION,
    *NOT_IN_THE_DIGEST,
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SliceThickness",
)


def source_header(volume: Volume) -> Dataset:
    """Give what a result takes over: the first frame speaks for all.

    A series whose frames name several patients has one result of one.
    """
    with config.disable_value_validation():
        return _common(volume)


def copied_header_digest(volume: Volume) -> str:
    """SHA-256, lower-case hex, of what a result takes over from its source, or refers to."""
    digest = hashlib.sha256()
    with config.disable_value_validation():
        for element in _common(volume):
            if element.keyword in NOT_IN_THE_DIGEST:
                continue
            text = f"{element.tag} {element.VR} {_text(element.value)}\n"
            digest.update(text.encode("utf-8", "surrogateescape"))
    for frame in volume.frames:
        place = f"{frame.sop_instance_uid} {frame.frame_number or ''} {frame.position_lps_mm}"
        digest.update(f"{frame.sop_class_uid} {place}\n".encode())
    return digest.hexdigest()


def _text(value: Any) -> str:
    if isinstance(value, Sequence):
        return "".join(f"({element.tag} {_text(element.value)})" for item in value for element in item)
    several = not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "components")
    return "\\".join(str(item) for item in value) if several else str(value)


def _common(volume: Volume) -> Dataset:
    """What all frames share."""
    header = volume.header
    source = Dataset()
    _set_character_set(source, header)
    for keyword in (*TYPE_2, "PositionReferenceIndicator"):
        value = value_of(header, keyword)
        sound = keyword in IDENTIFYING or _is_sound(keyword, value)
        setattr(source, keyword, value if value is not None and sound else "")
    for keyword in OPTIONAL:
        value = value_of(header, keyword)
        if value is not None and value != "" and _is_sound(keyword, value):
            setattr(source, keyword, value)
    is_removed = source.get("PatientIdentityRemoved") == "YES"
    if is_removed and not any(keyword in source for keyword in HOW_IDENTITY_WAS_REMOVED):
        source.DeidentificationMethod = METHOD_NOT_SAID
    source.SeriesInstanceUID = volume.series_uid
    source.FrameOfReferenceUID = volume.frame_of_reference_uid or derived_uid(
        volume.series_uid, "frame of reference"
    )
    source.ImageOrientationPatient = [format_number_as_ds(value) for value in volume.orientation_lps]
    source.PixelSpacing = [format_number_as_ds(value) for value in volume.pixel_spacing_mm]
    source.Rows, source.Columns = volume.rows, volume.columns
    if "SliceThickness" not in source:  # wanted of a result (PS3.3 C.7.6.16.2.1), but empty in some sources
        source.SliceThickness = format_number_as_ds(volume.slice_spacing_mm)
    return source


def _set_character_set(source: Dataset, header: Dataset) -> None:
    """Keep the source's (PS3.3 C.12.1.1.2); one that nobody knows becomes UTF-8."""
    named = text_of(header, "SpecificCharacterSet")
    if named:
        terms = named.split("\\")
        is_known = all(term in python_encoding for term in terms)
        source.SpecificCharacterSet = terms if is_known else UTF_8


def _is_sound(keyword: str, value: Any) -> bool:
    """Whether encoders will take a value."""
    if keyword == "PatientSex":
        return str(value) in (*SEXES, "")
    if keyword == "Laterality":
        return str(value) in SIDES
    if keyword == "TimezoneOffsetFromUTC":
        return re.fullmatch(r"[+-](0\d|1[0-4])[0-5]\d", str(value)) is not None
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        return all(_is_sound(e.keyword, e.value) for item in value for e in item if e.keyword)
    several = not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "components")
    try:
        for item in value if several else [value]:
            validate_value(vr, item if vr in ("PN", "IS", "DS") else str(item), config.RAISE)
            if vr in ("DA", "TM") and str(item):
                (DA if vr == "DA" else TM)(str(item))
    except (ValueError, TypeError, OverflowError):
        return False
    return True
