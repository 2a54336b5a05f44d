"""Multi-frame objects: judged by their frames, and converted frame by frame."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from converter.derived.series import MadeUpStudy
from converter.errors import ConversionFailed, UnusableSeries
from converter.nifti.conversion import convert_volume
from converter.reading.headers import text_of
from converter.seg.decoder import read_segmentation
from converter.seg.encoder import Encoding, SegmentationSettings, SegmentationType, encode_segmentation
from converter.series import (
    Judgement,
    Usability,
    Volume,
    judge_series,
    read_header,
    read_series,
    volume_of,
    volume_of_frames,
)
from converter.unpacking.encoded_frames import EncodedFrames
from converter.unpacking.neutral import NeutralCopies
from converter.unpacking.source_frames import source_frames
from tests.landing import voxels_at_frames

Make = Callable[..., Path]
MR = MadeUpStudy(modality="MR")
DIRECTIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "feet first": (-1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, -0.8),
}


def judged(folder: Path) -> Judgement:
    return judge_series([(path, read_header(path)) for path in sorted(folder.iterdir())])


def frame_pixels(volume: Volume) -> np.ndarray:
    """Each frame's pixels out of the whole decoded object."""
    decoded = {path: dcmread(path).pixel_array for path in {frame.path for frame in volume.frames}}
    return np.stack([decoded[frame.path][(frame.frame_number or 0) - 1] for frame in volume.frames])


def per_frame(sequence: str, keyword: str, *values: object) -> Callable[[Dataset], None]:
    """Give the frames these values by turns, in a functional group."""

    def edit(image: Dataset) -> None:
        for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
            if sequence not in groups:
                setattr(groups, sequence, [Dataset()])
            setattr(groups[sequence].value[0], keyword, values[number % len(values)])

    return edit


# -- judged -------------------------------------------------------------------------------------------------


def test_frames_of_an_object_are_one_volume_sorted_along_the_normal(make_multiframe: Make) -> None:
    heights = [0.0, 6.0, 2.0, 10.0, 4.0, 8.0]
    volume = read_series(make_multiframe(heights))
    assert [frame.frame_number for frame in volume.frames] == [1, 3, 5, 2, 6, 4]
    assert [frame.position_lps_mm[2] - 11 for frame in volume.frames] == sorted(heights)
    assert {frame.sop_instance_uid for frame in volume.frames} == {text_of(volume.header, "SOPInstanceUID")}
    assert len({frame.name for frame in volume.frames}) == 6
    assert (volume.rows, volume.columns, volume.pixel_spacing_mm) == (16, 24, (1.5, 1.25))
    assert (volume.usability, volume.findings) == (Usability.USABLE, ())


def test_header_of_a_frame_reads_like_that_of_a_single_frame_image(make_multiframe: Make) -> None:
    def edit(image: Dataset) -> None:
        per_frame("PixelMeasuresSequence", "SliceThickness", "3")(image)
        for groups in image.PerFrameFunctionalGroupsSequence:
            groups.PixelMeasuresSequence[0].PixelSpacing = [1.5, 1.25]
        per_frame("FrameContentSequence", "FrameAcquisitionNumber", 4)(image)

    volume = read_series(make_multiframe(edit=edit))
    expected = {
        "ImageType": "DERIVED\\PRIMARY\\VOLUME\\NONE",
        "RescaleType": "HU",
        "KVP": "120.0",
        "SliceThickness": "3",
        "AcquisitionNumber": "4",
        "Modality": "CT",
        "SeriesDescription": "Derived series",
    }
    for header in volume.headers:
        assert {keyword: text_of(header, keyword) for keyword in expected} == expected
        assert "PerFrameFunctionalGroupsSequence" not in header
        assert "NumberOfFrames" not in header


