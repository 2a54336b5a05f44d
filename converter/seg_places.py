"""Where a segmentation's frames lie on the slices of its source series."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pydicom import Dataset

from .errors import LabelsDoNotFit
from .geometry import positions_lps_mm
from .headers import numbers_of
from .seg_file import FrameGroups, SegmentationFile
from .seg_planes import Window
from .series import Volume

SAME_PLACE_MM = 0.01
SAME_COSINES = 1e-3
"""Direction cosines of one grid agree within this."""
SAME_SPACING = 1e-3
"""So do pixel spacings, as a share."""


class Place(NamedTuple):
    """A frame of the volume, and which part of it is shown."""

    frame: int
    window: Window


class Places:
    """Finds a segmentation's frames on a volume.

    They are told apart by the source image that they name, and where they name none by their position; where
    they name one, its position must agree. A frame may show a part of its slice.

    Raises
    ------
    LabelsDoNotFit
        The segmentation's pixels have another direction or size than the volume's.
    """

    def __init__(self, file: SegmentationFile, volume: Volume) -> None:
        self._volume = volume
        self._shape = file.shape
        self._positions_mm = positions_lps_mm(volume)
        self._by_source = {
            (frame.sop_instance_uid, frame.frame_number): number for number, frame in enumerate(volume.frames)
        }
        self._across = np.array(volume.orientation_lps[:3]) / volume.pixel_spacing_mm[1]
        self._down = np.array(volume.orientation_lps[3:]) / volume.pixel_spacing_mm[0]
        _check_grid(file.header, volume)

    def of(self, file: SegmentationFile) -> Iterator[Place]:
        """Where each frame lies, in order; equal groups are looked up once.

        Raises
        ------
        LabelsDoNotFit
            It was made on another series.
        """
        known: dict[int, Place] = {}
        for groups in file.groups:
            place = known.get(id(groups))
            if place is None:
                place = known[id(groups)] = self._place(groups)
            yield place

    def _place(self, groups: FrameGroups) -> Place:
        position_mm = np.array(groups.position_lps_mm)
        number = self._number(groups, position_mm)
        offset_mm = position_mm - self._positions_mm[number]
        row, column = round(float(offset_mm @ self._down)), round(float(offset_mm @ self._across))
        on_grid_mm = (
            np.array(self._volume.orientation_lps[3:]) * row * self._volume.pixel_spacing_mm[0]
            + np.array(self._volume.orientation_lps[:3]) * column * self._volume.pixel_spacing_mm[1]
        )
        window = Window(row, column, *self._shape)
        is_inside = (
            0 <= row <= self._volume.rows - window.rows
            and 0 <= column <= self._volume.columns - window.columns
        )
        if np.linalg.norm(offset_mm - on_grid_mm) > SAME_PLACE_MM or not is_inside:
            raise LabelsDoNotFit("the segmentation was made on another series, or on another grid")
        return Place(number, window)

    def _number(self, groups: FrameGroups, position_mm: np.ndarray) -> int:
        if not groups.source_uid:
            heights_mm = (self._positions_mm - position_mm) @ self._volume.normal_lps
            return int(np.abs(heights_mm).argmin())
        for key in ((groups.source_uid, groups.source_frame), (groups.source_uid, None)):
            if key in self._by_source:
                return self._by_source[key]
        raise LabelsDoNotFit("the segmentation was made on another series")


def _check_grid(header: Dataset, volume: Volume) -> None:
    """Compare direction and spacing, where all frames share them."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for item in shared.get("PlaneOrientationSequence") or ():
        cosines = numbers_of(item, "ImageOrientationPatient", 6)
        if cosines is None or np.abs(np.subtract(cosines, volume.orientation_lps)).max() > SAME_COSINES:
            raise LabelsDoNotFit("the segmentation's rows and columns have other directions than the series'")
    for item in shared.get("PixelMeasuresSequence") or ():
        spacing_mm = numbers_of(item, "PixelSpacing", 2)
        limits = np.array(volume.pixel_spacing_mm) * SAME_SPACING
        if spacing_mm is None or (np.abs(np.subtract(spacing_mm, volume.pixel_spacing_mm)) > limits).any():
            raise LabelsDoNotFit("the segmentation has another pixel spacing than the series")
