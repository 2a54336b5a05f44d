"""From images with a place to stacks with one image at each position, and by what they are told apart.

Works on positions and header values alone; `verdicts` says what is odd about a stack, `series` makes volumes.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from .headers import Plane, text_of

MIN_SLICES = 3
SAME_POSITION_MM = 0.01
"""Two images nearer than this along the slice normal are at one position, or,"""
SAME_POSITION_PIXELS = 0.1
"""of tiny pixels, than this share of one;"""
SAME_POSITION_SHARE = 0.05
"""and so are those nearer than this share of the usual distance, which no two slices of one volume are:"""
USUAL = 0.75
"""that is the one which so many are not beyond, so that neither pairs of images nor gaps count."""
SAME_DIRECTION = 2e-3
"""Cosines of one stack agree within this (about a tenth of a degree),"""
SAME_EXTENT = 0.1
"""and its images are equally large within this share of a pixel: spacings are rounded in headers."""
EVEN_SHARE = 0.05
"""A slice within this share of the spacing of its place on an even grid is where it should be."""


@dataclass(frozen=True)
class Image:
    """One image that can be a slice: a file, or a frame of one (`frame_number`, from 1)."""

    path: Path
    header: Dataset
    plane: Plane
    frame_number: int | None = None

    @cached_property
    def sop_instance_uid(self) -> str:
        """Its SOP Instance UID; frames of one object share theirs."""
        return text_of(self.header, "SOPInstanceUID")

    @property
    def identity(self) -> tuple[str, int]:
        """What no other image has; images in this order are in a reproducible one."""
        return self.sop_instance_uid, self.frame_number or 0


@dataclass(frozen=True)
class Stack:
    """Images that may make one volume, and what tells them from the other stacks of their series."""

    images: tuple[Image, ...]
    told_by: tuple[str, ...] = ()
    """In words, with this stack's own value where it is a number: "echo time (here 5 ms)"."""

    @property
    def is_scout(self) -> bool:
        """Whether its images call themselves localizers."""
        return is_scout(self.images[0].header)


@dataclass(frozen=True)
class Kind:
    """An attribute that tells several images at one position apart."""

    keyword: str
    words: str
    unit: str | None = None
    """That of its number, empty for a plain one; None for what is no number, or not to be shown."""
    ranks: bool = False
    """Whether it runs on, so that equal ranks belong together where equal values do not exist: of a beating
    heart each slice has trigger times of its own."""
    part: int | None = None
    """Which of its several values."""

    @property
    def is_time(self) -> bool:
        """Whether it says when an image was made: one run through the body goes before the next."""
        return self.ranks and self.unit is None

    def value(self, image: Image) -> str:
        """An image's value as text; empty when it has none."""
        text = text_of(image.header, self.keyword)
        return text if self.part is None else "".join(text.split("\\")[self.part : self.part + 1])


KINDS = (
    Kind("StackID", "stack"),
    Kind("EchoTime", "echo time", "ms"),
    Kind("EchoNumbers", "echo number", ""),
    Kind("ImageType", "image type"),
    Kind("ComplexImageComponent", "complex component"),
    Kind("KVP", "tube voltage", "kV"),
    Kind("TemporalPositionIdentifier", "temporal position", ""),
    Kind("TemporalPositionIndex", "temporal position", ""),
    Kind("TemporalPositionTimeOffset", "time", "s"),
    Kind("NominalPercentageOfCardiacPhase", "cardiac phase", "%"),
    Kind("NominalPercentageOfRespiratoryPhase", "respiratory phase", "%"),
    Kind("TriggerTime", "trigger time", "ms", ranks=True),
    Kind("InversionTime", "inversion time", "ms"),
    Kind("DiffusionBValue", "b-value", "s/mm2"),
    Kind("DiffusionGradientOrientation", "diffusion direction"),
    Kind("SequenceName", "sequence name"),
    Kind("FlipAngle", "flip angle", "degrees"),
    Kind("RepetitionTime", "repetition time", "ms"),
    Kind("ConvolutionKernel", "convolution kernel"),
    Kind("ContrastBolusAgent", "contrast agent"),
    Kind("AcquisitionNumber", "acquisition number", ""),
    Kind("FrameReferenceTime", "frame reference time", "ms"),
    Kind("AcquisitionTime", "acquisition time", ranks=True),
    Kind("AcquisitionDateTime", "acquisition time", ranks=True),
    Kind("ContentTime", "content time", ranks=True),
    *(Kind("DimensionIndexValues", f"dimension {number}", "", part=number - 1) for number in range(1, 7)),
    Kind("SOPInstanceUID", "multi-frame object"),
)
"""The most telling first."""


