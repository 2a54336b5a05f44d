"""Fetched segmentations on the phantom's slices, and every voxel compared with what must be there.

A segmentation is read here by the places in its own header and laid onto the slices by arithmetic of this
module alone: what the converter wrote is not judged by the converter's own idea of where a voxel is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from converter.errors import LabelsDoNotFit
from converter.seg.decoder import segments_of
from converter.seg.file import open_segmentation

from .phantom import BALLS, PIXEL_MM, Series, places_mm

CLOSE_MM: Final = 0.01
"""Places are written in decimals; what lies farther off lies elsewhere."""
_FLIPS: Final[Mapping[tuple[int, ...], str]] = {
    (2,): "left and right are exchanged",
    (1,): "front and back are exchanged",
    (0,): "the slices are in reverse order",
    (1, 2): "it is turned by half a turn",
    (0, 2): "left and right are exchanged, and the slices reversed",
}
"""Axes of (slices, rows, columns); the sides are those of an axial series."""


class Elsewhere(Exception):
    """A segmentation does not lie on the slices of its series; one sentence."""


@dataclass(frozen=True)
class Comparison:
    """What came of comparing all voxels of one segmentation with what must be there."""

    voxels: int
    labelled: int
    """Of those with a label in either."""
    wrong: int
    guess: str = ""
    """What has happened to them, where that is plain."""

    @property
    def sentence(self) -> str:
        """In words."""
        if not self.wrong:
            return f"all {self.voxels} voxels are right, {self.labelled} of them labelled"
        said = f"{self.wrong} of {self.voxels} voxels are wrong"
        return f"{said}: {self.guess}" if self.guess else said


def compared(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> Comparison:
    """Compare labels on the same slices, (slices, rows, columns)."""
    wrong = int(np.count_nonzero(found != wanted))
    guess = next((said for axes, said in _FLIPS.items() if np.array_equal(np.flip(found, axes), wanted)), "")
    labelled = int(np.count_nonzero((found > 0) | (wanted > 0)))
    return Comparison(found.size, labelled, wrong, guess if wrong else "")


def labels_of(path: Path, series: Series) -> NDArray[np.uint8]:
    """What a BINARY or LABELMAP segmentation says on the slices of a series: label values, 0 for none.

    Raises
    ------
    Elsewhere
        It is none, or a frame of it does not lie on a slice, or two segments share a voxel.
    """
    try:
        values = _values_by_segment(path)
        segmentation = dcmread(path)
        labels = np.zeros_like(series.labels)
        for at, plane, segment in _frames(segmentation, series):
            shown = np.where(plane, segment, 0) if segment else plane
            part = labels[at]
            if np.any((part > 0) & (shown > 0)):
                raise Elsewhere("two of its segments share a voxel")
            part += values[shown].astype(np.uint8)
    except (AttributeError, LookupError, ValueError, TypeError, LabelsDoNotFit) as error:
        raise Elsewhere(f"it cannot be read as a segmentation ({type(error).__name__})") from None
    return labels


def label_map_on(path: Path, series: Series) -> NDArray[np.uint8]:
    """What a label map NIfTI says at the place of each pixel of a series: the value of the nearest voxel."""
    image: Any = nib.load(path)
    values = np.asarray(image.dataobj).astype(np.uint8)
    ras = places_mm(series.pose, series.corners_mm) * (-1.0, -1.0, 1.0)
    to_voxel = np.linalg.inv(image.affine)
    # Rounded before: places between two voxels fall to the same side whatever the last digits are.
    index = np.rint(np.round(ras @ to_voxel[:3, :3].T + to_voxel[:3, 3], 4)).astype(int)
    is_inside = np.all((index >= 0) & (index < values.shape), axis=-1)
    labels = np.zeros(index.shape[:-1], np.uint8)
    labels[is_inside] = values[tuple(index[is_inside].T)]
    return labels


def balls_found(labels: NDArray[np.uint8]) -> str:
    """The balls with their sides and voxels, for who reads the page."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return "; ".join(
        f"{ball.name.replace('_', ' ')} {ball.where}: {counts[ball.value]} voxels" for ball in BALLS
    )


def _values_by_segment(path: Path) -> NDArray[np.int64]:
    """The engine's value of each segment's number; of one that says none its number."""
    with open_segmentation(path) as file:
        values = np.zeros(65536, np.int64)
        for segment in segments_of(file):
            values[segment.number] = segment.label_value or segment.number
    return values


def _frames(segmentation: Dataset, series: Series) -> Iterator[tuple[Any, NDArray[Any], int]]:
    """Each frame's part of (slices, rows, columns), its pixels, and its segment, 0 in a label map."""
    pixels = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    is_label_map = str(segmentation.SegmentationType) == "LABELMAP"
    for groups, plane in zip(segmentation.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        _require_same_grid(groups, shared, series)
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        number, row, column = _slice_at(position, series)
        rows, columns = slice(row, row + plane.shape[0]), slice(column, column + plane.shape[1])
        segment = 0 if is_label_map else int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        yield (number, rows, columns), plane, segment


def _require_same_grid(groups: Dataset, shared: Dataset, series: Series) -> None:
    measures = _group(groups, shared, "PixelMeasuresSequence")
    orientation = _group(groups, shared, "PlaneOrientationSequence")
    cosines = np.array(orientation.ImageOrientationPatient, float)
    wanted = np.array([*series.pose.rows_lps, *series.pose.columns_lps])
    if not np.allclose(cosines, wanted, atol=1e-5) or not np.allclose(
        np.array(measures.PixelSpacing, float), PIXEL_MM, atol=1e-5
    ):
        raise Elsewhere("its frames have another direction or spacing than the images")


def _group(groups: Dataset, shared: Dataset, keyword: str) -> Dataset:
    return (groups if keyword in groups else shared)[keyword][0]  # type: ignore[no-any-return]


def _slice_at(position: NDArray[np.float64], series: Series) -> tuple[int, int, int]:
    """The slice on which a frame's first pixel lies, and its row and column there."""
    row, column = np.array(series.pose.rows_lps), np.array(series.pose.columns_lps)
    off = position - series.corners_mm
    number = int(np.abs(off @ np.cross(row, column)).argmin())
    down, across = off[number] @ column / PIXEL_MM[0], off[number] @ row / PIXEL_MM[1]
    at = series.corners_mm[number] + round(down) * PIXEL_MM[0] * column + round(across) * PIXEL_MM[1] * row
    if np.linalg.norm(position - at) > CLOSE_MM or down < -0.5 or across < -0.5:
        raise Elsewhere("a frame of it does not lie on the slices")
    return number, round(down), round(across)
