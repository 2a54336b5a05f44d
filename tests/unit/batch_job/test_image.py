"""Reading the input, and writing labels on exactly its grid."""

import errno
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from batch_job.errors import BadInput
from batch_job.image import Image, ImageSize, from_ras, read_image, read_size, to_ras, write_labels

AFFINE = np.array([[-0.9, 0.1, 0, 30], [0.1, 0.9, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1]])


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def test_image_of_integers_is_read_as_it_is(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = read_image(save(tmp_path / "input.nii.gz", values))
    assert image.values.dtype == np.int16
    np.testing.assert_array_equal(image.values, values)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)


def test_image_with_slope_and_intercept_is_scaled(tmp_path: Path) -> None:
    nifti = nib.Nifti1Image(np.arange(60, dtype=np.uint16).reshape(3, 4, 5), AFFINE)
    nifti.header.set_slope_inter(2, -1024)
    nib.save(nifti, tmp_path / "input.nii")
    with (tmp_path / "input.nii").open("r+b") as stream:  # nibabel scales what it saves: put it back
        stream.seek(112)
        stream.write(np.array([2, -1024], np.float32).tobytes())
        stream.seek(352)
        stream.write(np.arange(60, dtype=np.uint16).tobytes())
    image = read_image(tmp_path / "input.nii")
    assert image.values.ravel(order="F")[:3].tolist() == [-1024, -1022, -1020]


def test_image_of_big_endian_numbers_is_read(tmp_path: Path) -> None:
    values = np.arange(-30, 30, dtype=np.int16).reshape(3, 4, 5)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(values, AFFINE, header), tmp_path / "input.nii.gz")
    image = read_image(tmp_path / "input.nii.gz")
    assert image.values.dtype.isnative
    np.testing.assert_array_equal(image.values, values)


def no_nifti(path: Path) -> None:
    path.write_bytes(b"no NIfTI at all" * 100)


def cut_off(path: Path) -> None:
    save(path, np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-4000])


def cut_off_in_its_header(path: Path) -> None:
    path.write_bytes(gzip.compress(nib.Nifti1Header().binaryblock[:200]))


def compressed_bytes_of_nothing(path: Path) -> None:
    path.write_bytes(gzip.compress(b""))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def damaged(path: Path) -> None:
    save(path, np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[10:40] = b"\xff" * 30  # where deflate says how its first block is coded
    path.write_bytes(content)


def four_dimensions(path: Path) -> None:
    save(path, np.zeros((4, 4, 4, 2), np.int16))


def two_dimensions(path: Path) -> None:
    save(path, np.zeros((4, 4), np.int16))


def colours(path: Path) -> None:
    save(path, np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def not_finite(path: Path) -> None:
    values = np.zeros((4, 4, 4), np.float32)
    values[1, 2, 3] = np.nan
    save(path, values)


def infinite(path: Path) -> None:
    save(path, np.full((4, 4, 4), -np.inf, np.float64))


def without_voxels(path: Path) -> None:
    save(path, np.zeros((4, 0, 4), np.int16))


def micrometres_as_millimetres(path: Path) -> None:
    save(path, np.zeros((4, 4, 4), np.int16), np.diag([700.0, 700, 1000, 1]))


def metres_as_millimetres(path: Path) -> None:
    save(path, np.zeros((4, 4, 4), np.int16), np.diag([0.0007, 0.0007, 0.001, 1]))


def metres(path: Path) -> None:
    nifti = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), AFFINE)
    nifti.header.set_xyzt_units("meter")
    nib.save(nifti, path)


def unit_that_does_not_exist(path: Path) -> None:
    nifti = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), AFFINE)
    nifti.header["xyzt_units"] = 5
    nib.save(nifti, path)


def too_long(path: Path) -> None:
    save(path, np.zeros((4, 4, 600), np.int16), np.diag([1.0, 1, 10, 1]))


def parallel_axes(path: Path) -> None:
    affine = np.eye(4)
    affine[:3, 1] = (1, 1e-5, 0)
    save(path, np.zeros((4, 4, 4), np.int16), affine)


def affine_of_no_numbers(path: Path) -> None:
    nifti = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), AFFINE)
    nifti.header["srow_y"] = np.nan
    path.write_bytes(gzip.compress(nifti.header.binaryblock + bytes(4 + 128)))


def flat(path: Path) -> None:
    nifti = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), AFFINE)
    nifti.header["srow_y"] = 0
    path.write_bytes(gzip.compress(nifti.header.binaryblock + bytes(4 + 128)))


