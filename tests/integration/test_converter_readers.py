"""Our DICOM-SEG in other hands: highdicom, dcmqi and dciodvfy read it, dcm2niix reads the source beside it.

All are compared by place in the patient: with the real label map of ct-torso-3mm, and with phantoms whose
balls lie at known places.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dcm2niix
import dcmqi
import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from batch_job.contract import engine_facts
from benchmarks.geometry.cases import CASES
from benchmarks.geometry.ours import outcome
from benchmarks.geometry.phantoms import BALLS
from converter.derived.series import SliceStack, write_series, write_slices
from converter.label_file import encode_label_file
from converter.seg.decoder import decode_segmentation
from converter.seg.encoder import Encoding, SegmentationType, segmentation_writer
from converter.series import read_series
from converter.voxels.geometry import LPS_FROM_RAS
from converter.voxels.grid import grid_of
from gateway.making.terms import label_table

SAME_PLACE_MM = 1e-3
SINGLE_PRECISION_MM = 5e-4
"""NIfTI affines are single precision: so near two of them agree, some hundred mm from the origin."""
TOTAL = label_table(engine_facts("totalsegmentator"), "total")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Grid:
    """Values (i, j, k) with an affine to LPS mm."""

    values: np.ndarray
    affine: np.ndarray

    @property
    def places_mm(self) -> np.ndarray:
        index = np.stack([*np.indices(self.values.shape), np.ones(self.values.shape)], -1)
        return np.asarray(index @ self.affine.T)[..., :3]

    def at(self, places_mm: np.ndarray) -> np.ndarray:
        """The values at these places, each of which must be the middle of a voxel."""
        back = np.linalg.inv(self.affine)
        index = places_mm @ back[:3, :3].T + back[:3, 3]
        whole = np.rint(index).astype(int)
        off_mm = np.linalg.norm((index - whole) @ self.affine[:3, :3].T, axis=-1)
        assert off_mm.max() < SAME_PLACE_MM
        return np.asarray(self.values[tuple(np.moveaxis(whole, -1, 0))])


def nifti(path: Path) -> Grid:
    image: Any = nib.load(path)
    return Grid(np.asanyarray(image.dataobj), LPS_FROM_RAS @ image.affine)


def by_highdicom(path: Path) -> Grid:
    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    return Grid(np.asarray(volume.array), np.asarray(volume.affine))


def by_dcmqi(path: Path, folder: Path) -> Grid:
    """All segments in one image, valued by their numbers."""
    folder.mkdir()
    program = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    command = [program, "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nii"]
    subprocess.run([*command, "--mergeSegments"], check=True, capture_output=True, timeout=TIMEOUT_S)
    (image,) = folder.glob("*.nii.gz")
    return nifti(image)


def by_dcm2niix(series: Path, folder: Path) -> Grid:
    folder.mkdir()
    command = [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "source", "-o", folder, series]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    return nifti(folder / "source.nii")


def values_by_number(path: Path) -> np.ndarray:
    """Segment number to label value of TotalSegmentator's `total`, by the segment's name."""
    by_name = {name: value for value, name in TOTAL.names.items()}
    values = np.zeros(256, np.uint8)
    for segment in dcmread(path).SegmentSequence:
        if segment.SegmentNumber:  # without the background
            values[segment.SegmentNumber] = by_name[segment.TrackingID]
    return values


def dciodvfy(path: Path) -> list[str]:
    program = shutil.which("dciodvfy")
    assert program is not None
    answer = subprocess.run([program, path], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    lines = (answer.stdout + answer.stderr).splitlines()
    assert "Segmentation" in lines, "dciodvfy did not recognise the object"
    return [line for line in lines if line.startswith("Error")]


# -- the real label map -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torso(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series derived from ct-torso-3mm, and its 41 real labels as DICOM-SEG beside it."""
    folder = tmp_path_factory.mktemp("torso")
    write_series(data / "ct-torso-3mm" / "ct.nii.gz", folder / "series")
    encode_label_file(folder / "series", data / "ct-torso-3mm" / "labels.nii.gz", folder / "seg.dcm", TOTAL)
    return folder


