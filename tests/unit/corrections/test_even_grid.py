"""An edited segmentation of those on an even grid: compared where it lies, and exported with the image."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from gateway.corrections.exporting import export_correction

CUT = 16
"""Rows of the liver that a person took away."""


def edited(site: Any, *, names_images: bool) -> tuple[Path, int, int]:
    """Ours on the even grid as another program saves it, the liver smaller; its voxels before and after."""
    seg = dcmread(site.ours)
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    seg.SeriesInstanceUID = generate_uid()
    seg.Manufacturer = seg.ManufacturerModelName = "An editor"
    for segment in seg.SegmentSequence:
        del segment.TrackingUID
    pixels = seg.pixel_array.copy()
    liver = np.array(
        [
            groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1
            for groups in seg.PerFrameFunctionalGroupsSequence
        ]
    )
    before = int(pixels[liver].sum())
    pixels[liver, :CUT] = 0
    bits = np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
    seg.PixelData = bits + bytes(len(bits) % 2)
    if names_images:
        for groups in seg.PerFrameFunctionalGroupsSequence:
            groups.DerivationImageSequence = [_of_image(site.volume.frames[0])]
    path = site.folder / "edited.dcm"
    seg.save_as(path)
    return path, before, int(pixels[liver].sum())


def _of_image(frame: Any) -> Dataset:
    image, derivation = Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
    derivation.SourceImageSequence = [image]
    return derivation


@pytest.mark.parametrize("names_images", [False, True], ids=["names no images", "names an image"])
def test_edited_segmentation_on_an_even_grid_is_compared_with_ours_there(
    leaning: Any, names_images: bool, tmp_path: Path
) -> None:
    path, before, after = edited(leaning, names_images=names_images)
    assert 0 < after < before
    leaning.receive(path)
    (row,) = leaning.look()
    assert (row.state, row.sentence) == ("compared", "")
    dice = {one.structure: one.dice for one in row.structures}
    assert dice == {
        "liver": round(2 * after / (before + after), 4), "spleen": 1.0, "kidney_right": 1.0,
    }  # fmt: skip
    row = row.model_copy(update={"key": "c" * 64})
    assert export_correction(row, leaning.ledger, leaning.folder, tmp_path)
    image, labels, corrected = (
        nib.load(tmp_path / row.key / f"{name}.nii.gz") for name in ("image", "labels", "corrected")
    )
    assert image.shape == labels.shape == corrected.shape
    assert np.allclose(image.affine, corrected.affine)
    voxels = [int((np.asarray(one.dataobj) == 1).sum()) for one in (labels, corrected)]
    assert voxels == [before, after]


def test_correction_of_the_plain_one_is_compared_on_the_images(leaning: Any) -> None:
    leaning.ours = leaning.folder / "results" / ("b" * 64) / "2.25.7.dcm"
    path, before, after = edited(leaning, names_images=False)
    leaning.receive(path)
    (row,) = leaning.look()
    assert (row.state, row.structures[0].dice) == ("compared", round(2 * after / (before + after), 4))