def without_orientation(path: Path) -> None:
    save(path, np.zeros((4, 4, 4), np.int16), None)


def far_too_large(path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((30000, 30000, 3000))
    header["sform_code"], header["vox_offset"], header["magic"] = 1, 352, b"n+1"
    header["srow_x"], header["srow_y"], header["srow_z"] = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_nifti, "no NIfTI"), (cut_off, "is cut off"), (damaged, "could be read"),
        (cut_off_in_its_header, "no NIfTI"), (compressed_bytes_of_nothing, "no NIfTI"), (empty, "no NIfTI"),
        (four_dimensions, "4 dimensions"), (two_dimensions, "2 dimensions"), (colours, "no plain numbers"),
        (without_voxels, "length zero"), (not_finite, "NaN or infinity"), (infinite, "NaN or infinity"),
        (flat, "singular"), (parallel_axes, "singular"), (affine_of_no_numbers, "affine is not finite"),
        (micrometres_as_millimetres, r"700 x 700 x 1e\+03 mm"), (metres_as_millimetres, "0.0007 x 0.0007"),
        (metres, "lengths in meter"), (unit_that_does_not_exist, "unit that does not exist"),
        (too_long, "longer than 5 m"),
        (without_orientation, "left and right"), (far_too_large, "more voxels"),
    ],
)  # fmt: skip
def test_image_that_cannot_be_used_is_bad_input(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "input.nii.gz")
    with pytest.raises(BadInput, match=reason) as raised:
        read_image(tmp_path / "input.nii.gz")
    assert "\n" not in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_image_plain_and_cut_off_is_bad_input(tmp_path: Path) -> None:
    path = save(tmp_path / "input.nii", np.zeros((20, 20, 20), np.int16))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match="could be read"):
        read_image(path)


def test_image_that_the_disk_does_not_give_is_no_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "input.nii.gz", np.zeros((3, 4, 5), np.int16))

    def fail(*given: Any, **options: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "get_unscaled", fail)
    with pytest.raises(OSError, match="Input/output"):
        read_image(path)


@pytest.mark.parametrize("name", ["input.nii.gz", "input.nii"])
def test_image_in_nifti_2_is_read_and_its_voxels_are_counted(tmp_path: Path, name: str) -> None:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(nib.Nifti2Image(values, AFFINE), tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).values, values)
    assert read_size(tmp_path / name) == ImageSize(voxels=60, bytes=120)


@pytest.mark.parametrize("keep", ["both", "sform", "qform"])
def test_labels_written_have_exactly_the_inputs_geometry(tmp_path: Path, keep: str) -> None:
    nifti = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    nifti.header["descrip"] = b"10:11:12"
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(AFFINE, 1 if keep != "qform" else 0)
    nifti.set_qform(AFFINE, 1 if keep != "sform" else 0)
    nib.save(nifti, tmp_path / "input.nii.gz")
    labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    write_labels(labels, tmp_path / "input.nii.gz", tmp_path / "labels.nii.gz")
    source, written = nib.load(tmp_path / "input.nii.gz"), nib.load(tmp_path / "labels.nii.gz")
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), labels)
    np.testing.assert_array_equal(written.affine, source.affine)
    for code in ("sform_code", "qform_code", "xyzt_units"):
        assert written.header[code] == source.header[code]
    assert written.header["descrip"].item() == b""


def test_labels_written_twice_are_the_same_bytes_and_name_no_file(tmp_path: Path) -> None:
    save(tmp_path / "input.nii.gz", np.zeros((3, 4, 5), np.int16))
    labels = np.ones((3, 4, 5), np.uint8)
    for name in ("one.nii.gz", "two.nii.gz"):
        write_labels(labels, tmp_path / "input.nii.gz", tmp_path / name)
    one = (tmp_path / "one.nii.gz").read_bytes()
    assert one == (tmp_path / "two.nii.gz").read_bytes()
    assert one[3] == 0  # RFC 1952: no flags, so neither name nor comment
    assert one[4:8] == bytes(4)  # no time


@pytest.mark.parametrize("axes", ["RAS", "LAS", "LPS", "PIR", "SAL", "ASR"])
def test_image_to_ras_and_back_is_the_same(axes: str) -> None:
    codes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.diag([0.0, 0, 0, 1])
    for index, code in enumerate(axes):
        row, sign = codes[code]
        affine[row, index] = sign * (index + 1)
    values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    ras, orientation = to_ras(Image(values, affine))
    assert nib.aff2axcodes(ras.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(from_ras(ras.values, orientation), values)
    assert ras.voxel_ml == pytest.approx(0.006)
