"""Every code, meaning and side is checked against pydicom's dictionaries, since a wrong one is believed."""

import re
from collections import Counter, defaultdict

import pytest
from pydicom.sr import _concepts_dict

from converter.terminology import Code, Structure, UnknownTask, label_table, structure, tasks

TASKS = ("total", "total_mr", "tissue")
NAMES = sorted({name for task in TASKS for name in label_table(task).values()})

NOT_IN_PYDICOM = {
    # SNOMED CT concepts beyond DICOM's subset, which is all that pydicom knows; as TotalSegmentator has them.
    "48535007": "First rib", "78247007": "Second rib", "25888004": "Third rib", "25523003": "Fourth rib",
    "15339008": "Fifth rib", "59558009": "Sixth rib", "24915002": "Seventh rib", "5953002": "Eighth rib",
    "22565002": "Ninth rib", "77644006": "Tenth rib", "58830002": "Eleventh rib", "43993008": "Twelfth rib",
    "110765007": "Portal vein and splenic vein", "181674001": "Gluteus maximus muscle",
    "78333006": "Gluteus medius muscle", "75297007": "Gluteus minimus muscle",
    "244849004": "Deep muscle of back", "68455001": "Iliopsoas muscle", "65985001": "S1 vertebra",
    "68786006": "Auricular appendage",
}  # fmt: skip
SAME_THING = {
    ("123037004", "Anatomical Structure"),  # DICOM's CID 7150 calls "body structure" so
    ("55603005", "Adipose tissue"),  # pydicom: Fat
}
SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}


def dictionary() -> dict[str, set[str]]:
    meanings: dict[str, set[str]] = defaultdict(set)
    for entry in _concepts_dict.concepts["SCT"].values():
        for value, (meaning, _) in entry.items():
            meanings[value].add(meaning)
    return meanings


MEANINGS = dictionary()


def codes_of(found: Structure) -> list[Code]:
    codes = [found.category, found.type, found.type_modifier, found.region, found.region_modifier]
    return [code for code in codes if code is not None and code.scheme == "SCT"]


def stems(meaning: str) -> set[str]:
    words = re.findall("[a-z0-9]+", meaning.lower())
    return {word[:4] for word in words} - {"stru", "body", "of", "the", "and", "part", "regi"}


@pytest.mark.parametrize("name", NAMES)
def test_code_of_a_structure_means_what_the_dictionary_says(name: str) -> None:
    for code in codes_of(structure(name)):
        if code.value in NOT_IN_PYDICOM:
            assert code.value not in MEANINGS, "pydicom knows it by now: take it off the list"
            assert code.meaning == NOT_IN_PYDICOM[code.value]
        elif (code.value, code.meaning) not in SAME_THING:
            assert any(stems(code.meaning) & stems(meaning) for meaning in MEANINGS[code.value]), code


@pytest.mark.parametrize("name", [name for name in NAMES if re.search(r"_(left|right)(_|$)", name)])
def test_side_of_a_structure_is_said_once_and_is_its_own(name: str) -> None:
    side = "left" if re.search(r"_left(_|$)", name) else "right"
    other = "right" if side == "left" else "left"
    found = structure(name)
    modifiers = [code for code in (found.type_modifier, found.region_modifier) if code is not None]
    meanings = {found.type.meaning, *MEANINGS[found.type.value]}
    words = {word for meaning in meanings for word in meaning.lower().split()}
    assert other not in words
    assert all(code != SIDES[other] for code in modifiers)
    assert SIDES[side] in modifiers or side in words


@pytest.mark.parametrize("name", [name for name in NAMES if not re.search(r"_(left|right)(_|$)", name)])
def test_structure_without_a_side_names_none(name: str) -> None:
    found = structure(name)
    assert not {found.type_modifier, found.region_modifier} & set(SIDES.values())


@pytest.mark.parametrize("task", TASKS)
def test_structures_of_a_task_differ_in_code_and_colour(task: str) -> None:
    found = [structure(name) for name in label_table(task).values()]
    codes = Counter((s.type, s.type_modifier, s.region, s.region_modifier) for s in found)
    assert max(codes.values()) == 1
    assert max(Counter(s.rgb for s in found).values()) == 1


def test_label_tables_have_every_structure_of_their_task() -> None:
    assert len(label_table("total")) == 117
    assert len(label_table("total_mr")) == 50
    assert label_table("total")[1] == "spleen"
    assert label_table("tissue")[5] == "lung_left"
    assert set(TASKS) <= set(tasks())


@pytest.mark.parametrize("task", tasks())
def test_label_table_of_any_task_fits_a_byte(task: str) -> None:
    table = label_table(task)
    assert all(1 <= value <= 255 for value in table)
    assert all(structure(name).rgb for name in table.values())


def test_only_the_discs_of_the_known_tasks_are_private() -> None:
    assert [name for name in NAMES if structure(name).is_private] == ["intervertebral_discs"]


def test_left_subclavian_artery_does_not_have_the_code_of_the_right_one() -> None:
    left, right = structure("subclavian_artery_left"), structure("subclavian_artery_right")
    assert left.type == right.type == Code("36765005", "SCT", "Subclavian artery")
    assert (left.type_modifier, right.type_modifier) == (SIDES["left"], SIDES["right"])


def test_name_without_a_code_gets_the_same_private_one_each_time() -> None:
    found = structure("flux_capacitor")
    assert found == structure("flux_capacitor")
    assert found.is_private
    assert found.type.scheme == "99IRIS"
    assert len(found.type.value) <= 16
    assert structure("x" * 200).type != structure("x" * 201).type
    assert len(structure("x" * 200).type.meaning) <= 64


def test_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownTask, match="total_mr"):
        label_table("nothing")
