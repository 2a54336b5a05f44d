"""Flags of the image: Hounsfield units and spacing; and input so odd that nothing can be said."""

from typing import Any

import numpy as np
import pytest

from batch_job.contract import Flag
from batch_job.engines import Segmented
from batch_job.image import Image
from batch_job.quality import quality_flags
from batch_job.statistics import measure

AIR, HIGHEST, SPACING = "air_not_minus_1000", "highest_value_implausible", "spacing_above_5_mm"


def image_flags(adult: Any, modality: str = "CT") -> list[tuple[str, float]]:
    return [(flag.code, flag.number) for flag in adult.flags(modality) if flag.structure is None]


def around(adult: Any) -> np.ndarray:
    """The corners that a round field of view leaves out."""
    right, front = np.indices(adult.hu.shape[:2])
    middle = [(size - 1) / 2 for size in adult.hu.shape[:2]]
    outside = np.hypot((right - middle[0]) / middle[0], (front - middle[1]) / middle[1]) > 1
    return np.broadcast_to(outside[..., None], adult.hu.shape)


@pytest.mark.parametrize("offset", [-120, 80, 200, 400])
def test_air_off_its_place_is_flagged_with_what_it_measures(adult: Any, offset: int) -> None:
    adult.hu += offset
    assert image_flags(adult) == [(AIR, pytest.approx(-1000 + offset, abs=10))]


@pytest.mark.parametrize("offset", [-30, 0, 30])
def test_air_a_little_off_is_not_flagged(adult: Any, offset: int) -> None:
    adult.hu = np.clip(adult.hu + offset, -1024, 3071).astype(np.int16)
    assert image_flags(adult) == []


def test_air_of_values_without_rescale_is_flagged(adult: Any) -> None:
    adult.hu = np.clip(adult.hu + 1024, 0, 4095).astype(np.int16)
    assert image_flags(adult) == [(AIR, 0)]
    adult.hu[around(adult)] = -2000
    assert image_flags(adult) == [(AIR, 0)]


@pytest.mark.parametrize("padding", [-3024, -2000, -1024])
def test_air_is_judged_apart_from_the_padding_around_it(adult: Any, padding: int) -> None:
    corners = around(adult)
    adult.hu[corners] = padding
    assert image_flags(adult) == []
    adult.hu[~corners] += 200
    assert image_flags(adult) == [(AIR, pytest.approx(-800, abs=10))]


@pytest.mark.parametrize("background", [-1000, -1024, -2000])
def test_air_set_to_one_value_is_padding_and_not_flagged(adult: Any, background: int) -> None:
    adult.hu[adult.hu < -500] = background
    assert image_flags(adult) == []


def test_air_is_not_taken_from_lungs_that_nobody_labelled(adult: Any) -> None:
    lungs = adult.hu < -700
    lungs &= adult.labels > 0
    adult.hu[around(adult)] = -1024
    adult.labels[lungs] = 0
    assert image_flags(adult) == []


def test_air_that_is_not_in_the_image_is_not_judged(adult: Any) -> None:
    inner = adult.cropped(slice(20, 70), slice(15, 55), slice(0, 45))
    assert inner.hu.min() > -500
    assert image_flags(inner) == []


def test_air_of_another_modality_is_not_judged(adult: Any) -> None:
    adult.hu += 1024
    assert image_flags(adult, "MR") == []


@pytest.mark.parametrize(("highest", "flagged"), [(90, True), (110, False), (3071, False), (32767, True)])
def test_highest_value_that_no_patient_has_is_flagged(adult: Any, highest: int, flagged: bool) -> None:
    adult.hu = np.minimum(adult.hu, highest)
    adult.hu[45, 35, 75] = highest
    assert image_flags(adult) == ([(HIGHEST, highest)] if flagged else [])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_spacing_above_five_millimetres_is_flagged_along_any_axis(axis: int) -> None:
    labels = np.zeros((4, 4, 4), np.uint8)

    def flags(mm: float) -> list[Flag]:
        spacing_mm = [1.0, 1.0, 1.0]
        spacing_mm[axis] = mm
        image = Image(np.zeros(labels.shape, np.int16), np.diag([*spacing_mm, 1.0]))
        return [flag for flag in quality_flags(image, labels, {}, {}, "MR") if flag.code == SPACING]

    (flag,) = flags(7.5)
    assert (flag.number, flag.unit, flag.structure) == (7.5, "mm", None)
    assert not flags(float(np.float32(5.0000001)))


NAMES = {1: "liver", 2: "spleen", 3: "vertebrae_T4", 4: "vertebrae_T6", 5: "kidney_left", 6: "heart"}


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 30), (40, 1, 30), (40, 30, 1), (2, 2, 200)])
@pytest.mark.parametrize("fill", ["nothing", "one", "all", "unknown"])
@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("value", [-1000, 0, 40])
def test_odd_input_is_flagged_without_an_error(
    shape: tuple[int, int, int], fill: str, modality: str, value: int
) -> None:
    labels = np.zeros(shape, np.uint8)
    if fill == "one":
        labels[0, 0, 0] = 1
    elif fill == "all":
        labels[...] = np.arange(labels.size).reshape(shape) % 7
    elif fill == "unknown":
        labels[...] = 255
    image = Image(np.full(shape, value, np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
    statistics = measure(image, Segmented(labels, NAMES), modality)
    for flag in quality_flags(image, labels, NAMES, statistics, modality):
        assert np.isfinite(flag.number)
        assert flag.structure is None or flag.structure in statistics or flag.structure == "vertebrae_T5"


def test_flags_survive_the_manifests_json(adult: Any) -> None:
    adult.swap("kidney_left", "kidney_right")
    (flag,) = adult.flags()
    assert Flag.from_json(flag.to_json()) == flag
