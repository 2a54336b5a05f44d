"""A DICOM series made of a NIfTI: each voxel at its place, by nibabel on one side, pydicom on the other."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from scipy.spatial.transform import Rotation

from converter.derived.series import write_series

SAME_PLACE_MM = 1e-3
REAL = ("ct-torso-3mm/ct.nii.gz", "mr-3mm/mr.nii.gz")


def places_mm(image: Dataset) -> np.ndarray:
    """Where the pixels of an image are, LPS, (rows, columns, 3): PS3.3 Equation C.7.6.2.1-1."""
    row, column = np.reshape([float(v) for v in image.ImageOrientationPatient], (2, 3))
    between_rows, between_columns = (float(v) for v in image.PixelSpacing)
    down = np.arange(image.Rows)[:, None, None] * between_rows * column
    across = np.arange(image.Columns)[:, None] * between_columns * row
    return np.array([float(v) for v in image.ImagePositionPatient]) + down + across


def check_every_voxel(nifti: Path, series: Path) -> None:
    image: Any = nib.load(nifti)
    values = np.asanyarray(image.dataobj)
    seen = np.zeros(values.shape, int)
    to_voxel = np.linalg.inv(image.affine)
    for path in series.iterdir():
        dataset = dcmread(path)
        ras = places_mm(dataset) * [-1, -1, 1]
        index = ras @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        voxel = np.rint(index).astype(int)
        assert np.linalg.norm((index - voxel) @ image.affine[:3, :3].T, axis=-1).max() < SAME_PLACE_MM
        where = tuple(np.moveaxis(voxel, -1, 0))
        hu = dataset.pixel_array * dataset.get("RescaleSlope", 1) + dataset.get("RescaleIntercept", 0)
        assert np.array_equal(hu, np.rint(values[where]))
        seen[where] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("name", REAL)
def test_series_of_a_real_volume_has_every_voxel_at_its_place(data: Path, tmp_path: Path, name: str) -> None:
    write_series(data / name, tmp_path / "series")
    check_every_voxel(data / name, tmp_path / "series")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SAR", "ILA"])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (20, -35, 110)])
def test_series_of_a_turned_volume_has_every_voxel_at_its_place(
    tmp_path: Path, codes: str, degrees: tuple[int, int, int]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * [0.7, 1.3, 2.9]
    affine[:3, 3] = [-40, 21, 130]
    values = np.random.default_rng(2).normal(0, 300, (9, 7, 5)).astype(np.float32)
    image = nib.Nifti1Image(values, affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(tuple(codes))
    )
    nib.save(image.as_reoriented(turn), tmp_path / "volume.nii")
    write_series(tmp_path / "volume.nii", tmp_path / "series")
    check_every_voxel(tmp_path / "volume.nii", tmp_path / "series")


@pytest.fixture
def series(data: Path, tmp_path: Path) -> list[Dataset]:
    return [dcmread(path) for path in write_series(data / REAL[0], tmp_path / "series")]


def test_series_is_one_series_of_instances_of_their_own(series: list[Dataset]) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({image[keyword].value for image in series}) == 1
    assert len({image.SOPInstanceUID for image in series}) == len(series) == 30
    assert [image.InstanceNumber for image in series] == list(range(1, 31))


def test_series_says_how_thick_its_slices_are(series: list[Dataset]) -> None:
    assert {float(image.SliceThickness) for image in series} == {3.0}


def test_series_written_again_has_the_same_bytes_and_another_volume_other_uids(
    data: Path, tmp_path: Path, series: list[Dataset]
) -> None:
    again = write_series(data / REAL[0], tmp_path / "again")
    assert [path.read_bytes() for path in again] == [
        path.read_bytes() for path in sorted((tmp_path / "series").iterdir())
    ]
    image: Any = nib.load(data / REAL[0])
    values = np.asanyarray(image.dataobj).copy()
    values[0, 0, 0] += 1
    nib.save(nib.Nifti1Image(values, image.affine), tmp_path / "other.nii")
    other = dcmread(write_series(tmp_path / "other.nii", tmp_path / "other")[0])
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert other[keyword].value != series[0][keyword].value
