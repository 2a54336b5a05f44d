"""From images with a place to stacks with one image at each position, and what is odd about each stack.

Works on positions and header values alone; `series` makes volumes of what comes out.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from .headers import Finding, Plane, text_of

MIN_SLICES = 3
SAME_POSITION_MM = 0.01
"""Two images nearer than this along the slice normal are at one position."""
SAME_DIRECTION = 2e-3
"""Cosines of one stack agree within this (about a tenth of a degree)."""
EVEN_SHARE = 0.05
"""A slice within this share of the spacing of its place on an even grid is where it should be."""
ROUNDING_MM = 0.11
"""So is one within this distance: some scanners round positions to 0.1 mm. But never"""
MOST_UNEVEN_SHARE = 0.25
"""beyond this share of the spacing."""
STRAIGHT_SHARE = 0.25
"""A stack that leans by more than this share of a pixel from end to end counts as tilted."""
SHIFT_SHARE = 0.5
"""In-plane deviation from a straight line of slices, in pixels, from which on they count as shifted."""

DISCRIMINATORS = (
    "EchoTime",
    "EchoNumbers",
    "ImageType",
    "ComplexImageComponent",
    "KVP",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "InversionTime",
    "DiffusionBValue",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
)
"""What tells several images at one position apart, the most telling first."""


@dataclass(frozen=True)
class Image:
    """One image that can be a slice."""

    path: Path
    header: Dataset
    plane: Plane

    @property
    def sop_instance_uid(self) -> str:
        """Its SOP Instance UID."""
        return text_of(self.header, "SOPInstanceUID")


def split_by_grid(images: Iterable[Image]) -> list[list[Image]]:
    """Group images that can lie on one grid: same size, spacing, direction, frame of reference, kind."""
    groups: list[tuple[Hashable, Plane, list[Image]]] = []
    for image in sorted(images, key=lambda item: item.sop_instance_uid):
        key = _grid_key(image)
        for other_key, plane, members in groups:
            if key == other_key and _same_direction(image.plane, plane):
                members.append(image)
                break
        else:
            groups.append((key, image.plane, [image]))
    return [members for _, _, members in groups]


def _grid_key(image: Image) -> Hashable:
    plane, header = image.plane, image.header
    return (
        text_of(header, "SeriesInstanceUID"),
        text_of(header, "StudyInstanceUID"),
        text_of(header, "FrameOfReferenceUID"),
        text_of(header, "SOPClassUID"),
        plane.rows,
        plane.columns,
        *(round(spacing, 4) for spacing in plane.pixel_spacing_mm),
        is_scout(header),
    )


def is_scout(header: Dataset) -> bool:
    """Whether the image calls itself a localizer (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1)."""
    return "LOCALIZER" in text_of(header, "ImageType").upper().split("\\")


def _same_direction(one: Plane, other: Plane) -> bool:
    apart = np.concatenate([one.row_cosine - other.row_cosine, one.column_cosine - other.column_cosine])
    return bool(np.abs(apart).max() <= SAME_DIRECTION)


def distances_mm(images: Sequence[Image]) -> NDArray[np.float64]:
    """How far along the first image's slice normal each image lies."""
    normal = images[0].plane.normal
    return np.array([image.plane.position_mm @ normal for image in images])


def by_distance(images: Sequence[Image]) -> list[Image]:
    """Sort images along the slice normal, ascending; ties by SOP Instance UID."""
    distance = dict(zip((id(image) for image in images), distances_mm(images), strict=True))
    return sorted(images, key=lambda image: (distance[id(image)], image.sop_instance_uid))


def images_at_positions(images: Sequence[Image]) -> list[int]:
    """How many images there are at each position along the normal, ascending."""
    sorted_mm = np.sort(distances_mm(images))
    starts = np.flatnonzero(np.diff(sorted_mm) > SAME_POSITION_MM) + 1
    return [len(part) for part in np.split(sorted_mm, starts)]


