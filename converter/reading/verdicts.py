"""What is odd about a stack of images, in words that a technologist understands, and in numbers.

Places are named by the images beside them, and in millimetres along the slice normal, counted to the side of
the patient that it points to: of axial slices that is the z of Image Position (Patient), what the scanner
calls table position.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .headers import Finding, numbers_of, text_of
from .scales import scale_findings, why_no_values
from .stacks import EVEN_SHARE, MIN_SLICES, Image, at_positions, distances_mm, positions_mm

ROUNDING_MM = 0.11
"""Slices may be off an even grid by `EVEN_SHARE` of the spacing, or by this, since some scanners round
positions to 0.1 mm; but never"""
MOST_UNEVEN_SHARE = 0.25
"""beyond this share of the spacing."""
STRAIGHT_SHARE = 0.25
"""A stack that leans by more than this share of a pixel from end to end counts as tilted."""
SHIFT_SHARE = 0.5
"""In-plane deviation from a straight line of slices, in pixels, from which on they count as shifted."""
HOLE_RATIO = 1.75
"""A step that is larger than the usual ones by this factor is a hole, where the usual ones differ too."""
MOST_HOLES_SHARE = 0.25
"""Of all steps; where more are large, the spacing changes, and nothing is missing."""
FIELD_SHARE = 0.05
"""By so much of it the field of view may differ from what the pixels' size and number make."""
TURNED_SHARE = 0.1
"""Slices that are turned so little against the first that no corner moves by more than this share of a pixel
count as parallel: cosines are rounded in headers."""
FEWEST_STEPS = 3
"""Of one size in a row: a spacing of its own, and no slice that is missing."""
NAMED_PLACES = 3
"""So many gaps or positions are named, the others counted."""

WARNINGS = frozenset(
    {
        "gap",
        "uneven_spacing",
        "gantry_tilt",
        "turned_slices",
        "no_frame_of_reference",
        "contradictory_spacing",
        "mosaic",
        "left_out",
    }
)
"""Findings that leave a volume usable, with a warning."""
NOTES = frozenset({"split", "slice_location", "copies", "display_values"})
"""Findings that leave it usable. Every other one makes it unusable."""


def findings_of(images: Sequence[Image]) -> tuple[Finding, ...]:
    """What is odd about a stack that is sorted along its normal, the fatal first."""
    places = at_positions(images)
    counts = [len(place) for place in places]
    if len(counts) < MIN_SLICES:
        return (_too_few(images, counts),)
    if max(counts) > 1:
        return (_duplicates(places),)
    return (
        *why_no_values(images),
        *spacing_findings(images),
        *_stacking_findings(images),
        *_turn_findings(images),
        *_field_findings(images),
        *_location_findings(images),
        *scale_findings(images),
    )


def _too_few(images: Sequence[Image], counts: Sequence[int]) -> Finding:
    if len(images) > 1 and len(counts) == 1:
        return Finding(
            "no_volume",
            f"all {len(images)} images are at one position ({_mm(images)[0]} mm {_side(images)}): a time "
            f"series or a cine, no volume; a volume needs images at {MIN_SLICES} positions or more",
        )
    found = "1 image" if len(images) == 1 else f"{len(counts)} slices"
    if len(images) > len(counts):
        found = f"{len(counts)} slice positions for {len(images)} images"
    return Finding(
        "too_few", f"only {found}; a volume needs {MIN_SLICES} or more slices: send the whole series"
    )


def _duplicates(places: Sequence[Sequence[Image]]) -> Finding:
    counts = {len(place) for place in places}
    if len(counts) == 1:
        return Finding(
            "duplicates",
            f"each of {len(places)} slice positions holds {counts.pop()} images that nothing in the headers "
            "tells apart (a time series, or copies under new UIDs); send the images of one volume",
        )
    several = [place for place in places if len(place) > 1]
    firsts = [place[0] for place in several]
    named = [f"{mm} mm" for mm in _mm(firsts)]
    return Finding(
        "duplicates",
        f"{len(several)} of {len(places)} slice positions hold several images that nothing in the headers "
        f"tells apart (at {_listed(named)} {_side(firsts)}); send the series without the copies",
    )


# -- spacing ------------------------------------------------------------------------------------------------


def is_evenly_spaced(images: Sequence[Image]) -> bool:
    """Whether images, one at each position and sorted, are so even that nothing is found."""
    return not spacing_findings(images)