def is_scout(header: Dataset) -> bool:
    """Whether the image calls itself a localizer (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1)."""
    return "LOCALIZER" in text_of(header, "ImageType").upper().split("\\")


# -- positions ----------------------------------------------------------------------------------------------


def positions_mm(images: Sequence[Image]) -> NDArray[np.float64]:
    """Where the images lie, (images, 3), LPS."""
    return np.array([image.plane.position_mm for image in images])


def distances_mm(images: Sequence[Image]) -> NDArray[np.float64]:
    """How far along the first image's slice normal each image lies."""
    return np.asarray(positions_mm(images) @ images[0].plane.normal)


def by_distance(images: Sequence[Image]) -> tuple[Image, ...]:
    """Sort images along the slice normal, ascending; ties by identity."""
    keys = zip(distances_mm(images).tolist(), (image.identity for image in images), images, strict=True)
    return tuple(image for _, _, image in sorted(keys, key=lambda key: key[:2]))


def at_positions(images: Sequence[Image]) -> list[list[Image]]:
    """The images of each position along the normal, ascending."""
    ordered = by_distance(images)
    steps = np.diff(distances_mm(ordered))
    usual_mm = float(np.quantile(steps, USUAL, method="lower")) if len(steps) else 0.0
    tiny_mm = SAME_POSITION_PIXELS * min(images[0].plane.pixel_spacing_mm)
    apart_mm = max(min(SAME_POSITION_MM, tiny_mm), SAME_POSITION_SHARE * usual_mm)
    starts = np.flatnonzero(steps > apart_mm) + 1
    edges = [0, *starts.tolist(), len(ordered)]
    return [list(ordered[first:last]) for first, last in pairwise(edges)]


# -- one grid -----------------------------------------------------------------------------------------------

_GRID = (
    ("series", None),
    ("study", None),
    ("frame of reference", None),
    ("kind of image", None),
    ("matrix size", "{} x {}"),
    ("scout or not", None),
    ("pixel spacing", "{:.6g} x {:.6g} mm"),
    ("direction", None),
)
"""What the images of one grid share, in the order of `_grid_key`, then what is nearly the same."""


def split_by_grid(images: Iterable[Image]) -> list[Stack]:
    """Group images that can lie on one grid: same size, spacing, direction, frame of reference, kind."""
    by_key: dict[tuple[Hashable, ...], list[Image]] = defaultdict(list)
    for image in sorted(images, key=lambda item: item.identity):
        by_key[_grid_key(image)].append(image)
    groups = [
        ((*key, members[0].plane.pixel_spacing_mm, number), members)
        for key, of_key in by_key.items()
        for members_of_size in _split_by(of_key, _extent_pixels, SAME_EXTENT)
        for number, members in enumerate(_split_by(members_of_size, _cosines, SAME_DIRECTION))
    ]
    compared = [key for key, members in groups if not is_scout(members[0].header)]
    return [
        Stack(tuple(members), () if is_scout(members[0].header) else _grid_words(key, compared))
        for key, members in groups
    ]


def _grid_key(image: Image) -> tuple[Hashable, ...]:
    plane, header = image.plane, image.header
    return (
        text_of(header, "SeriesInstanceUID"),
        text_of(header, "StudyInstanceUID"),
        text_of(header, "FrameOfReferenceUID"),
        text_of(header, "SOPClassUID"),
        (plane.rows, plane.columns),
        is_scout(header),
    )


def _grid_words(key: tuple[Hashable, ...], others: Sequence[tuple[Hashable, ...]]) -> tuple[str, ...]:
    words = []
    for place, (name, pattern) in enumerate(_GRID):
        if len({other[place] for other in others}) > 1:
            value = key[place]
            shown = f" (here {pattern.format(*value)})" if pattern and isinstance(value, tuple) else ""
            words.append(f"{name}{shown}")
    return tuple(words)


def _split_by(
    images: Sequence[Image], described: Callable[[Plane], Sequence[float]], tolerance: float
) -> list[list[Image]]:
    """Group by numbers: each of a group is as the first one of it."""
    numbers = np.array([described(image.plane) for image in images])
    left = np.arange(len(images))
    groups = []
    while left.size:
        alike = np.abs(numbers[left] - numbers[left[0]]).max(axis=1) <= tolerance
        groups.append([images[number] for number in left[alike]])
        left = left[~alike]
    return groups


def _cosines(plane: Plane) -> Sequence[float]:
    return [*plane.row_cosine, *plane.column_cosine]


def _extent_pixels(plane: Plane) -> Sequence[float]:
    """Two images differ in it by as many pixels as they lie apart in the last row or column."""
    row_mm, column_mm = plane.pixel_spacing_mm
    return [(plane.rows - 1) * math.log(row_mm), (plane.columns - 1) * math.log(column_mm)]


