"""Every form in which a segmentation can be stored: types, transfer syntaxes, overlapping masks, cropping."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from converter.errors import EncodingFailed, LabelsDoNotFit
from converter.reading.headers import transfer_syntax_of
from converter.seg.codecs import DEFLATED_IMAGE_FRAME, decode_plane, encode_plane
from converter.seg.decoder import read_masks, read_segmentation
from converter.seg.encoder import (
    Encoding,
    SegmentationSettings,
    SegmentationType,
    encode_masks,
    encode_segmentation,
)
from converter.seg.settings import TRANSFER_SYNTAXES
from converter.series import Volume, read_series
from converter.terminology import structure

MakeSeries = Callable[..., Path]
BINARY, LABELMAP = SegmentationType.BINARY, SegmentationType.LABELMAP
NAMES = {1: "bone", 6: "lung_right"}
FORMS = [(kind, syntax) for kind, syntaxes in TRANSFER_SYNTAXES.items() for syntax in syntaxes]


def in_forms(forms: list[tuple[SegmentationType, UID]]) -> pytest.MarkDecorator:
    """Run a test in each of these forms."""
    return pytest.mark.parametrize(
        ("kind", "syntax"), forms, ids=lambda part: str(getattr(part, "name", part))
    )


every_form = in_forms(FORMS)


@pytest.fixture
def volume(make_series: MakeSeries) -> Volume:
    return read_series(make_series())


# -- types and transfer syntaxes --------------------------------------------------------------------------


@every_form
def test_labels_survive_in_every_form(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
    syntax: str,
) -> None:
    settings = replace(settings, encoding=Encoding(kind, syntax))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    read = read_segmentation(encoded.path, volume)
    assert np.array_equal(read.numbers, np.where(two_boxes == 6, 2, two_boxes))
    assert [(s.number, s.label, s.label_value) for s in read.segments] == [
        (1, "bone", 1),
        (2, "lung_right", 6),
    ]
    seg = dcmread(encoded.path)
    assert (seg.SOPClassUID, transfer_syntax_of(seg)) == (encoded.sop_class_uid, syntax)
    again = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "again.dcm")
    assert again.sha256 == encoded.sha256


@pytest.mark.parametrize("kind", [BINARY, LABELMAP])
def test_labels_survive_in_deflated_frames_where_nobody_told_pydicom_of_them(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(UID_dictionary, DEFLATED_IMAGE_FRAME, raising=False)  # pynetdicom adds it
    settings = replace(settings, encoding=Encoding(kind, DEFLATED_IMAGE_FRAME))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    read = read_segmentation(encoded.path, volume)
    assert np.array_equal(read.numbers, np.where(two_boxes == 6, 2, two_boxes))


@in_forms([form for form in FORMS if form[1] != DEFLATED_IMAGE_FRAME])  # pydicom does not know it
def test_highdicom_reads_what_is_written(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
    syntax: str,
) -> None:
    settings = replace(settings, encoding=Encoding(kind, syntax))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    seg = hd.seg.segread(encoded.path)
    uids = [frame.sop_instance_uid for frame in volume.frames]
    numbers = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(numbers, np.where(two_boxes == 6, 2, two_boxes))


def test_form_that_the_standard_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="explicit, deflated, deflated_frame only"):
        Encoding(BINARY, RLELossless)


@pytest.mark.parametrize(("has_item", "numbers"), [(True, [0, 1, 2]), (False, [1, 2])])
def test_label_map_says_its_background_with_an_item_and_without(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    has_item: bool,
    numbers: list[int],
) -> None:
    settings = replace(settings, encoding=Encoding(LABELMAP, has_background_item=has_item))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    assert encoded.segments == ("bone", "lung_right")
    seg = dcmread(encoded.path)
    assert [item.SegmentNumber for item in seg.SegmentSequence] == numbers
    assert [segment.number for segment in read_segmentation(encoded.path, volume).segments] == [1, 2]
    assert hd.seg.segread(encoded.path).segment_numbers == [1, 2]  # without a background
    assert (seg.PixelPaddingValue, seg.SegmentationType, seg.BitsAllocated) == (0, "LABELMAP", 8)
    assert seg.NumberOfFrames == 3


def test_encodings_that_differ_in_the_background_have_names_of_their_own() -> None:
    with_item, without = (Encoding(LABELMAP, has_background_item=has_item) for has_item in (True, False))
    assert str(with_item) != str(without)
    assert str(Encoding(BINARY)) == str(Encoding(BINARY, has_background_item=False))


def test_label_map_of_highdicom_is_read_without_its_background(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    sources = [dcmread(frame.path) for frame in volume.frames]
    for source in sources:
        source.SliceThickness = 2
    description = hd.seg.SegmentDescription(
        1, "bone", hd.sr.CodedConcept("1", "99T", "a"), hd.sr.CodedConcept("2", "99T", "b"), "MANUAL"
    )
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=(two_boxes == 1).astype(np.uint8),
        segmentation_type="LABELMAP",
        segment_descriptions=[description],
        series_instance_uid="2.25.3",
        series_number=1,
        sop_instance_uid="2.25.4",
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="n",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=RLELossless,
    )
    seg.save_as(tmp_path / "theirs.dcm")
    read = read_segmentation(tmp_path / "theirs.dcm", volume)
    assert [segment.label for segment in read.segments] == ["bone"]
    assert np.array_equal(read.numbers, two_boxes == 1)


@pytest.mark.parametrize("kind", [BINARY, LABELMAP])
@pytest.mark.parametrize("read", [read_segmentation, read_masks])
def test_frame_of_a_segment_that_is_not_described_is_refused(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
    read: Callable[[Path, Volume], object],
) -> None:
    settings = replace(settings, encoding=Encoding(kind))
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    del seg.SegmentSequence[1]
    seg.save_as(tmp_path / "less.dcm")
    with pytest.raises(LabelsDoNotFit, match="does not describe"):
        read(tmp_path / "less.dcm", volume)


def test_segmentation_in_implicit_vr_is_read(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    """It is not written here, but every PACS may send it."""
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    seg.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    seg.save_as(tmp_path / "other.dcm", implicit_vr=True)
    numbers = read_segmentation(tmp_path / "other.dcm", volume).numbers
    assert np.array_equal(numbers, np.where(two_boxes == 6, 2, two_boxes))


def undefined_lengths(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                undefined_lengths(item)


def test_sequences_of_undefined_length_are_read(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    """As DCMTK writes them."""
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    undefined_lengths(seg)
    seg.save_as(tmp_path / "undefined.dcm")
    numbers = read_segmentation(tmp_path / "undefined.dcm", volume).numbers
    assert np.array_equal(numbers, np.where(two_boxes == 6, 2, two_boxes))


@pytest.mark.timeout(30)  # it once went on for ever
@pytest.mark.parametrize("chunk_bytes", [1, 100, 1000, 1 << 20])
def test_byte_that_makes_a_deflated_data_set_even_ends_it(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk_bytes: int,
) -> None:
    """PS3.5 A.5: a zero byte may follow the deflated bytes, which end where their last block ends."""
    settings = replace(settings, encoding=Encoding(BINARY, DeflatedExplicitVRLittleEndian))
    path = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path
    with path.open("ab") as stream:
        stream.write(b"\0")
    monkeypatch.setattr("converter.seg.file.CHUNK_BYTES", chunk_bytes)
    numbers = read_segmentation(path, volume).numbers
    assert np.array_equal(numbers, np.where(two_boxes == 6, 2, two_boxes))


@pytest.mark.parametrize(("down", "across"), [(-1, 1), (1, -1), (-1, -1)])
def test_frames_whose_rows_or_columns_run_the_other_way_are_read_where_they_lie(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    down: int,
    across: int,
) -> None:
    """As dcmqi writes them: in the direction of the label map's file."""
    settings = replace(settings, encoding=Encoding(LABELMAP, ExplicitVRLittleEndian))
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    shared = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    shared.ImageOrientationPatient = [across, 0, 0, 0, down, 0]
    for group in seg.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        x, y, z = place.ImagePositionPatient
        place.ImagePositionPatient = [
            x + (23 * 1.25 if across < 0 else 0),
            y + (15 * 1.5 if down < 0 else 0),
            z,
        ]
    frames = np.frombuffer(seg.PixelData, np.uint8).reshape(-1, 16, 24)
    seg.PixelData = np.ascontiguousarray(frames[:, ::down, ::across]).tobytes()
    seg.save_as(tmp_path / "turned.dcm")
    numbers = read_segmentation(tmp_path / "turned.dcm", volume).numbers
    assert np.array_equal(numbers, np.where(two_boxes == 6, 2, two_boxes))


