"""What a summary shows: the planes on which most of the structures is seen, and all of them from the front.

Frames are read once, one at a time; of each only what is shown is kept. A stack that leans is shown as if it
were straight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from converter.results.labelled import Labelled

from .grey import Brightness
from .planes import ACROSS, DOWN, TO_THE_RIGHT, Axis, ends_of, patient_axes, stack_axes
from .settings import Cut

SAMPLES: Final = 128
"""As many planes along an axis are looked at, at most, to choose one."""
_VALUES: Final = 256

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class View:
    """One picture to be, not yet to scale: (rows from the top, columns from the left)."""

    caption: str
    sides: tuple[str, str, str, str]
    """What lies left, right, above and below."""
    grey: Bytes
    labels: Bytes
    size_mm: tuple[float, float]
    """Width and height."""


def views_of(labelled: Labelled, grey: Brightness) -> list[View]:
    """Axial, coronal and sagittal plane, and the projection from the front."""
    volume, labels = labelled.volume, labelled.labels
    axes, order = stack_axes(volume), patient_axes(volume)
    at = _fullest(labels)
    front = order[ACROSS[Cut.CORONAL]]
    sections, projection = _read(grey, at, front)
    views = []
    for cut in (Cut.AXIAL, Cut.CORONAL, Cut.SAGITTAL):
        through = order[ACROSS[cut]]
        at_plane = tuple(at[axis] if axis == through else slice(None) for axis in range(3))
        marked = labels.transpose(2, 1, 0)[at_plane]
        views.append(_view(str(cut), cut, axes, order, through, sections[through], marked))
    smallest = _smallest(labelled, front)
    views.append(_view("from the front", Cut.CORONAL, axes, order, front, projection, smallest))
    return views


def _view(
    caption: str, cut: Cut, axes: Sequence[Axis], order: Sequence[int], through: int,
    grey: Bytes, labels: Bytes,
) -> View:  # fmt: skip
    """Turn a section, its axes in the stack's order: the picture's columns and rows run as wanted."""
    wanted = [TO_THE_RIGHT[cut], DOWN[cut]]
    across, down = (axes[order[int(np.argmax(np.abs(way)))]] for way in wanted)
    left = [axis for axis in range(3) if axis != through]
    turn = (left.index(down.stack), left.index(across.stack))
    flips = tuple(
        slice(None, None, -1 if axis.is_turned(way) else 1)
        for axis, way in zip((down, across), wanted[::-1], strict=True)
    )
    directions = [
        axis.direction * (-1 if axis.is_turned(way) else 1)
        for axis, way in zip((across, down), wanted, strict=True)
    ]
    return View(
        caption,
        ends_of([*directions[0].tolist(), *directions[1].tolist()]),
        grey.transpose(turn)[flips],
        labels.transpose(turn)[flips],
        (across.count * across.step_mm, down.count * down.step_mm),
    )


def _read(grey: Brightness, at: Sequence[int], front: int) -> tuple[dict[int, Bytes], Bytes]:
    """The sections across columns, rows and frames, and the brightest along the axis that runs to the front.

    Each has the two other axes in the stack's order: columns before rows before frames.
    """
    columns, rows = [], []
    rays: list[Bytes] = []
    brightest: Bytes | None = None
    window = grey.projection_window
    for number in range(len(grey)):
        stored: NDArray[Any] = grey.stored(number)
        columns.append(grey.shown(stored[:, at[0]], number, grey.window))
        rows.append(grey.shown(stored[at[1]], number, grey.window))
        if front == 2:
            plane = grey.shown(stored, number, window)
            brightest = plane if brightest is None else np.maximum(brightest, plane)
        else:
            rays.append(grey.shown(grey.brightest(number, 1 - front), number, window))
    sections = {0: np.stack(columns, axis=1), 1: np.stack(rows, axis=1), 2: grey.plane(at[2]).T}
    return sections, np.stack(rays, axis=1) if brightest is None else brightest.T


def _fullest(labels: Bytes) -> tuple[int, int, int]:
    """The index along columns, rows and frames whose plane shows most: each structure counts by its share.

    A structure counts in full where its section is largest, so that large ones do not outvote small ones. Of
    labels without anything it is the middle.
    """
    steps = [max(1, size // SAMPLES) for size in labels.shape]
    sample = labels[tuple(slice(step // 2, None, step) for step in steps)]
    where = np.nonzero(sample)
    found = sample[where].astype(np.int64)
    best = []
    for axis, step in enumerate(steps):
        planes = sample.shape[axis]
        areas = np.bincount(found * planes + where[axis], minlength=_VALUES * planes)
        areas = areas.reshape(_VALUES, planes)
        areas = areas[areas.any(axis=1)]
        score = (areas / areas.max(axis=1, keepdims=True)).sum(axis=0)
        best.append(int(score.argmax()) * step + step // 2 if len(areas) else labels.shape[axis] // 2)
    return best[2], best[1], best[0]


def _smallest(labelled: Labelled, front: int) -> Bytes:
    """Along the axis that runs to the front the smallest structure's label; 0 where there is none.

    So no structure hides a smaller one, as the nearest would: ribs and skin before everything. Its axes are
    the two others, columns before rows before frames.
    """
    sizes = np.zeros(_VALUES)
    for value, measured in labelled.measurements.items():
        sizes[value] = measured.volume_ml
    by_size = np.concatenate([np.argsort(sizes[1:], kind="stable") + 1, [0]]).astype(np.uint8)
    labels = labelled.labels
    rank = np.empty(_VALUES, np.uint8)
    rank[by_size] = np.arange(_VALUES)
    if front == 2:
        first: Bytes = np.full(labels.shape[1:], _VALUES - 1, np.uint8)
        for plane in labels:
            np.minimum(first, np.take(rank, plane), out=first)
        return np.take(by_size, first).T
    nearest = np.stack([np.take(rank, plane).min(axis=1 - front) for plane in labels], axis=1)
    return np.take(by_size, nearest)
