"""What is measured of each structure."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from batch_job import statistics as statistics_module
from batch_job.engines import Segmented
from batch_job.image import Image
from batch_job.statistics import measure

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])  # a voxel of 0.02 ml


@pytest.fixture
def labels() -> np.ndarray:
    made = np.zeros((10, 8, 6), np.uint8)
    made[1:3, 1:3, 1:3], made[5:, 5:, 3:] = 1, 3
    return made


@pytest.fixture
def values(labels: np.ndarray) -> np.ndarray:
    return np.asfortranarray(np.random.default_rng(0).integers(-1024, 1500, labels.shape, dtype=np.int16))


def measured(values: np.ndarray, labels: np.ndarray, modality: str = "CT") -> Any:
    names = {1: "bone", 2: "gas", 3: "soft_tissue"}
    return measure(Image(values, AFFINE), Segmented(labels, names), modality)


def test_statistics_of_labels_are_volume_and_intensities(values: np.ndarray, labels: np.ndarray) -> None:
    found = measured(values, labels)
    assert set(found) == {"bone", "soft_tissue"}  # what was not found has no line
    for name, value in (("bone", 1), ("soft_tissue", 3)):
        inside = values[labels == value].astype(np.float64)
        assert found[name]["voxels"] == inside.size
        assert found[name]["volume_ml"] == pytest.approx(inside.size * 0.02)
        assert found[name]["mean_intensity"] == pytest.approx(inside.mean(), abs=0.01)
        assert found[name]["std_intensity"] == pytest.approx(inside.std(), abs=0.01)
        assert found[name]["median_intensity"] == np.sort(inside)[(inside.size - 1) // 2]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_statistics_of_whole_numbers_do_not_depend_on_their_type(labels: np.ndarray, dtype: type) -> None:
    values = np.random.default_rng(1).integers(0, 255, labels.shape)
    assert measured(values.astype(dtype), labels) == measured(values.astype(np.int64), labels)


def test_statistics_of_small_fractions_are_as_exact_as_the_range(labels: np.ndarray) -> None:
    values = np.random.default_rng(2).random(labels.shape).astype(np.float32)
    found = measured(values * 0.5, labels, "MR")["soft_tissue"]
    inside = values[labels == 3] * 0.5
    assert found["mean_intensity"] == pytest.approx(inside.mean(), abs=0.006)  # two decimals are told
    assert found["median_intensity"] == pytest.approx(np.median(inside), abs=0.006)


def test_statistics_far_from_zero_keep_their_deviation(labels: np.ndarray) -> None:
    values = 1e7 + np.random.default_rng(3).normal(0, 3, labels.shape)
    inside = values[labels == 3]
    assert measured(values, labels)["soft_tissue"]["std_intensity"] == pytest.approx(inside.std(), abs=0.01)


def test_statistics_name_hounsfield_units_of_a_ct_only(values: np.ndarray, labels: np.ndarray) -> None:
    assert measured(values, labels, "CT")["bone"]["intensity_unit"] == "HU"
    assert "intensity_unit" not in measured(values, labels, "MR")["bone"]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_statistics_of_a_structure_at_any_border_say_truncated_and_its_true_volume(
    axis: int, end: int
) -> None:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, 4] = 1
    np.moveaxis(labels, axis, 0)[end, 4, 4] = 2
    found = measured(np.zeros(labels.shape, np.int16), labels)
    assert found["bone"]["truncated"] is False
    assert found["gas"]["truncated"] is True
    assert found["gas"]["volume_ml"] == pytest.approx(0.02)


def test_statistics_one_voxel_from_the_border_are_not_truncated() -> None:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[1:-1, 1:-1, 1:-1] = 1
    assert measured(np.zeros(labels.shape, np.int16), labels)["bone"]["truncated"] is False


def test_statistics_without_labels_are_empty(values: np.ndarray, labels: np.ndarray) -> None:
    assert measured(values, np.zeros_like(labels)) == {}


def test_statistics_are_plain_json(values: np.ndarray, labels: np.ndarray) -> None:
    found = measured(values, labels)
    assert json.loads(json.dumps(found)) == found


def test_statistics_in_slabs_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, values: np.ndarray, labels: np.ndarray
) -> None:
    whole = measured(values, labels)
    monkeypatch.setattr(statistics_module, "SLAB_VOXELS", 1)
    assert measured(values, labels) == whole


def test_statistics_of_a_large_volume_make_no_copy_of_it() -> None:
    labels = np.ones((256, 256, 300), np.uint8, order="F")
    image = Image(np.zeros(labels.shape, np.int16, order="F"), AFFINE)
    tracemalloc.start()
    measure(image, Segmented(labels, {1: "bone"}), "CT")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * labels.size * 0.75  # of one in 64 bits; it is a few slabs' worth
