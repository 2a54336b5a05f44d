"""Where a segmentation's frames lie on the slices of its source series."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from converter.errors import LabelsDoNotFit
from converter.reading.headers import numbers_of
from converter.series import Volume
from converter.voxels.geometry import positions_lps_mm

from .file import FrameGroups, SegmentationFile
from .planes import Window

SAME_PLACE_MM = 0.01
SAME_COSINES = 1e-3
"""Direction cosines of one grid agree within this."""
SAME_SPACING = 1e-3
"""So do pixel spacings, as a share."""

Cosines = NDArray[np.float64]


class Place(NamedTuple):
    """A frame of the volume, and which part of it is shown."""

    frame: int
    window: Window


class Places:
    """A segmentation's frames on a volume: iterating gives each one's place and its pixels there.

    Frames are told apart by the source image that they name, and where they name none by their position;
    where they name one, its position must agree. A frame may show a part of its slice, and its rows or
    columns may run the other way, as some writers have them.

    Raises
    ------
    LabelsDoNotFit
        The segmentation's pixels have another direction or size than the volume's, or a frame was made on
        another series.
    """

    def __init__(self, file: SegmentationFile, volume: Volume) -> None:
        self._file = file
        self._volume = volume
        self._positions_mm = positions_lps_mm(volume)
        self._by_source = {
            (frame.sop_instance_uid, frame.frame_number): number
            for number, frame in enumerate(volume.frames)
            if frame.sop_instance_uid
        }
        self._instances = {frame.sop_instance_uid for frame in volume.frames}
        self._down = np.array(volume.orientation_lps[3:]) * volume.pixel_spacing_mm[0]
        self._across = np.array(volume.orientation_lps[:3]) * volume.pixel_spacing_mm[1]
        self._signs = _signs(file.header, volume)

    def __iter__(self) -> Iterator[tuple[Place, NDArray[np.uint8]]]:
        down, across = self._signs
        for place, plane in zip(self.places(), self._file.planes(), strict=True):
            yield place, plane[::down, ::across]

    def places(self) -> Iterator[Place]:
        """Each frame's place alone."""
        known: dict[int, Place] = {}
        for groups in self._file.groups:
            place = known.get(id(groups))  # equal groups are one object
            if place is None:
                place = known[id(groups)] = self._place(groups)
            yield place

    @property
    def are_turned(self) -> bool:
        """Whether rows or columns run the other way than the volume's."""
        return self._signs != (1, 1)

    def _place(self, groups: FrameGroups) -> Place:
        rows, columns = self._file.shape
        first_mm = np.array(groups.position_lps_mm)
        if self._signs[0] < 0:
            first_mm = first_mm - self._down * (rows - 1)
        if self._signs[1] < 0:
            first_mm = first_mm - self._across * (columns - 1)
        number = self._number(groups, first_mm)
        offset_mm = first_mm - self._positions_mm[number]
        row = round(float(offset_mm @ self._down) / float(self._down @ self._down))
        column = round(float(offset_mm @ self._across) / float(self._across @ self._across))
        off_mm = np.linalg.norm(offset_mm - self._down * row - self._across * column)
        is_inside = 0 <= row <= self._volume.rows - rows and 0 <= column <= self._volume.columns - columns
        if off_mm > SAME_PLACE_MM or not is_inside:
            raise LabelsDoNotFit("the segmentation was made on another series, or on another grid")
        return Place(number, Window(row, column, rows, columns))

    def _number(self, groups: FrameGroups, position_mm: NDArray[np.float64]) -> int:
        for key in ((groups.source_uid, groups.source_frame), (groups.source_uid, None)):
            if key in self._by_source:
                return self._by_source[key]
        # Planes of an even grid are no images: whatever a frame names, its position says where it lies.
        if self._by_source and groups.source_uid and groups.source_uid not in self._instances:
            raise LabelsDoNotFit("the segmentation was made on another series")
        heights_mm = (self._positions_mm - position_mm) @ self._volume.normal_lps
        return int(np.abs(heights_mm).argmin())


def _signs(header: Dataset, volume: Volume) -> tuple[int, int]:
    """Whether rows follow each other as in the volume (1) or the other way (-1), and columns."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for item in shared.get("PixelMeasuresSequence") or ():
        spacing_mm = numbers_of(item, "PixelSpacing", 2)
        limits = np.array(volume.pixel_spacing_mm) * SAME_SPACING
        if spacing_mm is None or (np.abs(np.subtract(spacing_mm, volume.pixel_spacing_mm)) > limits).any():
            raise LabelsDoNotFit("the segmentation has another pixel spacing than the series")
    for item in shared.get("PlaneOrientationSequence") or ():
        cosines = numbers_of(item, "ImageOrientationPatient", 6)
        if cosines is None:
            raise LabelsDoNotFit("the segmentation does not say where its rows and columns run")
        across, down = np.array(volume.orientation_lps[:3]), np.array(volume.orientation_lps[3:])
        return _sign(np.array(cosines[3:]), down), _sign(np.array(cosines[:3]), across)
    return 1, 1


def _sign(cosines: Cosines, wanted: Cosines) -> int:
    for sign in (1, -1):
        if np.abs(cosines - sign * wanted).max() <= SAME_COSINES:
            return sign
    raise LabelsDoNotFit("the segmentation's rows and columns have other directions than the series'")
