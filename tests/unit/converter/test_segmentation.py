"""Labels to DICOM-SEG and back."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SegmentationStorage

from converter.derived.series import MadeUpStudy
from converter.errors import EncodingFailed, LabelsDoNotFit
from converter.results.header import is_our_own
from converter.seg import encoder
from converter.seg.decoder import decode_segmentation, read_segmentation
from converter.seg.encoder import (
    Encoded,
    SegmentationSettings,
    copied_header_digest,
    encode_segmentation,
)
from converter.seg.planes import Planes
from converter.seg.writer import FrameOrder, Writable
from converter.series import Volume, read_series
from converter.staged_file import StagedFile
from converter.terminology import PRIVATE_SCHEME, structure
from converter.voxels.geometry import labels_on_frames
from converter.voxels.grid import even_volume, require_own_grid

MakeSeries = Callable[..., Path]
NAMES = {1: "bone", 6: "lung_right", 9: "liver"}


@pytest.fixture
def volume(make_series: MakeSeries) -> Volume:
    return read_series(make_series())


@pytest.fixture
def encoded(volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path) -> Encoded:
    return encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")


def dciodvfy(path: Path) -> list[str]:
    """The errors that dicom3tools' validator finds."""
    program = shutil.which("dciodvfy")
    assert program is not None
    answer = subprocess.run([program, path], capture_output=True, text=True, check=False)
    lines = (answer.stdout + answer.stderr).splitlines()
    assert "Segmentation" in lines, "dciodvfy did not recognise the object"
    return [line for line in lines if line.startswith("Error")]


# -- what is in it ----------------------------------------------------------------------------------------


def test_segments_are_numbered_without_gaps_in_order_of_label_values(encoded: Encoded) -> None:
    seg = dcmread(encoded.path)
    assert seg.SOPClassUID == SegmentationStorage
    assert [segment.SegmentNumber for segment in seg.SegmentSequence] == [1, 2]
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Bone", "Lung, right"]
    assert encoded.segments == ("bone", "lung_right")


def test_engines_label_value_stands_in_the_segment_description(encoded: Encoded) -> None:
    descriptions = [segment.SegmentDescription for segment in dcmread(encoded.path).SegmentSequence]
    assert [description.split()[-1] for description in descriptions] == ["1", "6"]


def test_segment_says_codes_colour_and_algorithm(encoded: Encoded) -> None:
    lung = dcmread(encoded.path).SegmentSequence[1]
    expected = structure("lung_right")
    assert lung.SegmentedPropertyTypeCodeSequence[0].CodeValue == expected.type.value
    assert lung.SegmentAlgorithmType == "AUTOMATIC"
    assert lung.SegmentAlgorithmName == "threshold tissue"
    algorithm = lung.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == "1.0.0"
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Morphological Operations"
    colour = hd.color.CIELabColor.from_dicom_value(tuple(lung.RecommendedDisplayCIELabValue))
    assert np.abs(np.array(colour.to_rgb()) - expected.rgb).max() <= 2


def test_every_frame_refers_to_the_slice_that_it_lies_on(encoded: Encoded, volume: Volume) -> None:
    seg = dcmread(encoded.path)
    positions = {frame.sop_instance_uid: frame.position_lps_mm for frame in volume.frames}
    assert seg.NumberOfFrames == 4  # empty ones are left out
    for item in seg.PerFrameFunctionalGroupsSequence:
        uid = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert [float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient] == pytest.approx(
            positions[uid]
        )
    referenced = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referenced} == set(positions)


