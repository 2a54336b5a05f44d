"""A made-up body with the 117 structures of the task `total`: a label map, and the Hounsfield units it gives.

All of it is drawn from formulas and a seed, so that everybody measures the same voxels.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.shapes import Shape, shapes

SIZE: Final = 512
"""Rows and columns that the table of shapes is drawn for."""
SLICES: Final = 300
NOISE_HU: Final = 15.0
"""So noisy that gzip makes half of it, as of a real CT in thin slices."""
AIR_HU: Final = -1000
MIDDLE: Final = 256.0
STRETCH: Final = 1.14
"""Makes every structure longer: so there are as many pairs of segment and frame as in a real label map."""


def drawn(values: Mapping[str, int], small: bool) -> NDArray[np.uint8]:
    """The label map, (slices, rows, columns) uint8, with the patient's front at row 0 and left at the right.

    Parameters
    ----------
    values
        Structure name to label value, of those to draw.
    small
        A sixth of the size along each axis.
    """
    scale = 1 / 6 if small else 1.0
    slices, size = (SLICES // 6, 96) if small else (SLICES, SIZE)
    labels = np.zeros((slices, size, size), np.uint8)
    chosen = (shape for shape in shapes() if shape.name in values)
    for shape in sorted(chosen, key=lambda shape: -shape.radii[0] * shape.radii[1]):  # small ones on top
        for number in range(slices):
            _draw(labels[number], shape, (number + 0.5) / scale, size / SIZE, values[shape.name])
    return labels


def _draw(plane: NDArray[np.uint8], shape: Shape, height: float, scale: float, value: int) -> None:
    middle_height, length = (shape.high + shape.low) / 2, (shape.high - shape.low) * STRETCH
    along = 0.5 + (height - middle_height) / length
    if not 0 <= along <= 1:
        return
    grown = (1 - (2 * along - 1) ** 2) ** (shape.swell / 2)
    radii = np.maximum(np.array(shape.radii) * grown, 0.75 / scale) * scale
    middle = np.array(shape.at_low) * (1 - along) + np.array(shape.at_high) * along
    x, y = (middle + MIDDLE) * scale - 0.5
    first_row, last_row = max(0, int(y - radii[1])), int(y + radii[1]) + 2
    first_column, last_column = max(0, int(x - radii[0])), int(x + radii[0]) + 2
    part = plane[first_row:last_row, first_column:last_column]
    row = np.arange(first_row, first_row + part.shape[0])[:, np.newaxis]
    column = np.arange(first_column, first_column + part.shape[1])[np.newaxis]
    part[((row - y) / radii[1]) ** 2 + ((column - x) / radii[0]) ** 2 <= 1] = value


def hounsfield(labels: NDArray[np.uint8], values: Mapping[str, int], seed: int = 4) -> NDArray[np.int16]:
    """A noisy CT of the label map, int16, in HU: skin, fat and muscle around the structures, air outside."""
    table = np.zeros(256, np.float32)
    for shape in shapes():
        if shape.name in values:
            table[values[shape.name]] = shape.hu
    size = labels.shape[1]
    row, column = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    distance = np.hypot(column / 0.36, row / 0.26)
    body = np.where(distance < 0.85, 45.0, np.where(distance < 0.98, -100.0, 30.0))
    outside = np.where(distance < 1, body, AIR_HU).astype(np.float32)
    shading = 6 * np.cos(9 * column) * np.cos(7 * row)
    random = np.random.default_rng(seed)
    pixels = np.empty(labels.shape, np.int16)
    for number, plane in enumerate(labels):
        noise = random.standard_normal(plane.shape, np.float32) * NOISE_HU
        pixels[number] = np.rint(np.where(plane, table[plane], outside) + shading + noise)
    return np.clip(pixels, -1024, 3071, out=pixels)
