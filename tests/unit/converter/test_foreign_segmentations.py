"""Segmentations that are not as ours are: read where they hold, refused where they contradict themselves."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from converter.errors import LabelsDoNotFit
from converter.seg.decoder import decode_segmentation, read_segmentation
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.series import Volume, read_series
from converter.voxels.geometry import labels_on_frames

MakeSeries = Callable[..., Path]
Edit = Callable[[Dataset], None]
NAMES = {1: "bone", 6: "lung_right"}


@pytest.fixture
def volume(make_series: MakeSeries) -> Volume:
    return read_series(make_series())


@pytest.fixture
def edited(
    volume: Volume, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> Callable[[Edit], Path]:
    """A segmentation of the two boxes, changed."""

    def make(edit: Edit) -> Path:
        path = encode_segmentation(volume, two_boxes, NAMES, settings, tmp_path / "seg.dcm").path
        seg = dcmread(path)
        edit(seg)
        seg.save_as(path)
        return path

    return make


def test_segmentation_that_names_a_slice_and_lies_elsewhere_is_refused(
    edited: Callable[[Edit], Path], volume: Volume
) -> None:
    def edit(seg: Dataset) -> None:
        position = seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
        position[0] += 0.5

    with pytest.raises(LabelsDoNotFit, match="another series"):
        read_segmentation(edited(edit), volume)


def test_segmentation_that_names_no_slices_is_read_by_its_places(
    edited: Callable[[Edit], Path], volume: Volume, two_boxes: np.ndarray
) -> None:
    def edit(seg: Dataset) -> None:
        for item in seg.PerFrameFunctionalGroupsSequence:
            del item.DerivationImageSequence

    read = read_segmentation(edited(edit), volume)
    assert np.array_equal(read.numbers > 0, two_boxes > 0)


def test_segmentation_whose_segments_overlap_is_refused(
    edited: Callable[[Edit], Path], volume: Volume
) -> None:
    def edit(seg: Dataset) -> None:
        for item in seg.PerFrameFunctionalGroupsSequence:
            if item.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
                masks[:] = seg.pixel_array[1] | seg.pixel_array[-1]
        frames = seg.pixel_array
        frames[-1] = masks
        seg.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()

    masks = np.zeros((16, 24), np.uint8)
    with pytest.raises(LabelsDoNotFit, match="overlap"):
        read_segmentation(edited(edit), volume)


@pytest.mark.parametrize(
    ("descriptions", "names"),
    [
        ((None, None), ("Bone", "Lung, right")),
        (("liver", "lung"), ("Bone", "Lung, right")),
        (("label value 4", "label value 4"), ("bone", "lung_right")),
    ],
)
def test_segmentation_without_label_values_of_its_own_is_decoded_to_segment_numbers(
    edited: Callable[[Edit], Path],
    volume: Volume,
    two_boxes: np.ndarray,
    tmp_path: Path,
    descriptions: tuple[str | None, str | None],
    names: tuple[str, str],
) -> None:
    def edit(seg: Dataset) -> None:
        for segment, description in zip(seg.SegmentSequence, descriptions, strict=True):
            del segment.SegmentDescription
            if description is not None:
                segment.SegmentDescription = description

    assert decode_segmentation(edited(edit), volume, tmp_path / "back.nii") == {1: names[0], 2: names[1]}
    back = labels_on_frames(tmp_path / "back.nii", volume)
    assert np.array_equal(back == 1, two_boxes == 1)
    assert np.array_equal(back == 2, two_boxes == 6)


def test_segmentation_with_more_segments_than_a_label_map_holds_is_refused(
    edited: Callable[[Edit], Path], volume: Volume
) -> None:
    def edit(seg: Dataset) -> None:
        seg.SegmentSequence = [deepcopy(seg.SegmentSequence[0]) for _ in range(256)]

    with pytest.raises(LabelsDoNotFit, match="255"):
        read_segmentation(edited(edit), volume)
