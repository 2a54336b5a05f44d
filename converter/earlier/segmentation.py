"""An earlier segmentation, measured by its pixels where no report of it was found.

Whether the scan cuts a structure shows where it reaches the border of a frame, or the first or last image of
those that the segmentation names as its source.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from converter.errors import LabelsDoNotFit
from converter.measures import MM3_IN_ML
from converter.reading.headers import numbers_of, text_of
from converter.results.settings import MARK
from converter.seg.decoder import MOST_NUMBERS
from converter.seg.file import FrameGroups, SegmentationFile, open_segmentation
from converter.seg.settings import PARAMETERS_BETWEEN

from . import EarlierResult

_MARKED = re.compile(rf"{re.escape(MARK)} (?P<codes>[^;]*)(?P<whole>;)?")
UNKNOWN_FLAG = "unknown"
"""A mark that is cut short: what else it said is not known."""


def read_segments(path: Path) -> EarlierResult:
    """What a segmentation of this software says.

    Raises
    ------
    LabelsDoNotFit
        It cannot be measured by itself: slices are uneven, or its source is one object of many frames.
    ValueError, LookupError, AttributeError, TypeError
        It is not as this software writes it.
    OSError
    """
    with open_segmentation(path) as file:
        header = file.header
        segments = {int(item.SegmentNumber): item for item in header.SegmentSequence}
        segments.pop(0, None)  # a label map's background
        counts, cut = _counted(file)
    names = {number: text_of(item, "TrackingID") for number, item in segments.items()}
    if len(set(names.values())) != len(names) or not all(names.values()):
        raise LabelsDoNotFit("its segments have no names of their own")
    algorithms = {_algorithm(item) for item in segments.values()}
    ((algorithm, parameters),) = algorithms or {("", frozenset[str]())}
    voxel_ml = _voxel_mm3(header) / MM3_IN_ML
    return EarlierResult(
        header=header,
        algorithm=algorithm,
        parameters=parameters,
        volumes={
            name: (round(float(counts[number]) * voxel_ml, 3), bool(cut[number]))
            for number, name in names.items()
        },
        tracking={name: text_of(segments[number], "TrackingUID") for number, name in names.items()},
        flags=_flags(header),
    )


def _counted(file: SegmentationFile) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels of each segment, and which of them the scan cuts."""
    counts, cut = np.zeros(1 + MOST_NUMBERS, np.int64), np.zeros(1 + MOST_NUMBERS, bool)
    ends = _ends(file.header)
    for plane, segment, groups in zip(file.planes(), file.segments, file.groups, strict=True):
        at_edge = plane if _is_at_end(groups, ends) else _border(plane)
        if segment:
            counts[segment] += np.count_nonzero(plane)
            cut[segment] |= at_edge.any()
        else:
            counts += np.bincount(plane.ravel(), minlength=1 + MOST_NUMBERS)
            cut[np.unique(at_edge)] = True
    return counts, cut


def _border(plane: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def _ends(header: Dataset) -> frozenset[str]:
    """The first and the last image of the volume."""
    (series,) = header.ReferencedSeriesSequence
    images = [text_of(item, "ReferencedSOPInstanceUID") for item in series.ReferencedInstanceSequence]
    if len(images) < 2:
        raise LabelsDoNotFit("its source is one object of many frames: where that ends it does not say")
    return frozenset((images[0], images[-1]))


def _is_at_end(groups: FrameGroups, ends: frozenset[str]) -> bool:
    if not groups.source_uid or not groups.are_places_kept:
        raise LabelsDoNotFit("a frame does not lie on an image, or shows a part of it only")
    return groups.source_uid in ends


def _voxel_mm3(header: Dataset) -> float:
    (shared,) = header.SharedFunctionalGroupsSequence
    (measures,) = shared.PixelMeasuresSequence
    spacing, step = numbers_of(measures, "PixelSpacing", 2), numbers_of(measures, "SpacingBetweenSlices", 1)
    if spacing is None or step is None:
        raise LabelsDoNotFit("its slices are uneven: volumes cannot be told from it alone")
    return abs(math.prod((*spacing, *step)))


def _algorithm(item: Dataset) -> tuple[str, frozenset[str]]:
    (said,) = item.SegmentationAlgorithmIdentificationSequence
    told = text_of(said, "AlgorithmParameters")
    return text_of(said, "AlgorithmName"), frozenset(filter(None, told.split(PARAMETERS_BETWEEN)))


def _flags(header: Dataset) -> frozenset[str]:
    """Those that Content Description names."""
    marked = _MARKED.search(text_of(header, "ContentDescription"))
    if marked is None:
        return frozenset()
    codes = {code.strip().replace(" ", "_") for code in marked["codes"].split(",")}
    return frozenset(codes if marked["whole"] else codes | {UNKNOWN_FLAG})
