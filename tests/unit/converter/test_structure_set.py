"""The structure set: every pixel within its polygons, names as planning systems take them, references."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydicom import Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian
from skimage.draw import polygon2mask

from batch_job.contract import engines, task_facts
from converter.contours import checking, document
from converter.contours.document import write_structure_set
from converter.contours.names import region_names
from converter.contours.numbers import point_texts
from converter.contours.tracing import Outlines, trace
from converter.derived.series import SliceStack, write_series, write_slices
from converter.errors import EncodingFailed
from converter.results.header import is_our_own
from converter.results.labelled import Labelled
from converter.results.settings import QualityFlag, ResultSettings
from converter.seg.encoder import SegmentationSettings
from converter.series import read_series
from converter.voxels.geometry import labels_on_frames
from tests.structure_sets import READERS, dice, read_by_others

MakeSeries = Callable[..., Path]
NAMES = {1: "lung_upper_lobe_left", 6: "liver"}


def drawn(outlines: Outlines, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels whose centres lie within the polygons of their label."""
    plane = np.zeros(shape, np.uint8)
    ends = [*outlines.begins.tolist(), len(outlines.points)][1:]
    for begin, end, label in zip(outlines.begins.tolist(), ends, outlines.labels.tolist(), strict=True):
        plane[polygon2mask(shape, outlines.points[begin:end, ::-1])] = label
    return plane


# -- tracing ------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)))
def test_polygons_of_any_labels_hold_exactly_their_pixels(plane: np.ndarray) -> None:
    assert np.array_equal(drawn(trace(plane), plane.shape), plane)


def test_hole_is_joined_by_a_cut_so_that_one_polygon_is_left() -> None:
    plane = np.ones((9, 12), np.uint8)
    plane[2:4, 2:4] = plane[5:7, 3:6] = plane[2:7, 8:10] = 0
    outlines = trace(plane)
    assert len(outlines.begins) == 1
    assert np.array_equal(drawn(outlines, plane.shape), plane)


def test_island_in_a_hole_is_a_polygon_of_its_own() -> None:
    plane = np.ones((9, 9), np.uint8)
    plane[2:7, 2:7] = 0
    plane[4, 4] = 1
    outlines = trace(plane)
    assert len(outlines.begins) == 2
    assert np.array_equal(drawn(outlines, plane.shape), plane)


def test_points_on_straight_lines_are_left_out_also_on_slanting_ones() -> None:
    plane = np.zeros((20, 20), np.uint8)
    plane[3:15, 4:16] = 1
    assert len(trace(plane).points) == 8  # a square without its corners
    steps = np.fromfunction(lambda row, column: np.abs(row - 9) + np.abs(column - 9) < 7, (20, 20))
    assert len(trace(steps.astype(np.uint8)).points) <= 12


def test_empty_slice_has_no_polygon() -> None:
    assert len(trace(np.zeros((4, 5), np.uint8)).begins) == 0


# -- numbers ------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(*[st.floats(-9999, 9999)] * 3), min_size=1, max_size=5), min_size=1, max_size=5
    )
)
def test_points_are_written_to_a_ten_thousandth_of_a_millimetre_in_ten_characters(
    contours: list[list[tuple[float, float, float]]],
) -> None:
    begins = np.cumsum([0, *map(len, contours)])[:-1]
    texts = point_texts(np.array([point for contour in contours for point in contour]), begins)
    assert len(texts) == len(contours)
    for text, contour in zip(texts, contours, strict=True):
        numbers = text.decode("ascii").split("\\")
        assert max(map(len, numbers)) <= 10
        assert not any(number.startswith("00") or number.startswith("-00") for number in numbers)
        assert np.allclose([float(n) for n in numbers], np.ravel(contour), rtol=0, atol=0.5e-4 + 1e-9)


def test_point_ten_metres_away_is_refused() -> None:
    with pytest.raises(EncodingFailed, match="metres away"):
        point_texts(np.array([[0.0, 12_000.0, 0.0]]), np.array([0]))


# -- names --------------------------------------------------------------------------------------------------


def test_names_of_all_structures_fit_planning_systems_and_differ() -> None:
    tasks = [task for facts in engines().values() for task in facts.tasks.values()]
    for task in tasks:
        names = region_names(list(task.labels.values()))
        assert len({name.lower() for name in names}) == len(task.labels)
        for name in names:
            assert 1 <= len(name) <= 16
            assert name.isascii()
            assert set(name) - {"_", "-"} <= set(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
            )


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("liver", "liver"),
        ("kidney_left", "kidney_L"),
        ("vertebrae_L1", "vertebrae_L1"),
        ("lung_upper_lobe_left", "lung_uppe_lobe_L"),
        ("Größe / Ä", "Gr_e"),
        ("", "structure"),
    ],
)
def test_name_is_shortened_so_that_sides_and_numbers_stay(name: str, short: str) -> None:
    assert region_names([name]) == [short]


