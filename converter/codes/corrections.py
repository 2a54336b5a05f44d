"""What is corrected in the codes that TotalSegmentator ships, and added to them; each with its reason.

A row is: category, type, type modifier, anatomic region, region modifier (SNOMED CT code and meaning, or None),
display colour (None keeps the one there).
"""

from collections.abc import Mapping
from typing import Final

CodePair = tuple[str, str]

ANATOMY: Final = ("123037004", "Anatomical Structure")
TISSUE: Final = ("85756007", "Tissue")
SUBSTANCE: Final = ("91720002", "Body Substance")
LEFT: Final = ("7771000", "Left")
RIGHT: Final = ("24028007", "Right")

Correction = tuple[
    CodePair,
    CodePair,
    CodePair | None,
    CodePair | None,
    CodePair | None,
    tuple[int, int, int] | None,
]

CORRECTIONS: Final[Mapping[str, Correction]] = {
    # Both sides carry 29700009, the code of the right artery: the generic one with a modifier suits both.
    "subclavian_artery_left": (ANATOMY, ("36765005", "Subclavian artery"), LEFT, None, None, None),
    "subclavian_artery_right": (ANATOMY, ("36765005", "Subclavian artery"), RIGHT, None, None, None),
    # The name is misspelt ("minius"), and without a side it carries the code of the gluteus medius.
    "gluteus_minimus": (ANATOMY, ("75297007", "Gluteus minimus muscle"), None, None, None, None),
    "gluteus_minimus_left": (ANATOMY, ("75297007", "Gluteus minimus muscle"), LEFT, None, None, None),
    "gluteus_minimus_right": (ANATOMY, ("75297007", "Gluteus minimus muscle"), RIGHT, None, None, None),
    # Missing structures of total_mr. The fourth, intervertebral_discs, stays without: the dictionaries here
    # have codes for single discs only, and a code is never guessed.
    "lung_left": (ANATOMY, ("39607008", "Lung"), LEFT, None, None, (172, 138, 115)),
    "lung_right": (ANATOMY, ("39607008", "Lung"), RIGHT, None, None, (197, 165, 145)),
    "vertebrae": (ANATOMY, ("51282000", "Vertebra"), None, None, None, (226, 202, 134)),
    # The threshold engine's tissues.
    "bone": (ANATOMY, ("3138006", "Bone"), None, None, None, (241, 214, 145)),
    "adipose_tissue": (TISSUE, ("55603005", "Adipose tissue"), None, None, None, (230, 160, 40)),
    "soft_tissue": (TISSUE, ("87784001", "Soft tissue"), None, None, None, (177, 82, 76)),
    "gas": (SUBSTANCE, ("74947009", "Gas"), None, None, None, (70, 160, 220)),
}

TISSUE_TASK: Final[Mapping[int, str]] = {
    1: "bone",
    2: "adipose_tissue",
    3: "soft_tissue",
    4: "gas",
    5: "lung_left",
    6: "lung_right",
}
"""The label table of the threshold engine's task `tissue`."""
