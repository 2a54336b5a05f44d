"""Structures that the edge of the scan cuts off."""

import re
from collections.abc import Iterator
from typing import Final

from batch_job.contract import Flag

from .structures import Scan

CODE: Final = "truncated"

CUT_BY_MOST_SCANS: Final = re.compile(
    r"""(?x)
    bone | gas | adipose_tissue | soft_tissue | body(_.*)? | skin | .*_fat | .*_muscle | tissue_.*
    | aorta | inferior_vena_cava | esophagus | trachea | spinal_cord
    | vertebrae(_.+)? | spine | intervertebral_discs | rib_.+ | costal_cartilages | skull
    | (autochthon | iliopsoas | gluteus_\w+? | quadriceps_femoris | thigh_\w+? | sartorius)_(left|right)
    | (humerus | femur | iliac_artery | iliac_vena | common_carotid_artery | subclavian_artery)_(left|right)
    """
)
"""What is everywhere or ends outside of most scans. That it is cut surprises nobody, and a flag on every
result would hide those that matter; `statistics.json` says `truncated` of these too."""


def truncated(scan: Scan) -> Iterator[Flag]:
    """One flag for each organ that touches the edge; its number is the share of its surface there."""
    for name, structure in scan.structures.items():
        if not structure.truncated or CUT_BY_MOST_SCANS.fullmatch(name):
            continue
        share = 100 * sum(structure.cut_at.values())
        where = ", ".join(
            sorted(structure.cut_at, key=lambda side: (-round(structure.cut_at[side], 6), side))
        )
        yield Flag(
            code=CODE,
            structure=name,
            number=round(share, 1),
            unit="%",
            sentence=(
                f"The {structure.spoken} is cut off at the edge of the scan ({where}; {share:.1f} % of its "
                "surface lies there): its volume is that of the scanned part."
            ),
        )
