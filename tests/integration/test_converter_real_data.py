"""The converter on the real data of tests/data: what each case is judged as, and what comes out of it."""

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from batch_job.contract import engine_facts
from converter.derived.series import write_series
from converter.errors import UnusableSeries
from converter.label_file import encode_label_file
from converter.nifti.conversion import convert_volume
from converter.seg.decoder import decode_segmentation, read_segmentation
from converter.series import Judgement, Usability, Volume, judge_series, read_header, read_series
from converter.voxels.geometry import labels_on_frames
from gateway.making.terms import label_table
from tests.landing import voxels_at_frames

TOTAL = label_table(engine_facts("totalsegmentator"), "total")
COMPRESSED = ("compressed_j2k", "compressed_jpeg", "compressed_jpegls", "compressed_rle")
BACK_OF_TILTED_PIXELS = 0.97
"""So much of a blob overlaps itself after the way to the straight grid and back."""


def judged(folder: Path) -> Judgement:
    return judge_series([(path, read_header(path)) for path in sorted(folder.iterdir())])


def in_ras(path: Path) -> Any:
    return nib.as_closest_canonical(nib.load(path))


def raw_frames(volume: Volume) -> np.ndarray:
    """The pixels as pydicom decodes them, rescaled: the other way than dcm2niix's."""
    frames = []
    for frame in volume.frames:
        image = dcmread(frame.path)
        frames.append(
            image.pixel_array * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))
        )
    return np.stack(frames)


# -- judged -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("gantrytilting/001", [(4, True, {"gantry_tilt"})]),
        ("sliceincrement/001", [(4, True, {"gap"})]),
        ("sliceincrement/002", [(4, True, {"gap", "gantry_tilt"})]),
        ("notavolume/001", [(4, False, {"no_volume"})]),
        ("slicecount/001", [(2, False, {"too_few"})]),
        ("sliceorientation/001", [(2, False, {"mixed_orientation", "too_few"})] * 2),
        ("hyperfine_mr/001", [(8, True, set())]),
        *((f"{case}/001", [(4, True, set())]) for case in COMPRESSED),
    ],
)
def test_oddity_is_judged_as_what_it_is(
    data: Path, case: str, expected: list[tuple[int, bool, set[str]]]
) -> None:
    judgement = judged(data / "oddities" / case)
    assert judgement.left_over == ()
    found = [
        (
            len(volume.frames),
            volume.usability is not Usability.UNUSABLE,
            {finding.code for finding in volume.findings} - {"no_frame_of_reference"},
        )
        for volume in judgement.volumes
    ]
    assert found == expected


def test_images_without_uids_are_left_over(data: Path) -> None:
    folder = data / "oddities" / "uids_blanked" / "001"
    judgement = judged(folder)
    assert judgement.volumes == ()
    assert {finding.code for _, finding in judgement.left_over} == {"no_uids"}
    assert len(judgement.left_over) == len(list(folder.iterdir()))
    with pytest.raises(UnusableSeries):
        read_series(folder)


def test_gap_of_a_real_series_is_said_in_numbers(data: Path) -> None:
    (volume,) = judged(data / "oddities" / "sliceincrement" / "001").volumes
    assert volume.usability is Usability.USABLE_WITH_WARNING
    assert volume.findings[0].sentence.startswith(
        "1 slice is missing between image 9 and image 10 (28.1 to 38.1 mm"
    )


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("reportsi.dcm", "no_image", "a structured report"),
        ("test-SR.dcm", "no_image", "a structured report"),
        ("rtplan.dcm", "no_image", "a radiotherapy plan"),
        ("rtdose.dcm", "no_image", "a dose distribution"),
        ("liver_1frame.dcm", "no_image", "a segmentation"),
        ("waveform_ecg.dcm", "no_image", "a waveform"),
        ("dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/IM000000", "no_image", "without pixels"),
        ("examples_rgb_color.dcm", "colour", "a colour image"),
        ("JPEG2000.dcm", "no_image", "a capture of a screen"),
        ("examples_overlay.dcm", None, ""),
        ("CT_small.dcm", None, ""),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_file_that_is_no_image_is_left_over_as_what_it_is(name: str, code: str | None, words: str) -> None:
    path = Path(str(get_testdata_file(name)))
    judgement = judge_series([(path, read_header(path))])
    assert [finding.code for _, finding in judgement.left_over] == ([code] if code else [])
    assert all(words in finding.sentence for _, finding in judgement.left_over)


def test_demo_study_is_one_whole_volume(demo_study: Path) -> None:
    (volume,) = judged(demo_study).volumes
    assert (len(volume.frames), volume.findings, volume.slice_spacing_mm) == (20, (), pytest.approx(2.0))


