"""Mosaics: of Siemens headers of real scanners (nibabel ships them, with black pixels), filled with noise; of
UIH made-up ones.
"""

import gzip
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from converter.derived.series import MadeUpStudy, SliceStack, write_slices
from converter.errors import UnusableSeries
from converter.nifti.conversion import convert_volume
from converter.reading.mosaic import is_mosaic
from converter.seg.decoder import read_segmentation
from converter.seg.encoder import Encoding, SegmentationSettings, SegmentationType, encode_segmentation
from converter.series import Choice, Usability, Volume, judge_series, read_header, read_series
from tests.landing import voxels_at_frames

TILES, ACROSS, SIZE = 48, 7, 128


@pytest.fixture
def mosaic(tmp_path: Path) -> Path:
    """One real diffusion mosaic: 48 oblique slices of 128 x 128, in 7 x 7 tiles."""
    shipped = Path(nib.__file__).parent / "nicom" / "tests" / "data" / "siemens_dwi_0.dcm.gz"
    folder = tmp_path / "mosaic"
    folder.mkdir()
    path = folder / "mosaic.dcm"
    path.write_bytes(gzip.decompress(shipped.read_bytes()))
    image = dcmread(path)
    pixels = np.random.default_rng(0).integers(0, 4000, (ACROSS * SIZE, ACROSS * SIZE))
    image.PixelData = pixels.astype("<u2").tobytes()
    image.save_as(path)
    return path


def edited(path: Path, **values: object) -> Dataset:
    header = read_header(path)
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


def tiles(volume: Volume) -> np.ndarray:
    """Each frame's pixels, cut out of the mosaic by hand."""
    pixels = dcmread(volume.frames[0].path).pixel_array
    cut = pixels.reshape(ACROSS, SIZE, ACROSS, SIZE).transpose(0, 2, 1, 3).reshape(-1, SIZE, SIZE)
    return np.stack([cut[(frame.frame_number or 0) - 1] for frame in volume.frames])


def test_mosaic_is_never_taken_for_a_slice(mosaic: Path) -> None:
    assert is_mosaic(read_header(mosaic))
    volume = read_series(mosaic.parent)
    assert (len(volume.frames), volume.rows, volume.columns) == (TILES, SIZE, SIZE)
    assert sorted(frame.frame_number or 0 for frame in volume.frames) == list(range(1, TILES + 1))
    assert volume.usability is Usability.USABLE_WITH_WARNING
    assert [finding.code for finding in volume.findings] == ["mosaic"]


def test_tiles_lie_where_dcm2niix_puts_them(mosaic: Path, tmp_path: Path) -> None:
    """It reads mosaics by itself, and knows nothing of ours."""
    command = [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "peer", "-o", str(tmp_path), str(mosaic.parent)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    volume = read_series(mosaic.parent)
    assert np.array_equal(
        voxels_at_frames(nib.load(tmp_path / "peer.nii"), volume, most_off=2e-3), tiles(volume)
    )


def test_mosaic_converts_to_its_tiles(mosaic: Path, tmp_path: Path) -> None:
    volume = read_series(mosaic.parent)
    converted = convert_volume(volume, tmp_path / "out.nii")
    assert np.array_equal(voxels_at_frames(nib.load(converted.path), volume, most_off=2e-3), tiles(volume))


def test_several_mosaics_are_a_volume_each(mosaic: Path) -> None:
    second = dcmread(mosaic)
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = UID("2.25.5")
    second.PixelData = bytes(reversed(second.PixelData))
    second.save_as(mosaic.with_name("second.dcm"))
    judgement = judge_series([(path, read_header(path)) for path in sorted(mosaic.parent.iterdir())])
    assert [len(volume.frames) for volume in judgement.volumes] == [TILES, TILES]
    assert all({frame.path for frame in v.frames} == {v.frames[0].path} for v in judgement.volumes)
    assert judgement.left_over == ()
    with pytest.raises(UnusableSeries, match="the images make 2 volumes; choose one by its number"):
        read_series(mosaic.parent)
    assert len(read_series(mosaic.parent, Choice(2)).frames) == TILES


def test_mosaic_that_is_there_twice_is_taken_once(mosaic: Path) -> None:
    header = read_header(mosaic)
    judgement = judge_series([(mosaic, header), (mosaic.with_name("copy.dcm"), header)])
    assert [len(volume.frames) for volume in judgement.volumes] == [TILES]
    assert [finding.code for _, finding in judgement.left_over] == ["duplicates"]


def test_mosaic_without_the_vendors_header_is_refused_with_what_to_send_instead(mosaic: Path) -> None:
    header = edited(mosaic)
    header.remove_private_tags()
    judgement = judge_series([(mosaic, header)])
    assert judgement.volumes == ()
    ((_, finding),) = judgement.left_over
    assert finding.code == "mosaic"
    assert "send the enhanced multi-frame object" in finding.sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 895},
        {"SpacingBetweenSlices": 0},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},  # the vendor's slice direction is another one
    ],
)
def test_mosaic_that_contradicts_itself_is_refused(mosaic: Path, changes: dict[str, object]) -> None:
    judgement = judge_series([(mosaic, edited(mosaic, **changes))])
    assert judgement.volumes == ()
    assert [finding.code for _, finding in judgement.left_over] == ["mosaic"]