def spacing_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    """What slices are missing, and whether the others are evenly spaced."""
    distance = distances_mm(images)
    steps = np.diff(distance)
    even = np.linspace(distance[0], distance[-1], len(distance))
    if np.abs(distance - even).max() <= _tolerance_mm(float(steps.mean())):
        return ()
    if changes := _changes_of_spacing(steps):
        return (_changing_spacing(images, steps, changes),)
    findings = []
    planned = len({text_of(image.header, "SliceThickness") for image in images}) > 1
    base = float(np.median(steps[steps <= 1.5 * steps.min()]))
    missing = np.round(steps / base).astype(int) - 1
    on_grid = bool(np.abs(steps / (missing + 1) - base).max() <= _tolerance_mm(base))
    if on_grid and not planned and 0 < np.count_nonzero(missing) <= len(steps) / 2:
        return (_gap(images, missing, f"{base:.4g} mm apart"),)
    if not planned:
        missing = _holes(steps)
        if missing.any():
            usual = steps[missing == 0]
            apart = f"{usual.min():.4g} to {usual.max():.4g} mm apart"
            findings.append(_gap(images, missing, apart))
    return (
        *findings,
        Finding(
            "uneven_spacing",
            f"slices are {steps.min():.4g} to {steps.max():.4g} mm apart; labels are carried back from an "
            "even grid",
        ),
    )


def _changes_of_spacing(steps: NDArray[np.float64]) -> list[int]:
    """The steps with which another spacing begins, where each goes on for some; else none."""
    begins = [0]
    for number, step in enumerate(steps.tolist()):
        usual = float(steps[begins[-1]])
        if abs(step - usual) > _tolerance_mm(min(step, usual)):
            begins.append(number)
    lengths = np.diff([*begins, len(steps)])
    return begins[1:] if lengths.min() >= FEWEST_STEPS else []


def _changing_spacing(images: Sequence[Image], steps: NDArray[np.float64], changes: Sequence[int]) -> Finding:
    mm, names = _mm(images), _names(images)
    places = [
        f"from {steps[k - 1]:.4g} to {steps[k]:.4g} mm at {names[k]} ({mm[k]} mm {_side(images)})"
        for k in changes
    ]
    return Finding(
        "uneven_spacing",
        f"the distance of the slices changes {_listed(places, 'changes')}; labels are carried back from an "
        "even grid",
    )


def _holes(steps: NDArray[np.float64]) -> NDArray[np.int_]:
    """How many slices each step lacks, where steps differ anyway: few that are far larger than all others."""
    nothing = np.zeros(len(steps), int)
    ascending = np.sort(steps)
    few = max(1, int(MOST_HOLES_SHARE * len(steps)))
    for count in range(1, few + 1):
        largest_usual = ascending[-count - 1] if count < len(ascending) else np.inf
        if ascending[-count] >= HOLE_RATIO * largest_usual:
            usual = float(ascending[:-count].mean())
            return np.where(steps > largest_usual, np.maximum(np.round(steps / usual).astype(int) - 1, 1), 0)
    return nothing


def _tolerance_mm(spacing_mm: float) -> float:
    return min(max(EVEN_SHARE * spacing_mm, ROUNDING_MM), MOST_UNEVEN_SHARE * spacing_mm)


def _gap(images: Sequence[Image], missing: NDArray[np.int_], apart: str) -> Finding:
    mm, names, side = _mm(images), _names(images), f" {_side(images)}"
    gaps = np.flatnonzero(missing).tolist()
    places = [
        f"between {names[i]} and {names[i + 1]} ({mm[i]} to {mm[i + 1]} mm{side if i == gaps[0] else ''})"
        for i in gaps
    ]
    if len(gaps) > 1:
        places = [f"{missing[i]} {place}" for i, place in zip(gaps, places, strict=True)]
    total = int(missing.sum())
    slices = "1 slice is missing" if total == 1 else f"{total} slices are missing"
    separator = ":" if len(gaps) > 1 else ""
    return Finding(
        "gap", f"{slices}{separator} {_listed(places, 'gaps')}; the others are {apart}; send the whole series"
    )


# -- place --------------------------------------------------------------------------------------------------


def _stacking_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    plane = images[0].plane
    positions = positions_mm(images)
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