def split_by_kind(images: Sequence[Image]) -> list[list[Image]]:
    """Split a stack with several images at its positions by what tells them apart.

    A keyword is taken when each of its values has a stack of its own, with fewer images at a position. What
    nothing tells apart is given back as it is.
    """
    counts = images_at_positions(images)
    if max(counts) == 1 or len(counts) < MIN_SLICES:
        return [list(images)]
    for keyword in DISCRIMINATORS:
        parts: dict[str, list[Image]] = {}
        for image in images:
            parts.setdefault(text_of(image.header, keyword), []).append(image)
        if len(parts) < 2:
            continue
        part_counts = [images_at_positions(part) for part in parts.values()]
        if all(len(c) >= MIN_SLICES and max(c) < max(counts) for c in part_counts):
            return [stack for _, part in sorted(parts.items()) for stack in split_by_kind(part)]
    return [list(images)]


def findings_of(images: Sequence[Image]) -> tuple[Finding, ...]:
    """What is odd about a stack that is sorted along its normal, the fatal first."""
    counts = images_at_positions(images)
    if len(images) > 1 and len(counts) == 1:
        return (
            Finding(
                "no_volume",
                f"all {len(images)} images are at one position (a time series or a cine); no volume",
            ),
        )
    if len(counts) < MIN_SLICES:
        found = "1 image" if len(counts) == 1 else f"{len(counts)} slices"
        return (Finding("too_few", f"only {found}; a volume needs {MIN_SLICES} or more slices"),)
    if max(counts) > 1:
        several = sum(count > 1 for count in counts)
        return (
            Finding(
                "duplicates",
                f"{several} of {len(counts)} slice positions hold several images that nothing in the "
                "headers tells apart; send the series without the copies",
            ),
        )
    return _spacing_findings(images) + _stacking_findings(images)


def _spacing_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    distance = distances_mm(images)
    steps = np.diff(distance)
    even = np.linspace(distance[0], distance[-1], len(distance))
    if np.abs(distance - even).max() <= _tolerance_mm(float(steps.mean())):
        return ()
    base = float(np.median(steps[steps <= 1.5 * steps.min()]))
    multiples = np.round(steps / base).astype(int)
    on_grid = bool(np.abs(steps / multiples - base).max() <= _tolerance_mm(base))
    planned = len({text_of(image.header, "SliceThickness") for image in images}) > 1
    missing = int((multiples - 1).sum())
    if missing and on_grid and not planned and np.count_nonzero(multiples > 1) <= len(steps) / 2:
        slices = "1 slice is" if missing == 1 else f"{missing} slices are"
        return (
            Finding(
                "gap",
                f"{slices} missing between {len(images)} others that are {base:.4g} mm apart; "
                "send the whole series",
            ),
        )
    return (
        Finding(
            "uneven_spacing",
            f"slices are {steps.min():.4g} to {steps.max():.4g} mm apart; labels are carried back from an "
            "even grid",
        ),
    )


def _tolerance_mm(spacing_mm: float) -> float:
    return min(max(EVEN_SHARE * spacing_mm, ROUNDING_MM), MOST_UNEVEN_SHARE * spacing_mm)


def _stacking_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    plane = images[0].plane
    positions = np.array([image.plane.position_mm for image in images])
    along = distances_mm(images) - distances_mm(images)[0]
    in_plane = positions - positions[0] - along[:, None] * plane.normal
    drift = in_plane[-1] / along[-1]
    off_line = np.linalg.norm(in_plane - along[:, None] * drift, axis=1).max()
    if off_line > SHIFT_SHARE * min(plane.pixel_spacing_mm):
        return (
            Finding(
                "shifted_slices",
                f"slices are shifted against each other by up to {off_line:.3g} mm in their plane; no volume",
            ),
        )
    if np.linalg.norm(in_plane[-1]) <= STRAIGHT_SHARE * min(plane.pixel_spacing_mm):
        return ()
    degrees = float(np.degrees(np.arctan(np.linalg.norm(drift))))
    return (
        Finding(
            "gantry_tilt",
            f"slices are tilted by {degrees:.1f} degrees against the table; labels are carried back from a "
            "straightened grid",
        ),
    )
