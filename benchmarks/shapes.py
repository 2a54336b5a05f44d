"""The 117 structures of the task `total` as simple shapes: place, length, width, Hounsfield units.

The sizes are like real ones, the body is shorter than one: everything finds room in 300 slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

SOFT: Final = 60.0
VESSEL: Final = 160.0
BONE: Final = 420.0


@dataclass(frozen=True)
class Shape:
    """An ellipse in every slice from `low` to `high`, its middle on a straight line.

    Lengths are in pixels from the middle of the image, to the patient's left and to the back, and in slices
    from the feet. `swell` is 1 for an ellipsoid, 0 for a tube.
    """

    name: str
    low: float
    high: float
    at_low: tuple[float, float]
    at_high: tuple[float, float]
    radii: tuple[float, float]
    hu: float
    swell: float = 1.0


# name, lowest and highest slice, middle (left, back), radii (left, back), HU
_ORGANS: Final = (
    ("liver", 118, 196, -58, -8, 74, 68, SOFT),
    ("spleen", 138, 190, 112, 40, 26, 38, SOFT),
    ("stomach", 128, 192, 58, -42, 42, 30, 20.0),
    ("gallbladder", 124, 146, -52, -52, 12, 16, 10.0),
    ("pancreas", 128, 152, 14, -12, 52, 12, SOFT),
    ("duodenum", 100, 138, -26, -8, 20, 14, 30.0),
    ("small_bowel", 30, 120, 4, -44, 66, 34, 25.0),
    ("colon", 14, 136, 2, -30, 116, 24, -100.0),
    ("urinary_bladder", 6, 44, 0, -48, 34, 28, 5.0),
    ("prostate", 0, 14, 0, -8, 20, 16, SOFT),
    ("lung_upper_lobe_left", 188, 268, 74, -22, 54, 52, -850.0),
    ("lung_lower_lobe_left", 166, 236, 78, 48, 52, 44, -840.0),
    ("lung_upper_lobe_right", 204, 268, -74, 0, 54, 62, -850.0),
    ("lung_middle_lobe_right", 184, 216, -78, -46, 48, 34, -845.0),
    ("lung_lower_lobe_right", 164, 234, -76, 48, 52, 44, -840.0),
    ("heart", 172, 222, 24, -34, 52, 42, 110.0),
    ("atrial_appendage_left", 206, 220, 46, -40, 12, 10, VESSEL),
    ("pulmonary_vein", 206, 222, 8, -4, 40, 8, VESSEL),
    ("thyroid_gland", 264, 282, 0, -30, 22, 10, 120.0),
    ("brain", 280, 300, 0, -8, 62, 74, 35.0),
    ("kidney_cyst_right", 118, 130, -84, 46, 10, 10, 5.0),
    ("kidney_cyst_left", 124, 138, 86, 44, 11, 11, 5.0),
    ("sacrum", 16, 62, 0, 66, 44, 22, BONE),
)

# name, lowest and highest slice, middle there and there, radius, HU
_TUBES: Final = (
    ("aorta", 78, 236, (8, 26), (16, 6), 12, VESSEL),
    ("inferior_vena_cava", 74, 190, (-14, 24), (-22, 8), 11, VESSEL),
    ("superior_vena_cava", 212, 246, (-22, -14), (-24, -20), 9, VESSEL),
    ("portal_vein_and_splenic_vein", 134, 170, (8, -2), (-34, -2), 8, VESSEL),
    ("brachiocephalic_trunk", 236, 254, (-8, -18), (-20, -22), 6, VESSEL),
    ("esophagus", 178, 286, (14, 30), (0, 22), 7, 40.0),
    ("trachea", 226, 284, (0, 8), (0, 4), 8, -990.0),
    ("spinal_cord", 88, 300, (0, 62), (0, 56), 6, 40.0),
    ("sternum", 194, 250, (0, -84), (0, -70), 16, 250.0),
    ("costal_cartilages", 150, 236, (0, -88), (0, -78), 22, 100.0),
)

# of the left side: name, lowest and highest slice, middle there and there, radii, HU, swell
_PAIRS: Final = (
    ("kidney", 104, 152, (64, 44), (52, 50), (25, 23), 120.0, 1.0),
    ("adrenal_gland", 148, 160, (36, 36), (36, 36), (10, 6), SOFT, 1.0),
    ("iliac_artery", 34, 80, (58, 10), (8, 20), (7, 7), VESSEL, 0.1),
    ("iliac_vena", 32, 78, (56, 24), (12, 30), (8, 8), VESSEL, 0.1),
    ("subclavian_artery", 240, 262, (26, 0), (76, 0), (6, 6), VESSEL, 0.1),
    ("common_carotid_artery", 244, 290, (20, -8), (30, -2), (5, 5), VESSEL, 0.1),
    ("brachiocephalic_vein", 238, 258, (14, -30), (38, -26), (7, 7), VESSEL, 0.1),
    ("humerus", 196, 258, (168, 20), (142, 16), (14, 14), BONE, 0.2),
    ("scapula", 204, 266, (96, 86), (112, 62), (30, 9), BONE, 0.4),
    ("clavicula", 248, 266, (44, -54), (92, -28), (24, 8), BONE, 0.3),
    ("femur", 0, 44, (104, 16), (92, 12), (19, 19), BONE, 0.2),
    ("hip", 4, 86, (64, 20), (92, 34), (26, 22), BONE, 0.6),
    ("gluteus_maximus", 2, 74, (76, 88), (66, 92), (42, 22), SOFT, 0.7),
    ("gluteus_medius", 24, 90, (112, 50), (106, 62), (20, 26), SOFT, 0.8),
    ("gluteus_minimus", 26, 66, (108, 20), (106, 30), (14, 16), SOFT, 0.8),
    ("autochthon", 32, 288, (26, 100), (22, 88), (20, 13), SOFT, 0.2),
    ("iliopsoas", 6, 126, (78, -8), (36, 50), (18, 19), SOFT, 0.7),
)


def shapes() -> tuple[Shape, ...]:
    """Every structure; a rib comes in several pieces."""
    return (*_single(), *_pairs(), *_spine(), *_ribs())


def _single() -> Iterator[Shape]:
    for name, low, high, x, y, wide, deep, hu in _ORGANS:
        yield Shape(name, low, high, (x, y), (x, y), (wide, deep), hu)
    for name, low, high, at_low, at_high, radius, hu in _TUBES:
        yield Shape(name, low, high, at_low, at_high, (radius, radius * 0.8), hu, swell=0.1)
    yield Shape("skull", 276, 300, (0, -8), (0, -8), (74, 88), 900.0, swell=0.2)


def _pairs() -> Iterator[Shape]:
    for name, low, high, (x_low, y_low), (x_high, y_high), radii, hu, swell in _PAIRS:
        for side, sign in (("right", -1), ("left", 1)):
            moved = 1.5 * (sign > 0)  # no body is symmetric to the slice
            yield Shape(
                f"{name}_{side}",
                low + moved,
                high + moved,
                (sign * x_low, y_low),
                (sign * x_high, y_high),
                radii,
                hu,
                swell,
            )


def _spine() -> Iterator[Shape]:
    """From S1 up to C1; neighbours overlap a little, as vertebrae with their processes do."""
    levels = ["S1", *(f"L{n}" for n in range(5, 0, -1)), *(f"T{n}" for n in range(12, 0, -1))]
    levels += [f"C{n}" for n in range(7, 0, -1)]
    low = 56.0
    for level in levels:
        height = {"S": 15.0, "L": 13.0, "T": 8.6, "C": 6.4}[level[0]]
        wide = {"S": 26.0, "L": 24.0, "T": 18.0, "C": 14.0}[level[0]]
        yield Shape(
            f"vertebrae_{level}", low, low + height * 1.6, (0, 46), (0, 44), (wide, wide * 0.8), 350.0, 0.5
        )
        low += height


def _ribs() -> Iterator[Shape]:
    """Each one an arc that comes down from the back to the front; drawn in six straight pieces."""
    for side, sign in (("left", 1), ("right", -1)):
        for number in range(1, 13):
            top = 270.0 - 8.6 * number
            length = (24.0, 42.0, 56.0, 64.0, 70.0, 72.0, 70.0, 64.0, 60.0, 52.0, 38.0, 24.0)[number - 1]
            reach = (2.4, 2.5, 2.6, 2.6, 2.6, 2.5, 2.4, 2.2, 2.0, 1.8, 1.3, 0.8)[number - 1]
            wide = min(80.0 + 12.0 * number, 136.0)
            angles = np.linspace(0.25, 0.25 + reach, 7)
            points = [(sign * wide * np.sin(a), 4.0 + 78.0 * np.cos(a)) for a in angles]
            for piece in range(6):
                yield Shape(
                    f"rib_{side}_{number}",
                    top - length * (piece + 1) / 6,
                    top - length * piece / 6 + 2,
                    points[piece + 1],
                    points[piece],
                    (9, 6),
                    400.0,
                    0.0,
                )
