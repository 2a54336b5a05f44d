"""DICOM-SEG back to labels on the slices of its source."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from ..colours import rgb_of
from ..errors import LabelsDoNotFit
from ..inputs import AnyPath
from ..nifti.file import write_labels
from ..reading.headers import numbers_of
from ..series import Volume
from ..voxels.geometry import frames_on_grid
from ..voxels.grid import even_volume, grid_of, needs_another_grid
from ..voxels.paged import LettingGo, paged_zeros, planes_of
from .file import SegmentationFile, open_segmentation
from .places import Place, Places
from .settings import LABEL_VALUE, SegmentationType

MOST_NUMBERS = 255
"""As many as a label map of 8 bits can hold."""
_LABEL_VALUE = re.compile(rf"{LABEL_VALUE} (\d{{1,3}})$")


@dataclass(frozen=True)
class Segment:
    """One segment: its label, the engine's own label value where it is given, its colour as DICOM has it."""

    number: int
    label: str
    label_value: int | None
    cielab: tuple[int, int, int] | None

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as sRGB, 0 to 255; yellow where the segmentation gives none."""
        if self.cielab is None:
            return (255, 200, 0)
        return rgb_of(self.cielab)


@dataclass(frozen=True)
class ReadSegmentation:
    """A segmentation on the frames of its source.

    `numbers` is (frames, rows, columns), uint8, segment numbers, 0 for none.
    """

    numbers: NDArray[np.uint8]
    segments: tuple[Segment, ...]


def read_segmentation(path: Path, volume: Volume) -> ReadSegmentation:
    """Read a BINARY or LABELMAP segmentation onto the frames of its source.

    Raises
    ------
    LabelsDoNotFit
        No such segmentation of this volume, or segments overlap.
    OSError
    """
    with open_segmentation(path) as file:
        segments = segments_of(file)
        if len(segments) > MOST_NUMBERS:
            raise LabelsDoNotFit(f"the segmentation has more than {MOST_NUMBERS} segments")
        numbers = paged_zeros((len(volume.frames), volume.rows, volume.columns))
        drawn, letting_go = np.zeros(len(volume.frames), np.int64), LettingGo(numbers)
        for place, plane, segment in frames_of(file, volume, segments):
            rows = slice(None) if file.type is SegmentationType.LABELMAP else _rows_with_pixels(plane)
            shown = plane[rows] * np.uint8(segment or 1)
            part = numbers[place.frame][place.window.slices][rows]
            np.bitwise_or(part, shown, out=part)
            drawn[place.frame] += np.count_nonzero(shown.view(np.bool_))
            letting_go.after(part)
        # Where two segments share a pixel, fewer pixels are set than were drawn.
        shown_pixels = map(np.count_nonzero, planes_of(numbers))
        if any(pixels != count for pixels, count in zip(shown_pixels, drawn, strict=True)):
            raise LabelsDoNotFit("its segments overlap; a label map cannot hold them")
    return ReadSegmentation(numbers, segments)


def _rows_with_pixels(plane: NDArray[np.uint8]) -> slice:
    """From the first row of zeros and ones that has a one to the last: most structures take few of them."""
    pixels = plane.tobytes()
    first, last = pixels.find(1), pixels.rfind(1)
    return slice(first // plane.shape[1], last // plane.shape[1] + 1) if first >= 0 else slice(0)


def read_masks(path: Path, volume: Volume) -> dict[Segment, NDArray[np.bool_]]:
    """Read a segmentation whose segments may overlap: for each a mask, (frames, rows, columns).

    Raises
    ------
    LabelsDoNotFit
        No BINARY or LABELMAP segmentation of this volume.
    OSError
    """
    with open_segmentation(path) as file:
        shape = (len(volume.frames), volume.rows, volume.columns)
        segments = segments_of(file)
        masks = {segment: np.zeros(shape, bool) for segment in segments}
        by_number = {segment.number: mask for segment, mask in masks.items()}
        for place, plane, segment in frames_of(file, volume, segments):
            for number in np.unique(plane[plane > 0]).tolist():
                mask = by_number[segment or number][place.frame][place.window.slices]
                mask |= plane == number
    return masks


def decode_segmentation(path: AnyPath, volume: Volume, out: AnyPath) -> dict[int, str]:
    """Write a segmentation as a label map NIfTI on the grid that `convert_volume` gives.

    It lies on the slices, or where these lean or are uneven on their even grid. Values are the engine's own
    where every segment says its one, else the segment numbers.

    Returns
    -------
    dict
        The label table.

    Raises
    ------
    LabelsDoNotFit, OSError
    """
    path, out = Path(path), Path(out)
    try:
        read = read_segmentation(path, volume)
    except LabelsDoNotFit:
        if not needs_another_grid(volume):
            raise
        volume = even_volume(volume)
        read = read_segmentation(path, volume)
    own_values = [segment.label_value for segment in read.segments]
    has_own = None not in own_values and len(set(own_values)) == len(own_values)
    table = {
        (segment.label_value or 0) if has_own else segment.number: segment.label for segment in read.segments
    }
    values = np.zeros(256, np.uint8)
    values[[segment.number for segment in read.segments]] = list(table)
    grid = grid_of(volume)
    for plane in planes_of(read.numbers):
        plane[:] = values[plane]
    labels = frames_on_grid(read.numbers, volume, grid.shape, grid.affine_ras)
    write_labels(labels, grid.affine_ras, out)
    return table


def frames_of(
    file: SegmentationFile, volume: Volume, segments: Sequence[Segment]
) -> Iterator[tuple[Place, NDArray[np.uint8], int]]:
    """Each frame's place, its pixels, and its segment's number, 0 in a label map.

    Raises
    ------
    LabelsDoNotFit
        A frame lies elsewhere, or shows what is not described.
    """
    described = {segment.number for segment in segments}
    is_described = np.zeros(1 + MOST_NUMBERS, bool)
    is_described[[0, *(number for number in described if number <= MOST_NUMBERS)]] = True
    for (place, plane), segment in zip(Places(file, volume), file.segments, strict=True):
        if segment not in described if segment else not is_described[plane].all():
            raise LabelsDoNotFit("a frame shows a segment that the segmentation does not describe")
        yield place, plane, segment


def segments_of(file: SegmentationFile) -> tuple[Segment, ...]:
    """The segments but for a background, which Pixel Padding Value names (Supplement 243).

    Raises
    ------
    LabelsDoNotFit
        They are not described, or the background is one of them.
    """
    try:
        if int(file.header.get("PixelPaddingValue") or 0) != 0:
            raise LabelsDoNotFit("the segmentation's background is not 0; that cannot be read here")
        return tuple(_segment(item) for item in file.header.SegmentSequence if int(item.SegmentNumber) != 0)
    except (LookupError, AttributeError, ValueError, TypeError, OverflowError):
        raise LabelsDoNotFit("the segmentation does not describe its segments") from None


def _segment(item: Dataset) -> Segment:
    match = _LABEL_VALUE.search(str(item.get("SegmentDescription") or ""))
    value = int(match[1]) if match and 1 <= int(match[1]) <= 255 else None
    lab = numbers_of(item, "RecommendedDisplayCIELabValue", 3)
    cielab = (int(lab[0]), int(lab[1]), int(lab[2])) if lab else None
    name = str(item.get("TrackingID") or "") if value is not None else ""
    return Segment(int(item.SegmentNumber), name or str(item.SegmentLabel), value, cielab)
