"""Several stacks of images in one series: split by what tells them apart, and said so."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from converter.errors import UnusableSeries
from converter.series import Judgement, Usability, judge_series, read_header, volume_of

MakeSeries = Callable[..., Path]
Headers = list[tuple[Path, Dataset]]


@pytest.fixture
def make_headers(make_series: MakeSeries) -> Callable[..., Headers]:
    """Headers of one series whose images lie at these heights, each with values of its own by keyword."""

    def make(heights: Sequence[float], **values: Sequence[object]) -> Headers:
        def edit(dataset: Dataset, number: int) -> None:
            for keyword, of_images in values.items():
                setattr(dataset, keyword, of_images[number])

        return [(path, read_header(path)) for path in sorted(make_series(heights, edit=edit).iterdir())]

    return make


def told_apart(judgement: Judgement) -> list[str]:
    """By what each volume was told apart."""
    sentences = [f.sentence for v in judgement.volumes for f in v.findings if f.code == "split"]
    return [sentence.partition("told apart by ")[2].partition("; this one")[0] for sentence in sentences]


# -- told apart by a value ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "values", "words"),
    [
        ("EchoTime", (5, 12.5), ["echo time (here 12.5 ms)", "echo time (here 5 ms)"]),
        ("KVP", (80, 140), ["tube voltage (here 140 kV)", "tube voltage (here 80 kV)"]),
        ("DiffusionBValue", (0.0, 800.0), ["b-value (here 0 s/mm2)", "b-value (here 800 s/mm2)"]),
        ("FlipAngle", (3, 17), ["flip angle (here 17 degrees)", "flip angle (here 3 degrees)"]),
        ("ConvolutionKernel", ("Br40", "Br64"), ["convolution kernel"] * 2),
        ("ContrastBolusAgent", ("", "Somebody's agent"), ["contrast agent"] * 2),
        (
            "AcquisitionTime",
            ("101112", "101130"),
            ["acquisition time (here number 1 of 2)", "acquisition time (here number 2 of 2)"],
        ),
        ("SequenceName", ("*ep_b0", "*ep_b1000#1"), ["sequence name"] * 2),
    ],
)
def test_stacks_say_by_what_they_are_told_apart_and_show_numbers_only(
    make_headers: Callable[..., Headers], keyword: str, values: Sequence[object], words: list[str]
) -> None:
    heights = [2.0 * (k // 2) for k in range(10)]
    judgement = judge_series(make_headers(heights, **{keyword: list(values) * 5}))
    assert [len(volume.frames) for volume in judgement.volumes] == [5, 5]
    assert sorted(told_apart(judgement)) == words
    assert {volume.usability for volume in judgement.volumes} == {Usability.USABLE}


def test_stacks_told_apart_by_two_attributes_name_both(make_headers: Callable[..., Headers]) -> None:
    heights = [2.0 * (k // 4) for k in range(16)]
    judgement = judge_series(
        make_headers(heights, EchoTime=[5, 5, 12, 12] * 4, TemporalPositionIdentifier=[1, 2] * 8)
    )
    assert [len(volume.frames) for volume in judgement.volumes] == [4] * 4
    assert "echo time (here 5 ms), temporal position (here 2)" in told_apart(judgement)


def test_files_of_several_stacks_are_refused_with_what_tells_them_apart(
    make_headers: Callable[..., Headers],
) -> None:
    headers = make_headers([2.0 * (k // 2) for k in range(10)], EchoTime=[5, 12] * 5)
    for path, header in headers:
        header.PixelData = b""
        header["PixelData"].VR = "OW"
        header.save_as(path, enforce_file_format=True)
    with pytest.raises(UnusableSeries, match=r"make 2 volumes.*: 5 images, EchoTime=5\.0($|;)"):
        volume_of([path for path, _ in headers])


def test_diffusion_series_is_split_by_b_value_and_direction(make_headers: Callable[..., Headers]) -> None:
    directions = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    judgement = judge_series(
        make_headers(
            [2.0 * (k // 4) for k in range(16)],
            DiffusionBValue=[0.0, 800.0, 800.0, 800.0] * 4,
            DiffusionGradientOrientation=directions * 4,
        )
    )
    assert [len(volume.frames) for volume in judgement.volumes] == [4] * 4


def test_acquisitions_that_overlap_in_a_few_slices_are_volumes_of_their_own(
    make_headers: Callable[..., Headers],
) -> None:
    heights = [*range(0, 10), *range(7, 20)]
    judgement = judge_series(make_headers(heights, AcquisitionNumber=[1] * 10 + [2] * 13))
    assert [len(volume.frames) for volume in judgement.volumes] == [13, 10]


def test_acquisitions_that_follow_each_other_are_one_volume(make_headers: Callable[..., Headers]) -> None:
    (volume,) = judge_series(make_headers(range(12), AcquisitionNumber=[1] * 6 + [2] * 6)).volumes
    assert (len(volume.frames), volume.findings) == (12, ())


# -- told apart by rank -------------------------------------------------------------------------------------


def test_phases_of_a_beating_heart_are_told_apart_by_their_order_at_each_position(
    make_headers: Callable[..., Headers],
) -> None:
    """Each slice has a heart rate of its own, so no two slices share a trigger time."""
    heights = [8.0 * (k // 3) for k in range(12)]
    times = [slice_number + phase * (30 + slice_number) for slice_number in range(4) for phase in range(3)]
    judgement = judge_series(make_headers(heights, TriggerTime=times))
    assert [len(volume.frames) for volume in judgement.volumes] == [4, 4, 4]
    for phase, volume in enumerate(sorted(judgement.volumes, key=lambda v: float(v.header.TriggerTime))):
        found = [float(header.TriggerTime) for header in volume.headers]
        assert found == [slice_number + phase * (30 + slice_number) for slice_number in range(4)]
    assert "trigger time (here number 2 at each position)" in told_apart(judgement)


def test_slices_taken_one_after_the_other_several_times_are_told_apart_by_time(
    make_headers: Callable[..., Headers],
) -> None:
    heights = [2.0 * (k % 5) for k in range(15)]
    judgement = judge_series(make_headers(heights, AcquisitionTime=[f"1011{k:02}.25" for k in range(15)]))
    assert [len(volume.frames) for volume in judgement.volumes] == [5, 5, 5]
    assert all(np.ptp([float(h.AcquisitionTime) for h in v.headers]) == 4 for v in judgement.volumes)


def test_rank_that_is_not_clear_at_every_position_splits_nothing(
    make_headers: Callable[..., Headers],
) -> None:
    heights = [2.0 * (k // 2) for k in range(10)]
    times = [0, 30, 0, 31, 0, 32, 0, 0, 0, 34]
    (volume,) = judge_series(make_headers(heights, TriggerTime=times)).volumes
    assert [finding.code for finding in volume.findings] == ["duplicates"]


# -- between each other -------------------------------------------------------------------------------------


def test_two_even_stacks_between_each_other_are_told_apart(make_headers: Callable[..., Headers]) -> None:
    heights = [*(5.0 * k for k in range(6)), *(5.0 * k + 1.5 for k in range(6))]
    judgement = judge_series(make_headers(heights, AcquisitionNumber=[1] * 6 + [2] * 6))
    assert [(len(volume.frames), volume.slice_spacing_mm) for volume in judgement.volumes] == [(6, 5), (6, 5)]


def test_uneven_stack_whose_parts_follow_each_other_stays_one(make_headers: Callable[..., Headers]) -> None:
    heights = [0, 1, 2, 3, 4, 5, 10, 15, 20, 25, 30]
    numbers = [1] * 5 + [2] * 6
    (volume,) = judge_series(
        make_headers(heights, AcquisitionNumber=numbers, SliceThickness=[1] * 5 + [5] * 6)
    ).volumes
    assert [finding.code for finding in volume.findings] == ["uneven_spacing"]


# -- other grids --------------------------------------------------------------------------------------------


def in_one_series(*folders: Path) -> Headers:
    headers = []
    for folder in folders:
        for path in sorted(folder.iterdir()):
            header = read_header(path)
            header.SOPInstanceUID = f"2.25.{len(headers) + 1}"
            header.SeriesInstanceUID, header.StudyInstanceUID = "2.25.8", "2.25.9"
            header.FrameOfReferenceUID = "2.25.10"
            headers.append((path, header))
    return headers


def test_matrix_sizes_that_are_mixed_make_a_volume_each_with_a_note(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.Rows, dataset.Columns = 8, 12

    judgement = judge_series(in_one_series(make_series(), make_series((0, 2, 4), edit=edit)))
    assert [(len(v.frames), v.rows, v.usability) for v in judgement.volumes] == [
        (6, 16, Usability.USABLE),
        (3, 8, Usability.USABLE),
    ]
    assert told_apart(judgement) == ["matrix size (here 16 x 24)", "matrix size (here 8 x 12)"]


def test_directions_that_are_mixed_make_a_volume_each_with_a_note(make_series: MakeSeries) -> None:
    judgement = judge_series(in_one_series(make_series(), make_series(orientation=(0, 1, 0, 0, 0, -1))))
    assert [len(volume.frames) for volume in judgement.volumes] == [6, 6]
    assert told_apart(judgement) == ["direction", "direction"]


def test_localizers_beside_a_volume_are_apart_without_a_word_about_it(make_series: MakeSeries) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    judgement = judge_series(in_one_series(make_series(), make_series((0, 40, 80), edit=edit)))
    volume, scouts = judgement.volumes
    assert (volume.usability, volume.findings) == (Usability.USABLE, ())
    assert [finding.code for finding in scouts.findings] == ["scout"]


def test_series_that_turns_around_an_axis_is_judged_in_one_pass(make_series: MakeSeries) -> None:
    """Each image has a direction of its own, as in a radial series."""
    headers = in_one_series(*(make_series((0,)) for _ in range(30)))
    for number, (_, header) in enumerate(headers):
        angle = np.radians(6 * number)
        header.ImageOrientationPatient = [np.cos(angle), np.sin(angle), 0, 0, 0, -1]
    judgement = judge_series(headers)
    assert len(judgement.volumes) == 30
    assert judgement.volumes[0].findings[0].code == "mixed_orientation"
    assert "30 directions" in judgement.volumes[0].findings[0].sentence


# -- contrast phases under one UID --------------------------------------------------------------------------


def test_two_contrast_phases_are_told_apart_by_acquisition_and_say_which_images_are_whose(
    make_headers: Callable[..., Headers],
) -> None:
    """A helical CT: each image has a time of its own."""
    judgement = judge_series(
        make_headers(
            [2.0 * k for k in (*range(6), *range(5))],
            AcquisitionNumber=[2] * 6 + [3] * 5,
            AcquisitionTime=[f"10{k:02}00" for k in range(11)],
        )
    )
    assert [volume.findings[-1].sentence for volume in judgement.volumes] == [
        "its series holds 2 stacks of images, told apart by acquisition number (here 2); this one has "
        "6 images, image 1 to image 6, at 0 to 10 mm towards the head",
        "its series holds 2 stacks of images, told apart by acquisition number (here 3); this one has "
        "5 images, image 7 to image 11, at 0 to 8 mm towards the head",
    ]


def test_runs_through_the_body_without_numbers_are_told_apart_by_their_times(
    make_headers: Callable[..., Headers],
) -> None:
    heights = [2.0 * k for k in (*range(6), *range(5))]
    judgement = judge_series(make_headers(heights, AcquisitionTime=[f"10{k:02}00" for k in range(11)]))
    assert [len(volume.frames) for volume in judgement.volumes] == [6, 5]
    words = [f"acquisition time (here run {number} of 2)" for number in (1, 2)]
    assert told_apart(judgement) == words
    assert {volume.usability for volume in judgement.volumes} == {Usability.USABLE}


def test_one_image_that_was_made_again_is_no_run_of_its_own(make_headers: Callable[..., Headers]) -> None:
    heights = [0.0, 2.0, 4.0, 6.0, 4.0]
    judgement = judge_series(make_headers(heights, AcquisitionTime=[f"10{k:02}00" for k in range(5)]))
    assert [volume.findings[0].code for volume in judgement.volumes] == ["duplicates"]