@pytest.mark.parametrize("cosines", [[0, 1, 0, 1, 0, 0], [0.8, 0.6, 0, -0.6, 0.8, 0]])
def test_frames_of_another_direction_are_refused(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    cosines: list[float],
) -> None:
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    shared = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    shared.ImageOrientationPatient = cosines
    seg.save_as(tmp_path / "turned.dcm")
    with pytest.raises(LabelsDoNotFit, match="other directions"):
        read_segmentation(tmp_path / "turned.dcm", volume)


@every_form
def test_file_cut_anywhere_is_refused_and_never_read_wrong(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
    syntax: str,
) -> None:
    settings = replace(settings, encoding=Encoding(kind, syntax))
    whole = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path.read_bytes()
    cut = tmp_path / "cut.dcm"
    for length in np.linspace(140, len(whole) - 9, 40).astype(int):
        cut.write_bytes(whole[:length])
        with pytest.raises(LabelsDoNotFit):
            read_segmentation(cut, volume)


# -- run lengths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 129), (7, 5), (16, 300), (64, 512)])
@pytest.mark.parametrize("values", [1, 2, 255])
def test_run_lengths_come_back_from_pydicoms_decoder_and_from_ours(
    shape: tuple[int, int], values: int
) -> None:
    plane = np.random.default_rng(values).integers(0, values, shape).astype(np.uint8)
    plane[: shape[0] // 2] = 7
    encoded = encode_plane(plane, RLELossless)
    assert len(encoded) % 2 == 0
    assert np.array_equal(decode_plane(encoded, shape, RLELossless), plane)
    by_pydicom = hd.frame.decode_frame(
        encoded,
        transfer_syntax_uid=RLELossless,
        rows=shape[0],
        columns=shape[1],
        samples_per_pixel=1,
        bits_allocated=8,
        bits_stored=8,
        photometric_interpretation="MONOCHROME2",
    )
    assert np.array_equal(by_pydicom, plane)


def test_run_lengths_of_pydicoms_encoder_are_read() -> None:
    plane = np.random.default_rng(3).integers(0, 3, (32, 40)).astype(np.uint8)
    encoded = hd.frame.encode_frame(
        plane,
        transfer_syntax_uid=RLELossless,
        bits_allocated=8,
        bits_stored=8,
        photometric_interpretation="MONOCHROME2",
    )
    assert np.array_equal(decode_plane(encoded, (32, 40), RLELossless), plane)


# -- masks --------------------------------------------------------------------------------------------------


@pytest.fixture
def masks() -> dict[str, np.ndarray]:
    """The second lies within the first; the third is empty."""
    outer, inner = np.zeros((6, 16, 24), bool), np.zeros((6, 16, 24), bool)
    outer[1:5, 2:12, 3:20] = True
    inner[2:4, 4:8, 5:11] = True
    return {"liver": outer, "liver_vessels": inner, "spleen": np.zeros((6, 16, 24), bool)}


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES[BINARY])
def test_overlapping_masks_survive(
    volume: Volume,
    masks: dict[str, np.ndarray],
    settings: SegmentationSettings,
    tmp_path: Path,
    syntax: str,
) -> None:
    settings = replace(settings, encoding=Encoding(BINARY, syntax))
    encoded = encode_masks(volume, masks, settings, tmp_path / "seg.dcm")
    assert dcmread(encoded.path).SegmentsOverlap == "YES"
    read = {segment.label: mask for segment, mask in read_masks(encoded.path, volume).items()}
    assert list(read) == ["liver", "liver_vessels"]
    assert all(np.array_equal(read[name], masks[name]) for name in read)
    with pytest.raises(LabelsDoNotFit, match="overlap"):
        read_segmentation(encoded.path, volume)


