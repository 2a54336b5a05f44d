"""What is written here is what highdicom itself makes of the same input, attribute by attribute."""

import hmac
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from batch_job.contract import engines, task_facts
from converter.colours import cielab_of, rgb_of
from converter.derived.series import MadeUpStudy
from converter.seg.encoder import Encoding, SegmentationSettings, SegmentationType, encode_segmentation
from converter.seg.segments import tracked_subject
from converter.series import Volume, read_series
from converter.source_header import PATIENT_AND_STUDY, SCANNER, source_header
from converter.terminology import Code, structure
from converter.uids import derived_uid
from converter.version import own_version
from converter.voxels.grid import needs_another_grid

MakeSeries = Callable[..., Path]
BINARY, LABELMAP = SegmentationType.BINARY, SegmentationType.LABELMAP
NAMES = task_facts("totalsegmentator", "total").labels

TIMES = {
    f"{prefix}{kind}" for prefix in ("InstanceCreation", "Content", "Series") for kind in ("Date", "Time")
} | {"ContributionDateTime"}
CHANCE = {"DimensionOrganizationUID"}
"""What highdicom takes from clock and chance, and we do not."""
AUTHOR = {"FileMetaInformationGroupLength", "ImplementationClassUID", "ImplementationVersionName"}
"""Who wrote the file."""
SET_IN_THE_END = (
    "BodyPartExamined",
    "SpecificCharacterSet",
    "PatientName",
    "TimezoneOffsetFromUTC",
    "LongitudinalTemporalInformationModified",
)
"""What highdicom refuses or leaves out in some cases, although the standard allows it."""


def structures_of_all_engines() -> set[str]:
    tasks = [task for facts in engines().values() for task in facts.tasks.values()]
    return {name for task in tasks for name in task.labels.values()}


def concept(code: Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def descriptions(
    values: Sequence[int], volume: Volume, settings: SegmentationSettings
) -> list[hd.seg.SegmentDescription]:
    algorithm = hd.AlgorithmIdentificationSequence(
        name=settings.algorithm.name,
        family=hd.sr.CodedConcept.from_code(codes.cid7162.MorphologicalOperations),
        version=settings.algorithm.version,
    )
    return [
        described(number, value, volume, settings, algorithm) for number, value in enumerate(values, start=1)
    ]


def described(
    number: int,
    value: int,
    volume: Volume,
    settings: SegmentationSettings,
    algorithm: hd.AlgorithmIdentificationSequence,
) -> hd.seg.SegmentDescription:
    found = structure(NAMES[value])
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=found.words,
        segmented_property_category=concept(found.category),
        segmented_property_type=concept(found.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_id=found.name,
        tracking_uid=tracking_uid(found.name, volume, settings),
        anatomic_regions=[concept(found.region)] if found.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*found.rgb),
    )
    if found.type_modifier:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [concept(found.type_modifier)]
    if found.region and found.region_modifier:
        region = description.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [concept(found.region_modifier)]
    description.SegmentDescription = f"{settings.task} {found.name} label value {value}"
    return description


def tracking_uid(name: str, volume: Volume, settings: SegmentationSettings) -> str:
    message = "\x00".join((settings.task, name, *tracked_subject(volume))).encode()
    return derived_uid("tracking", hmac.new(settings.tracking_key, message, "sha256").hexdigest())


def by_highdicom(volume: Volume, labels: np.ndarray, settings: SegmentationSettings, syntax: UID) -> Dataset:
    """The object as highdicom makes it of all source images and all pixels, written and read."""
    warned = "Uneven slices, not for Slicer: " if needs_another_grid(volume) else ""
    values = [int(v) for v in np.unique(labels) if v]
    numbers = np.zeros(256, np.uint8)
    numbers[values] = np.arange(1, len(values) + 1)
    sources = []
    for frame in volume.frames:
        source = source_header(volume)
        source.PatientName = "Nobody^"
        source.SOPInstanceUID, source.SOPClassUID = frame.sop_instance_uid, frame.sop_class_uid
        source.ImagePositionPatient = [format_number_as_ds(v) for v in frame.position_lps_mm]
        sources.append(source)
    with config.disable_value_validation():
        seg = hd.seg.Segmentation(
            source_images=sources,
            specific_character_set=None,
            pixel_array=numbers[labels],
            segmentation_type=settings.encoding.type.value,
            segment_descriptions=descriptions(values, volume, settings),
            series_instance_uid=settings.series_uid,
            series_number=settings.series_number,
            sop_instance_uid=settings.sop_instance_uid,
            instance_number=settings.instance_number,
            manufacturer="IRIS Gateway",
            manufacturer_model_name="iris-gateway",
            software_versions=own_version(),
            device_serial_number="1",
            content_label="SEGMENTATION",
            content_description=f"{warned}{settings.task} (research use only)",
            content_creator_name="Gateway^IRIS",
            series_description=settings.series_description,
            transfer_syntax_uid=syntax,
            omit_empty_frames=True,
        )
        for keyword in SET_IN_THE_END:
            if keyword in source_header(volume):
                seg.add(source_header(volume)[keyword])
    del seg.ContributingEquipmentSequence[-1]  # highdicom itself
    buffer = io.BytesIO()
    seg.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def differences(ours: Dataset, theirs: Dataset, where: str = "") -> list[str]:
    """Every element that differs, is missing, or is more; times, chance and author apart."""
    found = []
    for tag in sorted({*ours.keys(), *theirs.keys()}):
        name = f"{where}{tag}"
        if keyword_for_tag(tag) in TIMES | CHANCE | AUTHOR:
            continue
        if tag not in ours or tag not in theirs:
            found.append(f"{name} only {'highdicom' if tag in theirs else 'here'}")
            continue
        one, other = ours[tag], theirs[tag]
        if one.VR != other.VR:
            found.append(f"{name} VR {one.VR} {other.VR}")
        elif one.VR == "SQ":
            if len(one.value) != len(other.value):
                found.append(f"{name} has {len(one.value)} items here, {len(other.value)} there")
            for number, (a, b) in enumerate(zip(one.value, other.value, strict=False)):
                found += differences(a, b, f"{name}[{number}]")
        elif one.value != other.value:
            found.append(f"{name} {one.value!r:.80} {other.value!r:.80}")
    return found


