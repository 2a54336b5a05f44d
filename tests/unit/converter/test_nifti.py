"""From DICOM to NIfTI: the same voxels, the same bytes, nothing of the patient."""

import errno
import gzip
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from converter.derived.series import MadeUpStudy
from converter.errors import ConversionFailed
from converter.nifti.conversion import convert_volume, converter_version
from converter.series import Volume, judge_series, read_header, read_series
from converter.unpacking import decoding
from converter.voxels.geometry import voxel_from_pixel
from converter.voxels.grid import straightened

pytestmark = pytest.mark.usefixtures("quick_children")

MakeSeries = Callable[..., Path]


def frames_by_affine(image: Any, volume: Volume) -> np.ndarray:
    """Look every pixel of every frame up in a NIfTI, by its affine."""
    values = np.asanyarray(image.dataobj)
    row, column = np.mgrid[: volume.rows, : volume.columns]
    frames = []
    for number in range(len(volume.frames)):
        matrix = voxel_from_pixel(image.affine, volume, number)
        index = np.rint(np.stack([column, row, np.ones_like(row)], -1) @ matrix.T).astype(int)
        frames.append(values[index[..., 0], index[..., 1], index[..., 2]])
    return np.stack(frames)


def pixels_of(volume: Volume) -> np.ndarray:
    return np.stack([dcmread(frame.path).pixel_array for frame in volume.frames])


