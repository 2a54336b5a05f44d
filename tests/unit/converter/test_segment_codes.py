"""What a segment says of its structure is what the terminology says: sides above all."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from batch_job.contract import engine_facts
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.series import read_series
from converter.terminology import Code, structure

MakeSeries = Callable[..., Path]
TASKS = engine_facts("totalsegmentator").tasks


@pytest.fixture
def segments(
    make_series: MakeSeries, settings: SegmentationSettings, tmp_path: Path
) -> Callable[[str], list[Dataset]]:
    """The segments of a segmentation with every structure of a task, a voxel each."""

    def encoded(task: str) -> list[Dataset]:
        table = TASKS[task].labels
        labels = np.zeros((6, 16, 24), np.uint8)
        labels.ravel()[: len(table)] = sorted(table)
        volume = read_series(make_series())
        encode_segmentation(volume, labels, table, settings, tmp_path / f"{task}.dcm")
        return list(dcmread(tmp_path / f"{task}.dcm").SegmentSequence)

    return encoded


def code_in(item: Dataset, keyword: str) -> Code | None:
    if keyword not in item:
        return None
    (code,) = item[keyword].value
    return Code(code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning)


@pytest.mark.parametrize("task", ["total", "total_mr", "kidney_cysts"])
def test_segment_has_every_code_of_its_structure(segments: Callable[[str], list[Dataset]], task: str) -> None:
    found = segments(task)
    assert [segment.TrackingID for segment in found] == [
        TASKS[task].labels[v] for v in sorted(TASKS[task].labels)
    ]
    for segment in found:
        expected = structure(segment.TrackingID)
        assert segment.SegmentLabel == expected.words
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        region = segment.AnatomicRegionSequence[0] if "AnatomicRegionSequence" in segment else Dataset()
        assert code_in(segment, "SegmentedPropertyCategoryCodeSequence") == expected.category
        assert code_in(segment, "SegmentedPropertyTypeCodeSequence") == expected.type
        assert code_in(kind, "SegmentedPropertyTypeModifierCodeSequence") == expected.type_modifier
        assert code_in(segment, "AnatomicRegionSequence") == expected.region
        assert code_in(region, "AnatomicRegionModifierSequence") == expected.region_modifier


def test_segments_of_two_sides_say_their_side(segments: Callable[[str], list[Dataset]]) -> None:
    """Whatever the table says: no left structure has all the codes of its right one."""
    by_name = {segment.TrackingID: segment for segment in segments("total")}
    other_side = {name: name.replace("_left", "_right") for name in by_name if "_left" in name}
    pairs = [(left, right) for left, right in other_side.items() if right in by_name]
    assert len(pairs) > 30
    for left, right in pairs:
        assert side_codes(by_name[left]) != side_codes(by_name[right])


def side_codes(segment: Dataset) -> list[Code | None]:
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    region = segment.AnatomicRegionSequence[0] if "AnatomicRegionSequence" in segment else Dataset()
    return [
        code_in(segment, "SegmentedPropertyTypeCodeSequence"),
        code_in(kind, "SegmentedPropertyTypeModifierCodeSequence"),
        code_in(segment, "AnatomicRegionSequence"),
        code_in(region, "AnatomicRegionModifierSequence"),
    ]