# -- multi-frame ------------------------------------------------------------------------------------------


def test_multi_frame_mr_converts_to_the_pixels_of_its_frames(data: Path, tmp_path: Path) -> None:
    volume = read_series(data / "oddities" / "hyperfine_mr" / "001")
    assert [frame.frame_number for frame in volume.frames] == list(range(1, 9))
    converted = convert_volume(volume, tmp_path / "mr.nii")
    pixels = dcmread(volume.frames[0].path).pixel_array
    assert np.array_equal(voxels_at_frames(nib.load(converted.path), volume, most_off=2e-3), pixels)


@pytest.fixture
def philips(tmp_path: Path) -> Path:
    """The folder of a real Philips Enhanced MR (nibabel ships it, with black pixels), filled with noise."""
    shipped = Path(nib.__file__).parent / "nicom" / "tests" / "data" / "philips_mprage.dcm.gz"
    folder = tmp_path / "philips"
    folder.mkdir()
    (folder / "mprage.dcm").write_bytes(gzip.decompress(shipped.read_bytes()))
    image = dcmread(folder / "mprage.dcm")
    shape = (int(image.NumberOfFrames), image.Rows, image.Columns)
    image.PixelData = np.random.default_rng(0).integers(0, 4000, shape, np.uint16).tobytes()
    image.save_as(folder / "mprage.dcm")
    return folder


