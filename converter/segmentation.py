"""Label map to DICOM-SEG on the original slices, read back and compared before anybody sees it."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from importlib import metadata
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset, config
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from .errors import EncodingFailed, LabelsDoNotFit
from .headers import text_of
from .segmentation_reader import read_segmentation
from .series import Volume
from .source_header import copied_header_digest, source_headers, take_over_text
from .terminology import PRIVATE_SCHEME, Code, Structure, codes_version, structure
from .uids import derived_uid

__all__ = [
    "ENCODER_VERSION",
    "MANUFACTURER",
    "MODEL_NAME",
    "Encoded",
    "SegmentationSettings",
    "copied_header_digest",
    "encode_segmentation",
    "is_our_own",
]

MANUFACTURER = "IRIS Gateway"
MODEL_NAME = "iris-gateway"
ENCODER_VERSION = " ".join(
    ["2", codes_version(), *(metadata.version(part) for part in ("iris-gateway", "highdicom", "pydicom"))]
)
"""Changes whenever the bytes would: with this module's own number, the codes, and what writes them."""

LABEL_VALUE = "label value"
"""Stands before the engine's number in a Segment Description."""


@dataclass(frozen=True)
class SegmentationSettings:
    """What is said about a segmentation; `made_at` is aware of its time zone.

    `algorithm_name` begins with the engine's name.
    """

    sop_instance_uid: str
    series_uid: str
    series_number: int
    series_description: str
    made_at: datetime
    task: str
    algorithm_name: str
    algorithm_version: str
    instance_number: int = 1


@dataclass(frozen=True)
class Encoded:
    """A segmentation on disk; `segments` are its labels in the order of their numbers."""

    path: Path
    sha256: str
    sop_instance_uid: str
    sop_class_uid: str
    segments: tuple[str, ...]
    warnings: tuple[str, ...]


def is_our_own(header: Dataset) -> bool:
    """Whether an object was made by this software; never raises."""
    made_by = text_of(header, "Manufacturer"), text_of(header, "ManufacturerModelName")
    return made_by == (MANUFACTURER, MODEL_NAME)


def encode_segmentation(
    volume: Volume,
    labels: NDArray[np.uint8],
    names: Mapping[int, str],
    settings: SegmentationSettings,
    out: Path,
) -> Encoded:
    """Write a BINARY DICOM-SEG (PS3.3 A.51) and read it back.

    Segments are numbered 1 to n without gaps in the order of the label values that occur (PS3.3
    C.8.20.2.4); the engine's own value stands in the Segment Description.

    Parameters
    ----------
    labels
        (frames, rows, columns), uint8, on the volume's frames.
    names
        Label value to structure name, for every value that occurs.

    Raises
    ------
    LabelsDoNotFit
        Another shape than the volume's, or a value without a name.
    EncodingFailed
        Nothing to encode, or what was written does not read back as it should; there is no file then.
    OSError
    """
    values = _values(volume, labels, names)
    structures = [structure(names[value]) for value in values]
    warnings = [
        f"{found.name} has no standard code and got a private one ({PRIVATE_SCHEME})"
        for found in structures
        if found.is_private
    ]
    numbers = np.zeros(256, np.uint8)
    numbers[values] = np.arange(1, len(values) + 1)
    numbered = numbers[labels]
    try:
        with config.disable_value_validation():
            seg = _segmentation(volume, numbered, values, structures, settings)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # The text may quote the header.
        raise EncodingFailed(
            f"highdicom cannot make a segmentation with this series' header ({type(error).__name__}); "
            "correct patient and study at the sender"
        ) from None
    digest = _write_and_compare(seg, volume, numbered, out)
    return Encoded(
        path=out,
        sha256=digest,
        sop_instance_uid=settings.sop_instance_uid,
        sop_class_uid=str(SegmentationStorage),
        segments=tuple(found.name for found in structures),
        warnings=tuple(warnings),
    )


def _values(volume: Volume, labels: NDArray[np.uint8], names: Mapping[int, str]) -> list[int]:
    expected = (len(volume.frames), volume.rows, volume.columns)
    if labels.shape != expected:
        raise LabelsDoNotFit(f"the labels have the shape {labels.shape}, the series {expected}")
    values = [int(value) for value in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)) if value]
    if not values:
        raise EncodingFailed("the label map is empty; there is nothing to encode")
    nameless = [value for value in values if value not in names]
    if nameless:
        raise LabelsDoNotFit(
            f"the label table has no name for {', '.join(map(str, nameless))}; it belongs to another task"
        )
    return values


