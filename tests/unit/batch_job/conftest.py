"""A made-up chest in Hounsfield units, whose every tissue is known."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from batch_job.image import Image

SHAPE = (130, 100, 24)
RIGHT, FRONT = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]


@dataclass
class Chest:
    """Voxels in RAS order, 3 mm, and where each thing was put; x runs to the patient's right."""

    hu: NDArray[np.int16]
    affine: NDArray[np.float64]
    places: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def put(self, name: str, where: NDArray[np.bool_], hu: float) -> None:
        """Give voxels a value; `where` is a section through all levels or a volume."""
        volume = np.broadcast_to(where[..., np.newaxis], SHAPE) if where.ndim == 2 else where
        self.hu[volume] = hu
        for other in self.places.values():
            other &= ~volume
        self.places[name] = volume.copy()

    @property
    def image(self) -> Image:
        """The image with a little noise, always the same."""
        noise = np.random.default_rng(0).normal(0, 8, SHAPE)
        return Image(np.clip(self.hu + noise, -1024, 3000).astype(np.int16), self.affine)


def disc(middle: tuple[float, float], half: tuple[float, float]) -> NDArray[np.bool_]:
    """An ellipse in the axial section, in voxels."""
    return ((RIGHT - middle[0]) / half[0]) ** 2 + ((FRONT - middle[1]) / half[1]) ** 2 <= 1


@pytest.fixture(scope="session")
def ellipse() -> Callable[..., NDArray[np.bool_]]:
    """`ellipse(middle, half)`: a section of the chest's grid, voxels of 3 mm."""
    return disc


@pytest.fixture
def trunk() -> Chest:
    """Skin, fat, muscle, ribs, a vertebra with its canal, arms, and a table; no lung, no gas."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-190, -150, 40)
    chest = Chest(np.full(SHAPE, -1000, np.int16), affine)
    chest.put("table", (FRONT < 8) & (FRONT >= 7) & (RIGHT > 20) & (RIGHT < 110), 100)
    chest.put("soft", disc((65, 50), (46, 36)), 40)
    chest.put("fat", disc((65, 50), (45, 35)), -100)
    chest.put("muscle", disc((65, 50), (41, 31)), 50)
    for side in (12, 118):
        chest.put(f"arm {side}", disc((side, 45), (8, 9)), 50)
        chest.put(f"humerus {side}", disc((side, 45), (3, 3)), 900)
    for number, angle in enumerate(np.linspace(0.3, 2 * np.pi - 0.3, 12)):
        middle = (65 + 39 * np.sin(angle + np.pi), 50 + 29 * np.cos(angle + np.pi))
        chest.put(f"rib {number}", disc(middle, (2, 2)), 400)
    chest.put("cortex", disc((65, 32), (8, 7)), 450)
    chest.put("marrow", disc((65, 32), (6, 5)), 180)
    chest.put("arch", disc((65, 22), (6, 5)), 600)
    chest.put("canal", disc((65, 22), (4, 3)), 20)
    return chest


@pytest.fixture
def chest(trunk: Chest) -> Chest:
    """The trunk with lungs that reach the top, gas in the stomach on the left, contrast in the aorta."""
    reaching_up = np.arange(SHAPE[2]) >= 8
    for name, side in (("lung_left", 43), ("lung_right", 87)):
        section = disc((side, 52), (14, 19))
        trunk.put(name, section[..., np.newaxis] & reaching_up, -800)
    trunk.put("stomach", disc((45, 60), (8, 7))[..., np.newaxis] & (np.arange(SHAPE[2]) < 6), -980)
    trunk.put("plaque", disc((62, 47), (4.6, 4.6)), 700)
    trunk.put("aorta", disc((62, 47), (3.8, 3.8)), 300)
    return trunk
