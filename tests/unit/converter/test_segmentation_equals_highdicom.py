"""What is written here is what highdicom itself makes of the same input, attribute by attribute."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from converter.derived_series import MadeUpStudy
from converter.seg.segments import segment_descriptions
from converter.segmentation import Encoding, SegmentationSettings, SegmentationType, encode_segmentation
from converter.series import Volume, read_series
from converter.source_header import first_source_header, take_over
from converter.terminology import label_table, structure

MakeSeries = Callable[..., Path]
BINARY, LABELMAP = SegmentationType.BINARY, SegmentationType.LABELMAP
NAMES = label_table("total")

TIMES = {
    f"{prefix}{kind}" for prefix in ("InstanceCreation", "Content", "Series") for kind in ("Date", "Time")
} | {"ContributionDateTime"}
CHANCE = {"DimensionOrganizationUID"}
"""What highdicom takes from clock and chance, and we do not."""


def by_highdicom(volume: Volume, labels: np.ndarray, settings: SegmentationSettings, syntax: UID) -> Dataset:
    """The object as highdicom makes it of all source images and all pixels, written and read."""
    values = [int(v) for v in np.unique(labels) if v]
    numbers = np.zeros(256, np.uint8)
    numbers[values] = np.arange(1, len(values) + 1)
    sources = []
    for frame in volume.frames:
        source = first_source_header(volume)
        source.SOPInstanceUID, source.SOPClassUID = frame.sop_instance_uid, frame.sop_class_uid
        source.ImagePositionPatient = [format_number_as_ds(v) for v in frame.position_lps_mm]
        sources.append(source)
    with config.disable_value_validation():
        seg = hd.seg.Segmentation(
            source_images=sources,
            specific_character_set=None,
            pixel_array=numbers[labels],
            segmentation_type=settings.encoding.type.value,
            segment_descriptions=segment_descriptions(
                values, [structure(NAMES[v]) for v in values], volume, settings
            ),
            series_instance_uid=settings.series_uid,
            series_number=settings.series_number,
            sop_instance_uid=settings.sop_instance_uid,
            instance_number=settings.instance_number,
            manufacturer="IRIS Gateway",
            manufacturer_model_name="iris-gateway",
            software_versions="0.1.0",
            device_serial_number="1",
            content_label="SEGMENTATION",
            content_description=settings.task,
            content_creator_name="Gateway^IRIS",
            series_description=settings.series_description,
            transfer_syntax_uid=syntax,
            omit_empty_frames=True,
        )
        take_over(volume, seg)
    buffer = io.BytesIO()
    seg.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def differences(ours: Dataset, theirs: Dataset, where: str = "") -> list[str]:
    """Every element that differs, is missing, or is more; times and chance apart."""
    found = []
    for tag in sorted({*ours.keys(), *theirs.keys()}):
        name = f"{where}{tag}"
        if keyword_for_tag(tag) in TIMES | CHANCE:
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
    ],
    ids=["even", "gap", "uneven", "tilt", "sagittal", "oblique", "prone", "mr"],
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
    if kind is LABELMAP:  # the item for background, which is left out on purpose
        del theirs.SegmentSequence[0]
    found = differences(ours, theirs)
    assert not found, "\n".join(found)
    assert differences(ours.file_meta, theirs.file_meta) == []
