"""Judging a series by its headers."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from converter.derived.series import SliceStack, write_slices
from converter.errors import UnusableSeries
from converter.nifti.conversion import convert_volume
from converter.series import Judgement, Usability, judge_series, read_header, read_series, volume_of

MakeSeries = Callable[..., Path]


def judged(*folders: Path) -> Judgement:
    return judge_series([(path, read_header(path)) for folder in folders for path in folder.iterdir()])


def codes_of(folder: Path) -> list[str]:
    (volume,) = judged(folder).volumes
    return [finding.code for finding in volume.findings]


def sentence_of(folder: Path) -> str:
    """What the first finding of the one volume says."""
    (volume,) = judged(folder).volumes
    return volume.findings[0].sentence


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
    assert read_series(folder).usability is Usability.USABLE_WITH_WARNING


def test_series_with_gap_says_how_many_slices_are_missing_and_where(make_series: MakeSeries) -> None:
    assert sentence_of(make_series((0, 2, 4, 10, 12))) == (
        "2 slices are missing between image 3 and image 4 (4 to 10 mm towards the head); the others are 2 mm "
        "apart; send the whole series"
    )


def test_series_with_many_gaps_names_the_first_ones_and_counts_the_others(make_series: MakeSeries) -> None:
    heights = [2.0 * k for k in range(40) if k not in (3, 9, 10, 20, 30, 35)]
    sentence = sentence_of(make_series(heights))
    assert sentence.startswith(
        "6 slices are missing: 1 between image 3 and image 4 (4 to 8 mm towards the head), "
        "2 between image 8 and image 9 (16 to 22 mm), 1 between "
    )
    assert "and 2 more gaps; the others are 2 mm apart" in sentence


@pytest.mark.parametrize(
    ("orientation", "words"),
    [
        ((0, 1, 0, 0, 0, -1), "(-4 to -10 mm towards the left)"),
        ((1, 0, 0, 0, 0, -1), "(4 to 10 mm towards the back)"),
        ((-1, 0, 0, 0, 1, 0), "(-4 to -10 mm towards the head)"),
    ],
)
def test_place_of_a_gap_is_counted_to_the_side_of_the_patient_that_it_names(
    make_series: MakeSeries, orientation: tuple[float, ...], words: str
) -> None:
    assert words in sentence_of(make_series((0, 2, 4, 10, 12), orientation=orientation))


def test_images_without_numbers_of_their_own_are_counted_in_order(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.InstanceNumber = 1

    assert "between slice 3 and slice 4" in sentence_of(make_series((0, 2, 4, 10, 12), edit=edit))


def test_uneven_series_that_lacks_slices_in_its_middle_has_a_gap_too(make_series: MakeSeries) -> None:
    folder = make_series((0, 2, 4.3, 6.1, 8.5, 18.2, 20.1, 22.4, 24.3))
    assert codes_of(folder) == ["gap", "uneven_spacing"]
    assert sentence_of(folder) == (
        "4 slices are missing between image 5 and image 6 (8.5 to 18.2 mm towards the head); the others are "
        "1.8 to 2.4 mm apart; send the whole series"
    )


@pytest.mark.parametrize("downwards", [False, True])
def test_series_whose_spacing_changes_says_so_and_lacks_nothing(
    make_series: MakeSeries, downwards: bool
) -> None:
    heights = [*(2.5 * k for k in range(9)), *(20 + 5.0 * k for k in range(1, 5))]
    folder = make_series([-height for height in heights] if downwards else heights)
    assert codes_of(folder) == ["uneven_spacing"]
    said = (
        "from 5 to 2.5 mm at image 9 (-20 mm towards the head)"
        if downwards
        else "from 2.5 to 5 mm at image 9 (20 mm towards the head)"
    )
    assert sentence_of(folder).startswith(f"the distance of the slices changes {said};")


def test_two_slices_that_are_missing_near_each_other_are_no_change_of_spacing(
    make_series: MakeSeries,
) -> None:
    assert codes_of(make_series([2.0 * k for k in range(12) if k not in (4, 6)])) == ["gap"]


def turned(amount: float) -> Callable[[Dataset, int], None]:
    """Turns one slice about its normal, so that its corner moves by so many mm for each mm of its size."""

    def edit(dataset: Dataset, number: int) -> None:
        if number == 3:
            cosine = float(np.sqrt(1 - amount**2))
            dataset.ImageOrientationPatient = [cosine, amount, 0, -amount, cosine, 0]

    return edit


@pytest.mark.parametrize(("amount", "codes"), [(0.0019, []), (0.002, [])])
def test_small_slices_that_turn_by_less_than_a_tenth_of_a_pixel_are_parallel(
    make_series: MakeSeries, amount: float, codes: list[str]
) -> None:
    assert codes_of(make_series(edit=turned(amount))) == codes


def test_slices_that_turn_by_more_than_a_tenth_of_a_pixel_say_how_far_they_are_off(tmp_path: Path) -> None:
    pixels = np.zeros((6, 480, 480), np.int16)
    stack = SliceStack(pixels, (1, 0, 0, 0, 1, 0), (1, 1), [[0, 0, 2 * k] for k in range(6)])
    paths = write_slices(stack, tmp_path / "series")
    dataset = dcmread(paths[3])
    turned(0.0014)(dataset, 3)
    dataset.save_as(paths[3])
    (volume,) = judged(tmp_path / "series").volumes
    (finding,) = volume.findings
    assert (finding.code, volume.usability) == ("turned_slices", Usability.USABLE_WITH_WARNING)
    assert "off by up to 0.948 mm in their corners" in finding.sentence


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
    assert (finding.code, volume.usability) == ("gantry_tilt", Usability.USABLE_WITH_WARNING)
    assert "14.0 degrees" in finding.sentence


def test_series_without_frame_of_reference_is_usable_and_says_so(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        del dataset.FrameOfReferenceUID

    folder = make_series(edit=edit)
    assert codes_of(folder) == ["no_frame_of_reference"]
    volume = read_series(folder)
    assert (volume.frame_of_reference_uid, volume.usability) == ("", Usability.USABLE_WITH_WARNING)


def test_series_whose_pixels_contradict_the_field_of_view_says_so(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.ReconstructionDiameter = 60

    folder = make_series(edit=edit)
    assert codes_of(folder) == ["contradictory_spacing"]
    assert sentence_of(folder).startswith(
        "by Pixel Spacing the images are 30 mm wide, by Reconstruction Diameter 60 mm"
    )
    assert read_series(folder).usability is Usability.USABLE_WITH_WARNING


@pytest.mark.parametrize(
    "changes", [{"ReconstructionDiameter": 30}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}]
)
def test_series_whose_field_of_view_agrees_or_was_its_origins_says_nothing(
    make_series: MakeSeries, changes: dict[str, object]
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.ReconstructionDiameter = 60
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)

    assert codes_of(make_series(edit=edit)) == []


@pytest.mark.parametrize(
    ("step", "codes"), [(2.0, []), (-2.0, []), (2.5, ["slice_location"]), (0.0, ["slice_location"])]
)
def test_slice_location_that_contradicts_the_position_is_noted_only(
    make_series: MakeSeries, step: float, codes: list[str]
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.SliceLocation = 100 + step * number

    folder = make_series(edit=edit)
    assert codes_of(folder) == codes
    assert read_series(folder).usability is Usability.USABLE


@pytest.mark.parametrize("number_of_digits", [0, 1])
def test_slice_location_of_a_tilted_series_runs_along_the_table(
    make_series: MakeSeries, number_of_digits: int
) -> None:
    """The scanner counts along the table, not along the normal of the tilted slices."""
    step = 4 * np.hypot(1, 0.3)

    def edit(dataset: Dataset, number: int) -> None:
        dataset.SliceLocation = round(float(-step * number), 1 + number_of_digits)

    assert codes_of(make_series([4.0 * k for k in range(9)], lean=0.3, edit=edit)) == ["gantry_tilt"]


# -- what is no volume ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heights", "code"),
    [
        ((0, 2), "too_few"),
        ((5,), "too_few"),
        ((0, 2, 0, 2), "too_few"),
        ((5, 5, 5, 5), "no_volume"),
        ((0, 2, 2, 4, 6), "duplicates"),
        ((0, 2, 2.02, 4, 6), "duplicates"),
        ((0, 2, 4, 0, 2, 4), "duplicates"),
    ],
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


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ((5,), "only 1 image; a volume needs 3 or more slices"),
        ((0, 2), "only 2 slices; a volume needs 3 or more slices"),
        ((0, 2, 0, 2), "only 2 slice positions for 4 images"),
        ((5, 5, 5, 5), "all 4 images are at one position (5 mm towards the head): a time series or a cine"),
        (
            (0, 2, 2, 4, 6),
            "1 of 4 slice positions hold several images that nothing in the headers tells apart (at 2 mm",
        ),
        (
            (0, 2, 4, 0, 2, 4),
            "each of 3 slice positions holds 2 images that nothing in the headers tells apart",
        ),
        ([*range(20), 2, 3, 4, 5, 6], "(at 2 mm, 3 mm, 4 mm and 2 more positions towards the head)"),
    ],
)
def test_series_that_is_no_volume_says_so_in_numbers(
    make_series: MakeSeries, heights: tuple[float, ...], words: str
) -> None:
    assert words in sentence_of(make_series(heights))


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
        ("ImagePositionPatient", [0, 0, float("nan")], "no_geometry"),
        ("PixelSpacing", [1, -1], "no_geometry"),
        ("PixelSpacing", [1], "no_geometry"),
        ("ImageOrientationPatient", [1, 0, 0, 0.3, 0.95, 0], "no_geometry"),
        ("Columns", 0, "no_geometry"),
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


@pytest.fixture
def copied(make_series: MakeSeries) -> Callable[..., Path]:
    """A series of six slices, some of them twice, the second time under other UIDs and edited."""

    def make(numbers: Iterable[int], **values: object) -> Path:
        folder = make_series()
        paths = sorted(folder.iterdir())
        for number in numbers:
            dataset = dcmread(paths[number])
            dataset.SOPInstanceUID, dataset.InstanceNumber = f"2.25.{number + 1}", 100 + number
            for keyword, value in values.items():
                setattr(dataset, keyword, value)
            dataset.save_as(folder / f"again-{number}.dcm")
        return folder

    return make


@pytest.mark.parametrize("numbers", [(2,), range(6)])
def test_exact_copies_under_other_uids_are_left_out_with_a_note(
    copied: Callable[..., Path], numbers: Sequence[int]
) -> None:
    folder = copied(numbers)
    judgement = judged(folder)
    assert [len(volume.frames) for volume in judgement.volumes] == [6]
    assert [finding.code for _, finding in judgement.left_over] == ["copies"] * len(numbers)
    volume = read_series(folder)
    (finding,) = volume.findings
    assert (finding.code, volume.usability) == ("copies", Usability.USABLE)
    assert finding.sentence.startswith(f"{len(numbers)} of 6 images are there again under other UIDs")


@pytest.mark.parametrize("values", [{"PixelData": bytes(16 * 24 * 2)}, {"RescaleIntercept": -1}])
def test_image_at_one_place_that_is_no_exact_copy_still_refuses_the_series(
    copied: Callable[..., Path], values: dict[str, object]
) -> None:
    with pytest.raises(UnusableSeries, match="1 of 6 slice positions hold several images"):
        read_series(copied((2,), **values))


def test_object_of_several_frames_that_is_there_twice_is_one_volume(
    make_multiframe: Callable[..., Path],
) -> None:
    folder = make_multiframe()
    image = dcmread(folder / "object.dcm")
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    image.save_as(folder / "again.dcm")
    volume = read_series(folder)
    assert [finding.code for finding in volume.findings] == ["copies"]
    assert len({frame.path for frame in volume.frames}) == 1


def test_many_images_that_say_the_same_are_not_opened(
    make_series: MakeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.InstanceNumber = 1

    instances = [(path, read_header(path)) for path in make_series([0, 2, 4] * 5, edit=edit).iterdir()]
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("opened"))
    (volume,) = judge_series(instances).volumes
    assert [finding.code for finding in volume.findings] == ["duplicates"]


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


# -- what headers round, and what cannot be -----------------------------------------------------------------


def test_pixel_spacing_that_is_rounded_otherwise_from_slice_to_slice_is_one_volume(
    make_series: MakeSeries,
) -> None:
    """Whatever digit it is that they differ in."""

    def edit(image: Dataset, number: int) -> None:
        image.PixelSpacing = [f"{1.50005 + 1e-6 * (number - 3):.6f}", "1.25"]

    volume = read_series(make_series(edit=edit))
    assert len(volume.frames) == 6
    assert volume.findings == ()


def test_pixel_spacing_that_moves_the_last_row_makes_another_volume(make_series: MakeSeries) -> None:
    def edit(image: Dataset, number: int) -> None:
        image.PixelSpacing = [1.5 if number < 3 else 1.52, 1.25]

    folder = make_series(edit=edit)
    with pytest.raises(UnusableSeries, match="the images make 2 volumes"):
        read_series(folder)


def test_slices_of_thousandths_of_a_mm_are_a_volume(make_series: MakeSeries, tmp_path: Path) -> None:
    def edit(image: Dataset, number: int) -> None:
        image.PixelSpacing, image.ImagePositionPatient = [0.008, 0.008], [1, 2, f"{3 + 0.009 * number:.3f}"]

    volume = read_series(make_series(edit=edit))
    assert volume.slice_spacing_mm == pytest.approx(0.009)
    assert volume.findings == ()
    assert convert_volume(volume, tmp_path / "out.nii").warnings == ()


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("PixelSpacing", [1e-5, 1e-5], "1e-05 x 1e-05 mm, which are in another unit"),
        ("PixelSpacing", [500, 500], "500 x 500 mm, which are in another unit"),
        ("ImagePositionPatient", [1e7, 0, 0], "lies more than 100 m away"),
        ("ImagePositionPatient", [0, "1e300", 0], "lies more than 100 m away"),
        ("PhotometricInterpretation", "PALETTE COLOR", "a colour image"),
        ("Rows", 1, "1 rows and 24 columns"),
    ],
)
def test_image_that_cannot_be_a_slice_is_refused_with_what_is_wrong(
    make_series: MakeSeries, keyword: str, value: object, said: str
) -> None:
    folder = make_series(edit=lambda image, _: setattr(image, keyword, value))
    with pytest.raises(UnusableSeries, match=said):
        read_series(folder)


@pytest.mark.parametrize("number", [0, 5])
def test_volume_says_which_images_at_its_ends_were_left_out(make_series: MakeSeries, number: int) -> None:
    """Between others one that lacks its place is seen by the gap, at an end by nothing else."""

    def edit(image: Dataset, which: int) -> None:
        if which == number:
            del image.ImagePositionPatient

    volume = read_series(make_series(edit=edit))
    assert len(volume.frames) == 5
    assert volume.usability is Usability.USABLE_WITH_WARNING
    (finding,) = volume.findings
    assert finding.code == "left_out"
    assert "1 image is left out, and may have been a part of this volume" in finding.sentence
    assert "does not say where it lies" in finding.sentence


def test_image_of_another_series_that_lacks_its_place_is_not_said_to_be_missing(
    make_series: MakeSeries,
) -> None:
    def edit(image: Dataset, number: int) -> None:
        if number == 5:
            del image.ImagePositionPatient
            image.SeriesInstanceUID = UID("2.25.7")

    assert read_series(make_series(edit=edit)).findings == ()
