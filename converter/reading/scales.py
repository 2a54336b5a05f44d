"""Other values than those that Rescale Slope and Intercept give: which of them are taken is said.

Philips writes MR and PET whose rescaling leads to values for display, and beside it a scale of its own to
quantities; the standard has real-world values for that (PS3.3 C.7.6.16.2.11).
"""

from collections.abc import Sequence

from pydicom import Dataset

from .headers import Finding, numbers_of, value_of
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
