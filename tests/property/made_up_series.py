"""Made-up series for the properties: any rotation, spacing, size, lean, unevenness, order of files, rounding.

A blob lies off the middle, so that every flip is seen; pixels are the brighter, the nearer to its middle.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from pydicom import dcmread
from scipy.spatial.transform import Rotation

from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from converter.series import Volume, read_series

FEW = 15
"""Each case starts dcm2niix once or twice: the quick profiles try so many, the long one all of its own."""

few = settings(
    max_examples=FEW if settings().max_examples <= 100 else settings().max_examples,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink such a case takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)

BLOB_SHARE = 0.22
"""The blob's radius as a share of the stack's smallest extent; never less than two pixels."""

PATIENT_POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
}
OTHER_DIRECTIONS = {"sagittal": (0, 1, 0, 0, 0, -1), "coronal": (1, 0, 0, 0, 0, -1)}
DIRECTIONS = {**PATIENT_POSITIONS, **OTHER_DIRECTIONS}


@dataclass(frozen=True)
class Phantom:
    """A stack of slices and the middle of a blob within it, LPS mm; `order` is that of the files."""

    direction: str
    turned_degrees: tuple[float, float, float]
    size: tuple[int, int]
    pixel_spacing_mm: tuple[float, float]
    heights_mm: tuple[float, ...]
    lean: tuple[float, float]
    order: tuple[int, ...]
    decimals: int = 12
    """Positions are written with so many."""

    @property
    def axes(self) -> np.ndarray:
        """Row direction, column direction, normal; cosines of eight decimals, as scanners write them."""
        row, column = np.array(DIRECTIONS[self.direction], float).reshape(2, 3)
        turn = Rotation.from_euler("xyz", self.turned_degrees, degrees=True)
        row, column = np.round([turn.apply(row), turn.apply(column)], 8)
        return np.stack([row, column, np.cross(row, column)])

    @property
    def positions_mm(self) -> np.ndarray:
        """From the lowest slice up."""
        row, column, normal = self.axes
        step = normal + self.lean[0] * row + self.lean[1] * column
        positions = np.array([-31.0, 17.0, 240.0]) + np.array(self.heights_mm)[:, None] * step
        return np.asarray(np.round(positions, self.decimals))

    @property
    def blob_mm(self) -> np.ndarray:
        """The middle of the blob."""
        row, column, normal = self.axes
        rows, columns = self.size
        height = self.heights_mm[0] + 0.42 * (self.heights_mm[-1] - self.heights_mm[0])
        return np.asarray(
            self.positions_mm[0]
            + 0.62 * (columns - 1) * self.pixel_spacing_mm[1] * row
            + 0.38 * (rows - 1) * self.pixel_spacing_mm[0] * column
            + (height - self.heights_mm[0]) * (normal + self.lean[0] * row + self.lean[1] * column)
        )

    @property
    def radius_mm(self) -> float:
        """The blob's."""
        rows, columns = self.size
        extents = (
            rows * self.pixel_spacing_mm[0],
            columns * self.pixel_spacing_mm[1],
            self.heights_mm[-1] - self.heights_mm[0],
        )
        return max(BLOB_SHARE * min(extents), 2.0 * self.coarsest_mm)

    @property
    def coarsest_mm(self) -> float:
        """The longest side of a voxel."""
        return float(max(*self.pixel_spacing_mm, np.diff(self.heights_mm).max()))


@st.composite
def phantoms(draw: st.DrawFn, *, odd: bool = False, rounded: bool = False) -> Phantom:
    """Even and straight ones, or `odd`: leaning, unevenly spaced, with a slice missing."""
    spacing = st.floats(0.6, 3.0).map(lambda value: round(value, 3))
    angle = st.one_of(st.just(0.0), st.floats(-180, 180).map(lambda value: round(value, 1)))
    count = draw(st.integers(8, 13))
    step = draw(spacing)
    heights = np.arange(count) * step
    lean = (0.0, 0.0)
    if odd:
        kind = draw(st.sampled_from(["lean", "uneven", "gap", "lean and uneven", "lean and gap"]))
        if "lean" in kind:
            amount = draw(st.floats(0.05, 0.45)) * draw(st.sampled_from([-1, 1]))
            lean = draw(st.sampled_from([(0.0, amount), (amount, 0.0)]))
        if "uneven" in kind:
            steps = draw(st.lists(st.floats(0.7, 1.6), min_size=count - 1, max_size=count - 1))
            heights = np.concatenate([[0.0], np.cumsum(np.array(steps) * step)])
        if "gap" in kind:
            heights = np.delete(heights, draw(st.integers(1, count - 2)))
    in_order = tuple(range(len(heights)))
    return Phantom(
        direction=draw(st.sampled_from(sorted(DIRECTIONS))),
        turned_degrees=(draw(angle), draw(angle), draw(angle)),
        size=(draw(st.integers(11, 24)), draw(st.integers(13, 28))),
        pixel_spacing_mm=(draw(spacing), draw(spacing)),
        heights_mm=tuple(float(h) for h in heights),
        lean=lean,
        order=tuple(draw(st.one_of(st.just(in_order), st.permutations(in_order)))),
        decimals=draw(st.sampled_from([4, 3, 2])) if rounded else 12,
    )


def written(phantom: Phantom, folder: Path, *, noise: bool = False) -> Volume:
    """The phantom as a DICOM series; with `noise` instead of a blob hardly two pixels are the same."""
    row, column, _ = phantom.axes
    positions = phantom.positions_mm[list(phantom.order)]
    rows, columns = np.mgrid[: phantom.size[0], : phantom.size[1]]
    in_plane = rows[..., None] * phantom.pixel_spacing_mm[0] * column
    in_plane = in_plane + columns[..., None] * phantom.pixel_spacing_mm[1] * row
    places = positions[:, None, None] + in_plane
    if noise:
        pixels = np.random.default_rng(0).permutation(places[..., 0].size).reshape(places.shape[:3]) - 4000
    else:
        distance = np.linalg.norm(places - phantom.blob_mm, axis=-1)
        pixels = np.clip(1000 - 1000 * distance / phantom.radius_mm, -1000, 1000)
    position = phantom.direction if phantom.direction in PATIENT_POSITIONS else "HFS"
    stack = SliceStack(pixels.astype(np.int16), [*row, *column], phantom.pixel_spacing_mm, positions.tolist())
    write_slices(stack, folder, MadeUpStudy(patient_position=position))
    return read_series(folder)


def places_by_uid(folder: Path) -> dict[str, np.ndarray]:
    """Where the pixels of each image are, (rows, columns, 3) in LPS mm, from its header by pydicom alone."""
    places = {}
    for path in folder.iterdir():
        image = dcmread(path)
        row, column = np.reshape([float(v) for v in image.ImageOrientationPatient], (2, 3))
        between_rows, between_columns = (float(v) for v in image.PixelSpacing)
        down = np.arange(image.Rows)[:, None, None] * between_rows * column
        across = np.arange(image.Columns)[:, None] * between_columns * row
        places[image.SOPInstanceUID] = (
            np.array([float(v) for v in image.ImagePositionPatient]) + down + across
        )
    return places


def pixels_by_uid(folder: Path) -> dict[str, np.ndarray]:
    """The pixels as stored."""
    images = [dcmread(path) for path in folder.iterdir()]
    return {image.SOPInstanceUID: image.pixel_array for image in images}
