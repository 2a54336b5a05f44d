"""Tables of one's own labels, as models bring them along."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from converter import encode_array, read_series
from converter.errors import UnusableLabels
from converter.labels import Labels
from converter.terminology import Code, structure

ORGANS = {1: "liver", 2: "spleen"}
NNUNET_2 = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": [2], "ignore": 3}}
DECATHLON = {"name": "Liver", "labels": {"0": "background", "1": "liver", "2": "spleen"}, "training": []}
MONAI_CHANNELS = {"0": "Background", "1": "liver", "2": "spleen"}

Written = Callable[[Any], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a table: a text as CSV, else as JSON."""

    def write(content: Any) -> Path:
        path = tmp_path / ("names.CSV" if isinstance(content, str) else "names.json")
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8-sig")
        return path

    return write


def monai(channels: dict[str, str], **others: object) -> dict[str, Any]:
    """A bundle's metadata.json."""
    outputs = {"pred": {"channel_def": channels}, **others}
    return {"version": "1", "network_data_format": {"inputs": {}, "outputs": outputs}}


@pytest.mark.parametrize(
    "content",
    [
        {"1": "liver", "2": "spleen"},
        {"liver": 1, "spleen": 2},
        {"0": "background", "1": {"name": " liver "}, "2": "spleen"},
        NNUNET_2,
        DECATHLON,
        monai(MONAI_CHANNELS),
        monai(MONAI_CHANNELS, score={"type": "number"}),
        "value,name\n1,liver\n2,spleen\n",
        "Name;Value;who looked at it\nliver;1;\n;;\nspleen;2;nobody\n",
    ],
)
def test_table_in_any_form_gives_the_same_names(written: Written, content: Any) -> None:
    assert Labels.read(str(written(content))) == Labels(ORGANS)


CODED = {"category": "49755003 Morphologically Abnormal Structure", "type": "27925004 Nodule"}
PLACED = {**CODED, "type_modifier": "24028007 Right", "region": "RADLEX:RID1301 Lung", "rgb": [255, 0, 7]}


@pytest.mark.parametrize(
    "content",
    [
        {"3": {"name": "node", **PLACED}},
        "value,name,category,type,type_modifier,region,rgb\n3,node,49755003 Morphologically Abnormal "
        "Structure,27925004 Nodule,24028007 Right,RADLEX:RID1301 Lung,255 0 7\n",
    ],
)
def test_codes_and_colour_of_a_table_are_those_of_its_structures(written: Written, content: Any) -> None:
    node = Labels.read(written(content)).structures["node"]
    assert node.type == Code("27925004", "SCT", "Nodule")
    assert node.category.meaning == "Morphologically Abnormal Structure"
    assert node.region == Code("RID1301", "RADLEX", "Lung")
    assert (node.words, node.rgb, node.is_private) == (
        "Nodule of lung, Right".lower().capitalize(),
        (255, 0, 7),
        False,
    )


def test_structure_with_a_colour_alone_keeps_the_codes_that_are_known(written: Written) -> None:
    liver = Labels.read(written({"1": {"name": "liver", "rgb": "1 2 3"}})).structures["liver"]
    assert (liver.type, liver.rgb) == (structure("liver").type, (1, 2, 3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "is no JSON object of values and names"),
        ({}, "names no value"),
        ({"0": "background"}, "names no value"),
        ({"0": "liver"}, "0 is no value from 1 to 255 with a name"),
        ({"256": "liver"}, "256 is no value from 1 to 255"),
        ({"1": 5}, "1 is no value from 1 to 255 with a name"),
        ({"1": "a\\b"}, "1 is no value"),
        ({"liver": "1"}, "is no JSON object of values and names"),
        ({"liver": True}, "is no JSON object of values and names"),
        ({"1": "rib", "2": "rib"}, "calls two values rib"),
        ({"01": "rib", "1": "liver"}, "names the value 1 twice"),
        ({"labels": {"background": 0, "whole tumor": [1, 2], "core": 2}}, "regions overlap"),
        (monai({"0": "tumor core", "1": "whole tumor"}), "what the values of its label maps"),
        (monai(MONAI_CHANNELS, two={"channel_def": MONAI_CHANNELS}), "what the values of its label maps"),
        ({"network_data_format": 1}, "what the values of its label maps"),
        ({"1": {"name": "node", "type": "27925004 Nodule"}}, "codes, but not both category and type"),
        ({"1": {"name": "node", **CODED, "type": "RID58 Liver"}}, "node has a code that is no SNOMED"),
        ({"1": {"name": "node", **CODED, "type": "27925004"}}, "node has a code that is no SNOMED"),
        ({"1": {"name": "node", "rgb": [1, 2, 256]}}, "the rgb of node is not three numbers"),
        ("", "first line is value,name"),
        ("1,liver\n", "first line is value,name"),
        (f'value,name\n1,"{"liver" * 50_000}"\n', "first line is value,name"),
        ("value,name\n1.0,liver\n", "line 2: 1.0 is no value"),
        ("value,name\n1,kidney, right\n", "line 2: there are more columns"),
    ],
)  # fmt: skip
def test_table_that_is_wrong_is_refused_with_a_sentence(written: Written, content: Any, words: str) -> None:
    with pytest.raises(UnusableLabels, match=words):
        Labels.read(written(content))


def test_table_that_says_a_value_twice_or_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    for content, words in (
        (b'{"1": "liver", "1": "spleen"}', "under one key"),
        (b'{"1": "h\xedgado"}', "no text in UTF-8"),
        (b"1 liver", "is no JSON object"),
        (b"[" * 100_000, "is no JSON object"),
    ):
        path.write_bytes(content)
        with pytest.raises(UnusableLabels, match=words):
            Labels.read(path)


def test_codes_in_letters_that_the_images_do_not_have_are_read_as_they_were_written(
    written: Written, make_series: Callable[..., Path], tmp_path: Path
) -> None:
    coded = {"category": "99OURS:C Орган", "type": "99OURS:T Higado", "type_modifier": "99OURS:M Medio"}
    labels = Labels.read(written({"1": {"name": "higado", **coded, "region": "99OURS:R Torso"}}))
    volume = read_series(
        make_series(edit=lambda image, _: setattr(image, "SpecificCharacterSet", "ISO_IR 100"))
    )
    array = np.ones((len(volume.frames), volume.rows, volume.columns), np.uint8)
    encode_array(volume, array, tmp_path / "seg.dcm", labels)
    (segment,) = dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Орган"
