"""The structure set as a file: regions, their contours, and the images on which these lie.

It is written in implicit VR, which every peer takes: a contour may have more text than the 65534 bytes to
which explicit VR limits it (PS3.5 7.1.2). Contours are composed as bytes; pydicom makes the rest.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from struct import pack
from typing import Final

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from converter.errors import EncodingFailed
from converter.explicit_vr import item
from converter.results.bytes import frame_named
from converter.results.file import write_object
from converter.results.header import (
    ObjectKind,
    add_frame_of_reference,
    code_item,
    of_this_header,
    private_scheme,
    result_header,
)
from converter.results.labelled import Labelled, Writer
from converter.results.settings import ResultSettings, WrittenObject, doubts_about, made_with
from converter.series import Frame, Volume
from converter.source_header import source_header
from converter.terminology import Structure
from converter.voxels.geometry import frame_affine_lps

from .checking import check_reads_back
from .names import region_names
from .numbers import point_texts
from .tracing import trace

KIND = ObjectKind(RTStructureSetStorage, "RTSTRUCT", ImplicitVRLittleEndian)
ROI_CONTOURS: Final = 0x30060039
DETACHED_STUDY_MANAGEMENT: Final = "1.2.840.10008.3.1.2.3.1"
"""What RT Referenced Study Sequence names as the study's class (PS3.3 C.8.8.5); retired, and still named."""


def write_structure_set(labelled: Labelled, settings: ResultSettings, out: Path) -> tuple[WrittenObject]:
    """Write closed planar contours of each structure on the slices of the volume.

    Raises
    ------
    EncodingFailed
        There is nothing to draw, the header of the series does not allow it, or what was written does not
        read back as the labels; there is no file then.
    OSError
    """
    if not labelled.values:
        raise EncodingFailed("the label map is empty; there is nothing to draw")
    found = [settings.structure(labelled.names[value]) for value in labelled.values]
    contours = _contours(labelled)
    with of_this_header("a structure set"):
        header = _header(labelled, found, settings)
        tags = list(header.keys())
        before = Dataset({tag: header[tag] for tag in tags if tag < ROI_CONTOURS})
        before.file_meta = header.file_meta
        character_sets = convert_encodings(header.get("SpecificCharacterSet", "ISO_IR 6"))
        behind = _encoded(Dataset({tag: header[tag] for tag in tags if tag > ROI_CONTOURS}), character_sets)
    regions = (
        _region(number, each, contours[value])
        for number, (value, each) in enumerate(zip(labelled.values, found, strict=True), start=1)
    )
    tail = _sequence(ROI_CONTOURS, regions) + behind
    return (write_object(before, out, tail=tail, check=partial(check_reads_back, labelled=labelled)),)


WRITER = Writer(made_with("4"), write_structure_set)


# -- contours, as bytes -------------------------------------------------------------------------------------


def _contours(labelled: Labelled) -> dict[int, list[bytes]]:
    """The contours of each label value, slice by slice, as items of the Contour Sequence."""
    found: dict[int, list[bytes]] = {value: [] for value in labelled.values}
    for number, (frame, plane) in enumerate(zip(labelled.volume.frames, labelled.labels, strict=True)):
        if not labelled.present[number]:
            continue
        outlines = trace(plane)
        affine = frame_affine_lps(labelled.volume, number)
        points_mm = outlines.points @ affine[:3, :2].T + affine[:3, 2]
        texts = point_texts(points_mm, outlines.begins)
        image = _sequence(0x30060016, [_image_bytes(frame, frame_named(labelled.volume, frame))])
        for label, text in zip(outlines.labels.tolist(), texts, strict=True):
            found[label].append(_contour(image, text, len(found[label]) + 1))
    return found


