"""What is flagged on real scans, and what is not."""

import re
import subprocess
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pytest

from batch_job.contract import Flag
from batch_job.engines import NoCheckpoints, Segmented, Work, load_engine
from batch_job.image import Image, read_image
from batch_job.quality import quality_flags
from batch_job.statistics import measure

DATA = Path(__file__).parents[3] / "data"
LABEL = re.compile(r'<Label Key="(\d+)"[^>]*><!\[CDATA\[(\w+)\]\]>')


@pytest.fixture(scope="module")
def torso() -> tuple[Image, Segmented]:
    """The CT with what the real TotalSegmentator found, and the names that it wrote beside."""
    nifti = nib.load(DATA / "ct-torso-3mm" / "labels.nii.gz")
    table = nifti.header.extensions[0].get_content().decode()
    names = {int(value): name for value, name in LABEL.findall(table)}
    assert len(names) == 117
    labels = np.asarray(nifti.dataobj)
    return read_image(DATA / "ct-torso-3mm" / "ct.nii.gz"), Segmented(labels, names)


def _tissues(image: Image) -> Segmented:
    nowhere = Path("not-there")  # the engine reads and writes no file
    work = Work(image, nowhere, "tissue", {"fast": False}, nowhere, NoCheckpoints(), lambda share, what: None)
    return load_engine("threshold").segment(work)


def flags_of(image: Image, segmented: Segmented) -> tuple[Flag, ...]:
    statistics = measure(image, segmented, "CT")
    return quality_flags(image, segmented.labels, segmented.names, statistics, "CT")


def test_flags_of_the_real_torso_are_its_cut_organs_and_its_broken_pancreas(
    torso: tuple[Image, Segmented],
) -> None:
    flags = flags_of(*torso)
    by_code: dict[str, set[str | None]] = {}
    for flag in flags:
        by_code.setdefault(flag.code, set()).add(flag.structure)
    assert by_code == {
        "fragments": {"pancreas"},
        "truncated": {
            "spleen", "kidney_right", "kidney_left", "liver", "stomach", "small_bowel", "duodenum", "colon",
            "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_middle_lobe_right", "lung_lower_lobe_right",
        },
    }  # fmt: skip
    kidney = next(flag for flag in flags if flag.structure == "kidney_left")
    assert "(feet end;" in kidney.sentence
    assert 5 < kidney.number < 10


def test_statistics_of_the_real_torso_have_true_volumes_of_what_is_cut(
    torso: tuple[Image, Segmented],
) -> None:
    image, segmented = torso
    measured = measure(image, segmented, "CT")
    assert len(measured) == 41
    for value, name in segmented.names.items():
        voxels = int((segmented.labels == value).sum())
        assert voxels == measured.get(name, {"voxels": 0})["voxels"]
    assert measured["liver"]["truncated"] is True
    assert measured["gallbladder"]["truncated"] is False


def test_flags_of_the_torso_with_a_mirrored_affine_name_every_pair_and_the_liver(
    torso: tuple[Image, Segmented],
) -> None:
    image, segmented = torso
    affine = image.affine.copy()
    affine[0] *= -1
    flags = flags_of(Image(image.values, affine), segmented)
    swapped = {flag.structure for flag in flags if flag.code == "sides_contradict"}
    assert swapped >= {"kidney_left", "autochthon_left", "iliopsoas_left", "adrenal_gland_left", "rib_left_9"}
    assert [flag.structure for flag in flags if flag.code == "situs_inversus"] == ["liver"]


def test_flags_of_the_torso_upside_down_name_organs_and_vertebrae(torso: tuple[Image, Segmented]) -> None:
    image, segmented = torso
    affine = image.affine.copy()
    affine[2] *= -1
    flags = flags_of(Image(image.values, affine), segmented)
    wrong = {(flag.code, str(flag.structure).partition("_")[0]) for flag in flags}
    assert wrong >= {("order_contradicts", "vertebrae"), ("regions_contradict", "lung")}


def test_flags_of_the_torso_without_a_vertebra_name_the_gap(torso: tuple[Image, Segmented]) -> None:
    image, segmented = torso
    labels = segmented.labels.copy()
    labels[labels == 31] = 0  # L1
    flags = flags_of(image, Segmented(labels, segmented.names))
    assert [flag.structure for flag in flags if flag.code == "gap"] == ["vertebrae_L1"]


def test_flags_of_the_torso_without_rescale_name_the_air(torso: tuple[Image, Segmented]) -> None:
    image, segmented = torso
    flags = flags_of(Image((image.values + 1100).clip(0, 4095), image.affine), segmented)
    assert [flag.number for flag in flags if flag.code == "air_not_minus_1000"] == [0]


def test_flags_of_tissues_by_threshold_on_the_torso_are_the_cut_lungs(torso: tuple[Image, Segmented]) -> None:
    image, _ = torso
    segmented = _tissues(image)
    assert {(flag.code, flag.structure) for flag in flags_of(image, segmented)} == {
        ("truncated", "lung_left"),
        ("truncated", "lung_right"),
    }


def test_flags_of_tissues_by_threshold_on_the_demo_study_are_none(tmp_path: Path) -> None:
    source = DATA / "ct-abdomen-jpeg2000"
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "demo", "-o", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    image = read_image(tmp_path / "demo.nii")
    segmented = _tissues(image)
    assert measure(image, segmented, "CT")["gas"]["truncated"] is True  # and nobody needs to be told
    assert flags_of(image, segmented) == ()
