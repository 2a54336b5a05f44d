"""A blob at a known place in the patient: found by the engine's grid, it comes back onto the right pixels.

Series of any direction, spacing, lean and unevenness are made up; "the engine" marks the blob by the NIfTI's
affine alone, and in a second property by its voxels alone. Both must agree with where DICOM says it is.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from scipy.spatial.transform import Rotation

from converter.axes import GRID_TOLERANCE
from converter.derived_series import MadeUpStudy, SliceStack, write_slices
from converter.geometry import LPS_FROM_RAS, frame_affine_lps, labels_on_frames
from converter.grid import grid_of
from converter.nifti import convert_volume
from converter.series import Volume, read_series

ROWS, COLUMNS = 20, 28
BLOB_SHARE = 0.22
"""The blob's radius as a share of the stack's smallest extent; never less than two pixels."""

PATIENT_POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
}
OTHER_DIRECTIONS = {"sagittal": (0, 1, 0, 0, 0, -1), "coronal": (1, 0, 0, 0, 0, -1)}
DIRECTIONS = {**PATIENT_POSITIONS, **OTHER_DIRECTIONS}


@dataclass(frozen=True)
class Phantom:
    """A stack of slices and the middle of a blob within it, LPS mm."""

    direction: str
    turned_degrees: tuple[float, float, float]
    pixel_spacing_mm: tuple[float, float]
    heights_mm: tuple[float, ...]
    lean: tuple[float, float]
    backwards: bool

    @property
    def axes(self) -> np.ndarray:
        """Row direction, column direction, normal."""
        row, column = np.array(DIRECTIONS[self.direction], float).reshape(2, 3)
        turn = Rotation.from_euler("xyz", self.turned_degrees, degrees=True)
        return np.stack([turn.apply(row), turn.apply(column), turn.apply(np.cross(row, column))])

    @property
    def positions_mm(self) -> np.ndarray:
        row, column, normal = self.axes
        step = normal + self.lean[0] * row + self.lean[1] * column
        positions = np.array([-31.0, 17.0, 240.0]) + np.array(self.heights_mm)[:, None] * step
        return positions[::-1] if self.backwards else positions

    @property
    def blob_mm(self) -> np.ndarray:
        """Off the middle on purpose, so that every flip is seen."""
        row, column, _ = self.axes
        in_plane = 0.62 * (COLUMNS - 1) * self.pixel_spacing_mm[1] * row
        in_plane = in_plane + 0.38 * (ROWS - 1) * self.pixel_spacing_mm[0] * column
        positions = np.sort(np.array(self.heights_mm))
        middle = positions[0] + 0.42 * (positions[-1] - positions[0])
        first, last = self.positions_mm[0], self.positions_mm[-1]
        lowest = last if self.backwards else first
        row, column, normal = self.axes
        return np.asarray(
            lowest
            + in_plane
            + (middle - positions[0]) * (normal + self.lean[0] * row + self.lean[1] * column)
        )

    @property
    def radius_mm(self) -> float:
        extents = (
            ROWS * self.pixel_spacing_mm[0],
            COLUMNS * self.pixel_spacing_mm[1],
            self.heights_mm[-1] - self.heights_mm[0],
        )
        return max(BLOB_SHARE * min(extents), 2.0 * self.coarsest_mm)

    @property
    def coarsest_mm(self) -> float:
        return float(max(*self.pixel_spacing_mm, np.diff(self.heights_mm).max()))


@st.composite
def phantoms(draw: st.DrawFn, *, odd: bool) -> Phantom:
    """Even and straight ones, or `odd`: leaning, unevenly spaced, with a slice missing."""
    spacing = st.floats(0.6, 3.0).map(lambda value: round(value, 3))
    angle = st.one_of(st.just(0.0), st.floats(-25, 25).map(lambda value: round(value, 1)))
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
    return Phantom(
        direction=draw(st.sampled_from(sorted(DIRECTIONS))),
        turned_degrees=(draw(angle), draw(angle), draw(angle)),
        pixel_spacing_mm=(draw(spacing), draw(spacing)),
        heights_mm=tuple(float(h) for h in heights),
        lean=lean,
        backwards=draw(st.booleans()),
    )


def pixel_places_mm(volume: Volume) -> np.ndarray:
    """Where every pixel is, LPS, straight from the headers: (frames, rows, columns, 3)."""
    row, column = np.mgrid[: volume.rows, : volume.columns]
    index = np.stack([column, row, np.ones_like(row)], -1)
    return np.stack([index @ frame_affine_lps(volume, n)[:3].T for n in range(len(volume.frames))])


def written(phantom: Phantom, folder: Path) -> Volume:
    """The phantom as a DICOM series: the brighter, the nearer to the blob's middle."""
    row, column, _ = phantom.axes
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    in_plane = rows[..., None] * phantom.pixel_spacing_mm[0] * column
    in_plane = in_plane + columns[..., None] * phantom.pixel_spacing_mm[1] * row
    places = phantom.positions_mm[:, None, None] + in_plane
    distance = np.linalg.norm(places - phantom.blob_mm, axis=-1)
    pixels = np.clip(1000 - 1000 * distance / phantom.radius_mm, -1000, 1000).astype(np.int16)
    position = phantom.direction if phantom.direction in PATIENT_POSITIONS else "HFS"
    stack = SliceStack(pixels, [*row, *column], phantom.pixel_spacing_mm, phantom.positions_mm.tolist())
    write_slices(stack, folder, MadeUpStudy(patient_position=position))
    return read_series(folder)


