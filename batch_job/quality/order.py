"""From head to feet: organs and vertebrae that stand in the wrong order, and numbers that are missing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Final

from batch_job.contract import Flag

from .structures import Scan, Structure

REGIONS_CONTRADICT: Final = "regions_contradict"
ORDER: Final = "order_contradicts"
GAP: Final = "gap"

ORGAN_TOLERANCE_MM: Final = 10.0
"""Organs of neighbouring regions lie beside each other at the border, and a thin scan shows little more."""
VERTEBRA_TOLERANCE_MM: Final = 5.0
"""A vertebra that the scan's edge cuts may be its spinous process alone, which hangs down behind the next."""

REGIONS: Final[Mapping[str, re.Pattern[str]]] = {
    "head": re.compile("brain|skull"),
    "neck": re.compile("thyroid_gland"),
    "chest": re.compile(r"heart|lung_(left|right)|lung_\w+_lobe_(left|right)"),
    "upper abdomen": re.compile("liver|spleen|pancreas|kidney_(left|right)|adrenal_gland_(left|right)"),
    "pelvis": re.compile("urinary_bladder|prostate|sacrum|hip_(left|right)|femur_(left|right)"),
}
"""From head to feet; organs that wander (stomach, bowel) are left out. Where two regions share an axial plane
the share of the upper one grows towards the head, so a part of the scan shows the same order as the whole."""

VERTEBRAE: Final = tuple(
    f"vertebrae_{letter}{number}"
    for letter, count in (("C", 7), ("T", 12), ("L", 5))
    for number in range(1, count + 1)
)
RIBS: Final = {side: tuple(f"rib_{side}_{number}" for number in range(1, 13)) for side in ("left", "right")}


def order(scan: Scan) -> Iterator[Flag]:
    """Flag, for each two regions, the organs that contradict most; and the vertebrae as one row.

    Regions stand in one order in everybody, so that is a wrong image or result; of vertebrae it is often a
    wrong number.
    """
    found = {
        region: [s for name, s in scan.structures.items() if pattern.fullmatch(name)]
        for region, pattern in REGIONS.items()
    }
    for upper_region, lower_region in combinations(REGIONS, 2):
        pairs = [(upper, lower) for upper in found[upper_region] for lower in found[lower_region]]
        if pairs:
            upper, lower = max(pairs, key=_below_mm)
            if _below_mm((upper, lower)) > ORGAN_TOLERANCE_MM:
                yield _flag(REGIONS_CONTRADICT, upper, lower)
    row = [scan.structures[name] for name in VERTEBRAE if name in scan.structures]
    wrong = [pair for pair in pairwise(row) if _below_mm(pair) > VERTEBRA_TOLERANCE_MM]
    if wrong:
        places = f" The vertebrae are out of order at {len(wrong)} place{'s' if len(wrong) > 1 else ''}."
        yield _flag(ORDER, *max(wrong, key=_below_mm), places)


def gaps(scan: Scan, names: Mapping[int, str]) -> Iterator[Flag]:
    """Flag vertebrae and ribs that are missing between two found ones; the number says how many.

    Parameters
    ----------
    names
        What the task can give: what it does not look for is not missing.
    """
    # Above and below, the scan's edge explains nothing: what is missing would lie between.
    yield from _gaps(scan, names, VERTEBRAE, "vertebrae", {"head end", "feet end"})
    for row in RIBS.values():
        yield from _gaps(scan, names, row, "ribs", set())  # they run obliquely: any edge may take one away


def _gaps(
    scan: Scan, names: Mapping[int, str], row: Sequence[str], kind: str, harmless: set[str]
) -> Iterator[Flag]:
    looked_for = [name for name in row if name in names.values()]
    present = [at for at, name in enumerate(looked_for) if name in scan.structures]
    for one, other in pairwise(present):
        before, after = (scan.structures[looked_for[at]] for at in (one, other))
        missing = looked_for[one + 1 : other]
        if missing and not (set(before.cut_at) | set(after.cut_at)) - harmless:
            yield Flag(
                code=GAP,
                structure=missing[0],
                number=float(len(missing)),
                unit=kind,
                sentence=(
                    f"Between the {before.spoken} and the {after.spoken} {len(missing)} of the {kind} "
                    f"{'is' if len(missing) == 1 else 'are'} missing: a wrong number, a failed segmentation, "
                    "or a variant of this patient."
                ),
            )


def _below_mm(pair: tuple[Structure, Structure]) -> float:
    """How far the middle of the first, which belongs above, lies below that of the second."""
    upper, lower = pair
    return lower.middle_mm[2] - upper.middle_mm[2]


def _flag(code: str, upper: Structure, lower: Structure, more: str = "") -> Flag:
    mm = _below_mm((upper, lower))
    return Flag(
        code=code,
        structure=upper.name,
        number=round(mm, 1),
        unit="mm",
        sentence=f"The {upper.spoken} lies {mm:.0f} mm below the {lower.spoken} but belongs above it.{more}",
    )