def test_names_that_would_be_alike_get_numbers() -> None:
    assert region_names(["liver", "Liver", "liver "]) == ["liver", "Liver_2", "liver_3"]


# -- the object ---------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(make_series: MakeSeries) -> Labelled:
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[1:4, 3:8, 4:12] = 1
    labels[2, 5, 6:8] = 0
    labels[2:6, 9:14, 4:12] = 6
    labels[5, 15, 23] = 6
    return Labelled(read_series(make_series()), labels, NAMES)


@pytest.fixture
def said(settings: SegmentationSettings) -> ResultSettings:
    return settings


def written(labelled: Labelled, said: ResultSettings, path: Path) -> Dataset:
    (made,) = write_structure_set(labelled, said, path)
    found = dcmread(made.path)
    assert found.SOPInstanceUID == made.sop_instance_uid
    return found


def test_structure_set_says_what_each_region_is_and_refers_to_the_images(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    found = written(labelled, said, tmp_path / "rt.dcm")
    assert found.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert is_our_own(found)
    regions = found.StructureSetROISequence
    assert [(r.ROINumber, r.ROIName, r.ROIDescription) for r in regions] == [
        (1, "lung_uppe_lobe_L", "lung_upper_lobe_left"),
        (2, "liver", "liver"),
    ]
    lung, liver = found.RTROIObservationsSequence
    (code,) = lung.RTROIIdentificationCodeSequence
    assert code.CodeMeaning == "Upper lobe of lung"
    assert code.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert {lung.RTROIInterpretedType, liver.RTROIInterpretedType} == {"ORGAN"}
    (frame,) = found.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == labelled.volume.frame_of_reference_uid
    (study,) = frame.RTReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == labelled.volume.study_uid
    (series,) = study.RTReferencedSeriesSequence
    uids = [image.sop_instance_uid for image in labelled.volume.frames]
    assert [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence] == uids


def test_region_that_a_flag_names_says_so_first(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    flag = QualityFlag("fragments", "liver", 53.0, "%", "The liver comes in 2 pieces.")
    found = written(replace(labelled, flags=(flag,)), said, tmp_path / "rt.dcm")
    assert [region.ROIDescription for region in found.StructureSetROISequence] == [
        "lung_upper_lobe_left",
        "CHECK: The liver comes in 2 pieces. liver",
    ]


def test_each_contour_is_closed_lies_on_its_image_and_counts_its_points(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    found = written(labelled, said, tmp_path / "rt.dcm")
    heights = {frame.sop_instance_uid: frame.position_lps_mm[2] for frame in labelled.volume.frames}
    for region, count in zip(found.ROIContourSequence, (3, 5), strict=True):
        assert len(region.ContourSequence) == count
        for contour in region.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            points = np.reshape(np.array(contour.ContourData, float), (-1, 3))
            assert len(points) == contour.NumberOfContourPoints
            (image,) = contour.ContourImageSequence
            assert set(points[:, 2]) == {heights[image.ReferencedSOPInstanceUID]}


def test_contours_on_frames_of_one_object_name_the_frame(
    make_multiframe: Callable[..., Path], said: ResultSettings, tmp_path: Path
) -> None:
    volume = read_series(make_multiframe())
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[3, 3:8, 4:12] = 6
    found = written(Labelled(volume, labels, NAMES), said, tmp_path / "rt.dcm")
    (contour,) = found.ROIContourSequence[0].ContourSequence
    assert contour.ContourImageSequence[0].ReferencedFrameNumber == volume.frames[3].frame_number


def test_contour_with_more_text_than_explicit_vr_can_hold_is_read_whole(
    labelled: Labelled, said: ResultSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a one runs 1001 times around its structure, which encloses the same."""

    def around_and_around(points_mm: np.ndarray, begins: np.ndarray) -> list[bytes]:
        return [b"\\".join([text] * 1001) for text in point_texts(points_mm, begins)]

    once = written(labelled, said, tmp_path / "once.dcm")
    monkeypatch.setattr(document, "point_texts", around_and_around)
    found = written(labelled, said, tmp_path / "rt.dcm")
    first, before = (each.ROIContourSequence[0].ContourSequence[0].ContourData for each in (found, once))
    assert len(first) == 1001 * len(before)
    assert (tmp_path / "rt.dcm").stat().st_size > 1001 * 65 * len(found.ROIContourSequence)


@pytest.mark.parametrize("what", ["another pixel", "elsewhere", "cut short", "damaged"])
def test_contours_that_do_not_enclose_their_labels_are_not_kept(
    labelled: Labelled, said: ResultSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def wrong(points_mm: np.ndarray, begins: np.ndarray) -> list[bytes]:
        if what == "another pixel":
            points_mm = points_mm - np.array([1.25, 0, 0])
        if what == "elsewhere":
            points_mm = points_mm + np.array([0, 0, 1])
        texts = point_texts(points_mm, begins)
        if what == "cut short":
            return [b"\\".join(text.split(b"\\")[:6]) for text in texts]
        return [text + b"\\x" for text in texts] if what == "damaged" else texts

    monkeypatch.setattr(document, "point_texts", wrong)
    monkeypatch.setattr(checking, "LEAST_ML", 0.0)
    names = (
        r" of \w+ do not .* \(Dice 0\.\d+\)"
        if what in ("another pixel", "cut short")
        else " do not read back"
    )
    with pytest.raises(EncodingFailed, match=rf"^the contours{names}.*; nothing was written$"):
        write_structure_set(labelled, said, tmp_path / "rt.dcm")
    assert list(tmp_path.glob("*rt.dcm*")) == []


def test_structure_set_of_the_same_work_has_the_same_bytes(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    for name in ("one.dcm", "two.dcm"):
        written(labelled, said, tmp_path / name)
    assert (tmp_path / "one.dcm").read_bytes() == (tmp_path / "two.dcm").read_bytes()


def test_structure_set_of_nothing_is_refused(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    with pytest.raises(EncodingFailed, match="nothing to draw"):
        write_structure_set(
            replace(labelled, labels=labelled.labels * np.uint8(0)), said, tmp_path / "rt.dcm"
        )


@pytest.mark.peer("dicom3tools")
def test_structure_set_is_valid_by_dciodvfy(labelled: Labelled, said: ResultSettings, tmp_path: Path) -> None:
    written(labelled, said, tmp_path / "rt.dcm")
    program = shutil.which("dciodvfy")
    assert program is not None
    done = subprocess.run([program, tmp_path / "rt.dcm"], capture_output=True, text=True, check=False)
    assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


GEOMETRIES = {
    "supine": ((1, 0, 0, 0, 1, 0), 0.0),
    "prone": ((-1, 0, 0, 0, -1, 0), 0.0),
    "sagittal": ((0, 1, 0, 0, 0, -1), 0.0),
    "coronal": ((1, 0, 0, 0, 0, -1), 0.0),
    "oblique": ((0.8, 0.6, 0, -0.48, 0.64, 0.6), 0.0),
    "tilted": ((1, 0, 0, 0, 1, 0), 0.3),
}
FURTHER = ("prone", "sagittal", "coronal")
"""They are looked at in `make test-long` only."""


@pytest.mark.peer("rtstruct")
@pytest.mark.parametrize(
    "name", ["supine", "oblique", "tilted", *(pytest.param(each, marks=pytest.mark.long) for each in FURTHER)]
)
def test_structure_set_is_read_pixel_for_pixel_by_readers_of_radiotherapy(
    said: ResultSettings, tmp_path: Path, name: str
) -> None:
    orientation, lean = GEOMETRIES[name]
    row, column = np.array(orientation, float).reshape(2, 3)
    step = np.cross(row, column) + lean * column
    positions = [(np.array([-11.0, 17.5, 240.0]) + 1.5 * k * step).tolist() for k in range(9)]
    pixels = np.zeros((9, 32, 32), np.int16)
    write_slices(SliceStack(pixels, orientation, (0.8, 0.8), positions), tmp_path / "series")
    labels = np.where(np.random.default_rng(3).random(pixels.shape) < 0.3, 6, 0).astype(np.uint8)
    labels[:, 3:25, 4:29] = 1
    labels[:, 9:14, 12:22] = 0
    labels[:, 11, 15] = 6
    written(Labelled(read_series(tmp_path / "series"), labels, NAMES), said, tmp_path / "rt.dcm")
    masks = read_by_others(tmp_path / "series", tmp_path / "rt.dcm", tmp_path)
    # rt-utils takes slices for a straight stack; of leaning ones it finds the points beside the pixels.
    for reader in READERS if not lean else READERS[1:]:
        for region, value in (("lung_uppe_lobe_L", 1), ("liver", 6)):
            assert dice(masks[reader][region], labels == value) == 1.0


@pytest.mark.peer("rtstruct")
def test_real_anatomy_is_read_by_readers_of_radiotherapy_as_it_was_marked(
    said: ResultSettings, data: Path, tmp_path: Path
) -> None:
    write_series(data / "ct-torso-3mm" / "ct.nii.gz", tmp_path / "series")
    volume = read_series(tmp_path / "series")
    labels = labels_on_frames(data / "ct-torso-3mm" / "labels.nii.gz", volume)
    names = task_facts("totalsegmentator", "total").labels
    labelled = Labelled(volume, labels, names)
    written(labelled, said, tmp_path / "rt.dcm")
    masks = read_by_others(tmp_path / "series", tmp_path / "rt.dcm", tmp_path)
    regions = region_names([names[value] for value in labelled.values])
    side = min(volume.rows, volume.columns)  # rt-utils sees no more of a slice that is not square
    for reader in READERS:
        found = [
            dice(masks[reader][region], labels == value)
            for region, value in zip(regions, labelled.values, strict=True)
            if reader == "dicompyler" or not (labels == value)[:, :, side:].any()
        ]
        assert len(found) > 25
        assert min(found) >= 0.99
