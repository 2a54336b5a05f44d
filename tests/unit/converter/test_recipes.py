"""The scripts in docs/recipes.md run as they stand; stand-ins write what nnU-Net and MONAI would write."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from converter import Labels, convert, read_series
from converter.seg.decoder import read_segmentation
from converter.voxels.geometry import labels_on_frames

DOCUMENT = Path(__file__).parents[3] / "docs" / "recipes.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
NNUNET, MONAI, ARRAY, NOTEBOOK = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
NAMES = {"background": 0, "liver": 1, "spleen": 2}

Run = Callable[[str], None]


@pytest.fixture
def run(make_series: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a recipe in an empty folder with a series in it."""
    make_series().rename(tmp_path / "series")
    monkeypatch.chdir(tmp_path)
    return lambda recipe: exec(compile(recipe, "recipe", "exec"), {})


@pytest.fixture
def found(run: Run, tmp_path: Path) -> NDArray[np.uint8]:
    """Labels on the frames, which a stand-in finds in `found.nii.gz`: on the grid of the images."""
    convert("series", tmp_path / "found.nii.gz")
    image = nib.load(tmp_path / "found.nii.gz")
    values = np.digitize(image.get_fdata(), [200, 700])
    nib.save(nib.Nifti1Image(values.astype(np.float32), image.affine), tmp_path / "found.nii.gz")
    return labels_on_frames(tmp_path / "found.nii.gz", read_series("series"))


def shown() -> tuple[NDArray[np.uint8], list[str]]:
    """What the segmentation shows on the frames, and the names of its segments."""
    read = read_segmentation(Path("seg.dcm"), read_series("series"))
    return read.numbers, [segment.label for segment in read.segments]


def test_recipe_for_nnunet_brings_its_labels_onto_the_images(
    run: Run, found: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "names").write_text(json.dumps({"labels": NAMES, "channel_names": {"0": "CT"}}))
    program = tmp_path / "nnUNetv2_predict"
    program.write_text(
        '#!/bin/sh -e\ntest "$1 $3" = "-i -o"\ntest -s "$2/case_0000.nii.gz"\nmkdir "$4"\n'
        'cp found.nii.gz "$4/case.nii.gz"\ncp names "$4/dataset.json"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    run(NNUNET)
    numbers, names = shown()
    assert np.array_equal(numbers, found)
    assert names == ["liver", "spleen"]
    (algorithm,) = dcmread("seg.dcm").SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("our nnU-Net", "Dataset042")


def test_recipe_for_a_monai_bundle_brings_its_labels_onto_the_images(
    run: Run, found: NDArray[np.uint8], tmp_path: Path
) -> None:
    channels = {str(value): name for name, value in NAMES.items()}
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": channels}}}}
    for path, content in (
        ("bundle/configs/metadata.json", json.dumps(metadata)),
        ("monai/bundle/__init__.py", ""),
        (
            "monai/bundle/__main__.py",
            "import pathlib, shutil, sys\n"
            "options = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))\n"
            "assert sys.argv[1] == 'run' and options['--bundle_root'] == 'bundle'\n"
            "(name,) = eval(options['--datalist'])\n"
            "assert pathlib.Path(name).is_file()\n"
            "stem = name.removesuffix('.nii.gz')\n"
            "folder = pathlib.Path(options['--output_dir'], stem)\n"
            "folder.mkdir(parents=True)\n"
            "shutil.copy('found.nii.gz', folder / f'{stem}_trans.nii.gz')\n",
        ),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    run(MONAI)
    numbers, names = shown()
    assert np.array_equal(numbers, found)
    assert names == ["liver", "spleen"]


def test_recipe_for_an_array_marks_the_pixels_that_it_found(run: Run) -> None:
    run(ARRAY)
    volume = read_series("series")
    for frame, numbers in zip(volume.frames, shown()[0], strict=True):
        image = dcmread(frame.path)
        hu = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        assert np.array_equal(numbers, hu > 300)


def test_recipe_for_a_notebook_gives_codes_of_ones_own_and_comes_back(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run(NOTEBOOK)
    assert capsys.readouterr().out == "{1: 'bright'}\n"
    (segment,) = (each for each in dcmread("seg.dcm").SegmentSequence if each.SegmentNumber)
    (code,) = segment.SegmentedPropertyTypeCodeSequence
    assert (code.CodingSchemeDesignator, code.CodeValue) == ("99OURS", "BRIGHT")
    numbers, _ = shown()
    assert numbers[1:-1].any()
    assert not numbers[[0, -1]].any()
    assert np.array_equal(numbers, labels_on_frames(Path("back.nii.gz"), read_series("series")))


def test_recipe_says_truly_what_to_do_with_regions() -> None:
    (table,) = re.findall(r"`(\{\"1\": \"edema\".*?\})`", TEXT)
    assert list(Labels({int(v): name for v, name in json.loads(table).items()}).names) == [1, 2, 3]
