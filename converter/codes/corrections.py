"""What is corrected in the codes that TotalSegmentator ships, and added to them; each with its reason.

`python -m converter.codes.build` applies them, and refuses one that no longer changes anything: then
upstream has moved, and the correction wants to be looked at again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CodePair = tuple[str, str]
"""SNOMED CT code and its meaning."""


@dataclass(frozen=True)
class Row:
    """The codes of one structure; `rgb` None keeps the colour that upstream gives it."""

    category: CodePair
    type: CodePair
    type_modifier: CodePair | None = None
    region: CodePair | None = None
    region_modifier: CodePair | None = None
    rgb: tuple[int, int, int] | None = None


ANATOMY: Final = ("91723000", "Anatomical Structure")
TISSUE: Final = ("85756007", "Tissue")
SUBSTANCE: Final = ("91720002", "Body Substance")
LEFT: Final = ("7771000", "Left")
RIGHT: Final = ("24028007", "Right")

REPLACED_CODES: Final[Mapping[CodePair, CodePair]] = {
    # CID 7150 has 91723000 for this meaning; 123037004 is "Body structure", of which it is one kind.
    ("123037004", "Anatomical Structure"): ANATOMY,
    # CID 7150 renamed it: what is there is abnormal, nobody altered it.
    ("49755003", "Morphologically Altered Structure"): ("49755003", "Morphologically Abnormal Structure"),
    # The code of the RIGHT artery stands on both sides, so the left one says left and right at once. The code
    # without a side, with the modifier, is how this table codes every other pair of vessels (and what
    # TotalSegmentator's pull request 612, not in 2.18.0, has).
    ("29700009", "Subclavian artery"): ("36765005", "Subclavian artery"),
    # "Entire gluteus maximus", though a scan often ends within it; DICOM takes the "structure of" codes
    # (PS3.16 8.1.1), as this table does for the other two gluteal muscles (the same pull request).
    ("181674001", "Gluteus maximus muscle"): ("206007", "Gluteus maximus muscle"),
    # Misspelt.
    ("75297007", "Gluteus minius muscle"): ("75297007", "Gluteus minimus muscle"),
    # The bones of the wrist are meant and coded; "Carpus" is DICOM's meaning of 8205005, the wrist region.
    ("83936004", "Carpus"): ("83936004", "Bone structure of carpus"),
}
"""Wherever upstream has the first, the second is written."""

PHALANX: Final = ("28641004", "Phalanx structure")

REPLACED_ROWS: Final[Mapping[str, Row]] = {
    # Without a side it carries the code of the gluteus medius.
    "gluteus_minimus": Row(ANATOMY, ("75297007", "Gluteus minimus muscle")),
    # Both carry the same code, and the task appendicular_bones has both: the region tells them apart.
    "phalanges_feet": Row(ANATOMY, PHALANX, region=("56459004", "Foot")),
    "phalanges_hand": Row(ANATOMY, PHALANX, region=("85562004", "Hand")),
}
"""Rows that upstream has, and has wrong."""

ADDED_ROWS: Final[Mapping[str, Row]] = {
    # Structures of total_mr without a row. The fourth, intervertebral_discs, stays without: DICOM's
    # dictionaries have codes of single discs only, and a code is never guessed.
    "lung_left": Row(ANATOMY, ("39607008", "Lung"), LEFT, rgb=(110, 215, 140)),
    "lung_right": Row(ANATOMY, ("39607008", "Lung"), RIGHT, rgb=(190, 130, 235)),
    "vertebrae": Row(ANATOMY, ("51282000", "Vertebra"), rgb=(226, 202, 134)),
    # Tissues, in the categories under which CID 7191 and 7197 list them.
    "bone": Row(TISSUE, ("3138006", "Bone"), rgb=(241, 232, 200)),
    "adipose_tissue": Row(TISSUE, ("55603005", "Fat"), rgb=(232, 190, 70)),
    "soft_tissue": Row(TISSUE, ("87784001", "Soft tissue"), rgb=(190, 84, 78)),
    "gas": Row(SUBSTANCE, ("74947009", "Gas"), rgb=(70, 190, 240)),
}
"""Rows that upstream lacks."""