@pytest.mark.parametrize(
    "orientation",
    [
        (1, 0, 0, 0, 1, 0),
        (-1, 0, 0, 0, -1, 0),
        (0, 1, 0, -1, 0, 0),
        (0, 1, 0, 0, 0, -1),
        (1, 0, 0, 0, 0, -1),
        (-1, 0, 0, 0, 1, 0),
    ],
)
def test_conversion_in_any_direction_keeps_every_pixel_in_its_place(
    make_series: MakeSeries, tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    volume = read_series(make_series(orientation=orientation))
    convert_volume(volume, tmp_path / "out.nii")
    image = nib.load(tmp_path / "out.nii")
    assert np.array_equal(frames_by_affine(image, volume), pixels_of(volume))


def test_conversion_with_rounded_positions_does_not_drift(make_series: MakeSeries, tmp_path: Path) -> None:
    volume = read_series(make_series([round(0.625 * k, 1) for k in range(40)]))
    convert_volume(volume, tmp_path / "out.nii")
    image = nib.load(tmp_path / "out.nii")
    assert image.shape[2] == 40
    step = np.linalg.norm(image.affine[:3, 2])
    assert step == pytest.approx((volume.frames[-1].position_lps_mm[2]) / 39, rel=1e-4)
    assert np.array_equal(frames_by_affine(image, volume), pixels_of(volume))


def test_conversion_twice_gives_the_same_bytes(make_series: MakeSeries, tmp_path: Path) -> None:
    volume = read_series(make_series())
    first = convert_volume(volume, tmp_path / "a.nii.gz")
    second = convert_volume(volume, tmp_path / "b.nii.gz")
    assert first.sha256 == second.sha256
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_conversion_of_the_same_images_in_another_order_gives_the_same_bytes(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    for heights, lean in (((0, 2, 4, 6, 8), 0.0), ((0, 2, 4, 8, 10), 0.0), ((0, 2, 4, 6, 8), 0.3)):
        instances = [(path, read_header(path)) for path in sorted(make_series(heights, lean=lean).iterdir())]
        digests = set()
        for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
            (volume,) = judge_series([instances[number] for number in order]).volumes
            digests.add(convert_volume(volume, tmp_path / "out.nii.gz").sha256)
        assert len(digests) == 1


def test_digest_is_that_of_the_file(make_series: MakeSeries, tmp_path: Path) -> None:
    converted = convert_volume(read_series(make_series()), tmp_path / "out.nii.gz")
    assert converted.path == tmp_path / "out.nii.gz"
    assert converted.sha256 == hashlib.sha256(converted.path.read_bytes()).hexdigest()


def test_converted_file_holds_no_text_of_the_header(make_series: MakeSeries, tmp_path: Path) -> None:
    study = MadeUpStudy(
        patient_name="Secret^Person", patient_id="SECRET-ID", series_description="Secret scan"
    )
    volume = read_series(make_series(study=study))
    convert_volume(volume, tmp_path / "out.nii.gz")
    packed = (tmp_path / "out.nii.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # no time in the gzip header
    assert not packed[3] & 0b1000  # no name in it
    content = gzip.decompress(packed)
    header = nib.load(tmp_path / "out.nii.gz").header
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        assert bytes(header[field].tobytes()).strip(b"\0") == b""
    assert not header.extensions
    for secret in (b"Secret", b"SECRET", b"20240102", b"101112"):
        assert secret not in content


def test_rescale_is_applied(make_series: MakeSeries, tmp_path: Path) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024

    volume = read_series(make_series(edit=edit))
    convert_volume(volume, tmp_path / "out.nii")
    image = nib.load(tmp_path / "out.nii")
    assert np.array_equal(frames_by_affine(image, volume), pixels_of(volume) * 2 - 1024)


def test_rescale_to_fractions_keeps_them(make_series: MakeSeries, tmp_path: Path) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.37", "-3.5"

    volume = read_series(make_series(edit=edit))
    convert_volume(volume, tmp_path / "out.nii")
    values = frames_by_affine(nib.load(tmp_path / "out.nii"), volume)
    assert values == pytest.approx(pixels_of(volume) * 0.37 - 3.5, rel=1e-6)


def test_rescale_is_the_standards_also_where_a_vendor_has_one_of_its_own(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    """Philips says in private elements how to come to other values; dcm2niix would take those by default."""

    def edit(dataset: Dataset, number: int) -> None:
        dataset.Manufacturer = "Philips Medical Systems"
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, 5
        philips = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        philips.add_new(0x0D, "FL", 0.0)
        philips.add_new(0x0E, "FL", 0.013)

    volume = read_series(make_series(study=MadeUpStudy(modality="MR"), edit=edit))
    convert_volume(volume, tmp_path / "out.nii")
    image = nib.load(tmp_path / "out.nii")
    assert np.array_equal(frames_by_affine(image, volume), pixels_of(volume) * 2 + 5)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless]
)
def test_transfer_syntax_makes_no_difference(make_series: MakeSeries, tmp_path: Path, syntax: str) -> None:
    plain = convert_volume(read_series(make_series()), tmp_path / "plain.nii")

    def edit(dataset: Dataset, number: int) -> None:
        if syntax in (RLELossless, JPEGLSLossless):
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax

    other = convert_volume(read_series(make_series(edit=edit)), tmp_path / "other.nii")
    assert other.sha256 == plain.sha256


@pytest.mark.peer("dcmtk")
def test_big_endian_makes_no_difference(make_series: MakeSeries, tmp_path: Path) -> None:
    folder = make_series()
    plain = convert_volume(read_series(folder), tmp_path / "plain.nii")
    big = tmp_path / "big"
    big.mkdir()
    dcmconv = shutil.which("dcmconv")
    assert dcmconv is not None
    for path in folder.iterdir():
        subprocess.run([dcmconv, "+tb", path, big / path.name], check=True, capture_output=True)
    assert convert_volume(read_series(big), tmp_path / "other.nii").sha256 == plain.sha256


# -- bad input ----------------------------------------------------------------------------------------------


PIXELS = bytes.fromhex("e07f 1000")
UNENDED = bytes.fromhex("0800 4011 5351 0000 ffffffff  feff 00e0 ffffffff")
"""A sequence that is cut off, which pydicom calls a fault of the disk."""


def spoil(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(edit(path.read_bytes())) and None


def other_uid(path: Path) -> None:
    dataset = dcmread(path)
    dataset.SOPInstanceUID = "2.25.4711"
    dataset.save_as(path)


def fewer_rows(path: Path) -> None:
    dataset = dcmread(path)
    dataset.Rows, dataset.PixelData = 8, dataset.PixelData[: 8 * 24 * 2]
    dataset.save_as(path)


def other_scaling(path: Path) -> None:
    dataset = dcmread(path)
    dataset.RescaleIntercept = -1024
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Path.unlink, "gone or was changed"),
        (other_uid, "gone or was changed"),
        (fewer_rows, "damaged or do not fit its header"),
        (other_scaling, "gone or was changed"),
        (spoil(lambda content: content[:-100]), "damaged or do not fit its header"),
        (spoil(lambda content: content[:300]), "gone or was changed"),
        (spoil(lambda content: b""), "gone or was changed"),
        (spoil(lambda content: content.split(PIXELS)[0] + UNENDED), "gone or was changed"),
        (spoil(lambda content: bytes(len(content))), "gone or was changed"),
    ],
    ids=["gone", "uid", "rows", "scaling", "truncated", "stump", "empty", "sequence", "zeros"],
)
def test_image_that_changed_since_its_header_was_read_ends_the_conversion(
    make_series: MakeSeries, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    volume = read_series(make_series())
    change(volume.frames[2].path)
    check_refused(volume, tmp_path, said)


def check_refused(volume: Volume, tmp_path: Path, said: str) -> None:
    out = tmp_path / "out" / "ct.nii.gz"
    with pytest.raises(ConversionFailed, match=said):
        convert_volume(volume, out)
    assert list(out.parent.glob("*")) == []


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("keep", [0, 40, 200])
def test_compressed_pixels_that_are_cut_short_end_the_conversion(
    make_series: MakeSeries, tmp_path: Path, syntax: str, keep: int
) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)
        if number == 3:
            (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
            dataset.PixelData = encapsulate([stream[:keep] or bytes(2)])

    check_refused(read_series(make_series(edit=edit)), tmp_path, "damaged or do not fit its header")


def test_jpeg_2000_stream_that_is_cut_short_ends_the_conversion(demo_study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "series"
    shutil.copytree(demo_study, folder)
    path = sorted(folder.iterdir())[7]
    dataset = dcmread(path)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([stream[: len(stream) // 2]])
    dataset.save_as(path)
    check_refused(read_series(folder), tmp_path, "damaged or do not fit|not the pixels")


def test_codec_that_crashes_costs_a_child_and_a_sentence(
    make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = read_series(make_series(edit=jpeg_ls))
    (tmp_path / "sitecustomize.py").write_text("import os\nos.abort()\n")  # each new Python aborts
    monkeypatch.syspath_prepend(str(tmp_path))
    check_refused(volume, tmp_path, "damaged or do not fit its header")


def test_codec_that_hangs_is_ended(
    make_series: MakeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "START_S", 0.3)
    monkeypatch.setattr(decoding, "FRAME_S", 0.0)
    volume = read_series(make_series(edit=jpeg_ls))
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    check_refused(volume, tmp_path, "damaged or do not fit its header")


def jpeg_ls(dataset: Dataset, number: int) -> None:
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)


def test_disk_that_is_full_while_dcm2niix_writes_is_no_fault_of_the_images(
    make_series: MakeSeries,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stand_in: Callable[[str], None],
) -> None:
    """An error of the system passes; a failed conversion does not."""
    stand_in('real "$@" && truncate -s 1000 out/volume.nii')
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    out = tmp_path / "out" / "ct.nii.gz"
    with pytest.raises(OSError, match="no room") as full:
        convert_volume(read_series(make_series()), out)
    assert full.value.errno == errno.ENOSPC
    assert list(out.parent.glob("*")) == []


# -- stacks that get another grid ---------------------------------------------------------------------------


def test_leaning_stack_gets_an_even_grid_and_a_warning(make_series: MakeSeries, tmp_path: Path) -> None:
    volume = read_series(make_series(lean=0.25))
    converted = convert_volume(volume, tmp_path / "out.nii")
    assert any("even, straight grid, 2 mm apart" in warning for warning in converted.warnings)
    affine = nib.load(tmp_path / "out.nii").affine[:3, :3]
    angles = affine.T @ affine
    assert np.abs(angles - np.diag(np.diag(angles))).max() < 1e-4


def test_stack_with_gap_gets_a_slice_in_it(make_series: MakeSeries, tmp_path: Path) -> None:
    volume = read_series(make_series((0, 2, 4, 8, 10)))
    convert_volume(volume, tmp_path / "out.nii")
    image = nib.load(tmp_path / "out.nii")
    assert image.shape == (24, 16, 6)
    assert np.linalg.norm(image.affine[:3, 2]) == pytest.approx(2.0)
    assert np.array_equal(frames_by_affine(image, volume), pixels_of(volume))


def test_straightened_volume_has_nothing_to_correct(make_series: MakeSeries) -> None:
    volume = straightened(read_series(make_series((0, 2, 5, 6), lean=0.3)))
    positions = np.array([frame.position_lps_mm for frame in volume.frames])
    assert positions == pytest.approx(np.array([[0, 0, 2.0 * k] for k in range(4)]))
    assert volume.findings == ()


def test_converter_version_names_dcm2niix() -> None:
    assert converter_version().startswith("dcm2niix 1.0.")
