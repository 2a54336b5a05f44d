"""Labels carried onto the frames, and refused where they do not fit."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from converter.errors import LabelsDoNotFit
from converter.geometry import LPS_FROM_RAS, frames_on_grid, labels_on_frames
from converter.nifti import convert_volume
from converter.series import Volume, read_series

MakeSeries = Callable[..., Path]


@pytest.fixture
def volume(make_series: MakeSeries) -> Volume:
    return read_series(make_series())


def written(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def own_grid(volume: Volume) -> np.ndarray:
    return np.asarray(LPS_FROM_RAS @ volume.affine_lps)


def test_labels_on_their_own_grid_come_back_exactly(volume: Volume, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (24, 16, 6), np.uint8)
    path = written(tmp_path / "labels.nii.gz", labels, own_grid(volume))
    assert np.array_equal(labels_on_frames(path, volume), labels.transpose(2, 1, 0))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIR", "ILA"])
def test_labels_with_axes_in_another_order_come_back_exactly(
    volume: Volume, tmp_path: Path, codes: str
) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (24, 16, 6), np.uint8)
    image = nib.Nifti1Image(labels, own_grid(volume))
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    turned = image.as_reoriented(turn)
    assert nib.aff2axcodes(turned.affine) == tuple(codes)
    nib.save(turned, tmp_path / "labels.nii.gz")
    assert np.array_equal(labels_on_frames(tmp_path / "labels.nii.gz", volume), labels.transpose(2, 1, 0))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.int32])
def test_labels_of_another_type_are_taken_when_they_are_whole(
    volume: Volume, tmp_path: Path, dtype: type
) -> None:
    labels = np.zeros((24, 16, 6), dtype)
    labels[3:6, 4:8, 2] = 117
    carried = labels_on_frames(written(tmp_path / "labels.nii", labels, own_grid(volume)), volume)
    assert carried.dtype == np.uint8
    assert np.array_equal(carried, labels.transpose(2, 1, 0))


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan, np.inf])
def test_labels_with_other_values_are_refused(volume: Volume, tmp_path: Path, value: float) -> None:
    labels = np.zeros((24, 16, 6), np.float32)
    labels[1, 1, 1] = value
    with pytest.raises(LabelsDoNotFit, match="whole numbers"):
        labels_on_frames(written(tmp_path / "labels.nii", labels, own_grid(volume)), volume)


def test_labels_that_lie_elsewhere_are_refused(volume: Volume, tmp_path: Path) -> None:
    affine = own_grid(volume)
    affine[0, 3] += 500
    path = written(tmp_path / "labels.nii", np.ones((24, 16, 6), np.uint8), affine)
    with pytest.raises(LabelsDoNotFit, match="elsewhere"):
        labels_on_frames(path, volume)


@pytest.mark.parametrize(("columns", "fits"), [(11, False), (13, True)])
def test_labels_that_cover_less_than_half_of_the_series_are_refused(
    volume: Volume, tmp_path: Path, columns: int, fits: bool
) -> None:
    labels = np.ones((columns, 16, 6), np.uint8)
    path = written(tmp_path / "labels.nii", labels, own_grid(volume))
    if fits:
        assert labels_on_frames(path, volume).sum() == labels.sum()
    else:
        with pytest.raises(LabelsDoNotFit, match="elsewhere"):
            labels_on_frames(path, volume)


def test_labels_of_four_dimensions_are_refused(volume: Volume, tmp_path: Path) -> None:
    path = written(tmp_path / "labels.nii", np.ones((24, 16, 6, 2), np.uint8), own_grid(volume))
    with pytest.raises(LabelsDoNotFit, match="4 dimensions"):
        labels_on_frames(path, volume)


def test_labels_with_a_flat_affine_are_refused(volume: Volume, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 0.0, 1.0])
    header = nib.Nifti1Header()
    image = nib.Nifti1Image(np.ones((24, 16, 6), np.uint8), None, header)
    image.header.set_sform(affine, code=1)
    nib.save(image, tmp_path / "labels.nii")
    with pytest.raises(LabelsDoNotFit, match="singular"):
        labels_on_frames(tmp_path / "labels.nii", volume)


def test_labels_that_are_no_nifti_are_refused(volume: Volume, tmp_path: Path) -> None:
    (tmp_path / "labels.nii.gz").write_bytes(b"nothing")
    with pytest.raises(LabelsDoNotFit, match="no NIfTI"):
        labels_on_frames(tmp_path / "labels.nii.gz", volume)


def test_label_file_cut_short_is_refused(volume: Volume, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (24, 16, 6), np.uint8)
    path = written(tmp_path / "labels.nii.gz", labels, own_grid(volume))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LabelsDoNotFit):
        labels_on_frames(path, volume)


@pytest.mark.parametrize("heights", [(0, 2, 4, 6, 8, 10), (0, 2, 4, 8, 10), (0, 2, 5, 6, 9.5)])
def test_labels_to_the_grid_and_back_are_the_same(
    make_series: MakeSeries, tmp_path: Path, heights: tuple[float, ...]
) -> None:
    volume = read_series(make_series(heights))
    frames = np.zeros((len(heights), 16, 24), np.uint8)
    frames[1:4, 4:12, 5:17] = 7
    frames[2, 6:9, 8:14] = 200
    convert_volume(volume, tmp_path / "grid.nii")
    grid = nib.load(tmp_path / "grid.nii")
    labels = frames_on_grid(frames, volume, grid.shape, grid.affine)
    back = labels_on_frames(written(tmp_path / "labels.nii.gz", labels, grid.affine), volume)
    assert np.array_equal(back, frames)


def test_labels_on_a_larger_grid_end_where_the_frames_end(volume: Volume) -> None:
    """A slice of labels is as thick as the frames are apart; beyond, and beside, the grid is empty."""
    affine = own_grid(volume)
    affine[:3, 3] -= affine[:3, :3] @ [5, 4, 3]
    labels = frames_on_grid(np.full((6, 16, 24), 9, np.uint8), volume, (34, 24, 12), affine)
    assert (labels[5:29, 4:20, 3:9] == 9).all()
    assert labels.sum() == 9 * 24 * 16 * 6
