"""Uploaded NIfTI images: what is kept of them, and why others are refused."""

import gzip
import io
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from converter.errors import ImageTooLarge, LabelsDoNotFit, UnusableImage
from converter.nifti import file as nifti_file
from converter.nifti import foreign_image
from converter.nifti.file import write_labels
from converter.nifti.foreign_image import ForeignImage, require_grid_of, stage_image
from tests.nifti import AFFINE, PATIENT, content, image, voxels


def take(given: bytes, out: Path, most_bytes: int = 10**7) -> ForeignImage:
    taken = stage_image(io.BytesIO(given), out, most_bytes=most_bytes)
    taken.staged.commit()
    return taken


def refusal(given: bytes, folder: Path, most_bytes: int = 10**7) -> str:
    with pytest.raises(UnusableImage) as refused:
        take(given, folder / "x.nii.gz", most_bytes)
    assert list(folder.iterdir()) == []
    return str(refused.value)


def changed(field: str, value: Any, nifti: Any = None) -> bytes:
    """A file whose header says something else, without any check."""
    nifti = nifti or image()
    nifti.header.extensions.clear()
    plain = bytearray(content(nifti, gzipped=False))
    header = nib.Nifti1Header(bytes(plain[:348]), check=False)
    header[field] = value
    plain[:348] = header.binaryblock
    return bytes(plain)


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", "<i4", ">f4", "<f8", "<u2"])
def test_image_written_anew_has_its_voxels_and_affine_and_no_patient(
    tmp_path: Path, kind: Any, dtype: str, gzipped: bool
) -> None:
    nifti = image(voxels(dtype=dtype), kind=kind)
    taken = take(content(nifti, gzipped=gzipped), tmp_path / "out.nii.gz")
    written: Any = nib.load(tmp_path / "out.nii.gz")
    assert type(written) is kind
    assert taken.shape == written.shape == nifti.shape
    assert written.get_data_dtype() == np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(nifti.dataobj))
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
    plain = gzip.decompress((tmp_path / "out.nii.gz").read_bytes())
    assert PATIENT not in plain
    assert list(written.header.extensions) == []
    assert float(written.header["cal_max"]) == 0


def test_affine_of_the_written_image_is_bit_for_bit_that_of_the_given(tmp_path: Path) -> None:
    nifti = image()
    nifti.set_qform(AFFINE, code=1)
    nifti.set_sform(None, code=0)
    for name, given in (("sform", content()), ("qform", content(nifti))):
        (tmp_path / f"{name}.nii.gz").write_bytes(given)
        take(given, tmp_path / f"{name}-out.nii.gz")
        before: Any = nib.load(tmp_path / f"{name}.nii.gz")
        after: Any = nib.load(tmp_path / f"{name}-out.nii.gz")
        np.testing.assert_array_equal(after.affine, before.affine)


