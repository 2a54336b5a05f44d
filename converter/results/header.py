"""What stands in every result object: patient, study, series, equipment, dates, and the file's own header.

Patient and study are what `source_header` takes over from the images. Times are in the source's time zone
where it names one, since that counts for the study's date and time too (PS3.3 C.12.1.1.8); else in that of
the caller's time, which should be the site's: a result must not lie before its scan.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from typing import Final

from pydicom import Dataset, config
from pydicom.charset import default_encoding, python_encoding
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pydicom.valuerep import validate_value

from converter.errors import EncodingFailed
from converter.reading.headers import text_of
from converter.source_header import (
    FRAME_OF_REFERENCE,
    LOSSY_COMPRESSION,
    NOT_IN_THE_DIGEST,
    PATIENT_AND_STUDY,
    SCANNER,
    TYPE_2,
    UTF_8,
)
from converter.terminology import PRIVATE_SCHEME, Code
from converter.uids import derived_uid
from converter.version import own_version

from .settings import MANUFACTURER, MODEL_NAME, ResultSettings

IMPLEMENTATION_CLASS_UID: Final = derived_uid(MANUFACTURER, "implementation class")
LONGEST_VERSION_NAME: Final = 16
ACQUISITION_EQUIPMENT: Final = Code("109101", "DCM", "Acquisition Equipment")
PROCESSING_EQUIPMENT: Final = Code("109102", "DCM", "Processing Equipment")
"""What equipment was for (PS3.16 CID 7005)."""
RESEARCH: Final = "Automatic segmentation; research use only, not for diagnosis"
FLAGS_NOT_SHOWN: Final = "quality flags are not shown"
"""Stands behind that in what was made without marks, flagged or not: no marks mean nothing there."""


@dataclass(frozen=True)
class ObjectKind:
    """What an object is: its SOP class, its Modality (PS3.3 C.7.3.1.1.1), and how it is written."""

    sop_class_uid: UID
    modality: str
    transfer_syntax_uid: UID


@contextmanager
def of_this_header(what: str) -> Iterator[None]:
    """Make an object of a series' header: identifiers are kept as the PACS holds them, whatever they are.

    Parameters
    ----------
    what
        What is made: "a report".

    Raises
    ------
    EncodingFailed
        It cannot be made; the sentence quotes nothing of the header.
    """
    try:
        with config.disable_value_validation():
            yield
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # The text may quote the header.
        raise EncodingFailed(
            f"{what} cannot be made with this series' header ({type(error).__name__}); "
            "correct patient and study at the sender"
        ) from None


def code_item(code: Code) -> Dataset:
    """A coded concept as an item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def result_header(source: Dataset, settings: ResultSettings, kind: ObjectKind) -> Dataset:
    """Begin a result object; its maker adds what is its own.

    Parameters
    ----------
    source
        Of `source_header`.

    Raises
    ------
    ValueError
        A text of the settings cannot stand in a DICOM object.
    """
    result = Dataset()
    result.file_meta = _file_meta(settings, kind)
    take_over(result, source, ("SpecificCharacterSet", *TYPE_2, *PATIENT_AND_STUDY, *NOT_IN_THE_DIGEST))
    if not _can_be_written(settings.texts(), result.get("SpecificCharacterSet")):
        result.SpecificCharacterSet = UTF_8
    _add_scanner(result, source, settings)
    _add_series(result, settings, kind)
    _add_equipment(result, settings)
    _add_dates(result, settings)
    return result


def _can_be_written(text: str, character_set: object) -> bool:
    """Whether the source's character set has room for a text of ours; only plain ones are asked."""
    if text.isascii():
        return True
    if not isinstance(character_set, str) or not character_set:
        return False
    encoding = python_encoding[character_set]
    if encoding == default_encoding:  # ISO_IR 6, which has ASCII only (PS3.3 C.12.1.1.2); it is read as more
        return False
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True