def _turn_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    """Slices of a volume are taken for parallel to its first one."""
    plane = images[0].plane
    row_mm, column_mm = plane.pixel_spacing_mm
    cosines = np.array([[image.plane.row_cosine, image.plane.column_cosine] for image in images])
    cosines /= np.linalg.norm(cosines, axis=2, keepdims=True)
    off = (cosines - cosines[0]) * [[(plane.columns - 1) * column_mm], [(plane.rows - 1) * row_mm]]
    corners = np.linalg.norm([off[:, 0], off[:, 1], off[:, 0] + off[:, 1]], axis=2)
    if corners.max() <= TURNED_SHARE * min(row_mm, column_mm):
        return ()
    return (
        Finding(
            "turned_slices",
            f"slices are turned against each other and taken for parallel, which is off by up to "
            f"{corners.max():.3g} mm in their corners; so may be the places of labels there",
        ),
    )


def _field_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    """Of original images the pixels make the field that was reconstructed (PS3.3 C.8.2.1)."""
    header, plane = images[0].header, images[0].plane
    field = numbers_of(header, "ReconstructionDiameter", 1)
    if field is None or field[0] <= 0 or not text_of(header, "ImageType").upper().startswith("ORIGINAL"):
        return ()
    row_mm, column_mm = plane.pixel_spacing_mm
    side_mm = max(plane.rows * row_mm, plane.columns * column_mm)
    if abs(side_mm - field[0]) <= FIELD_SHARE * field[0]:
        return ()
    return (
        Finding(
            "contradictory_spacing",
            f"by Pixel Spacing the images are {side_mm:.4g} mm wide, by Reconstruction Diameter "
            f"{field[0]:.4g} mm; Pixel Spacing is taken: measure something whose size is known",
        ),
    )


def _location_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    """Slice Location (PS3.3 C.7.6.2.1.2) should run as the positions do, in either direction."""
    said = [numbers_of(image.header, "SliceLocation", 1) for image in images]
    if None in said:
        return ()
    location = np.array([number[0] for number in said if number is not None])
    positions = positions_mm(images)
    travelled = np.linalg.norm(positions - positions[0], axis=1)
    off = min(np.abs(sign * (location - location[0]) - travelled).max() for sign in (1, -1))
    if off <= max(ROUNDING_MM, SHIFT_SHARE * float(np.median(np.diff(travelled)))):
        return ()
    return (
        Finding(
            "slice_location",
            f"Slice Location contradicts Image Position (Patient) by up to {off:.4g} mm; the position is "
            "taken",
        ),
    )


# -- words --------------------------------------------------------------------------------------------------

_SIDES = (("right", "left"), ("front", "back"), ("feet", "head"))
"""Where the axes of LPS come from and where they go (PS3.3 C.7.6.2.1.1)."""


def _side(images: Sequence[Image]) -> str:
    axis, _ = _main_axis(images)
    return f"towards the {_SIDES[axis][1]}"


def _main_axis(images: Sequence[Image]) -> tuple[int, float]:
    """The axis that the normal runs along most, and its sign there."""
    normal = images[0].plane.normal
    axis = int(np.abs(normal).argmax())
    return axis, float(np.sign(normal[axis]))


def _mm(images: Sequence[Image]) -> list[str]:
    """Each image's height in mm along the normal, counted to the side that `_side` names."""
    _, sign = _main_axis(images)
    return [f"{round(float(height) * sign, 1) + 0.0:g}" for height in distances_mm(images)]


def _names(images: Sequence[Image]) -> list[str]:
    """What a person calls the images: by number, where they have different ones, else by their order."""
    if len({image.path for image in images}) == 1 and len(images) > 1:
        return [f"frame {image.frame_number}" for image in images]
    numbers = [numbers_of(image.header, "InstanceNumber", 1) for image in images]
    if None not in numbers and len(set(numbers)) == len(images):
        return [f"image {number[0]:.0f}" for number in numbers if number is not None]
    return [f"slice {number}" for number in range(1, len(images) + 1)]


def described(images: Sequence[Image]) -> str:
    """How many images there are, and which, of images that are sorted along their normal."""
    mm, names = _mm(images), _names(images)
    ends = f"{names[0]} to {names[-1]}, at {mm[0]} to {mm[-1]} mm {_side(images)}"
    return f"{len(images)} images, {ends}"


def _listed(places: Sequence[str], more: str = "positions") -> str:
    rest = len(places) - NAMED_PLACES
    named = ", ".join(places[:NAMED_PLACES])
    return f"{named} and {rest} more {more if rest > 1 else more[:-1]}" if rest > 0 else named