def test_same_image_however_packed_gives_the_same_bytes(tmp_path: Path) -> None:
    big = image(voxels(dtype=">i2"))
    big.header["descrip"] = b"another description"
    first = take(content(), tmp_path / "a.nii.gz")
    second = take(content(big, gzipped=False), tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (first.voxels_sha256, first.geometry_sha256) == (second.voxels_sha256, second.geometry_sha256)


@pytest.mark.parametrize("field", ["scl_slope", "srow_x"])
def test_image_of_other_scaling_or_geometry_is_another(tmp_path: Path, field: str) -> None:
    first = take(changed("scl_inter", 0), tmp_path / "a.nii.gz")
    other = take(changed(field, 0.5 if field == "scl_slope" else [-0.9, 0.1, 0, 81]), tmp_path / "b.nii.gz")
    assert first.voxels_sha256 == other.voxels_sha256
    assert first.geometry_sha256 != other.geometry_sha256


def test_scaling_is_kept_and_one_that_is_none_is_said_plainly(tmp_path: Path) -> None:
    plain = bytearray(changed("scl_slope", 2.5))
    struct.pack_into("<f", plain, 116, -3.0)  # scl_inter of nifti1.h
    take(bytes(plain), tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").get_fdata()[0, 0, 0] == -10 * 2.5 - 3
    take(changed("scl_slope", float("nan")), tmp_path / "b.nii.gz")
    assert nib.load(tmp_path / "b.nii.gz").dataobj.slope == 1


def test_further_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    given = content(image(voxels(7, 6, 5, 1, 1)))
    assert take(given, tmp_path / "a.nii.gz").shape == (7, 6, 5)


def test_unsound_qform_beside_a_sound_sform_is_dropped(tmp_path: Path) -> None:
    nifti = image()
    nifti.set_qform(AFFINE, code=1)
    take(changed("quatern_b", 7.0, nifti), tmp_path / "a.nii.gz")
    written: Any = nib.load(tmp_path / "a.nii.gz")
    assert int(written.header["qform_code"]) == 0
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(written.header.get_zooms(), np.linalg.norm(AFFINE[:3, :3], axis=0), rtol=1e-6)


SHORT = changed("cal_max", 0)[:-9]
REFUSED = [
    pytest.param(b"", "no NIfTI image", id="nothing"),
    pytest.param(b"hello, this is no image at all" * 40, "no NIfTI image", id="text"),
    pytest.param(gzip.compress(b"hello" * 400), "no NIfTI image", id="gzipped-text"),
    pytest.param(content()[:100], "ends before|cannot be unpacked", id="gzip-cut-off"),
    pytest.param(content()[:-9] + bytes(9), "cannot be unpacked", id="gzip-checksum"),
    pytest.param(SHORT, "ends before its voxels", id="cut-off"),
    pytest.param(changed("magic", b"ni1"), "half of a NIfTI pair", id="pair"),
    pytest.param(content(image(voxels(4, 4, 4, 2))), "4 dimensions", id="4d"),
    pytest.param(content(image(voxels(4, 4))), "2 dimensions", id="2d"),
    pytest.param(changed("dim", [3, 7, 0, 5, 1, 1, 1, 1]), "no voxels", id="empty-axis"),
    pytest.param(changed("dim", [3, 7, -6, 5, 1, 1, 1, 1]), "no voxels", id="negative-axis"),
    pytest.param(changed("dim", [9, 7, 6, 5, 1, 1, 1, 1]), "no dimensions", id="dim0"),
    pytest.param(content(image(voxels(dtype=np.complex64))), "no plain numbers", id="complex"),
    pytest.param(changed("datatype", 128), "no plain numbers", id="rgb"),
    pytest.param(changed("datatype", 1536), "no plain numbers", id="float128"),
    pytest.param(changed("datatype", 77), "damaged", id="unknown-type"),
    pytest.param(changed("sform_code", 0), "neither qform nor sform", id="no-geometry"),
    pytest.param(changed("srow_x", [np.nan, 0, 0, 0]), "not finite", id="affine-nan"),
    pytest.param(changed("srow_x", [0.1, 0.9, 0, 0]), "singular", id="affine-singular"),
    pytest.param(changed("srow_z", [0, 0, 0.0025, 0]), "0.05 to 50 mm", id="metres"),
    pytest.param(changed("xyzt_units", 3), "micron", id="micron"),
    pytest.param(changed("vox_offset", 12), "begin where they cannot", id="offset-in-header"),
    pytest.param(changed("vox_offset", np.inf), "damaged", id="offset-infinite"),
    pytest.param(changed("scl_slope", 1) [:116] + struct.pack("<f", np.inf) + changed("scl_slope", 1)[120:],
                 "scaling is not finite", id="intercept"),
    pytest.param(content(image(np.full((3, 3, 3), np.nan, np.float32))), "not finite", id="nan-voxels"),
    pytest.param(changed("cal_max", 0) + bytes(2 << 20), "holds more", id="trailing"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "why"), REFUSED)
def test_file_that_is_no_usable_image_is_refused_with_a_sentence(
    tmp_path: Path, given: bytes, why: str
) -> None:
    sentence = refusal(given, tmp_path)
    assert re.search(why, sentence), sentence
    assert PATIENT.decode() not in sentence


def test_image_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(changed("dim", [3, 5000, 5000, 1000, 1, 1, 1, 1]) + bytes(1 << 20))
    with pytest.raises(ImageTooLarge, match="50000 MB unpacked; at most 10 MB"):
        take(bomb, tmp_path / "x.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_gzip_that_goes_on_for_ever_behind_its_voxels_is_refused(tmp_path: Path) -> None:
    assert "holds more" in refusal(gzip.compress(changed("cal_max", 0) + bytes(50 << 20)), tmp_path)


def test_large_image_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small buffers in the compressor and before the disk, of which a number is filled by chance."""
    monkeypatch.setattr(foreign_image, "_CHUNK_BYTES", 1 << 16)
    monkeypatch.setattr(nifti_file, "_BLOCK_BYTES", 1 << 16)
    values = np.random.default_rng(1).integers(-1000, 1000, (256, 256, 320), np.int16)
    plain = tmp_path / "large.nii"
    nib.save(nib.Nifti1Image(values, AFFINE), plain)
    del values
    tracemalloc.start()
    with plain.open("rb") as source:
        taken = stage_image(source, tmp_path / "out.nii.gz", most_bytes=10**9)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    taken.staged.commit()
    assert peak_bytes < plain.stat().st_size / 2


def test_label_map_of_another_grid_is_not_that_of_the_image(tmp_path: Path) -> None:
    take(content(), tmp_path / "image.nii.gz")
    write_labels(voxels(dtype=np.uint8), AFFINE, tmp_path / "labels.nii.gz")
    require_grid_of(tmp_path / "labels.nii.gz", tmp_path / "image.nii.gz")
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] += 0.01
    write_labels(voxels(dtype=np.uint8), elsewhere, tmp_path / "labels.nii.gz")
    with pytest.raises(LabelsDoNotFit):
        require_grid_of(tmp_path / "labels.nii.gz", tmp_path / "image.nii.gz")