def _contour(image: bytes, text: bytes, number: int) -> bytes:
    return b"".join(
        (
            image,
            _element(0x30060042, b"CLOSED_PLANAR"),
            _element(0x30060046, b"%d" % ((text.count(b"\\") + 1) // 3)),
            _element(0x30060048, b"%d" % number),
            _element(0x30060050, text),
        )
    )


def _region(number: int, found: Structure, contours: Sequence[bytes]) -> bytes:
    """One item of the ROI Contour Sequence."""
    return (
        _element(0x3006002A, b"%d\\%d\\%d" % found.rgb)
        + _sequence(0x30060040, contours)
        + _element(0x30060084, b"%d" % number)
    )


def _image_bytes(frame: Frame, named: int | None) -> bytes:
    reference = _element(0x00081150, frame.sop_class_uid.encode(), b"\0")
    reference += _element(0x00081155, frame.sop_instance_uid.encode(), b"\0")
    if named is not None:
        reference += _element(0x00081160, b"%d" % named)
    return reference


def _element(tag: int, value: bytes, padding: bytes = b" ") -> bytes:
    """One element, implicit VR little endian (PS3.5 7.1.3)."""
    if len(value) % 2:
        value += padding
    return pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def _sequence(tag: int, contents: Sequence[bytes] | Iterator[bytes]) -> bytes:
    return _element(tag, b"".join(item(content) for content in contents))


def _encoded(part: Dataset, character_sets: list[str]) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = True, True
    write_dataset(stream, part, character_sets)
    return stream.getvalue()


# -- all else -----------------------------------------------------------------------------------------------


def _header(labelled: Labelled, found: Sequence[Structure], settings: ResultSettings) -> Dataset:
    """All but the contours."""
    volume = labelled.volume
    source = source_header(volume)
    header = result_header(source, settings, KIND)
    add_frame_of_reference(header, source)
    header.OperatorsName = ""
    header.StructureSetLabel = settings.task[:16]
    header.StructureSetName = settings.series_description
    header.StructureSetDate, header.StructureSetTime = header.ContentDate, header.ContentTime
    del header.ContentDate, header.ContentTime  # of its own modules none has them
    header.ReferencedFrameOfReferenceSequence = [_frame_of_reference(volume, source)]
    names = region_names([each.name for each in found])
    made_by = f"{settings.algorithm.name} {settings.algorithm.version}"[:64]
    header.StructureSetROISequence, header.RTROIObservationsSequence = [], []
    for number, (each, name) in enumerate(zip(found, names, strict=True), start=1):
        region = _drawn(number, name, str(source.FrameOfReferenceUID), made_by)
        region.ROIDescription = f"{doubts_about(each.name, labelled.flags)}{each.name}"
        header.StructureSetROISequence.append(region)
        header.RTROIObservationsSequence.append(_observed(number, name, each))
    if any(each.is_private for each in found):
        header.CodingSchemeIdentificationSequence = [private_scheme()]
    header.ApprovalStatus = "UNAPPROVED"
    return header


def _frame_of_reference(volume: Volume, source: Dataset) -> Dataset:
    """From the frame of reference to every image (PS3.3 C.8.8.5)."""
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = volume.series_uid, []
    for each in volume.frames:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = (
            each.sop_class_uid,
            each.sop_instance_uid,
        )
        named = frame_named(volume, each)
        if named is not None:
            image.ReferencedFrameNumber = named
        series.ContourImageSequence.append(image)
    study.ReferencedSOPClassUID = DETACHED_STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = volume.study_uid
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = source.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _drawn(number: int, name: str, frame_of_reference_uid: str, made_by: str) -> Dataset:
    region = Dataset()
    region.ROINumber, region.ROIName = number, name
    region.ReferencedFrameOfReferenceUID = frame_of_reference_uid
    region.ROIGenerationAlgorithm, region.ROIGenerationDescription = "AUTOMATIC", made_by
    return region


def _observed(number: int, name: str, found: Structure) -> Dataset:
    """What a region is (PS3.3 C.8.8.8)."""
    observed = Dataset()
    observed.ObservationNumber = observed.ReferencedROINumber = number
    observed.ROIObservationLabel = name
    identified = code_item(found.type)
    if found.type_modifier is not None:
        identified.SegmentedPropertyTypeModifierCodeSequence = [code_item(found.type_modifier)]
    observed.SegmentedPropertyCategoryCodeSequence = [code_item(found.category)]
    observed.RTROIIdentificationCodeSequence = [identified]
    observed.RTROIInterpretedType, observed.ROIInterpreter = "ORGAN", ""
    return observed