@pytest.mark.parametrize(
    ("sequence", "keyword", "values", "name"),
    [
        ("MREchoSequence", "EffectiveEchoTime", (5.0, 12.5), "EchoTime"),
        (
            "MRImageFrameTypeSequence",
            "ComplexImageComponent",
            ("MAGNITUDE", "PHASE"),
            "ComplexImageComponent",
        ),
        ("TemporalPositionSequence", "TemporalPositionTimeOffset", (0.0, 30.0), "TemporalPositionTimeOffset"),
        ("FrameContentSequence", "TemporalPositionIndex", (1, 2), "TemporalPositionIndex"),
        ("MRDiffusionSequence", "DiffusionBValue", (0.0, 800.0), "DiffusionBValue"),
        ("FrameContentSequence", "StackID", ("1", "2"), "StackID"),
        ("FrameContentSequence", "FrameAcquisitionNumber", (1, 2), "AcquisitionNumber"),
        ("FrameContentSequence", "DimensionIndexValues", ([1, 7], [2, 7]), "DimensionIndexValues"),
        ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", (0.0, 300.0), "TriggerTime"),
    ],
)
def test_frames_of_two_kinds_are_two_volumes(
    make_multiframe: Make, sequence: str, keyword: str, values: tuple[object, object], name: str
) -> None:
    def edit(image: Dataset) -> None:
        per_frame(sequence, keyword, *values)(image)

    heights = [2.0 * (k // 2) for k in range(12)]
    volumes = judged(make_multiframe(heights, edit=edit, study=MR)).volumes
    assert [len(volume.frames) for volume in volumes] == [6, 6]
    assert [{(f.frame_number or 0) % 2 for f in v.frames} for v in volumes] == [{1}, {0}]
    for volume in volumes:
        assert (volume.usability, [f.code for f in volume.findings]) == (Usability.USABLE, ["split"])
        assert len({text_of(header, name) for header in volume.headers}) == 1


def test_two_objects_of_one_series_are_a_volume_each_where_nothing_else_tells_them_apart(
    make_multiframe: Make,
) -> None:
    folder = make_multiframe()

    def edit(image: Dataset) -> None:
        first = read_header(folder / "object.dcm")
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, keyword, first[keyword].value)

    (make_multiframe(edit=edit, seed=1) / "object.dcm").rename(folder / "second.dcm")
    volumes = judged(folder).volumes
    assert [len({frame.path for frame in volume.frames}) for volume in volumes] == [1, 1]
    assert "multi-frame object" in volumes[0].findings[0].sentence
    with pytest.raises(UnusableSeries, match="2 volumes"):
        read_series(folder)


def test_object_in_two_parts_is_one_volume(make_multiframe: Make) -> None:
    """A concatenation (PS3.3 C.7.6.16.2.2.4): several instances, each with some of the frames."""
    folder = make_multiframe((0, 2, 4))

    def edit(image: Dataset) -> None:
        first = read_header(folder / "object.dcm")
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, keyword, first[keyword].value)

    (make_multiframe((6, 8, 10), edit=edit) / "object.dcm").rename(folder / "second.dcm")
    volume = read_series(folder)
    assert (len(volume.frames), len({frame.name for frame in volume.frames})) == (6, 6)


def test_localizer_frames_are_apart(make_multiframe: Make) -> None:
    def edit(image: Dataset) -> None:
        for groups in image.PerFrameFunctionalGroupsSequence[:2]:
            frame_type = Dataset()
            frame_type.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
            groups.CTImageFrameTypeSequence = [frame_type]

    volume, scouts = judged(make_multiframe(edit=edit)).volumes
    assert (len(volume.frames), volume.usability) == (4, Usability.USABLE)
    assert (len(scouts.frames), scouts.findings[0].code) == (2, "scout")


def test_missing_frame_is_a_gap_between_frames(make_multiframe: Make) -> None:
    volume = read_series(make_multiframe((0, 2, 4, 8, 10)))
    (finding,) = volume.findings
    assert finding.code == "gap"
    assert "1 slice is missing between frame 3 and frame 4 (15 to 19 mm towards the head)" in finding.sentence


def _lose_groups(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence


def _lose_one_frame(image: Dataset) -> None:
    image.PerFrameFunctionalGroupsSequence = image.PerFrameFunctionalGroupsSequence[1:]


def _break_groups(image: Dataset) -> None:
    image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence = []
    image.SharedFunctionalGroupsSequence = []


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (_lose_groups, "multiframe", "where each of its frames lies"),
        (_lose_one_frame, "multiframe", "has 6 frames and describes 5"),
        (_break_groups, "no_geometry", "how it lies"),
    ],
)
def test_object_that_does_not_say_where_its_frames_lie_is_left_over(
    make_multiframe: Make, edit: Callable[[Dataset], None], code: str, words: str
) -> None:
    judgement = judged(make_multiframe(edit=edit))
    assert judgement.volumes == ()
    assert {finding.code for _, finding in judgement.left_over} == {code}
    assert words in judgement.left_over[0][1].sentence


def test_frame_without_a_place_alone_is_left_over(make_multiframe: Make) -> None:
    def edit(image: Dataset) -> None:
        del image.PerFrameFunctionalGroupsSequence[5].PlanePositionSequence

    judgement = judged(make_multiframe(edit=edit))
    assert [len(volume.frames) for volume in judgement.volumes] == [5]
    assert [finding.code for _, finding in judgement.left_over] == ["no_geometry"]