def test_masks_that_do_not_overlap_say_so(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    masks = {"bone": two_boxes == 1, "lung_right": two_boxes == 6}
    encoded = encode_masks(volume, masks, settings, tmp_path / "seg.dcm")
    assert dcmread(encoded.path).SegmentsOverlap == "NO"
    assert read_segmentation(encoded.path, volume).numbers.max() == 2


def test_overlapping_masks_make_no_label_map(
    volume: Volume, masks: dict[str, np.ndarray], settings: SegmentationSettings, tmp_path: Path
) -> None:
    settings = replace(settings, encoding=Encoding(LABELMAP))
    with pytest.raises(EncodingFailed, match="as BINARY"):
        encode_masks(volume, masks, settings, tmp_path / "seg.dcm")
    assert list(tmp_path.glob("*.dcm*")) == []


def test_label_map_is_read_as_masks_too(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    settings = replace(settings, encoding=Encoding(LABELMAP))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    bone, lung = read_masks(encoded.path, volume).values()
    assert np.array_equal(bone, two_boxes == 1)
    assert np.array_equal(lung, two_boxes == 6)


# -- cropping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [BINARY, LABELMAP])
@pytest.mark.parametrize("lean", [0.0, 0.3])
def test_cropped_frames_lie_where_the_labels_are(
    make_series: MakeSeries,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
    lean: float,
) -> None:
    volume = read_series(make_series(lean=lean))
    settings = replace(settings, encoding=Encoding(kind, ExplicitVRLittleEndian, is_cropped=True))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    seg = dcmread(encoded.path)
    assert (seg.Rows, seg.Columns) == (9, 16)
    assert np.array_equal(
        read_segmentation(encoded.path, volume).numbers, np.where(two_boxes == 6, 2, two_boxes)
    )
    derived = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert derived.SourceImageSequence[0].SpatialLocationsPreserved == "NO"


def test_cropped_frames_say_their_place_to_highdicom(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    """An independent reader finds the first labelled voxel at the same place in the patient."""
    settings = replace(settings, encoding=Encoding(BINARY, is_cropped=True))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    read = hd.seg.segread(encoded.path).get_volume(combine_segments=True)
    place = read.affine @ (*np.argwhere(read.array == 2)[0], 1)
    frame, row, column = np.argwhere(two_boxes == 6)[0]
    last_frame = np.argwhere(two_boxes == 6)[-1]
    places = [
        volume.affine_lps @ (c, r, f, 1)
        for f, r, c in ((frame, row, column), last_frame, (frame, last_frame[1], column))
    ]
    assert min(np.abs(place - other).max() for other in places) < 1e-6


# -- what is warned of --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "is_cropped", "is_warned"),
    [(BINARY, False, False), (BINARY, True, True), (LABELMAP, True, False)],
)
def test_frames_that_end_within_a_byte_are_warned_of(
    volume: Volume,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
    is_cropped: bool,
    is_warned: bool,
) -> None:
    """The slices have 16 x 24 pixels, the cropped frames 3 x 5."""
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[2, 3:6, 4:9] = 1
    settings = replace(settings, encoding=Encoding(kind, is_cropped=is_cropped))
    encoded = encode_segmentation(volume, labels, NAMES, settings, tmp_path / "seg.dcm")
    assert any("end within a byte" in warning for warning in encoded.warnings) == is_warned


# -- what goes wrong ----------------------------------------------------------------------------------------


def test_disk_full_while_writing_leaves_no_file(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "seg.dcm").write_bytes(b"an earlier one")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    assert (tmp_path / "seg.dcm").read_bytes() == b"an earlier one"
    assert list(tmp_path.glob(".seg*")) == []


# -- who is tracked -----------------------------------------------------------------------------------------


def tracking_uids(
    make_series: MakeSeries, labels: np.ndarray, settings: SegmentationSettings, out: Path, **values: str
) -> list[str]:
    def edit(dataset: Dataset, number: int) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    volume = read_series(make_series(edit=edit, seed=len(values.get("StudyInstanceUID", ""))))
    seg = dcmread(encode_segmentation(volume, labels, NAMES, settings, out).path)
    return [str(item.TrackingUID) for item in seg.SegmentSequence]


def test_tracking_uids_are_equal_over_time_where_issuer_and_number_name_the_patient(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    out = tmp_path / "seg.dcm"
    known = {"PatientID": "77", "IssuerOfPatientID": "Ward"}
    first = tracking_uids(make_series, two_boxes, settings, out, **known, StudyInstanceUID="2.25.1")
    later = tracking_uids(make_series, two_boxes, settings, out, **known, StudyInstanceUID="2.25.22")
    assert first == later
    assert len(set(first)) == 2
    assert first != tracking_uids(make_series, two_boxes, replace(settings, tracking_key=b"x"), out, **known)


@pytest.mark.parametrize(
    "values",
    [
        {"PatientID": "77"},
        {"PatientID": "", "IssuerOfPatientID": "Ward"},
        {"PatientID": "77", "IssuerOfPatientID": "Ward", "PatientIdentityRemoved": "YES"},
    ],
)
def test_tracking_uids_hold_for_the_study_only_where_nobody_is_named(
    make_series: MakeSeries,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    values: dict[str, str],
) -> None:
    uids = [
        tracking_uids(make_series, two_boxes, settings, tmp_path / "seg.dcm", **values, StudyInstanceUID=uid)
        for uid in ("2.25.1", "2.25.1", "2.25.22")
    ]
    assert uids[0] == uids[1]
    assert all(one != other for one, other in pairwise([uids[0][0], uids[2][0]]))


# -- sources of many frames ---------------------------------------------------------------------------------


def test_frames_of_a_multi_frame_source_are_referred_to_by_number(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    frames = tuple(
        replace(frame, sop_instance_uid="2.25.9", frame_number=number)
        for number, frame in enumerate(volume.frames, start=11)
    )
    enhanced = replace(volume, frames=frames)
    encoded = encode_segmentation(enhanced, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    seg = dcmread(encoded.path)
    assert [ref.ReferencedSOPInstanceUID for ref in seg.SourceImageSequence] == ["2.25.9"]
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    sources = [
        group.DerivationImageSequence[0].SourceImageSequence[0]
        for group in seg.PerFrameFunctionalGroupsSequence
    ]
    assert [int(source.ReferencedFrameNumber) for source in sources] == [14, 13, 12, 13]
    assert np.array_equal(
        read_segmentation(encoded.path, enhanced).numbers, np.where(two_boxes == 6, 2, two_boxes)
    )


# -- what is copied -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ClinicalTrialSponsorName", "A sponsor"),
        ("ClinicalTrialProtocolID", "P-1"),
        ("ClinicalTrialSubjectID", "S-9"),
        ("ClinicalTrialTimePointID", "T0"),
        ("PatientIdentityRemoved", "YES"),
        ("DeidentificationMethod", "Basic profile"),
        ("LongitudinalTemporalInformationModified", "MODIFIED"),
        ("IssuerOfPatientID", "Ward"),
        ("AdmissionID", "A-3"),
    ],
)
def test_trial_and_deidentification_are_copied(
    make_series: MakeSeries,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    keyword: str,
    value: str,
) -> None:
    volume = read_series(make_series(edit=lambda dataset, number: setattr(dataset, keyword, value)))
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    assert seg[keyword].value == value


def test_deidentification_codes_are_copied(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113100", "DCM", "Basic Profile"
        dataset.DeidentificationMethodCodeSequence = [code]

    volume = read_series(make_series(edit=edit))
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    assert seg.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_scanner_stands_as_contributing_equipment(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    volume = read_series(make_series())
    seg = dcmread(encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path)
    purposes = {
        item.PurposeOfReferenceCodeSequence[0].CodeMeaning: item.Manufacturer
        for item in seg.ContributingEquipmentSequence
    }
    assert purposes["Acquisition Equipment"] == "Derived from a NIfTI volume"
    assert seg.Manufacturer == "IRIS Gateway"


# -- colours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(SegmentationType))
def test_segments_are_read_with_the_colours_of_their_structures(
    volume: Volume,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    kind: SegmentationType,
) -> None:
    settings = replace(settings, encoding=Encoding(kind))
    encoded = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm")
    colours = [segment.rgb for segment in read_segmentation(encoded.path, volume).segments]
    expected = [structure(name).rgb for name in NAMES.values()]
    assert np.abs(np.subtract(colours, expected)).max() <= 2  # CIELab holds them in 16 bits
