"""The even grid that leaning and uneven stacks are interpolated onto."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from converter.nifti.conversion import convert_volume
from converter.series import read_series
from converter.voxels.geometry import LPS_FROM_RAS

MakeSeries = Callable[..., Path]


def converted(folder: Path, out: Path) -> Any:
    convert_volume(read_series(folder), out)
    return nib.load(out)


@pytest.mark.parametrize("lean", [0.4, -0.4])
def test_even_grid_holds_every_slice_that_leans(make_series: MakeSeries, tmp_path: Path, lean: float) -> None:
    """The corners of the first and the last slice lie in it, in whichever direction the stack leans."""
    folder = make_series(lean=lean)
    image = converted(folder, tmp_path / "out.nii")
    to_voxel = np.linalg.inv(LPS_FROM_RAS @ image.affine)
    for path in folder.iterdir():
        slice_ = dcmread(path)
        corner = np.array([float(v) for v in slice_.ImagePositionPatient])
        opposite = corner + np.array([1.25 * (slice_.Columns - 1), 1.5 * (slice_.Rows - 1), 0])
        for place in (corner, opposite):
            voxel = (to_voxel @ [*place, 1])[:3]
            assert (voxel > -0.5).all()
            assert (voxel < np.array(image.shape) - 0.5).all()


def test_even_grid_where_no_slice_reaches_has_the_lowest_value(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    folder = make_series(lean=0.8)
    values = np.asanyarray(converted(folder, tmp_path / "out.nii").dataobj)
    lowest = min(dcmread(path).pixel_array.min() for path in folder.iterdir())
    assert values.min() == lowest
    assert np.count_nonzero(values == lowest) > 0.1 * values.size


def test_even_grid_is_the_same_whether_the_scanner_noted_its_tilt_or_not(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.GantryDetectorTilt = 14.0
        dataset.SpacingBetweenSlices = 3.5
        dataset.SliceLocation = 100 - 7 * number

    plain = convert_volume(read_series(make_series(lean=0.25)), tmp_path / "plain.nii")
    noted = convert_volume(read_series(make_series(lean=0.25, edit=edit)), tmp_path / "noted.nii")
    assert noted.sha256 == plain.sha256


def test_even_grid_is_not_finer_than_half_of_the_usual_spacing(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    image = converted(make_series((0, 0.4, 4, 8, 12, 16)), tmp_path / "out.nii")
    assert image.shape[2] == 9
    assert np.linalg.norm(image.affine[:3, 2]) == pytest.approx(2.0)
