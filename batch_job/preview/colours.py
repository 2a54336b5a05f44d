"""The colours: natural ones for organs that everybody knows, else hues far apart; the same every time."""

import colorsys
import re
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

COLOURS: Final[Mapping[str, Colour]] = {
    "bone": (241, 232, 200),
    "adipose_tissue": (232, 190, 70),
    "soft_tissue": (190, 84, 78),
    "gas": (70, 190, 240),
    "lung_left": (110, 215, 140),
    "lung_right": (190, 130, 235),
    "lung_upper_lobe_left": (110, 215, 140),
    "lung_lower_lobe_left": (60, 165, 150),
    "lung_upper_lobe_right": (190, 130, 235),
    "lung_middle_lobe_right": (225, 150, 210),
    "lung_lower_lobe_right": (95, 95, 235),
    "trachea": (130, 220, 245),
    "heart": (215, 60, 90),
    "aorta": (235, 45, 45),
    "inferior_vena_cava": (60, 105, 235),
    "superior_vena_cava": (110, 195, 255),
    "portal_vein_and_splenic_vein": (80, 165, 235),
    "liver": (200, 115, 65),
    "gallbladder": (25, 145, 60),
    "spleen": (155, 85, 205),
    "pancreas": (255, 248, 160),
    "stomach": (235, 130, 185),
    "duodenum": (95, 205, 195),
    "small_bowel": (250, 190, 175),
    "colon": (150, 190, 85),
    "kidney_left": (235, 200, 50),
    "kidney_right": (245, 150, 40),
    "adrenal_gland_left": (230, 90, 220),
    "adrenal_gland_right": (175, 255, 90),
    "urinary_bladder": (245, 235, 90),
    "prostate": (190, 150, 245),
    "brain": (235, 185, 200),
    "spinal_cord": (250, 245, 140),
}

_BONE: Final = re.compile(
    r"(vertebra|rib|hip|femur|humerus|scapula|clavicula|sacrum|sternum|skull|costal|intervertebral).*"
)
_MUSCLE: Final = re.compile(r"(autochthon|iliopsoas|gluteus|quadriceps|sartorius|thigh|.*muscle).*")
GOLDEN_ANGLE: Final = 0.381966
"""Of a turn: neighbouring label values get hues that are far apart."""


def colour_of(name: str, value: int) -> Colour:
    """The colour of a structure: recorded by name, else a hue by its label value, pale for bones."""
    if name in COLOURS:
        return COLOURS[name]
    saturation, brightness = 0.75, 0.95
    if _BONE.fullmatch(name):
        saturation, brightness = 0.4, 1.0
    elif _MUSCLE.fullmatch(name):
        saturation, brightness = 0.5, 0.75
    red, green, blue = colorsys.hsv_to_rgb(value * GOLDEN_ANGLE % 1, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def palette(names: Mapping[int, str]) -> NDArray[np.float32]:
    """A colour for each label value, (256, 3), 0 to 255."""
    colours = np.zeros((256, 3), np.float32)
    for value, name in names.items():
        colours[value] = colour_of(name, value)
    return colours
