"""Which segmentations that come in are corrections of our result, and which are somebody else's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from gateway.ledger.states import CorrectionState
from tests.edited import as_dcmjs_does, by_dcmqi

Change = Callable[[Dataset], None]


def smaller_liver(site: Any) -> dict[str, np.ndarray]:
    """Our masks, of the liver a slice less."""
    masks = site.masks
    masks["Liver"] = masks["Liver"].copy()
    masks["Liver"][6] = False
    return masks


def dice_of(correction: Any) -> dict[str, float | None]:
    return {one.structure: one.dice for one in correction.structures}


@pytest.mark.parametrize("is_compressed", [False, True])
def test_segmentation_edited_in_ohif_is_linked_by_its_labels_and_compared(
    site: Any, tmp_path: Path, is_compressed: bool
) -> None:
    masks = smaller_liver(site)
    site.receive(as_dcmjs_does(site.volume, masks, tmp_path / "e.dcm", is_compressed=is_compressed))
    (correction,) = site.look()
    assert (correction.state, correction.evidence) == (CorrectionState.COMPARED, "labels")
    assert dice_of(correction) == {"liver": round(10 / 11, 4), "spleen": 1.0, "kidney_right": 1.0}
    liver = correction.structures[0]
    slice_ml = 20 * 20 * 5 * 5 * 5 / 1000
    assert (liver.volume_ml, liver.corrected_ml, liver.change_ml) == (6 * slice_ml, 5 * slice_ml, -slice_ml)
    assert site.waiting() == 0


def test_predecessor_links_a_segmentation_whatever_its_labels(site: Any, tmp_path: Path) -> None:
    masks = {"Segment 1": site.masks["Liver"]}
    site.receive(as_dcmjs_does(site.volume, masks, tmp_path / "e.dcm", predecessor=site.ours))
    (correction,) = site.look()
    assert correction.evidence == "reference"
    assert [(one.structure, one.is_new, one.dice) for one in correction.structures] == [
        ("liver", False, None), ("spleen", False, None), ("kidney_right", False, None),
        ("Segment 1", True, None),
    ]  # fmt: skip


def test_correction_that_was_edited_once_more_is_linked_by_the_first(site: Any, tmp_path: Path) -> None:
    first = as_dcmjs_does(site.volume, smaller_liver(site), tmp_path / "first.dcm", predecessor=site.ours)
    site.receive(first)
    site.look()
    masks = {"Segment 1": site.masks["Liver"]}
    site.receive(as_dcmjs_does(site.volume, masks, tmp_path / "second.dcm", predecessor=first))
    assert [one.evidence for one in site.look()] == ["reference", "reference"]


def test_segmentation_that_dcmqi_put_together_again_is_linked_and_compared(site: Any, tmp_path: Path) -> None:
    def edit(label: str, voxels: np.ndarray) -> None:
        if label == "Spleen":
            voxels[voxels.nonzero()[0].min()] = 0

    site.receive(by_dcmqi(site.ours, site.folder / "study", tmp_path / "dcmqi", edit))
    (correction,) = site.look()
    found = dice_of(correction)
    assert correction.state is CorrectionState.COMPARED
    assert (found["liver"], found["kidney_right"]) == (1.0, 1.0)
    assert 0.8 < (found["spleen"] or 0) < 1.0


def _copy(site: Any, out: Path, change: Change) -> Path:
    """Ours with another UID, changed."""
    seg = dcmread(site.ours)
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    seg.SeriesInstanceUID = generate_uid()
    change(seg)
    seg.save_as(out)
    return out


def _made_by_somebody(seg: Dataset) -> None:
    seg.Manufacturer = "Viewers"
    seg.ContributingEquipmentSequence = []


def _without_labels(seg: Dataset) -> None:
    _made_by_somebody(seg)
    for number, segment in enumerate(seg.SegmentSequence):
        segment.SegmentLabel, segment.TrackingID = f"Segment {number}", f"T{number}"


def _without_tracking(seg: Dataset) -> None:
    seg.Manufacturer = "Viewers"
    for segment in seg.SegmentSequence:
        del segment.TrackingUID, segment.TrackingID


def _first_frame_emptied(seg: Dataset) -> None:
    pixels = seg.pixel_array
    pixels[0] = 0
    seg.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        pytest.param(_without_labels, "tracking", id="tracking-uids"),
        pytest.param(_without_tracking, "equipment", id="contributing-equipment"),
        pytest.param(_first_frame_emptied, "tracking", id="a-copy-with-other-pixels"),
    ],
)
def test_segmentation_that_keeps_something_of_ours_is_linked_by_it(
    site: Any, tmp_path: Path, change: Change, evidence: str
) -> None:
    site.receive(_copy(site, tmp_path / "copy.dcm", change))
    assert [one.evidence for one in site.look()] == [evidence]


def _another_product(seg: Dataset) -> None:
    for segment in seg.SegmentSequence:
        segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", "Other Product"


def _of_other_images(seg: Dataset) -> None:
    for item in (*seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence, *_sources(seg)):
        item.ReferencedSOPInstanceUID = generate_uid()


def _sources(seg: Dataset) -> list[Dataset]:
    return [
        frame.DerivationImageSequence[0].SourceImageSequence[0]
        for frame in seg.PerFrameFunctionalGroupsSequence
    ]


def _shifted(mask: np.ndarray) -> np.ndarray:
    return np.roll(mask, 1, axis=2)


@pytest.mark.parametrize(
    ("labels", "change"),
    [
        pytest.param({"Lesion": "Liver"}, None, id="a-lesion-by-hand"),
        pytest.param({"Liver": "Liver"}, None, id="one-organ-by-hand"),
        pytest.param({"Liver": "Liver", "Spleen": "Spleen"}, _another_product, id="another-product"),
        pytest.param({"Liver": "Liver", "Spleen": "Spleen"}, _of_other_images, id="other-images"),
    ],
)
def test_segmentation_of_somebody_else_is_no_correction(
    site: Any, tmp_path: Path, labels: dict[str, str], change: Change | None
) -> None:
    masks = {label: _shifted(site.masks[ours]) for label, ours in labels.items()}
    options = {} if change is None else {"change": change}
    uid = site.receive(as_dcmjs_does(site.volume, masks, tmp_path / "other.dcm", **options))
    site.complete()
    assert (site.look(), site.waiting()) == ([], 0)
    (kept,) = site.ledger.read("SELECT * FROM instances WHERE sop_instance_uid = ?", (uid,))
    assert (kept["of_use"], kept["why_not"]) == (0, "not a CT or MR image")


def test_one_organ_saved_alone_is_a_correction_where_slices_are_as_ours(site: Any, tmp_path: Path) -> None:
    masks = {"Liver": smaller_liver(site)["Liver"]}
    site.receive(as_dcmjs_does(site.volume, masks, tmp_path / "e.dcm"))
    (correction,) = site.look()
    assert dice_of(correction) == {"liver": round(10 / 11, 4), "spleen": None, "kidney_right": None}


def test_another_gateways_own_result_is_no_correction(site: Any, tmp_path: Path) -> None:
    site.receive(_copy(site, tmp_path / "copy.dcm", lambda seg: None))
    site.complete()
    assert (site.look(), site.waiting()) == ([], 0)
