"""Flags of structures: each on an adult who has it, and not on one who has not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from batch_job.contract import Flag


def told(adult: Any, code: str) -> list[Flag]:
    """The flags of one kind, with whole sentences that show no raw name."""
    found = [flag for flag in adult.flags() if flag.code == code]
    for flag in found:
        assert flag.sentence.endswith(".")
        assert "_" not in flag.sentence
    return found


def test_flags_of_a_sound_adult_are_none(adult: Any) -> None:
    assert adult.flags() == ()


# -- truncated ----------------------------------------------------------------------------------------------


def test_truncated_names_what_the_scan_cuts_and_where(adult: Any) -> None:
    cut = adult.cropped(slice(None), slice(None), slice(0, 74))  # through liver and spleen
    flags = told(cut, "truncated")
    assert [flag.structure for flag in flags] == ["liver", "spleen"]  # not the vertebra and the ribs there
    assert all("head end" in flag.sentence and "feet" not in flag.sentence for flag in flags)


@pytest.mark.parametrize(
    ("place", "edge"),
    [
        (np.s_[:10, 30:40, 30:40], "left"),
        (np.s_[-10:, 30:40, 30:40], "right"),
        (np.s_[30:40, :10, 30:40], "back"),
        (np.s_[30:40, -10:, 30:40], "front"),
        (np.s_[30:40, 30:40, :10], "feet end"),
        (np.s_[30:40, 30:40, -10:], "head end"),
    ],
)
def test_truncated_number_is_the_share_of_the_surface_at_the_edge(adult: Any, place: Any, edge: str) -> None:
    adult.labels[:] = 0
    adult.labels[place] = adult.value("liver")
    (flag,) = told(adult, "truncated")
    assert flag.number == pytest.approx(100 / 6, abs=0.1)
    assert flag.unit == "%"
    assert f"({edge};" in flag.sentence


def test_truncated_number_weighs_faces_by_their_area(adult: Any) -> None:
    adult.labels[:] = 0
    adult.labels[30:40, 30:40, :10] = adult.value("liver")
    (flag,) = [flag for flag in adult.flags(spacing_mm=(1, 1, 4)) if flag.code == "truncated"]
    assert flag.number == pytest.approx(100 * 1 / (2 * 1 + 4 * 4), abs=0.1)


def test_truncated_is_silent_one_voxel_from_the_edge(adult: Any) -> None:
    adult.labels[:] = 0
    adult.labels[1:-1, 1:-1, 1:-1] = adult.value("liver")
    assert not told(adult, "truncated")


@pytest.mark.parametrize("name", ["aorta", "bone", "body_trunc", "gluteus_maximus_left", "vertebrae_L9"])
def test_truncated_is_silent_on_what_most_scans_cut(adult: Any, name: str) -> None:
    adult.labels[:] = 0
    adult.names[200] = name
    adult.labels[30:40, 30:40, :10] = 200
    assert not told(adult, "truncated")


# -- left and right -----------------------------------------------------------------------------------------


def test_sides_of_swapped_kidneys_contradict_once_with_their_distance(adult: Any) -> None:
    adult.swap("kidney_left", "kidney_right")
    (flag,) = told(adult, "sides_contradict")
    assert (flag.structure, flag.unit) == ("kidney_left", "mm")
    assert flag.number == pytest.approx(120, abs=2)


def test_sides_of_ribs_are_found_within_their_names(adult: Any) -> None:
    adult.swap("rib_left_7", "rib_right_7")
    assert [flag.structure for flag in told(adult, "sides_contradict")] == ["rib_left_7"]


def test_sides_of_a_single_kidney_are_told_by_the_spine(adult: Any) -> None:
    adult.take("kidney_left")
    adult.swap("kidney_left", "kidney_right")
    (flag,) = told(adult, "sides_contradict")
    assert flag.structure == "kidney_left"
    assert flag.number == pytest.approx(60, abs=2)


def test_sides_of_a_single_kidney_without_a_spine_are_not_judged(adult: Any) -> None:
    adult.take("kidney_left")
    adult.swap("kidney_left", "kidney_right")
    for name in [name for name in adult.names.values() if name.startswith("vertebrae")]:
        adult.take(name)
    assert not told(adult, "sides_contradict")


def test_sides_of_a_pair_that_meets_in_the_middle_do_not_contradict(adult: Any) -> None:
    adult.put("iliac_vena_left", (4, 0, 80), (12, 12, 12))
    adult.put("iliac_vena_right", (0, 0, 60), (12, 12, 8))
    assert not told(adult, "sides_contradict")


def test_sides_of_the_hearts_chambers_are_not_the_patients(adult: Any) -> None:
    adult.put("heart_atrium_left", (30, 20, 420), (15, 15, 15))
    adult.put("heart_atrium_right", (-30, 60, 420), (15, 15, 15))
    assert not told(adult, "sides_contradict")


def test_situs_inversus_warns_by_liver_and_heart_and_contradicts_no_side(adult: Any) -> None:
    for name in ("liver", "spleen"):
        adult.take(name)
    adult.put("liver", (-65, 10, 270), (65, 65, 60))
    adult.put("spleen", (90, -30, 270), (30, 35, 45))
    adult.take("heart")
    adult.put("heart", (40, 40, 400), (42, 45, 55))
    flags = told(adult, "situs_inversus")
    assert [flag.structure for flag in flags] == ["liver", "heart"]
    assert all(flag.unit == "mm" and flag.number > 15 for flag in flags)
    assert not told(adult, "sides_contradict")


def test_situs_inversus_is_silent_on_a_heart_in_the_middle(adult: Any) -> None:
    adult.take("heart")
    adult.put("heart", (8, 40, 400), (42, 45, 55))
    assert not told(adult, "situs_inversus")


def test_mirrored_labels_contradict_on_every_pair(adult: Any) -> None:
    adult.labels = adult.labels[::-1].copy()
    flags = told(adult, "sides_contradict")
    pairs = {name for name in adult.names.values() if "left" in name.split("_")}
    assert {flag.structure for flag in flags} == pairs
    assert told(adult, "situs_inversus")


# -- volumes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "half_mm"), [("liver", 40), ("spleen", 14), ("urinary_bladder", 12)])
def test_volume_too_small_is_out_of_range(adult: Any, name: str, half_mm: float) -> None:
    middle_mm = {"liver": (65, 10, 270), "spleen": (-90, -30, 270), "urinary_bladder": (0, 40, 40)}[name]
    adult.take(name)
    adult.put(name, middle_mm, (half_mm,) * 3)
    (flag,) = told(adult, "volume_out_of_range")
    assert (flag.structure, flag.unit) == (name, "ml")
    assert flag.number == pytest.approx(4 / 3 * np.pi * half_mm**3 / 1000, rel=0.1)


def test_volume_too_large_is_out_of_range(adult: Any) -> None:
    adult.put("kidney_left", (-70, -20, 190), (55, 70, 60))
    assert [flag.structure for flag in told(adult, "volume_out_of_range")] == ["kidney_left"]


def test_volume_of_a_truncated_organ_is_not_judged(adult: Any) -> None:
    cut = adult.cropped(slice(None), slice(None), slice(0, 62))  # leaves a cap of the liver
    assert cut.where("liver").any()
    assert not told(cut, "volume_out_of_range")


def test_volume_of_a_lung_is_that_of_its_lobes(adult: Any) -> None:
    adult.take("lung_upper_lobe_left")
    adult.labels[adult.where("lung_lower_lobe_left") & (np.indices(adult.labels.shape)[2] > 93)] = 0
    (flag,) = told(adult, "volume_out_of_range")
    assert flag.structure == "lung_left"
    assert flag.number == pytest.approx(adult.where("lung_lower_lobe_left").sum() * 0.064, abs=0.1)


# -- order and gaps -----------------------------------------------------------------------------------------


def test_order_of_a_bladder_above_the_heart_contradicts(adult: Any) -> None:
    adult.take("urinary_bladder")
    adult.put("urinary_bladder", (0, 90, 520), (30, 15, 30))
    flags = told(adult, "regions_contradict")
    assert not told(adult, "order_contradicts")
    assert [flag.structure for flag in flags] == [
        "lung_lower_lobe_left",
        "kidney_right",
    ]  # the worst of a region
    assert flags[0].number == pytest.approx(160, abs=4)


def test_order_of_swapped_vertebrae_contradicts_once(adult: Any) -> None:
    adult.swap("vertebrae_T5", "vertebrae_T6")
    (flag,) = told(adult, "order_contradicts")
    assert not told(adult, "regions_contradict")
    assert flag.structure == "vertebrae_T5"
    assert flag.number == pytest.approx(27, abs=2)
    assert "1 place." in flag.sentence


def test_order_of_labels_upside_down_contradicts_with_few_flags(adult: Any) -> None:
    adult.labels = adult.labels[:, :, ::-1].copy()
    (vertebrae,) = told(adult, "order_contradicts")
    assert "16 places" in vertebrae.sentence
    assert 2 <= len(told(adult, "regions_contradict")) <= 4


@pytest.mark.parametrize("first", range(0, 140, 12))
def test_order_in_any_thin_part_of_the_scan_does_not_contradict(adult: Any, first: int) -> None:
    part = adult.cropped(slice(None), slice(None), slice(first, first + 10))
    assert not told(part, "regions_contradict")
    assert not told(part, "order_contradicts")


@pytest.mark.parametrize(
    ("missing", "kind"),
    [
        (["vertebrae_T8"], "vertebrae"),
        (["vertebrae_T12", "vertebrae_L1"], "vertebrae"),
        (["rib_left_4", "rib_left_5", "rib_left_6"], "ribs"),
    ],
)
def test_gap_counts_what_is_missing_between_two_found_ones(adult: Any, missing: list[str], kind: str) -> None:
    for name in missing:
        adult.take(name)
    (flag,) = told(adult, "gap")
    assert (flag.structure, flag.number, flag.unit) == (missing[0], len(missing), kind)


def test_gap_is_silent_where_the_row_ends_early(adult: Any) -> None:
    for name in ("vertebrae_T1", "vertebrae_L5", "rib_left_12", "rib_right_11", "rib_right_12"):
        adult.take(name)
    assert not told(adult, "gap")


def test_gap_is_silent_on_what_the_task_does_not_look_for(adult: Any) -> None:
    value = adult.value("vertebrae_T8")
    adult.take("vertebrae_T8")
    del adult.names[value]
    assert not told(adult, "gap")


def test_gap_beside_a_rib_that_the_edge_cuts_is_explained(adult: Any) -> None:
    adult.take("rib_left_5")
    cut = adult.cropped(
        slice(15, None), slice(None), slice(None)
    )  # a field of view too narrow for the left side
    assert not told(cut, "gap")


def test_gap_below_a_vertebra_that_the_upper_edge_cuts_is_not_explained(adult: Any) -> None:
    adult.take("vertebrae_T8")
    cut = adult.cropped(slice(None), slice(None), slice(0, 100))
    assert cut.where("vertebrae_T7").any()
    assert not cut.where("vertebrae_T6").any()
    assert [flag.structure for flag in told(cut, "gap")] == ["vertebrae_T8"]


# -- fragments ----------------------------------------------------------------------------------------------


def split(name: str, share: float) -> Callable[[Any], None]:
    """Cut a slit through a structure so that about that share lies below it."""

    def spoil(adult: Any) -> None:
        found = adult.where(name)
        level = np.indices(found.shape)[2]
        at = np.quantile(level[found], share)
        adult.labels[found & (np.abs(level - at) <= 1)] = 0

    return spoil


def test_fragments_tell_the_pieces_and_the_share_of_the_largest(adult: Any) -> None:
    split("spleen", 0.5)(adult)
    (flag,) = told(adult, "fragments")
    assert (flag.structure, flag.unit) == ("spleen", "%")
    assert flag.number == pytest.approx(50, abs=8)
    assert "2 pieces" in flag.sentence


def test_fragments_are_silent_on_specks(adult: Any) -> None:
    adult.labels[10:12, 10:12, 40:42] = adult.value("spleen")
    assert not told(adult, "fragments")


def test_fragments_are_silent_on_voxels_that_touch_by_a_corner(adult: Any) -> None:
    adult.take("rib_left_5")
    for step in range(10):
        adult.labels[5 + step, 5 + step, 60 + step] = adult.value("rib_left_5")
    assert not told(adult, "fragments")


def test_fragments_are_silent_on_what_has_many_pieces_by_nature(adult: Any) -> None:
    adult.names[200] = "small_bowel"
    adult.labels[20:30, 50:55, 40:45] = adult.labels[40:50, 50:55, 40:45] = 200
    assert not told(adult, "fragments")


def test_fragments_that_may_be_joined_beyond_the_edge_are_one_piece(adult: Any) -> None:
    adult.names[200] = "hip_left"
    adult.labels[20:25, 20:30, :5] = adult.labels[35:40, 20:30, :5] = 200
    assert not told(adult, "fragments")
    adult.labels[20:25, 20:30, :5] = 0
    adult.labels[20:25, 20:30, 2:7] = 200  # one that the edge does not cut
    assert [flag.structure for flag in told(adult, "fragments")] == ["hip_left"]
