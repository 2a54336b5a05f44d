"""What is measured of every structure that was found: how large it is and how bright.

One pass over the voxels, a few planes at a time, so that no second copy of the volume is ever made.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .engines import Segmented
from .image import Image

Statistics = Mapping[str, Mapping[str, float | bool | str]]
"""Structure name to what was measured, as `statistics.json` has it; the contract lists the fields."""

SLAB_VOXELS: Final = 2_000_000
"""As many voxels are measured at once; their copies in 64 bits take some 50 MB."""
MEDIAN_BINS: Final = 8192
"""Twice the 4096 values of a CT, so that its medians are exact also where metal reaches further."""


def measure(image: Image, segmented: Segmented, modality: str) -> Statistics:
    """Measure each structure that occurs.

    Parameters
    ----------
    segmented
        Its labels lie on the image's grid.
    modality
        "CT" gives the intensities their unit, HU; those of other modalities have none.

    Returns
    -------
    mapping
        Name to `volume_ml`, `voxels`, `mean_intensity`, `std_intensity` (of all its voxels),
        `median_intensity` (to 1/4096 of the image's range at worst; exact for a CT's whole numbers),
        `truncated` (it touches the image's border, so the volume is that of the scanned part) and, of a CT,
        `intensity_unit`.
    """
    sums = _Sums(image.values, 1 + int(segmented.labels.max()))
    for labels, values in _slabs(segmented.labels, image.values):
        sums.add(labels, values)
    unit = {"intensity_unit": "HU"} if modality == "CT" else {}
    truncated = values_on_border(segmented.labels)
    return {
        name: {
            "volume_ml": round(float(sums.voxels[value]) * image.voxel_ml, 3),
            "voxels": int(sums.voxels[value]),
            **sums.intensities(value),
            **unit,
            "truncated": value in truncated,
        }
        for value, name in segmented.names.items()
        if value < len(sums.voxels) and sums.voxels[value]
    }


def values_on_border(labels: NDArray[np.uint8]) -> frozenset[int]:
    """The label values in the outermost layer of voxels; of a single plane that is all of them."""
    faces = (np.moveaxis(labels, axis, 0)[end] for axis in range(3) for end in (0, -1))
    return frozenset(int(value) for face in faces for value in np.unique(face) if value)


def _slabs(labels: NDArray[np.uint8], values: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """The labelled voxels, some planes at a time, in the order in which they lie in memory."""
    order = np.argsort([-abs(stride) for stride in labels.strides], kind="stable")
    labels, values = labels.transpose(order), values.transpose(order)
    planes = max(1, SLAB_VOXELS // (labels.shape[1] * labels.shape[2]))
    for first in range(0, labels.shape[0], planes):
        slab = labels[first : first + planes].ravel()
        at = np.flatnonzero(slab)
        if at.size:
            yield slab[at], values[first : first + planes].ravel()[at]


class _Sums:
    """Counts and sums by label value."""

    def __init__(self, values: NDArray[Any], size: int) -> None:
        self.voxels = np.zeros(size, np.int64)
        self._sum = np.zeros(size)
        self._sum_of_squares = np.zeros(size)
        self._lowest = float(values.min())
        reach = float(values.max()) - self._lowest
        # A power of two, so that whole numbers kept as floats fall on a step's beginning.
        self._step = 2.0 ** math.ceil(math.log2(reach / (MEDIAN_BINS - 1))) if reach > 0 else 1.0
        self._histogram = np.zeros(size * MEDIAN_BINS, np.int64)

    def add(self, labels: NDArray[Any], values: NDArray[Any]) -> None:
        size = len(self.voxels)
        # From the lowest value on, so that squares of values far from zero lose nothing in the sum.
        above = values.astype(np.float64) - self._lowest
        self.voxels += np.bincount(labels, minlength=size)
        self._sum += np.bincount(labels, weights=above, minlength=size)
        self._sum_of_squares += np.bincount(labels, weights=above * above, minlength=size)
        above /= self._step
        bins = above.astype(np.int32)
        bins += labels.astype(np.int32) * MEDIAN_BINS
        self._histogram += np.bincount(bins, minlength=self._histogram.size)

    def intensities(self, value: int) -> dict[str, float]:
        """Mean, standard deviation and median of one label value."""
        count = float(self.voxels[value])
        mean = self._sum[value] / count
        variance = max(0.0, self._sum_of_squares[value] / count - mean**2)
        cumulated = np.cumsum(self._histogram[value * MEDIAN_BINS : (value + 1) * MEDIAN_BINS])
        middle = int(np.searchsorted(cumulated, count / 2)) * self._step
        return {
            "mean_intensity": round(float(self._lowest + mean), 2),
            "std_intensity": round(float(variance**0.5), 2),
            "median_intensity": round(float(self._lowest + middle), 2),
        }
