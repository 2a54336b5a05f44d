"""What the preview shows: the planes where most structures are seen, and a projection from the front."""

from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from batch_job.image import Image

SOFT_TISSUE_HU: Final = (-160.0, 240.0)
PROJECTION_HU: Final = (-100.0, 900.0)
"""A maximum projection is brighter than a plane: nearly every ray meets bone."""
AIR_HU: Final = -500.0
"""An image whose darkest values lie below is taken for a CT."""
SAMPLES: Final = 128
"""As many planes along an axis are looked at, at most, to choose one."""


@dataclass(frozen=True)
class View:
    """One picture to be, not yet to scale: rows from the top, columns from the left."""

    caption: str
    sides: str
    """What is left, right, top and bottom: of R, L, A, P, H (head), F (feet)."""
    values: NDArray[Any]
    labels: NDArray[np.uint8]
    size_mm: tuple[float, float]
    """Width and height."""
    window: tuple[float, float]
    """The values shown black and white."""


def views_of(image: Image, labels: NDArray[np.uint8], voxels: NDArray[np.int64]) -> list[View]:
    """Axial plane, coronal plane, sagittal plane, coronal projection.

    Parameters
    ----------
    image, labels
        With axes that run to the patient's right, front and head.
    voxels
        How many each label value has, (256,).
    """
    plane_window, projection_window = _windows(image.values)
    at = _fullest(labels)
    drawn = []
    for axis, caption, sides in ((2, "axial", "RLAP"), (1, "coronal", "RLHF"), (0, "sagittal", "APHF")):
        here = np.moveaxis(image.values, axis, 0)[at[axis]]
        marked = np.moveaxis(labels, axis, 0)[at[axis]]
        drawn.append(_view(caption, sides, here, marked, _others(image.spacing_mm, axis), plane_window))
    brightest, smallest = image.values.max(axis=1), _smallest(labels, voxels)
    spacing_mm = _others(image.spacing_mm, 1)
    drawn.append(_view("coronal projection", "RLHF", brightest, smallest, spacing_mm, projection_window))
    return drawn


def _view(
    caption: str, sides: str, values: NDArray[Any], labels: NDArray[np.uint8],
    spacing_mm: tuple[float, float], window: tuple[float, float],
) -> View:  # fmt: skip
    """From right, front and head in the order of their axes to a picture: all three run from its far ends."""
    size_mm = (values.shape[0] * spacing_mm[0], values.shape[1] * spacing_mm[1])
    return View(caption, sides, values[::-1, ::-1].T, labels[::-1, ::-1].T, size_mm, window)


def _others(spacing_mm: tuple[float, float, float], axis: int) -> tuple[float, float]:
    across, up = (mm for other, mm in enumerate(spacing_mm) if other != axis)
    return across, up


def _windows(values: NDArray[Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of planes and of the projection: fixed where the values look like HU, else the middle 98 % of them."""
    steps = tuple(slice(None, None, max(1, size // 64)) for size in values.shape)
    low, high = (float(value) for value in np.percentile(values[steps], (1, 99)))
    if low < AIR_HU:
        return SOFT_TISSUE_HU, PROJECTION_HU
    high = max(high, low + 1)
    return (low, high), (low, high + (high - low) / 2)


def _fullest(labels: NDArray[np.uint8]) -> tuple[int, int, int]:
    """The index along each axis whose plane shows most: each structure counts by how much of it is seen.

    A structure counts in full where its section is largest, so that large ones do not outvote small ones.
    Of an image without labels it is the middle.
    """
    steps = [max(1, size // SAMPLES) for size in labels.shape]
    sample = labels[tuple(slice(step // 2, None, step) for step in steps)]
    best = []
    for axis, step in enumerate(steps):
        # Plane by plane: where each labelled voxel lies would take 40 bytes for each of them.
        planes = np.moveaxis(sample, axis, 0)
        areas = np.stack([np.bincount(plane.ravel(), minlength=256) for plane in planes], axis=1)[1:]
        areas = areas[areas.any(axis=1)]
        score = (areas / areas.max(axis=1, keepdims=True)).sum(axis=0)
        middle = labels.shape[axis] // 2
        best.append(int(score.argmax()) * step + step // 2 if len(areas) else middle)
    return best[0], best[1], best[2]


def _smallest(labels: NDArray[np.uint8], voxels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """From front to back the label of the smallest structure, (right, head); 0 where there is none.

    So no structure hides a smaller one, as the nearest would: ribs and skin before everything.
    """
    by_size = np.concatenate([np.argsort(voxels[1:], kind="stable") + 1, [0]]).astype(np.uint8)
    rank = np.empty(256, np.uint8)
    rank[by_size] = np.arange(256)
    # Plane by plane as they lie in memory, so that nothing of the volume's size is made.
    slowest = int(np.argmax(np.abs(labels.strides)))
    ranked = (rank[plane] for plane in np.moveaxis(labels, slowest, 0))
    front_to_back = 0 if slowest == 0 else 1
    first: NDArray[np.uint8] = (
        reduce(np.minimum, ranked)
        if slowest == 1
        else np.stack([plane.min(axis=front_to_back) for plane in ranked], axis=front_to_back)
    )
    return np.take(by_size, first)
