"""The engine `threshold`: tissues by value and shape, and left and right from the affine alone."""

import hashlib
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from batch_job import resources
from batch_job.cgroup import Memory
from batch_job.contract import engine_facts
from batch_job.engines import NoCheckpoints, Work, load_engine, threshold
from batch_job.engines.threshold import NAMES
from batch_job.errors import BadInput
from batch_job.image import Image

VALUES = {name: value for value, name in NAMES.items()}
Ellipse = Callable[..., NDArray[np.bool_]]


KNOWN: dict[tuple[bytes, ...], NDArray[np.uint8]] = {}


def labels_of(image: Image) -> NDArray[np.uint8]:
    """Its labels; many tests ask for those of the same image."""
    image_of = (str(image.values.shape).encode(), image.values.tobytes(), image.affine.tobytes())
    key = tuple(hashlib.sha256(part).digest() for part in image_of)
    if key not in KNOWN:
        KNOWN[key] = load_engine("threshold").segment(work_on(image)).labels
        KNOWN[key].flags.writeable = False
    return KNOWN[key]


def work_on(image: Image, on_progress: Callable[[float, str], None] = lambda share, what: None) -> Work:
    nowhere = Path("not-there")  # it reads and writes no file
    return Work(image, nowhere, "tissue", {"fast": False}, nowhere, NoCheckpoints(), on_progress)


def share(labels: NDArray[np.uint8], where: NDArray[np.bool_], name: str) -> float:
    return float((labels[where] == VALUES[name]).mean())


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("fat", "adipose_tissue"), ("muscle", "soft_tissue"), ("arm 12", "soft_tissue"), ("rib 3", "bone"),
        ("humerus 12", "bone"), ("cortex", "bone"), ("marrow", "bone"), ("stomach", "gas"),
        ("lung_left", "lung_left"), ("lung_right", "lung_right"),
    ],
)  # fmt: skip
def test_threshold_chest_gives_each_tissue_its_label(chest: Any, place: str, name: str) -> None:
    assert share(labels_of(chest.image), chest.places[place], name) > 0.9


def test_threshold_table_is_no_part_of_the_body(chest: Any) -> None:
    assert not labels_of(chest.image)[chest.places["table"]].any()


def test_threshold_spinal_canal_is_no_bone(chest: Any) -> None:
    assert share(labels_of(chest.image), chest.places["canal"], "bone") < 0.3


def test_threshold_aorta_with_contrast_and_plaques_is_no_bone(chest: Any) -> None:
    labels = labels_of(chest.image)
    assert share(labels, chest.places["aorta"], "bone") == 0
    assert share(labels, chest.places["plaque"], "bone") < 0.05


def test_threshold_lungs_match_where_they_were_put(chest: Any) -> None:
    labels = labels_of(chest.image)
    for name in ("lung_left", "lung_right"):
        assert dice(labels == VALUES[name], chest.places[name]) > 0.95


ORDERS = list(itertools.permutations(range(3)))
FLIPS = list(itertools.product((1, -1), repeat=3))


