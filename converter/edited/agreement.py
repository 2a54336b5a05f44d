"""How far an edited segmentation differs from the one that it was made of, structure by structure.

Frames are read one after the other and counted against ours, so that memory does not grow with the segments,
and segments may overlap, as viewers let them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from converter.errors import LabelsDoNotFit
from converter.measures import MM3_IN_ML, voxels_mm3
from converter.seg.decoder import MOST_NUMBERS, ReadSegmentation, frames_of, segments_of
from converter.seg.file import open_segmentation
from converter.seg.places import Place
from converter.series import Volume

_VALUES: Final = 1 + MOST_NUMBERS
TELLING_PIXELS: Final = 16
"""A shape of so many pixels is not drawn twice by chance."""


@dataclass(frozen=True)
class Agreement:
    """One structure before and after.

    Parameters
    ----------
    number
        Of our segment; None where it is new.
    edited_number
        Of the edited segment; None where it is left out there.
    dice
        2 |A and B| / (|A| + |B|); None where there is only one to look at.
    """

    number: int | None
    edited_number: int | None
    volume_ml: float | None
    edited_ml: float | None
    dice: float | None


@dataclass(frozen=True, eq=False)
class Edited:
    """What was read of an edited segmentation.

    Parameters
    ----------
    numbers
        (frames, rows, columns) of the volume: its segment numbers; where segments overlap the last one's.
    overlapping
        Pixels that more than one segment has.
    equal_planes
        Frames on which a segment of some size has exactly our pixels.
    """

    numbers: NDArray[np.uint8]
    agreements: tuple[Agreement, ...]
    overlapping: int
    equal_planes: int


def compare_edited(path: Path, volume: Volume, ours: ReadSegmentation, matching: Mapping[int, int]) -> Edited:
    """Read an edited segmentation onto the frames of its volume, and compare it with ours there.

    Parameters
    ----------
    matching
        Number of theirs to number of ours, of `matching_segments`.

    Raises
    ------
    LabelsDoNotFit
        No BINARY or LABELMAP segmentation of this volume, or one that shows a segment twice in one place.
    OSError
    """
    counted = _Counted(ours.numbers, matching, voxels_mm3(volume))
    with open_segmentation(path) as file:
        segments = segments_of(file)
        for place, plane, segment in frames_of(file, volume, segments):
            counted.add(place, plane, segment)
    edited = [segment.number for segment in segments]
    return Edited(
        numbers=counted.numbers,
        agreements=tuple(counted.agreements([segment.number for segment in ours.segments], edited)),
        overlapping=counted.overlapping,
        equal_planes=counted.equal_planes,
    )


class _Counted:
    """What each pair of segments has in common, in mm3."""

    def __init__(
        self, ours: NDArray[np.uint8], matching: Mapping[int, int], voxels: NDArray[np.float64]
    ) -> None:
        self._ours = ours
        self._matching = matching
        self._voxels_mm3 = voxels
        self._common_mm3 = np.zeros((_VALUES, _VALUES))
        """(ours, theirs)."""
        self._in_frames = np.stack([np.bincount(plane.ravel(), minlength=_VALUES) for plane in ours])
        self._seen: set[tuple[Place, int]] = set()
        self.numbers = np.zeros_like(ours)
        self.overlapping = self.equal_planes = 0

    def add(self, place: Place, plane: NDArray[np.uint8], segment: int) -> None:
        """One frame: a segment's bits, or a label map, whose `segment` is 0."""
        if (place, segment) in self._seen:
            raise LabelsDoNotFit("the segmentation shows a segment twice in one place")
        self._seen.add((place, segment))
        theirs = plane * np.uint8(segment) if segment else plane
        ours = self._ours[place.frame][place.window.slices]
        numbers = self.numbers[place.frame][place.window.slices]
        shown = theirs > 0
        pairs = ours[shown].astype(np.int64) * _VALUES + theirs[shown]
        common = np.bincount(pairs, minlength=_VALUES * _VALUES).reshape(_VALUES, _VALUES)
        self._common_mm3 += common * self._voxels_mm3[place.frame]
        self.overlapping += int(np.count_nonzero(numbers[shown]))
        np.copyto(numbers, theirs, where=shown)
        self.equal_planes += self._has_equal(place.frame, common)

    def _has_equal(self, frame: int, common: NDArray[np.int64]) -> bool:
        """Whether a segment of some size has exactly our pixels on this frame."""
        whole, theirs_whole = self._in_frames[frame], common.sum(axis=0)
        return any(
            common[ours, theirs] >= TELLING_PIXELS
            and common[ours, theirs] == whole[ours] == theirs_whole[theirs]
            for theirs, ours in self._matching.items()
        )

    def agreements(self, ours: list[int], theirs: list[int]) -> list[Agreement]:
        """Ours in their order, then what is new."""
        ours_mm3, theirs_mm3 = self._in_frames.T @ self._voxels_mm3, self._common_mm3.sum(axis=0)
        found = {number: other for other, number in self._matching.items() if other in theirs}
        pairs: list[tuple[int | None, int | None]] = [(number, found.get(number)) for number in ours]
        pairs += [(None, number) for number in theirs if number not in found.values()]
        return [self._agreement(pair, ours_mm3, theirs_mm3) for pair in pairs]

    def _agreement(
        self,
        pair: tuple[int | None, int | None],
        ours_mm3: NDArray[np.float64],
        theirs_mm3: NDArray[np.float64],
    ) -> Agreement:
        number, other = pair
        dice = None
        if number is not None and other is not None:
            both = float(ours_mm3[number] + theirs_mm3[other])
            dice = round(2 * float(self._common_mm3[number, other]) / both, 4) if both else None
        return Agreement(number, other, _ml(ours_mm3, number), _ml(theirs_mm3, other), dice)


def _ml(volumes_mm3: NDArray[np.float64], number: int | None) -> float | None:
    return None if number is None else round(float(volumes_mm3[number]) / MM3_IN_ML, 3)