# -- one image at each position -----------------------------------------------------------------------------


def split_by_kind(stack: Stack, is_even: Callable[[Sequence[Image]], bool]) -> list[Stack]:
    """Split a stack with several images at its positions by what tells them apart.

    A kind is taken when each of its values has a stack of its own, with fewer images at a position; or, where
    it ranks, when each position has as many images, each with a value of its own. Two stacks that lie between
    each other are split too, where that makes an uneven one two even ones. What nothing tells apart is given
    back as it is.

    Parameters
    ----------
    is_even
        Whether images, one at each position, are evenly spaced.
    """
    places = at_positions(stack.images)
    most = max(map(len, places))
    if len(places) < MIN_SLICES or (most == 1 and is_even([place[0] for place in places])):
        return [stack]
    for kind in KINDS:
        parts = _by_value(stack.images, kind)
        if len(parts) < 2:
            continue
        if _are_stacks(parts.values(), most) if most > 1 else _interleave(parts.values(), is_even):
            return [
                part
                for number, (value, images) in enumerate(sorted(parts.items()), start=1)
                for part in split_by_kind(
                    _part(stack, kind, images, _shown(kind, value, number, len(parts))), is_even
                )
            ]
        if kind.ranks and most > 1:
            if ranked := _by_rank(places, kind):
                return [
                    _part(stack, kind, images, f"number {number} at each position")
                    for number, images in enumerate(ranked, start=1)
                ]
            if kind.is_time and _are_stacks(runs := _by_run(stack.images, kind), most):
                return [
                    _part(stack, kind, images, f"run {number} of {len(runs)}")
                    for number, images in enumerate(runs, start=1)
                ]
    return [stack]


def _by_value(images: Iterable[Image], kind: Kind) -> dict[str, list[Image]]:
    parts: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        parts[kind.value(image)].append(image)
    return parts


def _are_stacks(parts: Iterable[Sequence[Image]], most: int) -> bool:
    places = [at_positions(part) for part in parts]
    return all(len(p) >= MIN_SLICES and max(map(len, p)) < most for p in places)


def _interleave(parts: Iterable[Sequence[Image]], is_even: Callable[[Sequence[Image]], bool]) -> bool:
    """Whether each part is a whole stack by itself, and they overlap."""
    ordered = [by_distance(part) for part in parts]
    if any(len(part) < MIN_SLICES for part in ordered) or not all(map(is_even, ordered)):
        return False
    normal = ordered[0][0].plane.normal
    ends = sorted(
        (float(p[0].plane.position_mm @ normal), float(p[-1].plane.position_mm @ normal)) for p in ordered
    )
    return all(later[0] < earlier[1] for earlier, later in pairwise(ends))


def _by_rank(places: Sequence[Sequence[Image]], kind: Kind) -> list[list[Image]]:
    """The first of each position, the second, and so on; none where that is not clear."""
    count = len(places[0])
    ordered = []
    for images in places:
        values = [_number(image, kind) for image in images]
        if None in values or len(set(values)) != count or len(images) != count:
            return []
        ordered.append(
            [image for _, image in sorted(zip(values, images, strict=True), key=lambda p: p[0] or 0.0)]
        )
    return [list(images) for images in zip(*ordered, strict=True)]


def _by_run(images: Sequence[Image], kind: Kind) -> list[list[Image]]:
    """Run after run through the body: each ends where a position comes again; none without times."""
    times = [_number(image, kind) for image in images]
    if None in times or len(set(times)) != len(images):
        return []
    place_of = {
        image.identity: number for number, place in enumerate(at_positions(images)) for image in place
    }
    runs: list[list[Image]] = []
    seen: set[int] = set()
    for _, image in sorted(zip(times, images, strict=True), key=lambda pair: pair[0] or 0.0):
        place = place_of[image.identity]
        if not runs or place in seen:
            runs.append([])
            seen.clear()
        runs[-1].append(image)
        seen.add(place)
    return runs


def _number(image: Image, kind: Kind) -> float | None:
    try:
        return float(kind.value(image))
    except ValueError:
        return None


def _part(stack: Stack, kind: Kind, images: Sequence[Image], shown: str) -> Stack:
    return Stack(tuple(images), (*stack.told_by, f"{kind.words} (here {shown})" if shown else kind.words))


def _shown(kind: Kind, value: str, number: int, count: int) -> str:
    """A number with its unit, of times which of them it is; nothing of what may be a name or a text."""
    if kind.is_time:
        return f"number {number} of {count}"
    try:
        return f"{float(value or ''):g} {kind.unit}".strip() if kind.unit is not None else ""
    except ValueError:
        return ""