def say_all_there_is_to_say(header: Dataset, number: int) -> None:
    """Every attribute that is taken over has a value."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99TEST", "Ürgent"
    samples = {"AS": "045Y", "CS": "NO", "DA": "20240102", "TM": "101112", "DS": "70.5", "FD": 3.5}
    samples |= {"US": 1, "SQ": [code], "PN": "Größe^Ä", "UI": "2.25.7"}
    header.SpecificCharacterSet = "ISO_IR 100"
    for keyword in (*PATIENT_AND_STUDY, *SCANNER):
        setattr(header, keyword, samples.get(dictionary_VR(keyword), "Wörter"))
    header.TimezoneOffsetFromUTC = "+0200"


def compress_lossily(header: Dataset, number: int) -> None:
    header.LossyImageCompression, header.LossyImageCompressionRatio = "01", "12.5"
    header.LossyImageCompressionMethod = "ISO_10918_1"
    header.SoftwareVersions = ["1", "2"]


def says_what_it_is_for(equipment: Dataset) -> None:
    """The item that highdicom has not: what made the segmentation."""
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert "research use only" in equipment.ContributionDescription


@pytest.fixture
def many_boxes() -> np.ndarray:
    """Nine structures on the default series, one of them on a single slice; nothing on the first slice."""
    labels = np.zeros((6, 16, 24), np.uint8)
    for number, value in enumerate((1, 5, 51, 52, 76, 77, 90, 91, 117)):
        labels[1 + number % 3 : 3 + number % 4, number : number + 3, 2 * number : 2 * number + 4] = value
    return labels


@pytest.fixture
def one_box() -> np.ndarray:
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[1:5, 3:9, 4:9] = 5
    return labels


@pytest.mark.parametrize("kind", [BINARY, LABELMAP])
@pytest.mark.parametrize("boxes", ["many_boxes", "one_box"])
@pytest.mark.parametrize(
    "series",
    [
        {},
        {"heights_mm": (0.0, 2.0, 4.0, 8.0, 10.0, 12.0)},
        {"heights_mm": (0.0, 2.0, 5.0, 8.5, 12.0, 17.0)},
        {"lean": 0.2},
        {"orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)},
        {"orientation": (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)},
        {"orientation": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)},
        {"study": MadeUpStudy(modality="MR", character_set="ISO_IR 100", patient_name="Müller^Jörg")},
        {"edit": say_all_there_is_to_say},
        {"edit": compress_lossily},
    ],
    ids=["even", "gap", "uneven", "tilt", "sagittal", "oblique", "prone", "mr", "full", "lossy"],
)
def test_object_equals_highdicoms(
    make_series: MakeSeries,
    settings: SegmentationSettings,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    series: dict[str, object],
    boxes: str,
    kind: SegmentationType,
) -> None:
    volume = read_series(make_series(**series))
    labels = request.getfixturevalue(boxes)
    settings = replace(settings, task="total", encoding=Encoding(kind, ExplicitVRLittleEndian))
    ours = dcmread(encode_segmentation(volume, labels, NAMES, settings, tmp_path / "seg.dcm").path)
    theirs = by_highdicom(volume, labels, settings, ExplicitVRLittleEndian)
    says_what_it_is_for(ours.ContributingEquipmentSequence.pop())
    found = differences(ours, theirs)
    assert not found, "\n".join(found)
    assert differences(ours.file_meta, theirs.file_meta) == []


def test_object_of_a_scanner_without_a_maker_names_no_scanner(
    make_series: MakeSeries, settings: SegmentationSettings, one_box: np.ndarray, tmp_path: Path
) -> None:
    def edit(header: Dataset, number: int) -> None:
        header.Manufacturer = ""

    volume = read_series(make_series(edit=edit))
    settings = replace(settings, task="total")
    ours = dcmread(encode_segmentation(volume, one_box, NAMES, settings, tmp_path / "seg.dcm").path)
    theirs = by_highdicom(volume, one_box, settings, ExplicitVRLittleEndian)
    (equipment,) = ours.ContributingEquipmentSequence
    says_what_it_is_for(equipment)
    assert len(theirs.ContributingEquipmentSequence) == 0


def test_colour_of_every_structure_equals_highdicoms() -> None:
    structures = [structure(name) for name in structures_of_all_engines()]
    for rgb in {found.rgb for found in structures} | {(0, 0, 0), (255, 255, 255), (0, 0, 255), (3, 2, 1)}:
        theirs = hd.color.CIELabColor.from_rgb(*rgb)
        assert cielab_of(rgb) == tuple(theirs.value)
        assert rgb_of(theirs.value) == theirs.to_rgb() == rgb


def test_code_values_are_short_enough_for_their_attribute() -> None:
    """Longer ones would have to stand in Long Code Value (PS3.3 8.8)."""
    structures = [structure(name) for name in (*structures_of_all_engines(), "unknown")]
    for found in structures:
        for code in (found.category, found.type, found.type_modifier, found.region, found.region_modifier):
            assert code is None or len(code.value) <= 16