@pytest.mark.parametrize("kind", list(SegmentationType))
def test_segmentation_of_a_mosaic_has_its_slices_where_they_lie(
    mosaic: Path, settings: SegmentationSettings, tmp_path: Path, kind: SegmentationType
) -> None:
    """The mosaic is named as its source, but no frame of it, and it does not show the same places."""
    volume = read_series(mosaic.parent)
    labels = np.zeros((TILES, SIZE, SIZE), np.uint8)
    labels[10:20, 30:60, 40:50] = 1
    settings = replace(settings, encoding=Encoding(kind))
    encoded = encode_segmentation(volume, labels, {1: "bone"}, settings, tmp_path / "seg.dcm")
    assert np.array_equal(read_segmentation(encoded.path, volume).numbers, labels)
    seg = dcmread(encoded.path)
    sources = [
        group.DerivationImageSequence[0].SourceImageSequence[0]
        for group in seg.PerFrameFunctionalGroupsSequence
    ]
    assert {source.SpatialLocationsPreserved for source in sources} == {"NO"}
    assert not any("ReferencedFrameNumber" in source for source in sources)
    places = [
        group.PlanePositionSequence[0].ImagePositionPatient for group in seg.PerFrameFunctionalGroupsSequence
    ]
    expected = [volume.frames[number].position_lps_mm for number in range(19, 9, -1)]
    assert np.allclose(np.array(places, float), expected, atol=1e-6)


# -- United Imaging -----------------------------------------------------------------------------------------


def uih_mosaic(folder: Path, count: int, *, edit: Callable[[Dataset], None] = lambda image: None) -> Path:
    """One of `count` slices of 5 x 7 pixels, oblique, as UIH lays them out, slices from the highest down."""
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    pixels = np.random.default_rng(count).integers(-900, 900, (1, 5 * down, 7 * across)).astype(np.int16)
    axes = (0.8, 0.6, 0, 0, 0, -1)
    (path,) = write_slices(
        SliceStack(pixels, axes, (1.5, 1.25), [[3.0, 4.0, 5.0]]), folder, MadeUpStudy(modality="MR")
    )
    image = dcmread(path)
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
    frames = []
    for number in range(count):
        frames.append(Dataset())
        frames[-1].ImagePositionPatient = [3 + 1.2 * number, 4 - 1.6 * number, 5.0]
    block = image.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(count))
    block.add_new(0x51, "SQ", frames)
    edit(image)
    image.save_as(path, enforce_file_format=True)
    return folder


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("count", [6, 7, 9])
def test_grid_of_uih_is_a_volume_of_its_tiles_where_their_own_positions_say(
    tmp_path: Path, count: int, syntax: UID
) -> None:
    def encoded(image: Dataset) -> None:
        image.file_meta.TransferSyntaxUID = syntax

    volume = read_series(uih_mosaic(tmp_path / "series", count, edit=encoded))
    assert (len(volume.frames), volume.rows, volume.columns) == (count, 5, 7)
    assert [finding.code for finding in volume.findings] == ["mosaic"]
    numbers = [frame.frame_number or 0 for frame in volume.frames]
    assert [frame.position_lps_mm for frame in volume.frames] == [
        pytest.approx((3 + 1.2 * (number - 1), 4 - 1.6 * (number - 1), 5)) for number in numbers
    ]
    across = math.ceil(math.sqrt(count))
    pixels = dcmread(volume.frames[0].path).pixel_array
    down = pixels.shape[0] // 5
    cut = pixels.reshape(down, 5, across, 7).transpose(0, 2, 1, 3).reshape(-1, 5, 7)
    converted = convert_volume(volume, tmp_path / "out.nii")
    assert np.array_equal(
        voxels_at_frames(nib.load(converted.path), volume, most_off=2e-3), cut[np.array(numbers) - 1]
    )


@pytest.mark.parametrize("lacking", ["positions", "count", "one position", "size"])
def test_grid_of_uih_that_does_not_say_how_its_slices_lie_is_refused(tmp_path: Path, lacking: str) -> None:
    def edit(image: Dataset) -> None:
        block = image.private_block(0x0065, "Image Private Header")
        match lacking:
            case "positions":
                del block[0x51]
            case "count":
                block[0x50].value = "5"
            case "one position":
                del block[0x51].value[2].ImagePositionPatient
            case _:
                image.Rows, image.Columns = 13, 15

    with pytest.raises(UnusableSeries, match=r"a UIH mosaic does not say how .*; send the enhanced"):
        read_series(uih_mosaic(tmp_path / "series", 6, edit=edit))


def test_grid_of_uih_that_may_be_divided_in_two_ways_is_refused(tmp_path: Path) -> None:
    """Of six tiles two or three may stand one above the other; 21 and 14 rows are both whole."""

    def edit(image: Dataset) -> None:
        image.Rows, image.Columns = 42, 42
        image.PixelData = bytes(42 * 42 * 2)

    with pytest.raises(UnusableSeries, match="does not say how its slices lie"):
        read_series(uih_mosaic(tmp_path / "series", 6, edit=edit))
