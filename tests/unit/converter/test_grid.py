"""The grid of our own, from the headers alone: what dcm2niix gives, and what the file then says."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from scipy.spatial.transform import Rotation

from converter.derived.series import MadeUpStudy
from converter.errors import ConversionFailed
from converter.nifti.conversion import convert_volume
from converter.series import Volume, read_series
from converter.unpacking.dcm2niix import Dcm2niix
from converter.voxels.axes import GRID_TOLERANCE, turn_between
from converter.voxels.geometry import LPS_FROM_RAS, frame_affine_lps
from converter.voxels.grid import grid_of, is_exact, rounding_voxels, slice_grid
from converter.voxels.grid import turned as whole_turned

MakeSeries = Callable[..., Path]

PATIENT_POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
}
DIRECTIONS = {
    **PATIENT_POSITIONS,
    "sagittal": (0, 1, 0, 0, 0, -1),
    "sagittal from the other side": (0, -1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "coronal from behind": (-1, 0, 0, 0, 0, -1),
}
ORDERS = {
    "ascending": lambda k: k,
    "descending": lambda k: -k,
    "shuffled": lambda k: [3, 0, 5, 1, 4, 2][k],
}


def turned(direction: str, degrees: tuple[float, float, float]) -> np.ndarray:
    cosines = np.array(DIRECTIONS[direction], float).reshape(2, 3)
    return Rotation.from_euler("xyz", degrees, degrees=True).apply(cosines).ravel()


def what_dcm2niix_writes(volume: Volume) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    with Dcm2niix([frame.path for frame in volume.frames], 60) as run:
        unpacked = run.result()
    return unpacked.voxels.shape, unpacked.affine_ras, np.array(unpacked.voxels)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("degrees", [(0, 0, 0), (12, -7, 31)], ids=["straight", "oblique"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_grid_of_an_ordinary_series_is_the_one_that_dcm2niix_writes(
    make_series: MakeSeries, direction: str, degrees: tuple[float, float, float], order: str
) -> None:
    study = MadeUpStudy(patient_position=direction if direction in PATIENT_POSITIONS else "HFS")
    heights = [612.4 + 1.3 * ORDERS[order](k) for k in range(6)]
    volume = read_series(make_series(heights, orientation=turned(direction, degrees), study=study))
    grid = grid_of(volume)
    shape, affine, _ = what_dcm2niix_writes(volume)
    turn = turn_between(shape, affine, grid.shape, grid.affine_ras)
    assert turn is not None
    assert (turn.axes, turn.flipped) == ((0, 1, 2), (False, False, False))
    assert max(turn.off_voxels) < GRID_TOLERANCE


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_file_on_the_grid_holds_what_dcm2niix_writes(
    make_series: MakeSeries, tmp_path: Path, modality: str
) -> None:
    """Also of an MR called 3D, which dcm2niix would turn if it was let."""
    volume = read_series(
        make_series(orientation=turned("sagittal", (3, 4, 5)), study=MadeUpStudy(modality=modality))
    )
    convert_volume(volume, tmp_path / "out.nii")
    assert np.array_equal(
        np.asanyarray(nib.load(tmp_path / "out.nii").dataobj), what_dcm2niix_writes(volume)[2]
    )


@pytest.mark.parametrize(
    ("heights", "lean"),
    [
        ((0, 2, 4, 6, 8, 10), 0.0),
        ((0, 2, 4, 8, 10), 0.0),
        ((0, 2, 5, 6, 9.5), 0.0),
        ((0, 2, 4, 6, 8, 10), 0.3),
        ((0, 2, 4, 8, 10), 0.3),
    ],
    ids=["even", "gap", "uneven", "tilt", "tilt and gap"],
)
def test_grid_is_known_without_converting_and_equals_the_file_to_the_bit(
    make_series: MakeSeries, tmp_path: Path, heights: tuple[float, ...], lean: float
) -> None:
    volume = read_series(make_series(heights, lean=lean, orientation=turned("HFS", (5, -8, 3))))
    grid = grid_of(volume)
    image = nib.load(convert_volume(volume, tmp_path / "out.nii.gz").path)
    assert image.shape == grid.shape
    assert np.array_equal(image.affine, grid.affine_ras)


def test_grid_has_columns_along_i_and_rows_backwards_along_j_and_frames_along_k(
    make_series: MakeSeries,
) -> None:
    volume = read_series(make_series(orientation=turned("coronal", (0, 0, 9))))
    affine = LPS_FROM_RAS @ grid_of(volume).affine_ras
    for frame, column, row in [(0, 0, 0), (2, 5, 7), (5, 23, 15)]:
        by_grid = affine @ [column, volume.rows - 1 - row, frame, 1]
        by_header = frame_affine_lps(volume, frame) @ [column, row, 1]
        assert by_grid == pytest.approx(by_header, abs=1e-4)


@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_positions_that_are_rounded_in_the_headers_leave_an_even_grid(
    make_series: MakeSeries, tmp_path: Path, decimals: int
) -> None:
    """dcm2niix takes the first step for all of them, and is a slice off at the end of a long series."""
    count, step_mm = 120, 2 / 3
    volume = read_series(make_series([round(900 + step_mm * k, decimals) for k in range(count)]))
    convert_volume(volume, tmp_path / "out.nii")
    image = nib.load(tmp_path / "out.nii")
    positions = np.array([frame.position_lps_mm for frame in volume.frames])
    assert image.shape[2] == count
    assert np.linalg.norm(image.affine[:3, 2]) == pytest.approx(
        (positions[-1, 2] - positions[0, 2]) / (count - 1), rel=1e-6
    )


def test_rounding_that_would_add_up_to_a_slice_gets_copies_with_exact_positions(
    make_series: MakeSeries,
) -> None:
    exact = read_series(make_series([0.75 * k for k in range(100)]))
    rounded = read_series(make_series([round(2 / 3 * k, 2) for k in range(100)]))
    assert is_exact(exact)
    assert rounding_voxels(exact).max() < GRID_TOLERANCE
    assert not is_exact(rounded)
    assert rounding_voxels(rounded)[2] > 0.25


def test_cosines_that_are_rounded_in_the_header_are_taken_as_unit_vectors(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    """Four decimals of a cosine are 0.03 pixels over 512."""
    volume = read_series(make_series(orientation=np.round(turned("HFS", (10, 20, 30)), 4)))
    affine = nib.load(convert_volume(volume, tmp_path / "out.nii").path).affine
    assert np.linalg.norm(affine[:3, :2], axis=0) == pytest.approx([1.25, 1.5], rel=1e-6)


@pytest.mark.parametrize("lean", [0.0, 0.3])
@pytest.mark.parametrize("is_late", [False, True], ids=["place at the beginning", "place far within"])
def test_series_whose_files_lie_elsewhere_than_its_headers_said_is_refused(
    make_series: MakeSeries, tmp_path: Path, lean: float, is_late: bool
) -> None:
    """dcm2niix is no witness for that: its copies lie where the headers said."""

    def edit(dataset: Dataset, number: int) -> None:
        if is_late:
            dataset.private_block(0x0019, "MADE UP", create=True).add_new(0x01, "OB", bytes(1 << 15))

    volume = read_series(make_series(lean=lean, edit=edit))
    assert convert_volume(volume, tmp_path / "before.nii").path.exists()
    dataset = dcmread(volume.frames[2].path)
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x + 0.01, y, z]
    dataset.save_as(volume.frames[2].path)
    with pytest.raises(ConversionFailed, match="gone or was changed"):
        convert_volume(volume, tmp_path / "out.nii")
    assert list(tmp_path.glob("out.nii*")) == list(tmp_path.glob(".*.part")) == []


def test_volume_that_is_turned_keeps_its_lengths_and_angles(make_series: MakeSeries) -> None:
    volume = read_series(make_series(orientation=turned("coronal", (3, 40, 5))))
    other = whole_turned(volume)
    for old, new in zip(axes_mm(volume), axes_mm(other), strict=True):
        assert np.linalg.norm(new) == pytest.approx(np.linalg.norm(old), rel=1e-12)
        assert np.abs(new / np.linalg.norm(new)).max() < 0.99
    assert np.linalg.det(axes_mm(other)) == pytest.approx(np.linalg.det(axes_mm(volume)), rel=1e-12)
    assert other.normal_lps @ axes_mm(other)[2] == pytest.approx(volume.normal_lps @ axes_mm(volume)[2])


def axes_mm(volume: Volume) -> np.ndarray:
    """Columns' and rows' direction, and from the first slice to the last."""
    first, last = (np.array(volume.frames[k].position_lps_mm) for k in (0, -1))
    return np.vstack([np.array(volume.orientation_lps).reshape(2, 3), last - first])


# -- turning ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_turn_of_permuted_and_flipped_axes_brings_every_voxel_to_its_place(
    axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    values = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    affine = np.array([[1.2, 0.1, 0, -30], [-0.1, 0.8, 0.2, 20], [0, 0.1, 2.5, 100], [0, 0, 0, 1]])
    other = np.flip(values.transpose(axes), [axis for axis in range(3) if flips[axis] < 0])
    index = np.zeros((4, 4))
    for axis, source in enumerate(axes):
        index[source, axis] = flips[axis]
        index[source, 3] = values.shape[source] - 1 if flips[axis] < 0 else 0
    index[3, 3] = 1
    turn = turn_between(values.shape, affine, other.shape, affine @ index)
    assert turn is not None
    assert turn.is_exact
    assert np.array_equal(turn(values), other)
    assert np.shares_memory(turn(values), values)


@pytest.mark.parametrize(
    ("shape", "change"),
    [((3, 4, 6), np.eye(4)), ((3, 4, 5), np.diag([0, 1, 1, 1.0]) + np.diag([1, 0, 0], 1))],
    ids=["another size", "two axes along one"],
)
def test_turn_between_grids_that_no_order_of_axes_makes_one_is_none(
    shape: tuple[int, ...], change: np.ndarray
) -> None:
    assert turn_between((3, 4, 5), np.eye(4) @ change, shape, np.eye(4)) is None


def test_turn_says_how_far_the_grids_are_off_each_other() -> None:
    moved = np.eye(4)
    moved[:3, 3] = (0.25, 0, -0.5)
    turn = turn_between((3, 4, 5), moved, (3, 4, 5), np.eye(4))
    assert turn is not None
    assert turn.off_voxels == pytest.approx((0.25, 0, 0.5))
    assert not turn.is_exact


def test_slice_grid_of_a_leaning_stack_stands_straight(make_series: MakeSeries) -> None:
    affine = slice_grid(read_series(make_series(lean=0.4))).affine_ras[:3, :3]
    products = affine.T @ affine
    assert np.abs(products - np.diag(np.diag(products))).max() < 1e-6