def test_highdicom_reads_every_voxel_back(encoded: Encoded, volume: Volume, two_boxes: np.ndarray) -> None:
    seg = hd.seg.segread(encoded.path)
    masks = seg.get_pixels_by_source_instance(
        [frame.sop_instance_uid for frame in volume.frames],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    numbered = np.zeros(10, np.uint8)
    numbered[[1, 6]] = [1, 2]
    assert np.array_equal(masks, numbered[two_boxes])


@pytest.mark.peer("dicom3tools")
def test_segmentation_is_valid_for_dciodvfy(encoded: Encoded) -> None:
    assert dciodvfy(encoded.path) == []


@pytest.mark.peer("dicom3tools")
def test_segmentation_with_private_codes_is_valid_and_declares_them(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    names = {1: "bone", 6: "structure_of_tomorrow"}
    encoded = encode_segmentation(volume, two_boxes, names, settings, tmp_path / "seg.dcm")
    seg = dcmread(encoded.path)
    (scheme,) = seg.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == PRIVATE_SCHEME
    assert any("structure_of_tomorrow" in warning for warning in encoded.warnings)
    assert dciodvfy(encoded.path) == []


# -- the same again ---------------------------------------------------------------------------------------


def test_encoding_twice_gives_the_same_bytes(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path, encoded: Encoded
) -> None:
    again = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "again.dcm")
    assert again.sha256 == encoded.sha256
    assert (tmp_path / "again.dcm").read_bytes() == encoded.path.read_bytes()


def test_dates_are_those_of_the_settings(encoded: Encoded) -> None:
    seg = dcmread(encoded.path)
    for prefix in ("Content", "Series", "InstanceCreation"):
        assert (seg[f"{prefix}Date"].value, seg[f"{prefix}Time"].value[:6]) == ("20240506", "070809")
    today = datetime.now(UTC).strftime("%Y%m%d").encode()
    assert today not in encoded.path.read_bytes()


def test_dates_follow_the_sources_time_zone(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.TimezoneOffsetFromUTC = "-0930"

    late = replace(settings, made_at=settings.made_at - timedelta(hours=7))
    encoded = encode_segmentation(
        read_series(make_series(edit=edit)), two_boxes, NAMES, late, tmp_path / "s.dcm"
    )
    seg = dcmread(encoded.path)
    assert (seg.TimezoneOffsetFromUTC, seg.ContentDate, seg.ContentTime[:6]) == (
        "-0930",
        "20240505",
        "143809",
    )


# -- what is refused --------------------------------------------------------------------------------------


def test_empty_labels_make_no_file(volume: Volume, settings: SegmentationSettings, tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed, match="empty"):
        encode_segmentation(volume, np.zeros((6, 16, 24), np.uint8), NAMES, settings, tmp_path / "s.dcm")
    assert list(tmp_path.glob("*.dcm")) == []


def test_label_without_name_is_refused(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    with pytest.raises(LabelsDoNotFit, match="no name for 6"):
        encode_segmentation(volume, two_boxes, {1: "bone"}, settings, tmp_path / "s.dcm")


def test_labels_of_another_shape_are_refused(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    with pytest.raises(LabelsDoNotFit, match="shape"):
        encode_segmentation(volume, two_boxes[:5], NAMES, settings, tmp_path / "s.dcm")


@pytest.mark.parametrize("place", ["first bit", "last bit"])
def test_file_that_reads_back_differently_is_not_kept(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """One bit wrong in the written file is enough."""
    pixels = 16 * 24 * 4 // 8

    class Damaged(StagedFile):
        def finish(self) -> None:
            super().finish()
            with self.temporary.open("r+b") as again:
                again.seek(-(pixels if place == "first bit" else 1), 2)
                byte = again.read(1)[0]
                again.seek(-1, 1)
                again.write(bytes([byte ^ (1 if place == "first bit" else 0x80)]))

    monkeypatch.setattr(encoder, "StagedFile", Damaged)
    with pytest.raises(EncodingFailed, match="read back"):
        encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "s.dcm")
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("what", ["frames", "segments"])
def test_frames_in_wrong_places_do_not_read_back(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    write = encoder.write_segmentation

    def swapped(stream: Writable, header: Dataset, planes: Planes, shown: Volume, order: FrameOrder) -> None:
        turned = replace(order, **{what: getattr(order, what)[::-1]})
        write(stream, header, planes, shown, turned)

    monkeypatch.setattr(encoder, "write_segmentation", swapped)
    with pytest.raises(EncodingFailed, match="read back"):
        encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "s.dcm")
    assert not (tmp_path / "s.dcm").exists()


def test_pixel_that_no_frame_shows_is_noticed(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is written is compared with the labels themselves, not with the list of frames made of them."""
    order = encoder.frame_order

    def shortened(*arguments: Any) -> FrameOrder:
        whole = order(*arguments)
        return FrameOrder(whole.segments[:-1], whole.frames[:-1])

    monkeypatch.setattr(encoder, "frame_order", shortened)
    with pytest.raises(EncodingFailed, match="read back"):
        encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "s.dcm")


# -- back again -------------------------------------------------------------------------------------------


def test_decoded_labels_have_the_engines_values_on_the_converters_grid(
    encoded: Encoded, volume: Volume, two_boxes: np.ndarray, tmp_path: Path
) -> None:
    table = decode_segmentation(encoded.path, volume, tmp_path / "back.nii.gz")
    assert table == {1: "bone", 6: "lung_right"}
    assert np.array_equal(labels_on_frames(tmp_path / "back.nii.gz", volume), two_boxes)
    assert nib.load(tmp_path / "back.nii.gz").get_data_dtype() == np.uint8


def test_segmentation_of_another_series_is_refused(encoded: Encoded, make_series: MakeSeries) -> None:
    with pytest.raises(LabelsDoNotFit):
        read_segmentation(encoded.path, read_series(make_series(seed=5)))


def test_object_that_is_no_segmentation_is_refused(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(LabelsDoNotFit, match="no BINARY"):
        read_segmentation(volume.frames[0].path, volume)
    (tmp_path / "x.dcm").write_bytes(b"x")
    with pytest.raises(LabelsDoNotFit, match="no DICOM"):
        read_segmentation(tmp_path / "x.dcm", volume)


@pytest.mark.parametrize("frames", [slice(2, 3), slice(1, 5)])
@pytest.mark.peer("dicom3tools")
def test_single_segment_comes_back(
    volume: Volume, settings: SegmentationSettings, tmp_path: Path, frames: slice
) -> None:
    """With one segment, or one frame, what says so is shared by all frames (PS3.3 C.7.6.16)."""
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[frames, 3:9, 4:9] = 9
    encoded = encode_segmentation(volume, labels, NAMES, settings, tmp_path / "seg.dcm")
    assert np.array_equal(read_segmentation(encoded.path, volume).numbers * 9, labels)
    assert dciodvfy(encoded.path) == []


def test_segmentation_that_does_not_say_its_segment_is_refused(encoded: Encoded, volume: Volume) -> None:
    seg = dcmread(encoded.path)
    del seg.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence
    seg.save_as(encoded.path)
    with pytest.raises(LabelsDoNotFit, match="which segment"):
        read_segmentation(encoded.path, volume)


# -- our own ----------------------------------------------------------------------------------------------


def test_own_result_is_recognised(encoded: Encoded, volume: Volume) -> None:
    assert is_our_own(dcmread(encoded.path, stop_before_pixels=True))
    assert not is_our_own(volume.header)
    assert not is_our_own(Dataset())


def test_all_255_labels_survive(
    make_series: MakeSeries, settings: SegmentationSettings, tmp_path: Path
) -> None:
    volume = read_series(make_series())
    labels = np.random.default_rng(3).permutation(np.resize(np.arange(256, dtype=np.uint8), 6 * 16 * 24))
    labels = labels.reshape(6, 16, 24)
    names = {value: f"part {value}" for value in range(1, 256)}
    encoded = encode_segmentation(volume, labels, names, settings, tmp_path / "seg.dcm")
    assert len(encoded.segments) == 255
    assert np.array_equal(read_segmentation(encoded.path, volume).numbers, labels)


def test_leaning_series_keeps_its_slices(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    volume = read_series(make_series((0, 2, 4, 5, 8, 11), lean=0.25))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    numbers = read_segmentation(encoded.path, volume).numbers
    assert np.array_equal(numbers > 0, two_boxes > 0)


@pytest.mark.parametrize(
    ("heights_mm", "lean"),
    [((0, 2, 4, 5, 8, 11), 0.0), ((0, 2, 4, 6, 8, 10), 0.3)],
    ids=["uneven", "leaning"],
)
@pytest.mark.peer("dicom3tools")
def test_even_grid_is_valid_and_refers_to_the_series_but_to_no_slice(
    make_series: MakeSeries,
    settings: SegmentationSettings,
    tmp_path: Path,
    heights_mm: tuple[float, ...],
    lean: float,
) -> None:
    volume = read_series(make_series(heights_mm, lean=lean))
    even = even_volume(volume)
    labels = np.zeros((len(even.frames), even.rows, even.columns), np.uint8)
    labels[2:4, 3:9, 3:9], labels[3:5, 4:8, 12:20] = sorted(NAMES)[:2]
    encoded = encode_segmentation(even, labels, NAMES, settings, tmp_path / "even.dcm")
    assert dciodvfy(encoded.path) == []
    assert encoded.warnings == ()
    seg = hd.seg.segread(encoded.path)
    assert np.array_equal(read_segmentation(encoded.path, even).numbers > 0, labels > 0)
    referred = seg.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == volume.series_uid
    assert {each.ReferencedSOPInstanceUID for each in referred.ReferencedInstanceSequence} == {
        frame.sop_instance_uid for frame in volume.frames
    }
    assert all(not each.DerivationImageSequence for each in seg.PerFrameFunctionalGroupsSequence)
    assert seg.FrameOfReferenceUID == volume.frame_of_reference_uid
    assert seg.ContentDescription == "Even grid: tissue (research use only)"
    with pytest.raises(LabelsDoNotFit, match="on another grid"):
        read_segmentation(encoded.path, volume)
    decode_segmentation(encoded.path, volume, tmp_path / "back.nii.gz")
    assert np.array_equal(labels_on_frames(tmp_path / "back.nii.gz", even), labels)
    require_own_grid(tmp_path / "back.nii.gz", volume)  # that of the series' NIfTI


def test_segmentation_on_uneven_slices_says_for_whom_it_is_not(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    volume = read_series(make_series((0, 2, 4, 5, 8, 11)))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    said = dcmread(encoded.path).ContentDescription
    assert said == "Uneven slices, not for Slicer: tissue (research use only)"
    assert [each for each in encoded.warnings if "3D Slicer" in each]


def test_even_grid_of_even_slices_is_refused(volume: Volume) -> None:
    with pytest.raises(EncodingFailed, match="leave the even grid out"):
        even_volume(volume)


def test_copied_header_digest_is_the_same_for_equal_series(make_series: MakeSeries) -> None:
    assert copied_header_digest(read_series(make_series())) == copied_header_digest(
        read_series(make_series())
    )


@pytest.mark.parametrize("field", ["patient_name", "patient_id", "study_description", "series_description"])
def test_copied_header_digest_changes_with_what_is_copied(make_series: MakeSeries, field: str) -> None:
    keyword = "".join(word.capitalize() for word in field.split("_")).replace("PatientId", "PatientID")

    def edit(dataset: Dataset, number: int) -> None:
        setattr(dataset, keyword, "Another")

    plain, changed = (read_series(make_series(edit=e)) for e in (None, edit))
    assert getattr(MadeUpStudy(), field) != "Another"
    assert copied_header_digest(plain) != copied_header_digest(changed)


@pytest.mark.parametrize("keyword", ["KVP", "WindowCenter", "ProtocolName", "BodyPartExamined"])
def test_copied_header_digest_does_not_change_with_what_is_not(make_series: MakeSeries, keyword: str) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        setattr(dataset, keyword, "77")

    plain, changed = (read_series(make_series(edit=e)) for e in (None, edit))
    assert copied_header_digest(plain) == copied_header_digest(changed)
