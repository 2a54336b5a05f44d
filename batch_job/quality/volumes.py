"""Volumes that an adult's organs do not have.

The ranges are wide on purpose: from an atrophied organ to one that is ill and several times its usual size.
Outside of them the segmentation failed, the patient is a child, or the organ was operated on or is very ill.
A truncated structure is not judged.

Sources: ICRP 89 is Annals of the ICRP 32 (3-4), 2002, whose reference masses (man, woman) are given below in
grams; a gram of soft tissue is about a millilitre.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from batch_job.contract import Flag
from batch_job.names import spoken
from batch_job.statistics import Statistics

from .structures import Scan

CODE: Final = "volume_out_of_range"

ADULT_ML: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        # 791 to 1500 in healthy adults by CT (Surg Radiol Anat 32, 2010, 10.1007/s00276-010-0650-4); ICRP 89:
        # 1450, 1300 g.
        "brain": (700, 2000),
        # ICRP 89: 20, 17 g; goitres reach several hundred.
        "thyroid_gland": (2, 300),
        # With its blood, ICRP 89: 840, 620 g.
        "heart": (250, 2500),
        # Both together at full inspiration 6.9 l in a man of 1.75 m, 4.9 l in a woman of 1.62 m (Quanjer et
        # al., Eur Respir J 6 suppl. 16, 1993); less than half of it is left when they breathe out.
        "lung_left": (400, 5000),
        "lung_right": (500, 5500),
        # 594 to 2250 in Chinese adults by CT (Feng et al., World J Gastroenterol 23, 2017); ICRP 89:
        # 1800, 1400 g.
        "liver": (500, 5000),
        # 107 to 315 by CT (Prassopoulos et al., Eur Radiol 7, 1997), from 47 (Feng et al., see liver).
        "spleen": (30, 1500),
        # ICRP 89: 155, 138 g each; 5th percentile of women 92 by MR (J Clin Med 13 (3), 2024, 769).
        "kidney_left": (30, 700),
        "kidney_right": (30, 700),
        # 72 +/- 26 by CT (Saisho et al., Clin Anat 20, 2007), declining after the age of 60.
        "pancreas": (12, 250),
        # Both 8.4 +/- 2.7, 3.3 to 18.7, by CT (Carsin-Vu et al., Eur Radiol 26, 2016).
        "adrenal_gland_left": (0.7, 40),
        "adrenal_gland_right": (0.7, 40),
        # With its content, ICRP 89: 68, 56 g; contracted after a meal it is nearly empty.
        "gallbladder": (1, 300),
        # ICRP 89: wall 50, 40 g; in retention it holds more than a litre.
        "urinary_bladder": (15, 2500),
        # ICRP 89: 17 g; with hyperplasia ten times as much.
        "prostate": (6, 350),
    }
)

LOBES: Final = {
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
}
"""Lungs that a task gives as lobes are judged whole: lobes vary too much, and one may be missing."""


def volumes(scan: Scan, statistics: Statistics) -> Iterator[Flag]:
    """Flag each whole organ whose volume lies outside of `ADULT_ML`; the number is its volume."""
    for name, (least, most) in ADULT_ML.items():
        parts = [part for part in (name, *LOBES.get(name, ())) if part in scan.structures]
        if not parts or any(scan.structures[part].truncated for part in parts):
            continue
        ml = sum(float(statistics[part]["volume_ml"]) for part in parts)
        if not least <= ml <= most:
            yield Flag(
                code=CODE,
                structure=name,
                number=round(ml, 1),
                unit="ml",
                sentence=(
                    f"The {spoken(name)} measures {ml:.1f} ml; "
                    f"in adults {least:g} to {most:g} ml are plausible."
                ),
            )