@pytest.fixture
def labels(data: Path) -> Grid:
    return nifti(data / "ct-torso-3mm" / "labels.nii.gz")


def test_real_labels_are_read_by_highdicom_voxel_for_voxel(torso: Path, labels: Grid) -> None:
    read = by_highdicom(torso / "seg.dcm")
    assert np.array_equal(values_by_number(torso / "seg.dcm")[read.values], labels.at(read.places_mm))
    assert np.count_nonzero(read.values) == np.count_nonzero(labels.values)


def test_real_labels_are_read_by_dcmqi_voxel_for_voxel(torso: Path, labels: Grid, tmp_path: Path) -> None:
    read = by_dcmqi(torso / "seg.dcm", tmp_path / "dcmqi")
    numbers = read.values.astype(int)
    assert np.array_equal(values_by_number(torso / "seg.dcm")[numbers], labels.at(read.places_mm))
    assert np.count_nonzero(numbers) == np.count_nonzero(labels.values)


def test_label_map_is_read_by_dcmqi_with_names_and_without_its_background(
    data: Path, torso: Path, labels: Grid, tmp_path: Path
) -> None:
    seg = tmp_path / "seg.dcm"
    writer = segmentation_writer(Encoding(SegmentationType.LABELMAP))
    encode_label_file(torso / "series", data / "ct-torso-3mm" / "labels.nii.gz", seg, TOTAL, writer)
    read = by_dcmqi(seg, tmp_path / "dcmqi")
    assert np.array_equal(values_by_number(seg)[read.values.astype(int)], labels.at(read.places_mm))
    described = json.loads((tmp_path / "dcmqi" / "meta.json").read_text())["segmentAttributes"]
    named = {each["labelID"]: each["SegmentLabel"] for group in described for each in group}
    assert named == {item.SegmentNumber: item.SegmentLabel for item in dcmread(seg).SegmentSequence[1:]}


def test_even_grid_of_leaning_slices_is_read_by_dcmqi_in_its_place(
    data: Path, torso: Path, labels: Grid, tmp_path: Path
) -> None:
    """On the slices it would read it up to 27 mm beside: it takes them for straight."""
    leaning = shutil.copytree(torso / "series", tmp_path / "leaning")
    images = {path: dcmread(path) for path in leaning.iterdir()}
    for number, path in enumerate(sorted(images, key=lambda each: images[each].ImagePositionPatient[2])):
        images[path].ImagePositionPatient[1] += number
        images[path].save_as(path)
    map_of_labels, seg = data / "ct-torso-3mm" / "labels.nii.gz", tmp_path / "seg.dcm"
    encode_label_file(leaning, map_of_labels, seg, TOTAL, is_on_even_grid=True)
    read = by_dcmqi(seg, tmp_path / "dcmqi")
    values = values_by_number(seg)[read.values.astype(int)]
    for value in (1, 5, 6, 52):  # spleen, liver, stomach, aorta
        found_mm = read.places_mm[values == value].mean(axis=0)
        true_mm = labels.places_mm[labels.values == value].mean(axis=0)
        assert np.linalg.norm(found_mm - true_mm) < 1.5, value


def test_real_labels_lie_on_the_hounsfield_units_that_dcm2niix_reads_of_the_source(
    data: Path, torso: Path, labels: Grid, tmp_path: Path
) -> None:
    """Each structure holds exactly the voxels in the DICOM series that it held in the NIfTI it came from."""
    original = nifti(data / "ct-torso-3mm" / "ct.nii.gz").values
    source = by_dcm2niix(torso / "series", tmp_path / "source")
    read = by_highdicom(torso / "seg.dcm")
    value_of = values_by_number(torso / "seg.dcm")
    units = source.at(read.places_mm)
    for number in np.unique(read.values[read.values > 0]):
        here = np.sort(units[read.values == number])
        there = np.sort(original[labels.values == value_of[number]])
        assert np.array_equal(here, there)


