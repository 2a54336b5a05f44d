"""What is measured and flagged does not depend on the order in which the axes of an image are stored."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from batch_job.engines import Segmented
from batch_job.image import Image
from batch_job.quality import quality_flags
from batch_job.statistics import measure

NAMES = {
    1: "kidney_left",
    2: "kidney_right",
    3: "liver",
    4: "spleen",
    5: "heart",
    6: "vertebrae_T4",
    7: "vertebrae_T5",
    8: "vertebrae_T6",
    9: "rib_left_3",
    10: "rib_left_4",
    11: "rib_left_5",
    12: "urinary_bladder",
}


@st.composite
def scans(draw: st.DrawFn) -> tuple[Image, np.ndarray]:
    """Blocks of labels on an image of any spacing and lean."""
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    coarse = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 13)))
    labels = np.kron(coarse, np.ones((3, 2, 3), np.uint8)).astype(np.uint8)
    seed, offset = draw(st.integers(0, 99)), draw(st.sampled_from([0, 0, 300, 1100]))
    values = (
        np.random.default_rng(seed).normal(0, 12, labels.shape) + np.where(labels > 0, 60, -1000) + offset
    )
    kind = draw(st.sampled_from([np.int16, np.float32]))
    degrees = [draw(st.floats(-20, 20)) for _ in range(3)]
    spacing_mm = [draw(st.floats(0.7, 6)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(spacing_mm)
    affine[:3, 3] = (-100, 20, 400)
    return Image(np.asfortranarray(values.astype(kind)), affine), labels


def stored_otherwise(
    image: Image, labels: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...], layout: str
) -> tuple[Image, np.ndarray]:
    """The same voxels in the same places, their axes permuted and reversed."""
    affine = image.affine.copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (labels.shape[axis] - 1)
            affine[:3, axis] *= -1
    affine = affine[:, [*order, 3]]
    backwards = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    values, turned = (np.array(a[backwards].transpose(order), order=layout) for a in (image.values, labels))
    return Image(values, affine), turned


def told(image: Image, labels: np.ndarray, modality: str) -> tuple[Any, Any]:
    """Statistics, and flags by code, structure and edges named."""
    statistics = measure(image, Segmented(labels, NAMES), modality)
    flags = quality_flags(image, labels, NAMES, statistics, modality)
    return statistics, {(flag.code, flag.structure): flag for flag in flags}


@settings(max_examples=60, deadline=None)
@given(
    scans(),
    st.sampled_from(list(permutations(range(3)))),
    st.tuples(*[st.booleans()] * 3),
    st.sampled_from("CF"),
    st.sampled_from(["CT", "MR"]),
)
def test_flags_and_statistics_do_not_depend_on_the_storage_order_of_axes(
    scan: tuple[Image, np.ndarray],
    order: tuple[int, ...],
    flips: tuple[bool, ...],
    layout: str,
    modality: str,
) -> None:
    statistics, flags = told(*scan, modality)
    other_statistics, other_flags = told(*stored_otherwise(*scan, order, flips, layout), modality)
    assert list(other_statistics) == list(statistics)
    for name, measured in statistics.items():
        assert other_statistics[name] == pytest.approx(measured, abs=0.02)
    assert list(other_flags) == list(flags)
    for key, flag in flags.items():
        assert other_flags[key].number == pytest.approx(flag.number, abs=0.11)
        assert other_flags[key].unit == flag.unit
