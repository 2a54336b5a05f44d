"""All of a segmentation but its frames and references, which `writer` composes.

It is what highdicom makes of the same input; a test compares the two, attribute by attribute. Built here:
highdicom loads a table of all attributes of the standard (22 MB) before its first object, which takes as long
as writing 6,000 frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config
from pydicom.charset import convert_encodings
from pydicom.tag import Tag
from pydicom.valuerep import format_number_as_ds, validate_value

from converter.reading.mosaic import TILED
from converter.results.header import (
    ObjectKind,
    add_frame_of_reference,
    add_lossy_compression,
    private_scheme,
    result_header,
)
from converter.series import Volume
from converter.source_header import source_header
from converter.terminology import Structure
from converter.uids import derived_uid
from converter.voxels.geometry import positions_lps_mm
from converter.voxels.grid import EvenVolume, source_of

from .description import content_description
from .segments import segment_sequence
from .settings import SOP_CLASSES, SegmentationSettings, SegmentationType

SAME_STEP: Final = 0.01
"""Slices count as evenly spaced where each step is within this share of the mean one."""
SAME_LINE: Final = 1e-3
"""And as a straight stack where the cosine between slice normal and line of positions is as near to 1."""


@dataclass(frozen=True, eq=False)
class Header:
    """What is said of all frames.

    Parameters
    ----------
    elements
        The object without the Segment Sequence, references, functional groups of frames, and pixels.
    segments
        The Segment Sequence as it stands in the file.
    encodings
        Python's names of those of the character sets.
    are_places_kept
        Whether a pixel lies in its frame where it lies in the source image (Spatial Locations Preserved,
        PS3.3 C.7.6.16.2.6): not where frames are cropped, nor where the source is a mosaic.
    source
        The volume whose images it refers to.
    """

    elements: Dataset
    segments: bytes
    encodings: list[str]
    are_places_kept: bool
    source: Volume


def segmentation_header(
    volume: Volume,
    values: Sequence[int],
    structures: Sequence[Structure],
    used_frames: NDArray[np.int64],
    settings: SegmentationSettings,
    *,
    is_overlapping: bool = False,
) -> Header:
    """Make what is said of all frames.

    Parameters
    ----------
    volume
        With the rows, columns and positions of the frames to be written.
    values, structures
        The engine's number and the description of each segment.
    used_frames
        The volume's frames on which anything is, in the order of writing.

    Raises
    ------
    ValueError
        A text of the settings cannot stand in a DICOM object.
    """
    source = source_header(volume)
    kind = ObjectKind(SOP_CLASSES[settings.encoding.type], "SEG", settings.encoding.syntax)
    seg = result_header(source, settings, kind)
    add_frame_of_reference(seg, source)
    add_lossy_compression(seg, source)
    _add_content(seg, settings, volume)
    seg.SegmentsOverlap = "YES" if is_overlapping else "NO"
    _describe_pixels(seg, volume, settings.encoding.type)
    _add_dimensions(seg, settings)
    names_segments = settings.encoding.type is SegmentationType.BINARY and len(structures) > 1
    _add_shared_groups(seg, source, volume, settings.encoding.type, names_segments=names_segments)
    used_mm = positions_lps_mm(volume)[used_frames]
    if not names_segments and len(used_mm) > 1 and _step_mm(used_mm, volume.normal_lps) is not None:
        seg.DimensionOrganizationType = "3D"  # frames differ by nothing but place (PS3.3 C.7.6.17)
    if any(found.is_private for found in structures):
        seg.CodingSchemeIdentificationSequence = [private_scheme()]
    encodings = convert_encodings(seg.get("SpecificCharacterSet", "ISO_IR 6"))
    return Header(
        elements=seg,
        segments=segment_sequence(values, structures, volume, settings, encodings),
        encodings=encodings,
        are_places_kept=not settings.encoding.is_cropped and not volume.has_finding(TILED.code),
        source=source_of(volume),
    )


def _add_content(seg: Dataset, settings: SegmentationSettings, volume: Volume) -> None:
    """What it is called (PS3.3 10.9, Content Identification)."""
    description = content_description(settings, volume)
    validate_value("LO", description, config.RAISE)
    seg.ContentLabel, seg.ContentDescription = "SEGMENTATION", description
    seg.ContentCreatorName = "Gateway^IRIS"


def _describe_pixels(seg: Dataset, volume: Volume, kind: SegmentationType) -> None:
    """The Segmentation Image Module (PS3.3 C.8.20.2).

    Background is what Pixel Padding Value says (Supplement 243), with an item for it and without.
    """
    is_labelmap = kind is SegmentationType.LABELMAP
    seg.ImageType = ["DERIVED", "PRIMARY"]
    seg.SegmentationType = kind.value
    seg.Rows, seg.Columns = volume.rows, volume.columns
    seg.SamplesPerPixel, seg.PhotometricInterpretation = 1, "MONOCHROME2"
    seg.PixelRepresentation = 0
    seg.BitsAllocated = seg.BitsStored = 8 if is_labelmap else 1
    seg.HighBit = seg.BitsStored - 1
    seg.PresentationLUTShape = "IDENTITY"
    if is_labelmap:
        seg.PixelPaddingValue = 0


def _add_dimensions(seg: Dataset, settings: SegmentationSettings) -> None:
    """By what frames are told apart (PS3.3 C.7.6.17): segment, but in a label map, and position."""
    pointers = [("ImagePositionPatient", "PlanePositionSequence", "Image Position Patient")]
    if settings.encoding.type is SegmentationType.BINARY:
        segment = ("ReferencedSegmentNumber", "SegmentIdentificationSequence", "Referenced Segment Number")
        pointers.insert(0, segment)
    organization = Dataset()
    organization.DimensionOrganizationUID = derived_uid(settings.sop_instance_uid, "dimension organization")
    seg.DimensionOrganizationSequence = [organization]
    seg.DimensionIndexSequence = []
    for attribute, group, label in pointers:
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer, index.FunctionalGroupPointer = Tag(attribute), Tag(group)
        index.DimensionDescriptionLabel = label
        seg.DimensionIndexSequence.append(index)


def _add_shared_groups(
    seg: Dataset, source: Dataset, volume: Volume, kind: SegmentationType, *, names_segments: bool
) -> None:
    """Direction and spacing, and the only segment where there is one (PS3.3 C.7.6.16.2, C.8.20.3.1)."""
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = source.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = source.PixelSpacing, source.SliceThickness
    spacing_mm = _step_mm(positions_lps_mm(volume), volume.normal_lps)
    if spacing_mm is not None:
        measures.SpacingBetweenSlices = format_number_as_ds(spacing_mm)
        if isinstance(volume, EvenVolume):
            measures.SliceThickness = measures.SpacingBetweenSlices
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    if kind is SegmentationType.BINARY and not names_segments:
        only = Dataset()
        only.ReferencedSegmentNumber = 1
        shared.SegmentIdentificationSequence = [only]
    seg.SharedFunctionalGroupsSequence = [shared]


def _step_mm(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> float | None:
    """The distance along the normal between neighbours; None where it varies or the stack leans.

    That of a single one is 1.
    """
    if len(positions) == 1:
        return 1.0
    heights = positions @ normal
    step_mm = float(heights[-1] - heights[0]) / (len(heights) - 1)
    away = positions[1:] - positions[0]
    cosines = away @ normal / np.linalg.norm(away, axis=1)
    is_even = np.isclose(np.diff(heights), step_mm, rtol=SAME_STEP, atol=0).all()
    is_straight = (np.abs(np.abs(cosines) - 1) < SAME_LINE).all()
    return step_mm if is_even and is_straight else None