def test_real_enhanced_mr_lies_where_dcm2niix_puts_it(philips: Path, tmp_path: Path) -> None:
    """It reads the object as a whole, and knows nothing of our frames."""
    (volume,) = judged(philips).volumes
    assert (len(volume.frames), volume.usability) == (176, Usability.USABLE)
    assert volume.slice_spacing_mm == pytest.approx(1.0, abs=1e-3)
    command = [dcm2niix.bin, "-b", "n", "-z", "n", "-p", "n", "-f", "peer", "-o", str(tmp_path), str(philips)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    ours = voxels_at_frames(
        nib.load(convert_volume(volume, tmp_path / "ours.nii").path), volume, most_off=2e-3
    )
    assert np.allclose(
        ours, voxels_at_frames(nib.load(tmp_path / "peer.nii"), volume, most_off=2e-3), atol=0.51
    )
    image = dcmread(volume.frames[0].path)
    header = volume.header
    rescaled = image.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    for number in (0, 80, 175):
        frame_number = volume.frames[number].frame_number or 0
        assert np.allclose(ours[number], rescaled[frame_number - 1], atol=0.51)


# -- converted --------------------------------------------------------------------------------------------


def test_demo_study_converts_to_its_pixels(demo_study: Path, tmp_path: Path) -> None:
    volume = read_series(demo_study)
    converted = convert_volume(volume, tmp_path / "ct.nii.gz")
    image = nib.load(converted.path)
    assert sorted(image.shape) == [20, 512, 512]
    assert np.array_equal(voxels_at_frames(image, volume, most_off=2e-3), raw_frames(volume))


def test_compressed_series_convert_to_the_same_file(data: Path, tmp_path: Path) -> None:
    digests = {
        convert_volume(read_series(data / "oddities" / case / "001"), tmp_path / f"{case}.nii").sha256
        for case in COMPRESSED
    }
    assert len(digests) == 1


@pytest.mark.parametrize("case", ["gantrytilting/001", "sliceincrement/001", "sliceincrement/002"])
def test_odd_stack_converts_twice_to_the_same_even_grid(data: Path, tmp_path: Path, case: str) -> None:
    volume = read_series(data / "oddities" / case)
    first = convert_volume(volume, tmp_path / "a.nii.gz")
    assert convert_volume(volume, tmp_path / "b.nii.gz").sha256 == first.sha256
    affine = nib.load(first.path).affine[:3, :3]
    products = affine.T @ affine
    assert np.abs(products - np.diag(np.diag(products))).max() < 1e-3


@pytest.mark.parametrize("case", ["gantrytilting/001", "sliceincrement/001", "sliceincrement/002"])
def test_labels_return_onto_the_slices_of_an_odd_stack(data: Path, tmp_path: Path, case: str) -> None:
    """The files have real geometry but blank pixels, so a ball is marked at a place in the patient."""
    volume = read_series(data / "oddities" / case)
    convert_volume(volume, tmp_path / "ct.nii")
    image = nib.load(tmp_path / "ct.nii")
    row, column = np.mgrid[: volume.rows, : volume.columns]
    index = np.stack([column, row, np.ones_like(row)], -1)
    places = np.stack(
        [
            index
            @ np.column_stack(
                [
                    np.array(volume.orientation_lps[:3]) * volume.pixel_spacing_mm[1],
                    np.array(volume.orientation_lps[3:]) * volume.pixel_spacing_mm[0],
                    frame.position_lps_mm,
                ]
            ).T
            for frame in volume.frames
        ]
    )
    middle = places[1, 150, 340]
    voxels = np.stack([*np.indices(image.shape), np.ones(image.shape)], -1) @ image.affine.T
    ball = np.linalg.norm(voxels[..., :3] * [-1, -1, 1] - middle, axis=-1) < 20
    nib.save(nib.Nifti1Image(ball.astype(np.uint8), image.affine), tmp_path / "labels.nii.gz")
    back = labels_on_frames(tmp_path / "labels.nii.gz", volume) > 0
    truth = np.linalg.norm(places - middle, axis=-1) < 20
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > BACK_OF_TILTED_PIXELS


# -- a real label map, all the way round --------------------------------------------------------------------


@pytest.fixture(scope="module")
def torso(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series derived from ct-torso-3mm, and its 41 real labels as DICOM-SEG beside it."""
    folder = tmp_path_factory.mktemp("torso")
    write_series(data / "ct-torso-3mm" / "ct.nii.gz", folder / "series")
    encode_label_file(folder / "series", data / "ct-torso-3mm" / "labels.nii.gz", folder / "seg.dcm", TOTAL)
    return folder


def test_derived_series_converts_back_to_the_volume_it_came_from(
    data: Path, torso: Path, tmp_path: Path
) -> None:
    convert_volume(read_series(torso / "series"), tmp_path / "ct.nii.gz")
    back, original = in_ras(tmp_path / "ct.nii.gz"), in_ras(data / "ct-torso-3mm" / "ct.nii.gz")
    assert back.affine == pytest.approx(original.affine, abs=1e-4)
    assert np.array_equal(np.asanyarray(back.dataobj), np.asanyarray(original.dataobj))


def test_real_labels_come_back_voxel_for_voxel(data: Path, torso: Path, tmp_path: Path) -> None:
    table = decode_segmentation(torso / "seg.dcm", read_series(torso / "series"), tmp_path / "labels.nii.gz")
    back, original = in_ras(tmp_path / "labels.nii.gz"), in_ras(data / "ct-torso-3mm" / "labels.nii.gz")
    assert back.affine == pytest.approx(original.affine, abs=1e-4)
    assert np.array_equal(np.asanyarray(back.dataobj), np.asanyarray(original.dataobj))
    names = TOTAL.names
    assert table == {int(v): names[int(v)] for v in np.unique(np.asanyarray(original.dataobj)) if v}


def test_real_labels_lie_on_the_side_of_the_patient_they_name(torso: Path) -> None:
    """Independent of any table of flips: the liver is on the patient's right, x falls to the right in LPS."""
    volume = read_series(torso / "series")
    read = read_segmentation(torso / "seg.dcm", volume)
    number_of = {segment.label: segment.number for segment in read.segments}

    def middle_x_mm(label: str) -> float:
        index = np.argwhere(read.numbers == number_of[label]).mean(axis=0)
        return float((volume.affine_lps @ [index[2], index[1], index[0], 1])[0])

    spine = middle_x_mm("spinal_cord")
    assert middle_x_mm("liver") < spine - 20
    assert middle_x_mm("kidney_right") < spine - 20
    assert middle_x_mm("kidney_left") > spine + 20
    assert middle_x_mm("spleen") > spine + 20


@pytest.mark.peer("dicom3tools")
def test_real_labels_are_valid_for_dciodvfy(torso: Path) -> None:
    program = shutil.which("dciodvfy")
    assert program is not None
    answer = subprocess.run([program, torso / "seg.dcm"], capture_output=True, text=True, check=False)
    lines = (answer.stdout + answer.stderr).splitlines()
    assert "Segmentation" in lines
    assert [line for line in lines if line.startswith("Error")] == []


def test_mr_stored_as_lps_goes_to_dicom_and_back(data: Path, tmp_path: Path) -> None:
    write_series(data / "mr-3mm" / "mr.nii.gz", tmp_path / "series", modality="MR")
    convert_volume(read_series(tmp_path / "series"), tmp_path / "mr.nii.gz")
    back, original = in_ras(tmp_path / "mr.nii.gz"), in_ras(data / "mr-3mm" / "mr.nii.gz")
    assert back.affine == pytest.approx(original.affine, abs=1e-4)
    assert np.array_equal(np.asanyarray(back.dataobj), np.asanyarray(original.dataobj))
