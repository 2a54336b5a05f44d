"""What a segmentation says of where it comes from: what it names, who made it, what its segments are.

Viewers that save an edited segmentation keep different parts of what they were given. dcmjs (OHIF) names the
source images, and since 2026 the segmentation that it began with as a predecessor; of segments it keeps label
and algorithm, not what tracks them. dcmqi (Slicer) keeps source images, labels and codes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, config, dcmread

from converter.errors import LabelsDoNotFit, is_the_machines
from converter.reading.headers import text_of
from converter.results.header import is_our_own
from converter.seg.file import open_segmentation

_CODES: Final = (
    "AnatomicRegionSequence",
    "SegmentedPropertyCategoryCodeSequence",
    "SegmentedPropertyTypeCodeSequence",
)
_MODIFIERS: Final = (
    "AnatomicRegionModifierSequence",
    "SegmentedPropertyTypeModifierCodeSequence",
)

Codes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DescribedSegment:
    """One segment by what it is known again.

    Parameters
    ----------
    names
        Its label, and what tracks it in words, in lower case.
    codes
        Value and scheme of region, category and type, each with its modifiers; empty where it has no type.
    """

    number: int
    label: str
    names: frozenset[str]
    codes: Codes
    tracking_uid: str
    algorithm_type: str
    algorithm_name: str
    algorithm_version: str


@dataclass(frozen=True)
class Origin:
    """Where a segmentation comes from, as far as it says.

    Parameters
    ----------
    is_ours
        It says that this software made it.
    names_us
        This software is one of those that contributed (PS3.3 C.12.1, Contributing Equipment).
    made_at
        Content Date and Time as they stand there.
    instance_uids, series_uids
        Those that it refers to, as sources or predecessors or otherwise.
    """

    sop_instance_uid: str
    series_uid: str
    is_ours: bool
    names_us: bool
    made_at: str
    instance_uids: frozenset[str]
    series_uids: frozenset[str]
    segments: tuple[DescribedSegment, ...]

    def is_of(self, volume_uids: Iterable[str], series_uid: str) -> bool:
        """Whether it was made on these images: it names them, or, where it names none, their series."""
        if self.instance_uids:
            return not self.instance_uids.isdisjoint(volume_uids)
        return series_uid in self.series_uids


def read_origin(path: Path) -> Origin:
    """Read it, also of a segmentation whose pixels cannot be read.

    Raises
    ------
    LabelsDoNotFit
        It is no DICOM file that can be read, or an attribute of it cannot.
    OSError
    """
    try:
        return _origin_in(path)
    except LabelsDoNotFit:
        raise
    except Exception as error:  # whatever a parser raises on bytes from outside
        if is_the_machines(error):
            raise
        raise LabelsDoNotFit("an attribute of the segmentation cannot be read") from None


def _origin_in(path: Path) -> Origin:
    try:
        with open_segmentation(path) as file:
            header = file.header
            sources = frozenset(groups.source_uid for groups in file.groups) - {""}
    except LabelsDoNotFit:
        header, sources = _whole_header(path), frozenset[str]()
    equipment = header.get("ContributingEquipmentSequence") or ()
    items = list(_items(header))
    segments = [_described(item) for item in header.get("SegmentSequence") or ()]
    return Origin(
        sop_instance_uid=text_of(header, "SOPInstanceUID"),
        series_uid=text_of(header, "SeriesInstanceUID"),
        is_ours=is_our_own(header),
        names_us=any(is_our_own(item) for item in equipment),
        made_at=text_of(header, "ContentDate") + text_of(header, "ContentTime"),
        instance_uids=sources | frozenset(text_of(item, "ReferencedSOPInstanceUID") for item in items) - {""},
        series_uids=frozenset(text_of(item, "SeriesInstanceUID") for item in items) - {""},
        segments=tuple(segment for segment in segments if segment.number),  # 0 is a label map's background
    )


def matching_segments(
    theirs: Sequence[DescribedSegment], ours: Sequence[DescribedSegment]
) -> Mapping[int, int]:
    """Which of ours each of theirs is: by what tracks it, then by its name, then by its codes.

    Only what is the only one of its kind on both sides counts.

    Returns
    -------
    dict
        Number of theirs to number of ours; a segment that is new is not in it.
    """
    found: dict[int, int] = {}
    for kinds in (_tracking, _names, _coded):
        of_theirs = _the_only_ones(kinds, [one for one in theirs if one.number not in found])
        of_ours = _the_only_ones(kinds, [one for one in ours if one.number not in found.values()])
        for kind, number in of_theirs.items():
            if kind in of_ours and number not in found and of_ours[kind] not in found.values():
                found[number] = of_ours[kind]
    return found


def _tracking(segment: DescribedSegment) -> Iterable[object]:
    return [segment.tracking_uid] if segment.tracking_uid else []


def _names(segment: DescribedSegment) -> Iterable[object]:
    return segment.names


def _coded(segment: DescribedSegment) -> Iterable[object]:
    return [segment.codes] if segment.codes else []


def _the_only_ones(
    kinds: Callable[[DescribedSegment], Iterable[object]], segments: Sequence[DescribedSegment]
) -> dict[object, int]:
    """What one segment alone has of these, each with its number."""
    numbers: dict[object, list[int]] = {}
    for segment in segments:
        for kind in kinds(segment):
            numbers.setdefault(kind, []).append(segment.number)
    return {kind: which[0] for kind, which in numbers.items() if len(which) == 1}


def _whole_header(path: Path) -> Dataset:
    try:
        with config.disable_value_validation():
            return dcmread(path, stop_before_pixels=True)
    except Exception as error:  # whatever a parser raises on bytes from outside
        if is_the_machines(error):
            raise
        raise LabelsDoNotFit("the segmentation is no DICOM file that could be read") from None


def _items(dataset: Dataset) -> Iterator[Dataset]:
    """Every item of every sequence in it, at whatever depth."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _items(item)


def _described(item: Dataset) -> DescribedSegment:
    label, tracking_id = text_of(item, "SegmentLabel"), text_of(item, "TrackingID")
    number = text_of(item, "SegmentNumber")
    identification = (item.get("SegmentationAlgorithmIdentificationSequence") or [Dataset()])[0]
    return DescribedSegment(
        number=int(number) if number.isdecimal() else 0,
        label=label,
        names=frozenset(name.casefold() for name in (label, tracking_id) if name),
        codes=_codes(item),
        tracking_uid=text_of(item, "TrackingUID"),
        algorithm_type=text_of(item, "SegmentAlgorithmType"),
        algorithm_name=text_of(item, "SegmentAlgorithmName"),
        algorithm_version=text_of(identification, "AlgorithmVersion"),
    )


def _codes(item: Dataset) -> Codes:
    if not item.get("SegmentedPropertyTypeCodeSequence"):
        return ()
    return tuple(
        (text_of(code, "CodeValue"), text_of(code, "CodingSchemeDesignator"))
        for keyword in _CODES
        for concept in item.get(keyword) or ()
        for code in (concept, *(m for modifier in _MODIFIERS for m in concept.get(modifier) or ()))
    )
