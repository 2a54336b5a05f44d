"""Judging a series by its headers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from converter.errors import UnusableSeries
from converter.series import Judgement, Usability, judge_series, read_header, read_series, volume_of

MakeSeries = Callable[..., Path]


def judged(*folders: Path) -> Judgement:
    return judge_series([(path, read_header(path)) for folder in folders for path in folder.iterdir()])


def codes_of(folder: Path) -> list[str]:
    (volume,) = judged(folder).volumes
    return [finding.code for finding in volume.findings]


def renumbered(keyword: str | None, value: object, offset: int) -> Callable[[Dataset, int], None]:
    """Gives each instance another UID in the same series and study, and a value of its own."""

    def edit(dataset: Dataset, number: int) -> None:
        dataset.SOPInstanceUID = f"2.25.7{offset}{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "2.25.8", "2.25.9"
        dataset.FrameOfReferenceUID = "2.25.10"
        if keyword:
            setattr(dataset, keyword, value)

    return edit


# -- whole ones -------------------------------------------------------------------------------------------


def test_series_whole_is_one_usable_volume_sorted_along_its_normal(make_series: MakeSeries) -> None:
    folder = make_series((6.0, 0.0, 4.0, 2.0))
    volume = read_series(folder)
    assert [frame.position_lps_mm[2] for frame in volume.frames] == [0.0, 2.0, 4.0, 6.0]
    assert (volume.rows, volume.columns, volume.pixel_spacing_mm) == (16, 24, (1.5, 1.25))
    assert volume.slice_spacing_mm == pytest.approx(2.0)
    assert volume.usability is Usability.USABLE
    assert volume.findings == ()


def test_series_feet_first_normal_is_sorted_by_cross_product(make_series: MakeSeries) -> None:
    """Row to the right and column to the back make a normal that points to the feet."""
    volume = read_series(make_series(orientation=(-1, 0, 0, 0, 1, 0)))
    z = [frame.position_lps_mm[2] for frame in volume.frames]
    assert z == sorted(z, reverse=True)


def test_volume_affine_takes_indices_to_patient_positions(make_series: MakeSeries) -> None:
    volume = read_series(make_series())
    column, row, frame = 3, 5, 4
    assert volume.affine_lps @ [column, row, frame, 1] == pytest.approx([3 * 1.25, 5 * 1.5, 8.0, 1.0])


def test_series_with_positions_rounded_by_the_scanner_counts_as_even(make_series: MakeSeries) -> None:
    assert codes_of(make_series([round(0.625 * k, 1) for k in range(40)])) == []


# -- odd but usable ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize("heights", [(18.1, 23.1, 28.1, 38.1), (0, 2, 4, 8, 10), (0, 1, 2, 6, 7, 8)])
def test_series_with_missing_slice_has_gap(make_series: MakeSeries, heights: tuple[float, ...]) -> None:
    folder = make_series(heights)
    assert codes_of(folder) == ["gap"]
    assert read_series(folder).usability is Usability.USABLE


def test_series_with_gap_says_how_many_slices_are_missing(make_series: MakeSeries) -> None:
    (volume,) = judged(make_series((0, 2, 4, 10, 12))).volumes
    assert volume.findings[0].sentence.startswith("2 slices are missing")


@pytest.mark.parametrize("heights", [(0, 2, 5, 6, 9.5), (0, 1, 2, 4, 6, 8, 10), (0, 2, 4.3, 6, 8, 10)])
def test_series_with_other_distances_is_uneven(make_series: MakeSeries, heights: tuple[float, ...]) -> None:
    assert codes_of(make_series(heights)) == ["uneven_spacing"]


def test_series_that_changes_thickness_with_distance_has_no_gap(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.SliceThickness = 2 if number < 4 else 4

    assert codes_of(make_series((0, 2, 4, 6, 10), edit=edit)) == ["uneven_spacing"]


def test_series_that_leans_is_tilted_and_says_by_how_much(make_series: MakeSeries) -> None:
    (volume,) = judged(make_series(lean=np.tan(np.radians(14)))).volumes
    (finding,) = volume.findings
    assert (finding.code, volume.usability) == ("gantry_tilt", Usability.USABLE)
    assert "14.0 degrees" in finding.sentence


def test_series_without_frame_of_reference_is_usable_and_says_so(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        del dataset.FrameOfReferenceUID

    folder = make_series(edit=edit)
    assert codes_of(folder) == ["no_frame_of_reference"]
    assert read_series(folder).frame_of_reference_uid == ""


# -- what is no volume ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heights", "code"),
    [((0, 2), "too_few"), ((5,), "too_few"), ((5, 5, 5, 5), "no_volume"), ((0, 2, 2, 4, 6), "duplicates")],
)
def test_series_that_is_no_volume_says_why(
    make_series: MakeSeries, heights: tuple[float, ...], code: str
) -> None:
    folder = make_series(heights)
    (volume,) = judged(folder).volumes
    assert [finding.code for finding in volume.findings] == [code]
    assert volume.usability is Usability.UNUSABLE
    with pytest.raises(UnusableSeries, match=volume.findings[0].sentence[:20]):
        read_series(folder)


def test_series_with_slices_shifted_at_random_is_unusable(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImagePositionPatient = [0, 5 * (number % 2), 2 * number]

    assert codes_of(make_series(edit=edit)) == ["shifted_slices"]


def test_series_of_scouts_is_unusable(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    assert codes_of(make_series(edit=edit)) == ["scout"]


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("ImagePositionPatient", None, "no_geometry"),
        ("ImagePositionPatient", [0, 0], "no_geometry"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "no_geometry"),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], "no_geometry"),
        ("PixelSpacing", [0, 1], "no_geometry"),
        ("Rows", 0, "no_geometry"),
        ("NumberOfFrames", 8, "multiframe"),
        ("SamplesPerPixel", 3, "colour"),
        ("SOPInstanceUID", "", "no_uids"),
        ("SeriesInstanceUID", "", "no_uids"),
    ],
)
def test_image_that_is_no_slice_is_left_over(
    make_series: MakeSeries, keyword: str, value: object, code: str
) -> None:
    folder = make_series()
    instances = [(path, read_header(path)) for path in sorted(folder.iterdir())]
    if value is None:
        del instances[0][1][keyword]
    else:
        setattr(instances[0][1], keyword, value)
    judgement = judge_series(instances)
    assert [(path.name, finding.code) for path, finding in judgement.left_over] == [("0001.dcm", code)]
    assert [len(volume.frames) for volume in judgement.volumes] == [5]


def test_image_in_a_syntax_without_decoder_is_left_over(make_series: MakeSeries) -> None:
    folder = make_series()
    instances = [(path, read_header(path)) for path in folder.iterdir()]
    for _, header in instances:
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    judgement = judge_series(instances)
    assert judgement.volumes == ()
    assert {finding.code for _, finding in judgement.left_over} == {"undecodable"}


@pytest.mark.parametrize("element", ["ImagePositionPatient", "PixelSpacing", "EchoTime", "SliceThickness"])
def test_series_with_malformed_numbers_never_raises(make_series: MakeSeries, element: str) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.EchoTime = "4.625"

    folder = make_series(edit=edit)
    for path in folder.iterdir():
        content = path.read_bytes()
        value = "\\".join(str(v) for v in np.atleast_1d(read_header(path)[element].value)).encode()
        assert value in content
        path.write_bytes(content.replace(value, b"x" * len(value)))
    judgement = judge_series([(path, read_header(path)) for path in folder.iterdir()])
    assert sum(len(volume.frames) for volume in judgement.volumes) + len(judgement.left_over) == 6


def test_no_images_are_no_volumes() -> None:
    assert judge_series([]) == Judgement((), ())


# -- several volumes in one series ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", (5, 12)),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])),
        ("KVP", (80, 140)),
        ("TemporalPositionIdentifier", (1, 2)),
        ("TriggerTime", (0, 300)),
        ("AcquisitionNumber", (1, 2)),
        ("AcquisitionTime", ("101112", "101130")),
        ("FrameOfReferenceUID", ("2.25.11", "2.25.12")),
    ],
)
def test_series_with_two_images_at_each_position_is_split(
    make_series: MakeSeries, keyword: str, values: tuple[object, object]
) -> None:
    folders = [
        make_series(edit=renumbered(keyword, value, number), seed=number)
        for number, value in enumerate(values)
    ]
    judgement = judged(*folders)
    assert [len(volume.frames) for volume in judgement.volumes] == [6, 6]
    for volume in judgement.volumes:
        assert volume.usability is Usability.USABLE
        assert len({str(header[keyword].value) for header in volume.headers}) == 1


def test_series_with_echoes_and_phases_is_split_by_both(make_series: MakeSeries) -> None:
    folders = []
    for number in range(4):

        def edit(dataset: Dataset, index: int, number: int = number) -> None:
            renumbered("EchoTime", 5 + number % 2, number)(dataset, index)
            dataset.TemporalPositionIdentifier = 1 + number // 2

        folders.append(make_series(edit=edit, seed=number))
    assert [len(volume.frames) for volume in judged(*folders).volumes] == [6, 6, 6, 6]


def test_series_with_scout_beside_a_volume_keeps_them_apart(make_series: MakeSeries) -> None:
    scout = make_series((0.0,), orientation=(0, 1, 0, 0, 0, -1), edit=renumbered(None, None, 1))
    judgement = judged(make_series(edit=renumbered(None, None, 0)), scout)
    usable, other = judgement.volumes
    assert (len(usable.frames), usable.usability) == (6, Usability.USABLE)
    assert [finding.code for finding in other.findings] == ["mixed_orientation", "too_few"]


def test_series_with_slices_turned_a_little_keeps_them_apart(make_series: MakeSeries) -> None:
    turn = np.radians(2)
    turned = (np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0)
    others = make_series((12, 14, 16), orientation=turned, edit=renumbered(None, None, 1))
    judgement = judged(make_series(edit=renumbered(None, None, 0)), others)
    assert [len(volume.frames) for volume in judgement.volumes] == [6, 3]


def test_series_with_scouts_in_its_own_direction_keeps_them_apart(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        renumbered("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], 1)(dataset, number)

    judgement = judged(make_series(edit=renumbered(None, None, 0)), make_series((12.0,), edit=edit))
    assert [len(volume.frames) for volume in judgement.volumes] == [6, 1]


def test_same_instance_twice_is_taken_once(make_series: MakeSeries) -> None:
    folder = make_series()
    instances = [(path, read_header(path)) for path in sorted(folder.iterdir())]
    judgement = judge_series([*instances, instances[2]])
    assert [len(volume.frames) for volume in judgement.volumes] == [6]
    assert [finding.code for _, finding in judgement.left_over] == ["duplicates"]


def test_judgement_does_not_depend_on_the_order_of_files(make_series: MakeSeries) -> None:
    folders = [make_series(edit=renumbered("EchoTime", 5 + n, n), seed=n) for n in range(2)]
    instances = [(path, read_header(path)) for folder in folders for path in sorted(folder.iterdir())]

    def summary(judgement: Judgement) -> list[list[str]]:
        return [[frame.sop_instance_uid for frame in volume.frames] for volume in judgement.volumes]

    assert summary(judge_series(instances)) == summary(judge_series(instances[::-1]))


# -- folders and lists of files ---------------------------------------------------------------------------


def test_volume_of_files_that_are_not_all_part_of_it_is_refused(make_series: MakeSeries) -> None:
    scout = make_series((0.0,), orientation=(0, 1, 0, 0, 0, -1), edit=renumbered(None, None, 1))
    folder = make_series(edit=renumbered(None, None, 0))
    with pytest.raises(UnusableSeries, match="1 of 7 images are not part"):
        volume_of([*folder.iterdir(), *scout.iterdir()])


def test_volume_of_a_file_that_is_not_dicom_is_refused(make_series: MakeSeries, tmp_path: Path) -> None:
    text = tmp_path / "notes.dcm"
    text.write_text("no image")
    with pytest.raises(UnusableSeries, match="not DICOM"):
        volume_of([*make_series().iterdir(), text])


def test_folder_with_two_series_is_refused_and_says_so(make_series: MakeSeries) -> None:
    folder = make_series()
    for path in make_series(seed=1).iterdir():
        path.rename(folder / f"other-{path.name}")
    with pytest.raises(UnusableSeries, match="2 volumes"):
        read_series(folder)


def test_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableSeries, match="no files"):
        read_series(tmp_path)


def test_folder_with_a_text_file_beside_the_images_is_read(make_series: MakeSeries) -> None:
    folder = make_series()
    (folder / "README.txt").write_text("six slices")
    assert len(read_series(folder).frames) == 6


def test_reason_names_no_patient(make_series: MakeSeries) -> None:
    folder = make_series((0, 2))
    with pytest.raises(UnusableSeries) as caught:
        read_series(folder)
    header = read_header(next(folder.iterdir()))
    for secret in (header.PatientName, header.PatientID, header.StudyInstanceUID, folder.name):
        assert str(secret) not in str(caught.value)
