"""How large and how bright structures are, from labels and pixels on frames.

The batch job measures on the NIfTI's grid; these figures are for labels that come without its statistics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .reading.headers import text_of
from .series import Volume
from .unpacking.source_frames import source_frames
from .voxels.geometry import positions_lps_mm

MM3_IN_ML: Final = 1000.0
HOUNSFIELD: Final = "HU"
_VALUES: Final = 256


@dataclass(frozen=True)
class Measurement:
    """What is measured of one structure.

    `mean` and `sd` (of all its voxels) are in `unit`: "HU" in a CT, "" where intensities have none.
    `is_truncated`: it touches the border of what was scanned, so that its volume is that of a part.
    """

    volume_ml: float
    mean: float
    sd: float
    unit: str
    is_truncated: bool


def intensity_unit(volume: Volume) -> str:
    """Of a volume's intensities: "HU" in a CT (PS3.3 C.8.2.1.1.7), "" where they have none."""
    return HOUNSFIELD if text_of(volume.header, "Modality") == "CT" else ""


def measure_labels(volume: Volume, labels: NDArray[np.uint8]) -> Mapping[int, Measurement]:
    """Measure every label that occurs.

    Parameters
    ----------
    labels
        (frames, rows, columns), on the volume's frames.

    Raises
    ------
    ConversionFailed
        The pixels cannot be read.
    OSError
    """
    counts = np.zeros((len(labels), _VALUES), np.int64)
    sums, squares = np.zeros(_VALUES), np.zeros(_VALUES)
    reference = 0.0
    with source_frames(volume) as frames:
        for number, plane in enumerate(labels):
            at = np.flatnonzero(plane)
            if not at.size:
                continue
            found, values = plane.ravel()[at], frames[number].ravel()[at]
            if not counts.any():
                reference = float(values[0])
            values -= reference  # so that squares of values far from zero lose nothing in the sum
            counts[number] = np.bincount(found, minlength=_VALUES)
            sums += np.bincount(found, weights=values, minlength=_VALUES)
            squares += np.bincount(found, weights=values * values, minlength=_VALUES)
    voxels, volumes_mm3 = counts.sum(axis=0), counts.T @ voxels_mm3(volume)
    truncated, unit = values_on_border(labels), intensity_unit(volume)
    return {
        value: Measurement(
            volume_ml=round(float(volumes_mm3[value]) / MM3_IN_ML, 3),
            mean=round(reference + float(sums[value] / voxels[value]), 2),
            sd=round(_sd(float(voxels[value]), float(sums[value]), float(squares[value])), 2),
            unit=unit,
            is_truncated=value in truncated,
        )
        for value in np.flatnonzero(voxels).tolist()
        if value
    }


def values_on_border(labels: NDArray[np.uint8]) -> frozenset[int]:
    """The label values on the first or last frame, or on the border of the field of view."""
    faces = (np.moveaxis(labels, axis, 0)[end] for axis in range(3) for end in (0, -1))
    return frozenset(int(value) for face in faces for value in np.unique(face) if value)


def _sd(count: float, total: float, squares: float) -> float:
    return float(max(0.0, squares / count - (total / count) ** 2) ** 0.5)


def voxels_mm3(volume: Volume) -> NDArray[np.float64]:
    """What a pixel of each frame stands for, (frames,): it reaches half-way to the next frames."""
    heights = positions_lps_mm(volume) @ volume.normal_lps
    if len(heights) == 1:
        depths = np.array([volume.slice_spacing_mm or 1.0])
    else:
        steps = np.diff(heights)
        depths = (np.append(steps, steps[-1]) + np.insert(steps, 0, steps[0])) / 2
    row_mm, column_mm = volume.pixel_spacing_mm
    return np.asarray(depths * row_mm * column_mm)