# -- building -----------------------------------------------------------------------------------------------


def _segmentation(
    volume: Volume,
    numbered: NDArray[np.uint8],
    values: list[int],
    structures: list[Structure],
    settings: SegmentationSettings,
) -> Dataset:
    algorithm = hd.AlgorithmIdentificationSequence(
        name=settings.algorithm_name, family=_family(settings), version=settings.algorithm_version
    )
    seg: Dataset = hd.seg.Segmentation(
        source_images=source_headers(volume),
        specific_character_set=None,  # set below: highdicom refuses some that the standard allows
        pixel_array=numbered,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(number, value, found, algorithm, settings)
            for number, (value, found) in enumerate(zip(values, structures, strict=True), start=1)
        ],
        series_instance_uid=settings.series_uid,
        series_number=settings.series_number,
        sop_instance_uid=settings.sop_instance_uid,
        instance_number=settings.instance_number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=metadata.version("iris-gateway"),
        device_serial_number="1",
        content_label="SEGMENTATION",
        content_description=settings.task[:64],
        content_creator_name="Gateway^IRIS",
        series_description=settings.series_description,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
    )
    take_over_text(volume, seg)
    _make_deterministic(seg, settings)
    _declare_private_codes(seg, structures)
    return seg


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
    settings: SegmentationSettings,
) -> hd.seg.SegmentDescription:
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=found.name[:64],
        segmented_property_category=_concept(found.category),
        segmented_property_type=_concept(found.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=[_concept(found.region)] if found.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*found.rgb),
    )
    if found.type_modifier:
        property_type = description.SegmentedPropertyTypeCodeSequence[0]
        property_type.SegmentedPropertyTypeModifierCodeSequence = [_concept(found.type_modifier)]
    if found.region and found.region_modifier:
        region = description.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [_concept(found.region_modifier)]
    description.SegmentDescription = f"{settings.task} {LABEL_VALUE} {value}"
    return description


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)


def _make_deterministic(seg: Dataset, settings: SegmentationSettings) -> None:
    """Replace what highdicom takes from the clock and from chance.

    Times are in the source's time zone where it names one, since that counts for the study's date and time
    too (PS3.3 C.12.1.1.8); else in UTC.
    """
    made_at = settings.made_at.astimezone(_time_zone(seg))
    day, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S.%f")
    for prefix in ("Content", "Series", "InstanceCreation"):
        setattr(seg, f"{prefix}Date", day)
        setattr(seg, f"{prefix}Time", time)
    for equipment in seg.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S.%f%z")
    organization = derived_uid(settings.sop_instance_uid, "dimension organization")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _time_zone(seg: Dataset) -> tzinfo:
    offset = str(seg.get("TimezoneOffsetFromUTC") or "")
    if not offset:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def _declare_private_codes(seg: Dataset, structures: list[Structure]) -> None:
    """Say whose codes the private ones are (PS3.3 C.12.1.1.4, Coding Scheme Identification)."""
    if any(found.is_private for found in structures):
        scheme = Dataset()
        scheme.CodingSchemeDesignator = PRIVATE_SCHEME
        scheme.CodingSchemeName = "Structures of segmentation models without a standard code"
        scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
        seg.CodingSchemeIdentificationSequence = [scheme]


# -- writing ------------------------------------------------------------------------------------------------


def _write_and_compare(seg: Dataset, volume: Volume, numbered: NDArray[np.uint8], out: Path) -> str:
    """Write next to `out`, read back, compare every voxel, and only then put it in its place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    try:
        with temporary.open("wb") as stream:
            seg.save_as(stream, enforce_file_format=True)
            stream.flush()
            os.fsync(stream.fileno())
        if not np.array_equal(read_segmentation(temporary, volume).numbers, numbered):
            raise EncodingFailed("the segmentation does not read back as its labels; nothing was written")
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        temporary.replace(out)
        folder = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return digest
    finally:
        temporary.unlink(missing_ok=True)
