"""A made-up adult whose organs lie where they belong, as a CT with its labels, to be spoilt in one thing."""

import copy
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from batch_job.contract import Flag
from batch_job.engines import Segmented
from batch_job.image import Image
from batch_job.quality import quality_flags
from batch_job.statistics import measure

SPACING_MM = 4.0
SHAPE = (90, 70, 150)
ORIGIN_MM = (-178.0, -138.0, -20.0)
VERTEBRAE = [f"vertebrae_T{n}" for n in range(1, 13)] + [f"vertebrae_L{n}" for n in range(1, 6)]

ORGANS = {
    "lung_upper_lobe_left": ((-75, 0, 460), (42, 60, 60)),
    "lung_lower_lobe_left": ((-75, -10, 360), (42, 60, 50)),
    "lung_upper_lobe_right": ((80, 0, 460), (42, 60, 60)),
    "lung_lower_lobe_right": ((80, -10, 375), (42, 60, 50)),
    "heart": ((-30, 40, 400), (42, 45, 55)),
    "liver": ((65, 10, 270), (65, 65, 60)),
    "spleen": ((-90, -30, 270), (30, 35, 45)),
    "kidney_left": ((-60, -45, 190), (25, 25, 50)),
    "kidney_right": ((60, -45, 180), (25, 25, 50)),
    "urinary_bladder": ((0, 40, 40), (35, 35, 35)),
}
"""Middle and half axes of each, RAS mm."""


def _places_mm() -> NDArray[np.float64]:
    index = np.indices(SHAPE).reshape(3, -1)
    return (index * SPACING_MM + np.array(ORIGIN_MM)[:, None]).reshape(3, *SHAPE)


PLACES_MM = _places_mm()


@dataclass
class Adult:
    """Labels with their names, and voxels in HU; RAS, 4 mm."""

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    names: dict[int, str] = field(default_factory=dict)

    def put(self, name: str, middle_mm: tuple[float, ...], half_mm: tuple[float, ...]) -> None:
        """Place an ellipsoid, over what is there."""
        value = next((v for v, n in self.names.items() if n == name), len(self.names) + 1)
        self.names[value] = name
        away = sum(((p - m) / h) ** 2 for p, m, h in zip(PLACES_MM, middle_mm, half_mm, strict=True))
        self.labels[away <= 1] = value

    def take(self, name: str) -> None:
        """Remove a structure; the task still looks for it."""
        self.labels[self.labels == self.value(name)] = 0

    def swap(self, one: str, other: str) -> None:
        """Exchange two names."""
        a, b = self.value(one), self.value(other)
        self.names[a], self.names[b] = other, one

    def value(self, name: str) -> int:
        """Its label value."""
        return next(value for value, known in self.names.items() if known == name)

    def where(self, name: str) -> NDArray[np.bool_]:
        """Its voxels."""
        return self.labels == self.value(name)

    def cropped(self, *keep: slice) -> "Adult":
        """A part of the scan; its affine is that of the whole, which matters to no check."""
        return Adult(self.hu[keep].copy(), self.labels[keep].copy(), dict(self.names))

    def flags(
        self, modality: str = "CT", spacing_mm: tuple[float, ...] = (SPACING_MM,) * 3
    ) -> tuple[Flag, ...]:
        """What the checks say."""
        affine = np.diag([*spacing_mm, 1.0])
        affine[:3, 3] = ORIGIN_MM
        image = Image(self.hu, affine)
        statistics = measure(image, Segmented(self.labels, self.names), modality)
        return quality_flags(image, self.labels, self.names, statistics, modality)


def make_adult() -> Adult:
    """An adult in whom nothing is to be flagged."""
    x, y, _ = PLACES_MM
    body = (x / 150) ** 2 + (y / 110) ** 2
    hu = np.where(body > 1, -1000, np.where(body > 0.85, -100, 50)) + np.random.default_rng(0).normal(
        0, 12, SHAPE
    )
    adult = Adult(hu.clip(-1024, 3071).astype(np.int16), np.zeros(SHAPE, np.uint8))
    for name, (middle_mm, half_mm) in ORGANS.items():
        adult.put(name, middle_mm, half_mm)
    for level, name in enumerate(VERTEBRAE):
        adult.put(name, (0, -60, 540 - 27 * level), (20, 16, 11))
    for side, sign in (("left", -1), ("right", 1)):
        for number in range(1, 13):
            adult.put(f"rib_{side}_{number}", (sign * 128, -20, 540 - 27 * number), (8, 40, 8))
    for name in VERTEBRAE:
        adult.hu[adult.where(name)] += 350
    for name in ORGANS:
        if name.startswith("lung"):
            adult.hu[adult.where(name)] -= 850
    return adult


@pytest.fixture(scope="session")
def whole_adult() -> Adult:
    return make_adult()


@pytest.fixture
def adult(whole_adult: Adult) -> Adult:
    """A made-up adult of 360 x 280 x 600 mm without a flag, to be spoilt."""
    return copy.deepcopy(whole_adult)