@settings(
    max_examples=5 if settings().max_examples <= 100 else 48,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(order=st.sampled_from(ORDERS), flips=st.sampled_from(FLIPS))
def test_threshold_axes_in_any_order_labels_follow(
    chest: Any, order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    image = chest.image
    expected = labels_of(image)
    ordering = np.zeros((4, 4))
    ordering[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        ordering[old, new] = flip
        ordering[old, 3] = 0 if flip == 1 else image.values.shape[old] - 1

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        return values.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]

    labels = labels_of(Image(turned(image.values), image.affine @ ordering))
    np.testing.assert_array_equal(labels, turned(expected))


def test_threshold_affine_mirrored_left_and_right_change_places(chest: Any) -> None:
    image = chest.image
    labels = labels_of(Image(image.values, np.diag([-1, 1, 1, 1]) @ image.affine))
    assert share(labels, chest.places["lung_left"], "lung_right") > 0.9
    assert share(labels, chest.places["lung_right"], "lung_left") > 0.9


def test_threshold_lungs_that_touch_are_parted(chest: Any, ellipse: Ellipse) -> None:
    chest.put("bridge", ellipse((65, 66), (16, 3))[..., np.newaxis] & (np.arange(24) >= 15), -800)
    labels = labels_of(chest.image)
    for name in ("lung_left", "lung_right"):
        assert dice(labels == VALUES[name], chest.places[name]) > 0.9


def test_threshold_one_lung_only_gives_that_side_only(chest: Any) -> None:
    chest.put("effusion", chest.places["lung_left"].copy(), 10)
    labels = labels_of(chest.image)
    assert share(labels, chest.places["lung_right"], "lung_right") > 0.9
    assert not (labels == VALUES["lung_left"]).any()


def test_threshold_gas_against_a_lung_with_a_thin_wall_stays_gas(chest: Any, ellipse: Ellipse) -> None:
    gas = ellipse((43, 52), (14, 19))[..., np.newaxis] & (np.arange(24) < 7)
    chest.put("colon", gas, -980)  # one voxel of wall, 3 mm, is left between the two
    labels = labels_of(chest.image)
    assert share(labels, chest.places["colon"], "lung_left") == 0
    assert share(labels, chest.places["lung_left"], "lung_left") > 0.9


@pytest.mark.parametrize("hu", [-980, -480])
def test_threshold_gas_or_foam_up_to_the_top_is_no_lung(trunk: Any, ellipse: Ellipse, hu: int) -> None:
    trunk.put("gas", ellipse((43, 52), (14, 19)), hu)
    assert not np.isin(labels_of(trunk.image), (VALUES["lung_left"], VALUES["lung_right"])).any()


def test_threshold_stool_with_a_lungs_mean_is_no_lung(trunk: Any, ellipse: Ellipse) -> None:
    trunk.put("colon", ellipse((43, 52), (14, 19)), -750)
    stool = trunk.places["colon"]
    lumps = np.repeat(np.repeat(np.random.default_rng(1).uniform(-1000, -450, (65, 50, 24)), 2, 0), 2, 1)
    trunk.hu[stool] = lumps[stool]
    assert not np.isin(labels_of(trunk.image), (VALUES["lung_left"], VALUES["lung_right"])).any()


def test_threshold_small_lung_like_region_below_the_top_is_no_lung(trunk: Any, ellipse: Ellipse) -> None:
    level = np.arange(24)
    trunk.put("bubble", ellipse((43, 52), (10, 10))[..., np.newaxis] & (level > 4) & (level < 16), -800)
    labels = labels_of(trunk.image)
    assert not np.isin(labels, (VALUES["lung_left"], VALUES["lung_right"])).any()
    assert share(labels, trunk.places["bubble"], "gas") > 0.9


def test_threshold_lung_across_the_midline_that_cannot_be_parted_is_none(
    trunk: Any, ellipse: Ellipse
) -> None:
    trunk.put("middle", ellipse((65, 58), (18, 12)), -800)
    assert not np.isin(labels_of(trunk.image), (VALUES["lung_left"], VALUES["lung_right"])).any()


def test_threshold_gap_under_a_touching_arm_is_no_gas_inside(trunk: Any) -> None:
    bridge = np.zeros(trunk.hu.shape, bool)
    bridge[18:26, 36:40] = bridge[18:26, 52:56] = True  # the arm touches the trunk in front and behind
    bridge[:, :, :6] = bridge[:, :, 18:] = False
    trunk.hu[bridge & (trunk.hu < -500)] = 40
    assert not (labels_of(trunk.image) == VALUES["gas"]).any()


def test_threshold_fine_voxels_give_what_coarse_ones_give(chest: Any) -> None:
    image = chest.image
    fine = np.repeat(np.repeat(image.values, 3, 0), 3, 1)
    affine = image.affine @ np.diag([1 / 3, 1 / 3, 1, 1])
    affine[:3, 3] -= image.affine[:3, :3] @ (1 / 3, 1 / 3, 0)
    labels, coarse = labels_of(Image(fine, affine))[1::3, 1::3], labels_of(image)
    for name in ("lung_left", "lung_right", "gas", "adipose_tissue"):
        assert dice(labels == VALUES[name], coarse == VALUES[name]) > 0.93, name


@pytest.mark.parametrize("finer", [1.5, 2, pytest.param(3, marks=pytest.mark.long)])
def test_threshold_colon_gas_on_finer_voxels_is_never_a_lung(data: Path, finer: float) -> None:
    """The rim of gas has a lung's values, and more of them the finer the voxels are."""
    source = nib.load(data / "ct-torso-3mm" / "ct.nii.gz")
    model = np.asanyarray(nib.load(data / "ct-torso-3mm" / "labels.nii.gz").dataobj)
    values = ndimage.zoom(np.asanyarray(source.dataobj).astype(np.float32), finer, order=1).astype(np.int16)
    labels = labels_of(Image(values, source.affine @ np.diag([1 / finer] * 3 + [1])))
    organs = ndimage.zoom(model, finer, order=0)
    lungs = np.isin(labels, (VALUES["lung_left"], VALUES["lung_right"]))
    assert not (lungs & np.isin(organs, (6, 20))).any()  # stomach, colon
    assert dice(lungs, np.isin(organs, (10, 11, 12, 13, 14))) > 0.85  # lobes


@pytest.mark.parametrize(("low", "high"), [(0, 4000), (-150, 100), (-3024, -1200)])
def test_threshold_values_that_are_no_hounsfield_units_are_bad_input(low: int, high: int) -> None:
    values = np.linspace(low, high, 20 * 20 * 5).reshape(20, 20, 5).astype(np.int16)
    with pytest.raises(BadInput, match="no Hounsfield units"):
        labels_of(Image(values, np.eye(4)))


def test_threshold_air_alone_gives_no_label() -> None:
    values = np.full((30, 30, 4), -1000, np.int16)
    assert not labels_of(Image(values, np.diag([3.0, 3, 3, 1]))).any()
    values[15, 15, 2] = 50  # a cable
    assert not labels_of(Image(values, np.diag([3.0, 3, 3, 1]))).any()


def test_threshold_progress_rises_to_the_end(chest: Any) -> None:
    told: list[float] = []
    load_engine("threshold").segment(work_on(chest.image, lambda share, what: told.append(share)))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_threshold_info_is_what_the_contract_says() -> None:
    info, facts = load_engine("threshold").info, engine_facts("threshold")
    assert (info.name, info.version, info.weights) == ("threshold", facts.version, facts.weights)


def test_threshold_image_whose_coarse_copy_does_not_fit_is_refused_before_any_work(
    chest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = chest.image
    room = resources.BASE_BYTES + image.values.nbytes + 30 * image.values.size  # the fine voxels take 8 each
    monkeypatch.setattr(resources, "memory", lambda: Memory(room, room))
    told: list[float] = []
    with pytest.raises(BadInput, match="million voxels need"):
        load_engine("threshold").segment(work_on(image, lambda share, what: told.append(share)))
    assert told == []
    finer = Image(image.values, np.diag([0.5, 0.5, 3, 1]))
    load_engine("threshold").segment(work_on(finer))  # the same voxels, and a small coarse copy


def test_threshold_takes_no_more_memory_than_it_asks_for(chest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        threshold, "check_memory", lambda size, each: asked.append(size.bytes + size.voxels * each)
    )
    image = chest.image
    tracemalloc.start()
    try:
        load_engine("threshold").segment(work_on(image))
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.3 * asked[0] < taken < asked[0] - image.values.nbytes
