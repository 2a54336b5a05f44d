"""Phantoms: two balls at known places in a patient, cut into slices of any direction, lean and distance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread
from scipy.spatial.transform import Rotation

from converter.derived.series import MadeUpStudy, SliceStack, write_slices

AIR_HU, BODY_HU = -1000, 0
BOX_MM = (136.0, 100.0, 76.0)
"""What the slices cover of the patient, along left, back and up."""
MIDDLE_MM = (12.0, -25.0, 140.0)
"""The middle of the box, LPS."""

Edit = Callable[[Dataset, int], None]


@dataclass(frozen=True)
class Ball:
    """A bright ball; `middle_mm` is LPS."""

    middle_mm: tuple[float, float, float]
    radius_mm: float
    hu: int


BALLS = (Ball((-26.0, -37.0, 149.0), 17.0, 1000), Ball((53.0, -3.0, 133.0), 11.0, 800))
"""The first is on the patient's right, in front, above; no flip or turn maps the two onto themselves."""


def moved(balls: Sequence[Ball], by_mm: Sequence[float]) -> tuple[Ball, ...]:
    """The balls elsewhere."""
    return tuple(
        Ball(tuple((np.array(ball.middle_mm) + by_mm).tolist()), ball.radius_mm, ball.hu) for ball in balls
    )


def paint(places_mm: NDArray[np.float64], balls: Sequence[Ball] = BALLS) -> NDArray[np.int16]:
    """HU at places (..., 3), LPS in mm: an elliptic body in air, with the balls in it."""
    from_middle = (places_mm - MIDDLE_MM) / (np.array(BOX_MM) * [0.48, 0.48, 1e6])
    hu = np.where(np.linalg.norm(from_middle, axis=-1) <= 1, BODY_HU, AIR_HU)
    for ball in balls:
        hu[np.linalg.norm(places_mm - np.array(ball.middle_mm), axis=-1) <= ball.radius_mm] = ball.hu
    return hu.astype(np.int16)


@dataclass(frozen=True)
class Phantom:
    """A stack of slices through the balls.

    `lean` is how far each slice is moved along rows and along columns for each mm of height; `steps_mm`
    repeats from slice to slice; `missing` slices are left out; `edit` changes each header.
    """

    orientation_lps: Sequence[float] = (1, 0, 0, 0, 1, 0)
    turned_degrees: tuple[float, float, float] = (0, 0, 0)
    patient_position: str = "HFS"
    pixel_spacing_mm: tuple[float, float] = (1.8, 2.1)
    steps_mm: tuple[float, ...] = (3.2,)
    lean: tuple[float, float] = (0, 0)
    missing: tuple[int, ...] = ()
    backwards: bool = False
    edit: Edit | None = field(default=None, compare=False)
    balls: tuple[Ball, ...] = BALLS

    def write(self, folder: Path, *, prefix: str = "") -> list[Path]:
        """Write it as a DICOM series; `prefix` goes before the files' names."""
        stack = self._stack()
        study = MadeUpStudy(patient_position=self.patient_position)
        paths = []
        for number, path in enumerate(write_slices(stack, folder / f"{prefix}slices", study)):
            with config.disable_value_validation():
                dataset = dcmread(path)
                # As scanners call them: BOA takes nothing that is called derived.
                dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
                if self.edit is not None:
                    self.edit(dataset, number)
                paths.append(folder / f"{prefix}{path.name}")
                dataset.save_as(paths[-1])
            path.unlink()
        (folder / f"{prefix}slices").rmdir()
        return paths

    def _stack(self) -> SliceStack:
        turn = Rotation.from_euler("xyz", self.turned_degrees, degrees=True)
        row, column = turn.apply(np.reshape(self.orientation_lps, (2, 3)))
        normal = np.cross(row, column)
        # As large as it takes to hold the box in this direction.
        row_mm, column_mm, height_mm = (float(np.abs(axis) @ BOX_MM) for axis in (row, column, normal))
        rows = int(np.ceil(column_mm / self.pixel_spacing_mm[0]))
        columns = int(np.ceil(row_mm / self.pixel_spacing_mm[1]))
        heights = self._heights_mm(height_mm)
        corner = (
            np.array(MIDDLE_MM)
            - row * self.pixel_spacing_mm[1] * (columns - 1) / 2
            - column * self.pixel_spacing_mm[0] * (rows - 1) / 2
        )
        step = normal + self.lean[0] * row + self.lean[1] * column
        positions = corner + heights[:, np.newaxis] * step
        places = (
            positions[:, np.newaxis, np.newaxis]
            + np.arange(rows)[:, np.newaxis, np.newaxis] * self.pixel_spacing_mm[0] * column
            + np.arange(columns)[:, np.newaxis] * self.pixel_spacing_mm[1] * row
        )
        return SliceStack(
            paint(places, self.balls), [*row, *column], self.pixel_spacing_mm, positions.tolist()
        )

    def _heights_mm(self, cover_mm: float) -> NDArray[np.float64]:
        count = int(np.ceil(cover_mm / np.mean(self.steps_mm))) + 1
        heights = np.concatenate([[0.0], np.cumsum(np.resize(self.steps_mm, count - 1))])
        heights = np.delete(heights - heights[-1] / 2, self.missing)
        return heights[::-1] if self.backwards else heights


def paint_over(source: Path, target: Path) -> None:
    """Copy a series whose pixels are blank or noise, with the balls in its middle; its geometry stays.

    The balls' size follows the stack's height, so that they are seen in more than one slice.
    """
    datasets = [dcmread(path) for path in sorted(source.iterdir())]
    places = [places_mm(dataset) for dataset in datasets]
    middle = np.mean([place.mean(axis=(0, 1)) for place in places], axis=0)
    height = float(np.ptp([place[0, 0] for place in places], axis=0).max())
    right, left = np.array([-60.0, -35.0, 0.1 * height]), np.array([55.0, 20.0, -0.1 * height])
    balls = (
        Ball(tuple((middle + right).tolist()), max(0.6 * height, 12.0), 1000),
        Ball(tuple((middle + left).tolist()), max(0.4 * height, 8.0), 800),
    )
    for path, dataset, place in zip(sorted(source.iterdir()), datasets, places, strict=True):
        hu = np.full(place.shape[:2], AIR_HU, np.int16)
        for ball in balls:
            hu[np.linalg.norm(place - np.array(ball.middle_mm), axis=-1) <= ball.radius_mm] = ball.hu
        with config.disable_value_validation():
            dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
            dataset.set_pixel_data(hu, "MONOCHROME2", 16, generate_instance_uid=False)
            for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
                dataset.pop(keyword, None)
            dataset.save_as(target / path.name)


def places_mm(dataset: Dataset) -> NDArray[np.float64]:
    """Where each pixel of a single-frame image is: (rows, columns, 3), LPS (PS3.3 Equation C.7.6.2.1-1)."""
    row, column = np.reshape([float(value) for value in dataset.ImageOrientationPatient], (2, 3))
    between_rows, between_columns = (float(value) for value in dataset.PixelSpacing)
    corner = np.array([float(value) for value in dataset.ImagePositionPatient])
    down = np.arange(dataset.Rows)[:, np.newaxis, np.newaxis] * between_rows * column
    across = np.arange(dataset.Columns)[:, np.newaxis] * between_columns * row
    return np.asarray(corner + down + across)