def converted(volume: Volume, folder: Path) -> Any:
    convert_volume(volume, folder / "input.nii")
    return nib.load(folder / "input.nii")


def voxel_places_mm(image: Any) -> np.ndarray:
    index = np.stack([*np.indices(image.shape), np.ones(image.shape)], -1)
    return np.asarray(index @ (LPS_FROM_RAS @ image.affine).T)[..., :3]


def returned(labels: np.ndarray, image: Any, volume: Volume, folder: Path) -> np.ndarray:
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), image.affine), folder / "labels.nii")
    return labels_on_frames(folder / "labels.nii", volume) > 0


def check_marked_by_affine(phantom: Phantom) -> None:
    """What is marked by place comes back by place: wrong only within half a voxel of the blob's surface."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        volume = written(phantom, folder / "dicom")
        image = converted(volume, folder)
        marked = np.linalg.norm(voxel_places_mm(image) - phantom.blob_mm, axis=-1) < phantom.radius_mm
        back = returned(marked, image, volume, folder)
    distance = np.linalg.norm(pixel_places_mm(volume) - phantom.blob_mm, axis=-1)
    blur = 0.5 * float(np.linalg.norm(image.affine[:3, :3], axis=0) @ np.ones(3)) + 0.01
    assert not back[distance > phantom.radius_mm + blur].any()
    assert back[distance < phantom.radius_mm - blur].all()


def check_marked_by_voxels(phantom: Phantom) -> None:
    """The blob that an engine sees in the voxels has its middle where the headers have it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        volume = written(phantom, folder / "dicom")
        image = converted(volume, folder)
        back = returned(np.asanyarray(image.dataobj) > 0, image, volume, folder)
    assert back.any()
    places = pixel_places_mm(volume)
    truth = np.linalg.norm(places - phantom.blob_mm, axis=-1) < phantom.radius_mm
    # By voxels, unevenly dense slices weigh alike in both.
    off_mm = np.linalg.norm(places[back].mean(axis=0) - places[truth].mean(axis=0))
    assert off_mm < 0.5 * phantom.coarsest_mm


quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(phantoms(odd=False))
def test_blob_marked_by_affine_in_a_straight_series_returns_to_its_place(phantom: Phantom) -> None:
    check_marked_by_affine(phantom)


@quick
@given(phantoms(odd=True))
def test_blob_marked_by_affine_in_an_odd_series_returns_to_its_place(phantom: Phantom) -> None:
    check_marked_by_affine(phantom)


@quick
@given(phantoms(odd=False))
def test_blob_seen_in_the_voxels_of_a_straight_series_returns_exactly(phantom: Phantom) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        volume = written(phantom, folder / "dicom")
        image = converted(volume, folder)
        back = returned(np.asanyarray(image.dataobj) > 0, image, volume, folder)
        pixels = np.stack([header_pixels(frame.path) for frame in volume.frames])
    assert np.array_equal(back, pixels > 0)


@quick
@given(phantoms(odd=True))
def test_blob_seen_in_the_voxels_of_an_odd_series_returns_to_its_place(phantom: Phantom) -> None:
    check_marked_by_voxels(phantom)


@quick
@given(phantoms(odd=False))
def test_grid_of_a_straight_series_is_nowhere_a_thousandth_of_a_voxel_off_its_pixels(
    phantom: Phantom,
) -> None:
    with TemporaryDirectory() as name:
        volume = written(phantom, Path(name) / "dicom")
    grid = grid_of(volume)
    to_voxel = np.linalg.inv(LPS_FROM_RAS @ grid.affine_ras)
    places = pixel_places_mm(volume)
    voxels = np.concatenate([places, np.ones((*places.shape[:-1], 1))], -1) @ to_voxel.T
    frame, row, column = np.indices(places.shape[:-1])
    expected = np.stack([column, volume.rows - 1 - row, frame], -1)
    assert np.abs(voxels[..., :3] - expected).max() < GRID_TOLERANCE


def header_pixels(path: Path) -> np.ndarray:
    """The pixels as stored: not by dcm2niix."""
    return np.asarray(dcmread(path).pixel_array)