def test_real_labels_decode_to_what_was_encoded(torso: Path, labels: Grid, tmp_path: Path) -> None:
    decode_segmentation(torso / "seg.dcm", read_series(torso / "series"), tmp_path / "back.nii.gz")
    back = nifti(tmp_path / "back.nii.gz")
    assert np.array_equal(back.values, labels.at(back.places_mm))
    assert np.count_nonzero(back.values) == np.count_nonzero(labels.values)


# -- phantoms -----------------------------------------------------------------------------------------------

STRAIGHT = (
    "prone (HFP)",
    "feet first (FFS)",
    "decubitus right (HFDR)",
    "decubitus left, feet first (FFDL)",
    "sagittal",
    "coronal",
    "oblique",
    "double oblique sagittal",
    "thick slices, fine pixels",
    "odd matrix, 37 x 31",
    "files from the top down",
)
ODD = ("gantry tilt, forwards", "unevenly spaced and tilted", "two slices missing")


@pytest.fixture
def segmented(tmp_path: Path) -> Callable[[str], Path]:
    """A case's segmentation, made by the converter."""

    def segment(name: str) -> Path:
        (case,) = [case for case in CASES if case.name == name]
        outcome(case, tmp_path)
        return tmp_path / "seg.dcm"

    return segment


def middles_mm(grid: Grid) -> list[np.ndarray]:
    return [grid.places_mm[grid.values == number].mean(axis=0) for number in (1, 2)]


@pytest.mark.parametrize("name", STRAIGHT)
def test_balls_are_where_they_are_for_highdicom_and_dcmqi(
    segmented: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    seg = segmented(name)
    one, other = by_highdicom(seg), by_dcmqi(seg, tmp_path / "dcmqi")
    for read in (one, other):
        for middle_mm, ball in zip(middles_mm(read), BALLS, strict=True):
            assert np.linalg.norm(middle_mm - ball.middle_mm) < 1.0
    assert middles_mm(one)[0] == pytest.approx(middles_mm(other)[0], abs=SINGLE_PRECISION_MM)
    assert middles_mm(one)[1] == pytest.approx(middles_mm(other)[1], abs=SINGLE_PRECISION_MM)


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("name", [*STRAIGHT[:1], *ODD])
def test_segmentation_of_a_phantom_is_valid_for_dciodvfy(segmented: Callable[[str], Path], name: str) -> None:
    assert dciodvfy(segmented(name)) == []


@pytest.mark.peer("dicom3tools")
def test_segmentation_of_images_that_say_no_method_of_deidentification_is_valid_for_dciodvfy(
    tmp_path: Path,
) -> None:
    pixels = np.zeros((4, 16, 16), np.int16)
    stack = SliceStack(pixels, (1, 0, 0, 0, 1, 0), (1, 1), [[0, 0, 2 * k] for k in range(4)])
    for path in write_slices(stack, tmp_path / "series"):
        dataset = dcmread(path)
        dataset.PatientIdentityRemoved, dataset.SeriesNumber = "YES", 2**31 - 1
        dataset.save_as(path)
    labels = np.zeros((16, 16, 4), np.uint8)
    labels[3:8, 3:8, 1:3] = 5
    affine = grid_of(read_series(tmp_path / "series")).affine_ras
    nib.save(nib.Nifti1Image(labels, affine), tmp_path / "labels.nii.gz")
    encode_label_file(tmp_path / "series", tmp_path / "labels.nii.gz", tmp_path / "seg.dcm", TOTAL)
    assert dciodvfy(tmp_path / "seg.dcm") == []
    assert dcmread(tmp_path / "seg.dcm").SeriesNumber == 9000
