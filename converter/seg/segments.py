"""What is said of each segment (PS3.3 C.8.20.4): codes, colour, algorithm, and what tracks it over time."""

import hashlib
import hmac
from collections.abc import Sequence
from functools import cache

import highdicom as hd
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes

from converter.reading.headers import text_of
from converter.series import Volume
from converter.terminology import PRIVATE_SCHEME, Code, Structure
from converter.uids import derived_uid

from .settings import LABEL_VALUE, MANUFACTURER, SegmentationSettings

LONGEST_LABEL = 64
"""PS3.5 6.2, value representation LO."""


def segment_descriptions(
    values: Sequence[int], structures: Sequence[Structure], volume: Volume, settings: SegmentationSettings
) -> list[hd.seg.SegmentDescription]:
    """Describe segments, numbered from 1 in the order of `structures`; `values` are the engine's numbers."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name=settings.algorithm_name, family=_family(settings), version=settings.algorithm_version
    )
    subject = tracked_subject(volume)
    return [
        _description(number, value, found, algorithm, subject, settings)
        for number, (value, found) in enumerate(zip(values, structures, strict=True), start=1)
    ]


def tracked_subject(volume: Volume) -> tuple[str, ...]:
    """Whose structures are the same over time: the patient's, where issuer and number say who that is.

    Without an issuer two patients may have one number, and a de-identified one (Patient Identity Removed,
    PS3.3 C.7.1.1) may be anybody: then the structures are the same within the study only.
    """
    issuer, patient = (text_of(volume.header, keyword) for keyword in ("IssuerOfPatientID", "PatientID"))
    if issuer and patient and text_of(volume.header, "PatientIdentityRemoved").upper() != "YES":
        return ("patient", issuer, patient)
    return ("study", volume.study_uid)


def private_scheme() -> Dataset:
    """Whose codes the private ones are (PS3.3 C.12.1.1.4, Coding Scheme Identification)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE_SCHEME
    scheme.CodingSchemeName = "Structures of segmentation models without a standard code"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    return scheme


def _family(settings: SegmentationSettings) -> CodedConcept:
    """Algorithm families of CID 7162: thresholds and shapes are no artificial intelligence."""
    by_shape = settings.algorithm_name.startswith("threshold")
    family = codes.cid7162.MorphologicalOperations if by_shape else codes.cid7162.ArtificialIntelligence
    return CodedConcept.from_code(family)


def _description(
    number: int,
    value: int,
    found: Structure,
    algorithm: hd.AlgorithmIdentificationSequence,
    subject: tuple[str, ...],
    settings: SegmentationSettings,
) -> hd.seg.SegmentDescription:
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=found.name[:LONGEST_LABEL],
        segmented_property_category=_concept(found.category),
        segmented_property_type=_concept(found.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_id=found.name[:LONGEST_LABEL],
        tracking_uid=_tracking_uid(found.name, subject, settings),
        anatomic_regions=[_concept(found.region)] if found.region else None,
        display_color=_colour(found.rgb),
    )
    if found.type_modifier:
        property_type = description.SegmentedPropertyTypeCodeSequence[0]
        property_type.SegmentedPropertyTypeModifierCodeSequence = [_concept(found.type_modifier)]
    if found.region and found.region_modifier:
        region = description.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [_concept(found.region_modifier)]
    description.SegmentDescription = f"{settings.task} {LABEL_VALUE} {value}"
    return description


def _tracking_uid(name: str, subject: tuple[str, ...], settings: SegmentationSettings) -> str:
    """Equal for one structure of one subject (PS3.3 C.8.20.4); keyed: it leads nobody to the patient."""
    message = "\x00".join((settings.task, name, *subject)).encode("utf-8", "surrogateescape")
    return derived_uid("tracking", hmac.new(settings.tracking_key, message, hashlib.sha256).hexdigest())


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)


@cache
def _colour(rgb: tuple[int, int, int]) -> hd.color.CIELabColor:
    return hd.color.CIELabColor.from_rgb(*rgb)
