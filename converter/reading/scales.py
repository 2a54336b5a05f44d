"""Other values than those that Rescale Slope and Intercept give: which of them are taken is said.

Philips writes MR and PET whose rescaling leads to values for display, and beside it a scale of its own to
quantities; the standard has real-world values for that (PS3.3 C.7.6.16.2.11).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from converter.errors import ConversionFailed

from .headers import Finding, numbers_of, value_of
from .layout import layouts_of, once_per_value
from .stacks import Image

_PRIVATE = (
    (0x2005, "Philips MR Imaging DD 001", (0x0E,)),
    (0x7053, "Philips PET Private Group", (0x00, 0x09)),
)
"""Group, creator and elements: scale slope of MR; SUV and activity concentration factors of PET."""

_DISPLAY_VALUES = Finding(
    "display_values",
    "intensities are the values that Rescale Slope and Intercept give; the quantities that the images know "
    "besides (a vendor's own scale, real-world values, SUV) are not applied",
)


def scale_findings(images: Sequence[Image]) -> tuple[Finding, ...]:
    """Say which values are taken, where images know of others."""
    header = images[0].header
    has_others = _has_private_scale(header) or _has_other_real_world_values(header)
    return (_DISPLAY_VALUES,) if has_others else ()


def _has_private_scale(header: Dataset) -> bool:
    for group, creator, elements in _PRIVATE:
        try:
            block = header.private_block(group, creator)
        except Exception:  # absent, or whatever a parser raises on malformed elements
            continue
        if any(element in block for element in elements):
            return True
    return False


def _has_other_real_world_values(header: Dataset) -> bool:
    rescale = [numbers_of(header, f"Rescale{which}", 1) or absent for which, absent in _LINE]
    for mapping in value_of(header, "RealWorldValueMappingSequence") or ():
        real = [numbers_of(mapping, f"RealWorldValue{which}", 1) or absent for which, absent in _LINE]
        if real != rescale:
            return True
    return False


_LINE = (("Slope", (1.0,)), ("Intercept", (0.0,)))
"""Of a straight line, and what counts where it is absent."""


_RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
"""What counts where they are absent."""


def slopes_and_intercepts(headers: Sequence[Dataset]) -> NDArray[np.float64]:
    """Each header's, (headers, 2).

    Raises
    ------
    ConversionFailed
        A lookup table stands in their place, one is no number, or a slope is 0.
    """
    if any("ModalityLUTSequence" in header and "RescaleSlope" not in header for header in headers):
        raise ConversionFailed(
            "intensities are given by a lookup table (Modality LUT), which is not supported; have the "
            "series sent with Rescale Slope and Intercept"
        )
    found = np.array(once_per_value(headers, tuple(_RESCALE), _slope_and_intercept))
    if not found[:, 0].all():
        raise ConversionFailed("a Rescale Slope is 0; have the headers corrected at the sender")
    return found


def _slope_and_intercept(header: Dataset) -> list[float]:
    found = []
    for keyword, absent in _RESCALE.items():
        number = numbers_of(header, keyword, 1)
        element = header.get_item(keyword)
        if number is None and element is not None and element.value:
            raise ConversionFailed(f"{keyword} is not one number; have the headers corrected at the sender")
        found.append(absent if number is None else number[0])
    return found


def why_no_values(images: Sequence[Image]) -> tuple[Finding, ...]:
    """Say why no intensities can be made of the pixels, where the headers tell."""
    headers = [image.header for image in images]
    try:
        layouts_of(headers)
        slopes_and_intercepts(headers)
    except ConversionFailed as failed:
        return (Finding("no_values", str(failed)),)
    return ()