def take_over(result: Dataset, source: Dataset, keywords: tuple[str, ...]) -> None:
    """Copy those of the source's attributes that it has."""
    for keyword in keywords:
        if keyword in source:
            result.add(source[keyword])


def add_frame_of_reference(result: Dataset, source: Dataset) -> None:
    """For what has positions in space (PS3.3 C.7.4.1)."""
    take_over(result, source, FRAME_OF_REFERENCE)


def add_lossy_compression(result: Dataset, source: Dataset) -> None:
    """For images: what was lost on the way to the source is lost in them, too (PS3.3 C.7.6.1.1.5)."""
    result.LossyImageCompression = source.get("LossyImageCompression", "00")
    if result.LossyImageCompression == "01":
        take_over(result, source, LOSSY_COMPRESSION)


def private_scheme() -> Dataset:
    """Whose codes the private ones are (PS3.3 C.12.1.1.4, Coding Scheme Identification)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE_SCHEME
    scheme.CodingSchemeName = "Structures of segmentation models without a standard code"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    return scheme


def is_our_own(header: Dataset) -> bool:
    """Whether an object was made by this software; never raises."""
    made_by = text_of(header, "Manufacturer"), text_of(header, "ManufacturerModelName")
    return made_by == (MANUFACTURER, MODEL_NAME)


def _file_meta(settings: ResultSettings, kind: ObjectKind) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = kind.sop_class_uid
    meta.MediaStorageSOPInstanceUID = UID(settings.sop_instance_uid)
    meta.TransferSyntaxUID = kind.transfer_syntax_uid
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"IRIS {own_version()}"[:LONGEST_VERSION_NAME]
    return meta


def _add_scanner(result: Dataset, source: Dataset, settings: ResultSettings) -> None:
    """What made the images, and what made the result of them (PS3.3 C.12.1, Contributing Equipment)."""
    ours = Dataset()
    ours.Manufacturer, ours.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    ours.SoftwareVersions = own_version()
    ours.ContributionDescription = RESEARCH if settings.shows_flags else f"{RESEARCH}; {FLAGS_NOT_SHOWN}"
    ours.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_EQUIPMENT)]
    result.ContributingEquipmentSequence = [ours]
    if source.get("Manufacturer"):
        scanner = Dataset()
        take_over(scanner, source, SCANNER)
        scanner.ContributionDescription = "Acquisition equipment of the source image(s)"
        scanner.PurposeOfReferenceCodeSequence = [code_item(ACQUISITION_EQUIPMENT)]
        result.ContributingEquipmentSequence.insert(0, scanner)


def _add_series(result: Dataset, settings: ResultSettings, kind: ObjectKind) -> None:
    validate_value("LO", settings.series_description, config.RAISE)
    result.SOPClassUID, result.SOPInstanceUID = kind.sop_class_uid, settings.sop_instance_uid
    result.SeriesInstanceUID, result.Modality = settings.series_uid, kind.modality
    result.SeriesNumber, result.InstanceNumber = settings.series_number, settings.instance_number
    result.SeriesDescription = settings.series_description


def _add_equipment(result: Dataset, settings: ResultSettings) -> None:
    """What made it (PS3.3 C.7.5.1, C.7.5.2): by that `is_our_own` knows it."""
    result.Manufacturer, result.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    result.DeviceSerialNumber = settings.device_serial_number
    result.SoftwareVersions = own_version()


def _add_dates(result: Dataset, settings: ResultSettings) -> None:
    made_at = settings.made_at.astimezone(_time_zone(result) or settings.made_at.tzinfo)
    for prefix in ("Content", "Series", "InstanceCreation"):
        setattr(result, f"{prefix}Date", made_at.strftime("%Y%m%d"))
        setattr(result, f"{prefix}Time", made_at.strftime("%H%M%S.%f"))


def _time_zone(result: Dataset) -> tzinfo | None:
    """The one that the images name."""
    offset = str(result.get("TimezoneOffsetFromUTC") or "")
    if not offset:
        return None
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
