"""The reference case, and what an engine may not give."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from batch_job.engines import Segmented, Work, check_segmented, load_engine
from batch_job.errors import WrongResult, meaning_of
from batch_job.image import Image
from batch_job.reference import try_engine, write_reference

IMAGE = Image(np.zeros((2, 3, 4), np.int16), np.eye(4))


def test_reference_case_is_always_the_same_and_knows_its_left(tmp_path: Path) -> None:
    for name in ("one.nii", "two.nii"):
        write_reference("CT", tmp_path / name)
    assert (tmp_path / "one.nii").read_bytes() == (tmp_path / "two.nii").read_bytes()
    assert nib.aff2axcodes(nib.load(tmp_path / "one.nii").affine) == ("L", "P", "S")


def test_engine_that_finds_less_than_it_must_in_the_reference_case_is_told(tmp_path: Path) -> None:
    class Blind:
        info = load_engine("threshold").info

        def check(self, task: str, options: object) -> object:
            return self.info

        def segment(self, work: Work) -> Segmented:
            return Segmented(np.full(work.image.values.shape, 1, np.uint8), {1: "bone"})

    with pytest.raises(WrongResult, match="does not find adipose_tissue, soft_tissue, lung_left, lung_right"):
        try_engine(Blind(), "threshold", "tissue", {}, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.zeros((2, 3, 5), np.uint8), "labels of 2 x 3 x 5 voxels .* for an image of 2 x 3 x 4"),
        (np.zeros((2, 3, 4), np.int16), "int16"),
        (np.full((2, 3, 4), 7, np.uint8), "labels without a name: 7"),
    ],
)
def test_labels_that_do_not_fit_their_image_are_a_defect_of_the_engine_in_words(
    labels: np.ndarray, sentence: str
) -> None:
    with pytest.raises(WrongResult, match=sentence) as raised:
        check_segmented(Segmented(labels, {1: "bone"}), IMAGE)
    assert meaning_of(raised.value) == (70, str(raised.value))