def test_volume_of_frames_takes_exactly_these(make_multiframe: Make) -> None:
    edit = per_frame("MREchoSequence", "EffectiveEchoTime", 5.0, 12.5)
    folder = make_multiframe([2.0 * (k // 2) for k in range(12)], edit=edit, study=MR)
    path = folder / "object.dcm"
    volume = volume_of_frames([(path, number) for number in (2, 4, 6, 8, 10, 12)])
    assert {text_of(header, "EchoTime") for header in volume.headers} == {"12.5"}
    with pytest.raises(UnusableSeries, match="no volume any more"):
        volume_of_frames([(path, number) for number in (1, 2, 3, 4)])


def test_volume_of_a_file_takes_all_its_frames(make_multiframe: Make) -> None:
    path = make_multiframe() / "object.dcm"
    assert len(volume_of([path]).frames) == 6


# -- converted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", [None, MR])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_shuffled_frames_convert_to_their_pixels_where_they_lie(
    make_multiframe: Make, tmp_path: Path, direction: str, study: MadeUpStudy | None
) -> None:
    heights = [2.5 * k for k in range(7)]
    random.Random(3).shuffle(heights)
    volume = read_series(make_multiframe(heights, orientation=DIRECTIONS[direction], study=study))
    converted = convert_volume(volume, tmp_path / "out.nii")
    assert np.array_equal(
        voxels_at_frames(nib.load(converted.path), volume, most_off=1e-3), frame_pixels(volume)
    )


def test_frames_of_one_echo_alone_are_converted(make_multiframe: Make, tmp_path: Path) -> None:
    edit = per_frame("MREchoSequence", "EffectiveEchoTime", 5.0, 12.5)
    folder = make_multiframe([2.0 * (k // 2) for k in range(12)], edit=edit, study=MR)
    for number, volume in enumerate(judged(folder).volumes):
        converted = convert_volume(volume, tmp_path / f"{number}.nii")
        assert np.array_equal(
            voxels_at_frames(nib.load(converted.path), volume, most_off=1e-3), frame_pixels(volume)
        )


def test_each_frame_is_rescaled_by_its_own_slope(make_multiframe: Make, tmp_path: Path) -> None:
    def edit(image: Dataset) -> None:
        del image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
        per_frame("PixelValueTransformationSequence", "RescaleSlope", "1", "1.5", "2")(image)
        per_frame("PixelValueTransformationSequence", "RescaleIntercept", "-10", "4")(image)
        per_frame("PixelValueTransformationSequence", "RescaleType", "US")(image)

    volume = read_series(make_multiframe(edit=edit, study=MR))
    slopes = np.array([1, 1.5, 2, 1, 1.5, 2])[:, None, None]
    intercepts = np.array([-10, 4, -10, 4, -10, 4])[:, None, None]
    converted = convert_volume(volume, tmp_path / "out.nii")
    expected = frame_pixels(volume) * slopes + intercepts
    assert np.allclose(voxels_at_frames(nib.load(converted.path), volume, most_off=1e-3), expected, atol=1e-3)


def test_frames_that_lean_or_miss_one_convert(make_multiframe: Make, tmp_path: Path) -> None:
    leaning = read_series(make_multiframe((4, 0, 2, 8, 6), lean=0.3))
    assert [finding.code for finding in leaning.findings] == ["gantry_tilt"]
    assert "resampled" in " ".join(convert_volume(leaning, tmp_path / "a.nii").warnings)
    gapped = read_series(make_multiframe((8, 0, 2, 4)))
    assert "resampled" in " ".join(convert_volume(gapped, tmp_path / "b.nii").warnings)


# -- in other encodings -------------------------------------------------------------------------------------


def recoded(folder: Path, syntax: str) -> Path:
    path = folder / "object.dcm"
    source = dcmread(path)
    pixels = source.pixel_array
    image = Dataset()
    for element in source:
        image.add(element)
    image.file_meta = source.file_meta
    image.file_meta.TransferSyntaxUID = syntax
    if syntax == RLELossless:
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.compress(RLELossless, pixels)
    elif syntax == ExplicitVRBigEndian:
        image.PixelData = pixels.astype(">i2").tobytes()
    image.save_as(path, enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    "syntax", [RLELossless, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_object_converts_to_the_same_voxels_in_every_encoding(
    make_multiframe: Make, tmp_path: Path, syntax: str
) -> None:
    plain = convert_volume(read_series(make_multiframe()), tmp_path / "plain.nii")
    volume = read_series(recoded(make_multiframe(), syntax))
    assert convert_volume(volume, tmp_path / "other.nii").sha256 == plain.sha256


def test_compressed_frame_is_taken_over_without_decoding(make_multiframe: Make, tmp_path: Path) -> None:
    volume = read_series(recoded(make_multiframe((4, 0, 2)), RLELossless))
    whole = dcmread(volume.frames[0].path)
    frames = EncodedFrames(volume)
    (streams,) = ([*generate_frames(whole.PixelData, number_of_frames=3)],)
    for place, frame in enumerate(volume.frames):
        assert frames[place].syntax == RLELossless
        assert frames[place].value == encapsulate([streams[(frame.frame_number or 0) - 1]])


def test_compressed_frames_of_several_fragments_each_are_told_apart(make_multiframe: Make) -> None:
    folder = recoded(make_multiframe(), RLELossless)
    path = folder / "object.dcm"
    image = dcmread(path)
    pixels = image.pixel_array
    image.PixelData = encapsulate(list(generate_frames(image.PixelData, number_of_frames=6)), 2)
    image.save_as(path)
    volume = read_series(folder)
    with source_frames(volume) as frames:
        for place, frame in enumerate(volume.frames):
            assert np.array_equal(frames.stored[place], pixels[(frame.frame_number or 0) - 1])


def test_copy_of_a_frame_says_nothing_of_the_patient(make_multiframe: Make, tmp_path: Path) -> None:
    volume = read_series(make_multiframe())
    NeutralCopies(volume, EncodedFrames(volume)).write(2, tmp_path / "copy.dcm")
    content = (tmp_path / "copy.dcm").read_bytes()
    header = volume.header
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "SOPInstanceUID", "AccessionNumber"):
        assert text_of(header, keyword).encode() not in content


def test_object_cut_short_since_it_was_judged_is_a_failure_with_a_sentence(make_multiframe: Make) -> None:
    volume = read_series(make_multiframe())
    path = volume.frames[0].path
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ConversionFailed, match="pixels are damaged"):
        EncodedFrames(volume)[len(volume.frames) - 1]


# -- from single-frame images -------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.filterwarnings("ignore")
def test_legacy_converted_object_is_the_volume_that_its_images_were(
    make_series: Make, tmp_path: Path, modality: str
) -> None:
    folder = make_series((6, 0, 2, 4), study=MadeUpStudy(modality=modality))
    images = [dcmread(path) for path in sorted(folder.iterdir())]
    legacy = (
        hd.legacy.LegacyConvertedEnhancedCTImage
        if modality == "CT"
        else hd.legacy.LegacyConvertedEnhancedMRImage
    )
    made = legacy(images, "2.25.81", 5, "2.25.82", 1)
    (tmp_path / "legacy").mkdir()
    made.save_as(tmp_path / "legacy" / "object.dcm")
    plain, converted = read_series(folder), read_series(tmp_path / "legacy")
    assert [f.position_lps_mm for f in converted.frames] == [f.position_lps_mm for f in plain.frames]
    assert text_of(converted.header, "EchoTime") == text_of(plain.header, "EchoTime")
    one, other = (convert_volume(v, tmp_path / f"{n}.nii").path for n, v in enumerate((plain, converted)))
    assert np.array_equal(
        voxels_at_frames(nib.load(one), plain, most_off=1e-3),
        voxels_at_frames(nib.load(other), converted, most_off=1e-3),
    )


# -- encoded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", list(DIRECTIONS))
@pytest.mark.parametrize("kind", list(SegmentationType))
def test_segmentation_of_a_multi_frame_object_lies_on_its_frames_for_highdicom_too(
    make_multiframe: Make,
    settings: SegmentationSettings,
    tmp_path: Path,
    direction: str,
    kind: SegmentationType,
) -> None:
    """Highdicom looks the source's frame numbers up, which we only write."""
    folder = make_multiframe(orientation=DIRECTIONS[direction])
    volume = read_series(folder)
    labels = np.random.default_rng(1).integers(0, 3, (len(volume.frames), volume.rows, volume.columns))
    labels[0] = 0
    settings = replace(settings, encoding=Encoding(kind))
    encoded = encode_segmentation(
        volume, labels.astype(np.uint8), {1: "bone", 2: "gas"}, settings, tmp_path / "seg.dcm"
    )
    assert np.array_equal(read_segmentation(encoded.path, volume).numbers, labels)
    numbers = hd.seg.segread(encoded.path).get_pixels_by_source_frame(
        volume.frames[0].sop_instance_uid,
        [frame.frame_number for frame in volume.frames],
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(numbers, labels)
    assert len(dcmread(encoded.path).SourceImageSequence) == 1
