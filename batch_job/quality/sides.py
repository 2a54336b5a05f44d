"""Left and right: paired structures on the wrong sides, and signs of situs inversus or a mirrored image."""

import re
from collections.abc import Iterator
from typing import Final

from batch_job.contract import Flag

from .structures import Scan, Structure

CONTRADICTION: Final = "sides_contradict"
SITUS_INVERSUS: Final = "situs_inversus"

PAIR_TOLERANCE_MM: Final = 5.0
"""Pairs that meet in the middle (iliac veins that the scan cuts short) may stand one above the other."""
MIDLINE_TOLERANCE_MM: Final = 20.0
"""Scoliosis and rotation take the spine out of the middle, and some vessels of one side cross it."""
HEART_TOLERANCE_MM: Final = 15.0
"""A heart's middle lies left of the spine; in the middle (a shifted mediastinum) it is no sign."""

MIDLINE: Final = re.compile(r"vertebrae(_.+)?|spine|spinal_cord|sacrum|sternum")
CHAMBER: Final = re.compile(r"heart_.*|atrial_appendage_left")
"""A heart's left and right are its circulations, not the patient's sides."""


def sides(scan: Scan) -> Iterator[Flag]:
    """Flag the left ones that lie right of their right ones, else those that lie across the midline."""
    midline = [found for name, found in scan.structures.items() if MIDLINE.fullmatch(name)]
    swapped = set()
    for name, left in scan.structures.items():
        right = scan.structures.get(_partner(name))
        if _side(name) == "left" and right and left.middle_mm[0] - right.middle_mm[0] > PAIR_TOLERANCE_MM:
            swapped |= {left.name, right.name}
            yield _swapped(left, right)
    for name, found in scan.structures.items():
        if _side(name) and name not in swapped and midline:
            nearest = min(midline, key=lambda bone: abs(bone.middle_mm[2] - found.middle_mm[2]))
            to_the_right_mm = found.middle_mm[0] - nearest.middle_mm[0]
            wrong_mm = to_the_right_mm if _side(name) == "left" else -to_the_right_mm
            if wrong_mm > MIDLINE_TOLERANCE_MM:
                yield _across(found, nearest, wrong_mm)


def situs_inversus(scan: Scan) -> Iterator[Flag]:
    """Flag a liver left of the spleen, and a whole heart right of the spine. It warns and never blocks."""
    liver, spleen, heart = (scan.structures.get(name) for name in ("liver", "spleen", "heart"))
    if liver and spleen:
        left_mm = spleen.middle_mm[0] - liver.middle_mm[0]
        if left_mm > MIDLINE_TOLERANCE_MM:
            yield _inverted("liver", left_mm, f"The liver lies {left_mm:.0f} mm to the left of the spleen")
    spine = [found for name, found in scan.structures.items() if re.match("vertebrae|spin", name)]
    if heart and spine and not heart.truncated:
        nearest = min(spine, key=lambda bone: abs(bone.middle_mm[2] - heart.middle_mm[2]))
        right_mm = heart.middle_mm[0] - nearest.middle_mm[0]
        if right_mm > HEART_TOLERANCE_MM:
            yield _inverted("heart", right_mm, f"The heart lies {right_mm:.0f} mm to the right of the spine")


def _side(name: str) -> str | None:
    if CHAMBER.fullmatch(name):
        return None
    return next((word for word in name.split("_") if word in ("left", "right")), None)


def _partner(name: str) -> str:
    """The name of the other side."""
    return "_".join({"left": "right", "right": "left"}.get(word, word) for word in name.split("_"))


def _swapped(left: Structure, right: Structure) -> Flag:
    mm = left.middle_mm[0] - right.middle_mm[0]
    return Flag(
        code=CONTRADICTION,
        structure=left.name,
        number=round(mm, 1),
        unit="mm",
        sentence=(
            f"The {left.spoken} lies {mm:.0f} mm to the right of the {right.spoken}: left and right are "
            "swapped in the labels or in the image."
        ),
    )


def _across(found: Structure, nearest: Structure, wrong_mm: float) -> Flag:
    other = "right" if _side(found.name) == "left" else "left"
    return Flag(
        code=CONTRADICTION,
        structure=found.name,
        number=round(wrong_mm, 1),
        unit="mm",
        sentence=(
            f"The {found.spoken} lies on the patient's {other} side, {wrong_mm:.0f} mm across the middle "
            f"({nearest.spoken})."
        ),
    )


def _inverted(structure: str, mm: float, what: str) -> Flag:
    return Flag(
        code=SITUS_INVERSUS,
        structure=structure,
        number=round(mm, 1),
        unit="mm",
        sentence=f"{what}: situs inversus, a displaced organ, or a mirrored image.",
    )
