"""The image itself: whether a CT is in Hounsfield units, and whether its slices are thin enough."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from batch_job.contract import Flag
from batch_job.image import Image, to_ras

AIR: Final = "air_not_minus_1000"
HIGHEST: Final = "highest_value_implausible"
SPACING: Final = "spacing_above_5_mm"

WIDEST_SPACING_MM: Final = 5.01
"""5 mm are allowed; the rest is what headers in 32 bits lose."""

AIR_HU: Final = (-1050.0, -950.0)
"""Air is -1000 HU by definition; scanners keep to within 10 or 20, and some cut everything off at -1024."""
AIR_CEILING_HU: Final = -500.0
"""Halfway to water: nothing outside of the body but air lies below it."""
SMALLEST_SHARE: Final = 0.002
"""Less air than this share of the image is no background to judge by."""
SAMPLES_PER_AXIS: Final = 128
"""As fine as air around a patient needs to be looked at."""
BIN_HU: Final = 10.0
SMALLEST_PEAK: Final = 0.25
"""Air's values lie close together; where so few do, they are the blurred edges of skin beside padding."""

HIGHEST_HU: Final = (100.0, 32000.0)
"""Every part of the body has bone or contrast above 100; scales extended for metal end below 32000."""


def spacing(image: Image) -> Iterator[Flag]:
    """Flag voxels that are further apart than 5 mm along any axis; the number is the widest distance."""
    widest = max(image.spacing_mm)
    if widest > WIDEST_SPACING_MM:
        yield Flag(
            code=SPACING,
            structure=None,
            number=round(widest, 2),
            unit="mm",
            sentence=(
                f"The image's voxels are {widest:.1f} mm apart along one axis; above 5 mm small structures "
                "are missed and volumes are rough."
            ),
        )


def hounsfield(image: Image, labels: NDArray[np.uint8]) -> Iterator[Flag]:
    """Flag a CT whose air is not near -1000 HU, and one whose highest value no CT of a patient has."""
    yield from _air(image, labels)
    highest = float(image.values.max())
    if not HIGHEST_HU[0] <= highest <= HIGHEST_HU[1]:
        why = "bone and contrast are missing" if highest < HIGHEST_HU[0] else "no scanner's scale goes so far"
        yield Flag(
            code=HIGHEST,
            structure=None,
            number=round(highest, 1),
            unit="HU",
            sentence=f"The highest value is {highest:.0f} HU: {why}; the values were probably changed.",
        )


def _air(image: Image, labels: NDArray[np.uint8]) -> Iterator[Flag]:
    ras = to_ras(image)[0].values
    steps = tuple(slice(None, None, max(1, size // SAMPLES_PER_AXIS)) for size in ras.shape)
    values, marked = ras[steps], to_ras(Image(labels, image.affine))[0].values[steps]
    usual = _usual_air(values, marked)
    if usual is None:
        seen = values[values >= AIR_HU[0]]
        lowest = float(seen.min()) if seen.size else -np.inf
        if lowest >= 0:  # fat, at least, lies below zero
            yield _no_hounsfield(
                lowest, f"No value lies between {AIR_HU[0]:.0f} and {lowest:.0f} HU, neither air nor fat"
            )
    elif not AIR_HU[0] <= usual <= AIR_HU[1]:
        yield _no_hounsfield(usual, f"Air around the patient measures {usual:.0f} HU instead of -1000")


def _no_hounsfield(number: float, what: str) -> Flag:
    return Flag(
        code=AIR,
        structure=None,
        number=round(number, 1),
        unit="HU",
        sentence=f"{what}: these are no Hounsfield units; labels and intensities are not to be trusted.",
    )


def _usual_air(values: NDArray[Any], labels: NDArray[np.uint8]) -> float | None:
    """What most of the air around the patient measures; None where there is none, or only padding."""
    air = _without_padding(values[_outside(values, labels)])
    if air.size < max(1, SMALLEST_SHARE * values.size):
        return None
    bins, counts = np.unique(np.round(air / BIN_HU), return_counts=True)
    usual = float(bins[counts.argmax()] * BIN_HU)
    near = np.count_nonzero(np.abs(air - usual) <= 1.5 * BIN_HU)
    return usual if near >= SMALLEST_PEAK * air.size else None


def _outside(values: NDArray[Any], labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What is dark, unlabelled and joined to the side of an axial plane (of RAS): around the patient."""
    joined, count = ndimage.label((values < AIR_CEILING_HU) & (labels == 0))
    at_side = np.zeros(count + 1, bool)
    for end in (0, -1):
        at_side[np.unique(joined[end])] = True
        at_side[np.unique(joined[:, end])] = True
    at_side[0] = False
    outside: NDArray[np.bool_] = at_side[joined]
    return outside


def _without_padding(values: NDArray[Any]) -> NDArray[Any]:
    """Leave out the value that fills what the scanner did not see: the lowest, where it is a lone spike."""
    if not values.size:
        return values
    rest = values[values > values.min()]
    beside = np.count_nonzero(rest <= values.min() + BIN_HU)
    return rest if values.size - rest.size > beside else values
