"""Every code, meaning and side is checked against pydicom's dictionaries, since a wrong one is believed.

Those are DICOM's own (PS3.16). What they do not know is listed here by code, with where else it stands.
"""

import csv
import json
import re
from collections import defaultdict
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.sr import _concepts_dict

from batch_job.contract import engines
from batch_job.preview import colours as preview_colours
from converter.codes import corrections
from converter.codes.build import UpstreamChanged, build
from converter.codes.palette import PALETTE
from converter.colours import cielab_of
from converter.terminology import (
    PRIVATE_CATEGORY,
    PRIVATE_SCHEME,
    Code,
    Structure,
    structure,
    structure_names,
)

TEXT = resources.files("converter.codes").joinpath("codes.json").read_text(encoding="utf-8")
CODED = [structure(name) for name in structure_names()]
TABLES = {name: task.labels for facts in engines().values() for name, task in facts.tasks.items()}
"""Label value to structure name, by task, of all engines."""
FAR_APART = 20.0
"""In CIELab."""
SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}

ORDINALS = ["First", "Second", "Third", "Fourth", "Fifth", "Sixth"]
ORDINALS += ["Seventh", "Eighth", "Ninth", "Tenth", "Eleventh", "Twelfth"]

TG263 = "named so in HL7's map of TG-263 to SNOMED CT"
CURATED = "in the tables of TotalSegmentator and MOOSE alike, which the Imaging Data Commons' curators keep"
OUTSIDE_DICOM = {
    # SNOMED CT beyond DICOM's subset: code: (meaning, where else it stands)
    "48535007": ("First rib", TG263),
    "78247007": ("Second rib", TG263),
    "25888004": ("Third rib", TG263),
    "25523003": ("Fourth rib", TG263),
    "15339008": ("Fifth rib", TG263),
    "59558009": ("Sixth rib", TG263),
    "24915002": ("Seventh rib", TG263),
    "5953002": ("Eighth rib", TG263),
    "22565002": ("Ninth rib", TG263),
    "77644006": ("Tenth rib", TG263),
    "58830002": ("Eleventh rib", TG263),
    "43993008": ("Twelfth rib", TG263),
    "65985001": ("S1 vertebra", TG263),
    "3572006": ("Vertebral body", TG263),
    "206007": ("Gluteus maximus muscle", "New Zealand's value sets, TotalSegmentator's pull request 612"),
    "78333006": ("Gluteus medius muscle", "New Zealand's value sets"),
    "75297007": ("Gluteus minimus muscle", CURATED),
    "68455001": ("Iliopsoas muscle", CURATED),
    "244849004": ("Deep muscle of back", CURATED),
    "110765007": ("Portal vein and splenic vein", CURATED),
    "68786006": ("Auricular appendage", "the tissue table of PixelMed's scripts"),
    "67769002": ("Subcutaneous fatty tissue", "the tissue table of PixelMed's scripts"),
    "74281007": ("Myocardium", "Germany's MII profiles: Myocardium structure"),
    "91381003": ("Pleural cavity", "maps of RadLex to SNOMED CT"),
    "83936004": ("Bone structure of carpus", "UMLS's examples"),
    "53884002": ("Metatarsal", CURATED),
    "28641004": ("Phalanx structure", "TotalSegmentator's table only"),
    "47351003": ("Infiltrate", "TotalSegmentator's table only"),
    "840539006": ("COVID-19", "TotalSegmentator's table only"),
}
SAID_OTHERWISE = {
    # DICOM's meaning has other words for the same thing: code: (ours, DICOM's)
    "87878005": ("Left ventricle of heart", "Left ventricle"),
    "53085002": ("Right ventricle of heart", "Right ventricle"),
    "36455000": ("Metacarpal bones", "Metacarpal"),
    "108371006": ("Tarsal bones", "Bone structure of tarsus (body structure)"),
    "69748006": ("Thyroid gland", "Thyroid"),
}
NAMED_OTHERWISE = {
    # Words of TotalSegmentator's names that are in no meaning of the codes: name without side: words
    "adipose_tissue": {"adipose", "tissue"},  # Fat
    "atrial_appendage": {"atrial"},  # auricular
    "autochthon": {"autochthon"},  # the deep muscles of the back
    "body_extremities": {"body"},
    "body_trunc": {"body"},
    "heart_atrium": {"heart"},
    "heart_myocardium": {"heart"},
    "iliac_vena": {"vena"},  # vein
    "intracerebral_hemorrhage": {"intracerebral"},  # of the brain
    "lung_pleural": {"lung"},
    "lung_trachea_bronchia": {"lung"},
    "phalanges_feet": {"feet"},  # foot
    "small_bowel": {"bowel"},  # intestine
    "subcutaneous_fat": {"fat"},  # fatty
    "torso_fat": {"torso"},  # trunk
}


def dictionary() -> tuple[dict[str, set[str]], dict[str, set[str]], dict[str, set[int]]]:
    meanings, codes, groups = defaultdict(set), defaultdict(set), defaultdict(set)
    for entry in _concepts_dict.concepts["SCT"].values():
        for value, (meaning, contexts) in entry.items():
            meanings[value].add(meaning)
            codes[meaning].add(value)
            groups[value].update(contexts)
    return meanings, codes, groups


MEANINGS, CODES_OF, CONTEXT_GROUPS = dictionary()


def codes_of(found: Structure) -> list[Code]:
    codes = [found.category, found.type, found.type_modifier, found.region, found.region_modifier]
    return [code for code in codes if code is not None]


USED = sorted({code for found in CODED for code in codes_of(found)}, key=lambda code: code.meaning)


def plain(meaning: str) -> str:
    """A meaning without what SNOMED CT's full names put around it."""
    text = re.sub(r" \(.*\)$", "", meaning.lower())
    text = re.sub(r"^(bone )?structure of ", "", text)
    return re.sub(r" (structure|region structure)$", "", text)


def side_of(name: str) -> str | None:
    found = re.search(r"(?:^|_)(left|right)(?:_|$)", name)
    return found[1] if found else None


def check_digit_fits(value: str) -> bool:
    """Whether the last digit is Verhoeff's of the others, as in every SNOMED CT identifier.

    The digits are symmetries of a pentagon: 0 to 4 turn it, 5 to 9 turn and mirror it.
    """

    def joined(first: int, second: int) -> int:
        turn = first % 5 + (second % 5 if first < 5 else -(second % 5))
        return turn % 5 + 5 * ((first < 5) != (second < 5))

    step = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    total = 0
    for place, digit in enumerate(reversed(value)):
        turned = int(digit)
        for _ in range(place % 8):
            turned = step[turned]
        total = joined(total, turned)
    return total == 0


@pytest.mark.parametrize("code", USED, ids=lambda code: code.meaning)
def test_code_in_use_means_what_the_dictionary_says(code: Code) -> None:
    assert code.scheme == "SCT"
    assert check_digit_fits(code.value)
    if code.value in OUTSIDE_DICOM:
        assert code.value not in MEANINGS, "pydicom knows it by now: take it off the list"
        assert code.meaning == OUTSIDE_DICOM[code.value][0]
    elif code.value in SAID_OTHERWISE:
        ours, theirs = SAID_OTHERWISE[code.value]
        assert code.meaning == ours
        assert theirs in MEANINGS[code.value]
    else:
        assert plain(code.meaning) in {plain(meaning) for meaning in MEANINGS[code.value]}


@pytest.mark.parametrize("code", USED, ids=lambda code: code.meaning)
def test_meaning_in_use_is_not_that_of_another_code(code: Code) -> None:
    assert code.value in CODES_OF.get(code.meaning, {code.value})


def test_lists_of_exceptions_hold_nothing_that_is_not_used() -> None:
    used = {code.value for code in USED}
    assert set(OUTSIDE_DICOM) <= used
    assert set(SAID_OTHERWISE) <= used


@pytest.mark.parametrize("value", ["7771000", "24028007", "91723000", "39607008", "51282000"])
def test_check_digit_of_any_changed_code_does_not_fit(value: str) -> None:
    assert check_digit_fits(value)
    for place, digit in enumerate(value):
        changed = value[:place] + str((int(digit) + 1) % 10) + value[place + 1 :]
        assert not check_digit_fits(changed)


@pytest.mark.parametrize("found", CODED, ids=lambda found: found.name)
def test_words_of_a_name_are_in_its_codes(found: Structure) -> None:
    """So that a right code does not stand with a wrong structure."""
    said = {stem(word) for code in codes_of(found)[1:] for word in told_by(code)}
    missing = {word for word in words(found.name) if not word.isdigit() and stem(word) not in said}
    assert missing == NAMED_OTHERWISE.get(re.sub("_(left|right)$", "", found.name), set())


def stem(word: str) -> str:
    return word.removesuffix("s")[:4]


def told_by(code: Code) -> set[str]:
    """Every word of a code's meanings, ours and the dictionary's."""
    return {word for text in (code.meaning, *MEANINGS[code.value]) for word in words(plain(text))}


def words(text: str) -> list[str]:
    return re.findall("[a-z0-9-]+", text.lower().replace("_", " "))


def test_ribs_and_vertebrae_carry_their_own_numbers() -> None:
    for number, ordinal in enumerate(ORDINALS, start=1):
        for side in SIDES:
            assert structure(f"rib_{side}_{number}").type.meaning == f"{ordinal} rib"
    levels = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]
    for level in [*levels, "S1"]:
        assert structure(f"vertebrae_{level}").type.meaning == f"{level} vertebra"


@pytest.mark.parametrize("found", [f for f in CODED if side_of(f.name)], ids=lambda found: found.name)
def test_side_of_a_structure_is_its_own_and_never_the_other(found: Structure) -> None:
    side = side_of(found.name)
    assert side is not None
    (other,) = SIDES.keys() - {side}
    modifiers = {found.type_modifier, found.region_modifier}
    told = told_by(found.type) | (told_by(found.region) if found.region else set())
    assert other not in told
    assert SIDES[other] not in modifiers
    assert SIDES[side] in modifiers or side in told


@pytest.mark.parametrize("found", [f for f in CODED if not side_of(f.name)], ids=lambda found: found.name)
def test_structure_without_a_side_names_none(found: Structure) -> None:
    assert not {found.type_modifier, found.region_modifier} & set(SIDES.values())
    assert not SIDES.keys() & told_by(found.type)


@pytest.mark.parametrize("found", CODED, ids=lambda found: found.name)
def test_category_of_a_structure_is_one_under_which_dicom_lists_its_type(found: Structure) -> None:
    listed_under = {  # PS3.16 CID 7150 and the context groups of types for its categories
        "85756007": 7191,
        "91723000": 7192,
        "260787004": 7193,
        "49755003": 7194,
        "91720002": 7197,
    }
    assert found.category.value in listed_under
    assert 7150 in CONTEXT_GROUPS[found.category.value]
    types_groups = CONTEXT_GROUPS[found.type.value] & set(listed_under.values())
    assert not types_groups or listed_under[found.category.value] in types_groups


@pytest.mark.parametrize("task", TABLES)
def test_structures_of_a_task_differ_in_codes_and_colours(task: str) -> None:
    table = TABLES[task]
    found = [structure(name) for name in table.values()]
    for one, other in combinations(found, 2):
        assert (one.type, one.type_modifier, one.region, one.region_modifier) != (
            other.type,
            other.type_modifier,
            other.region,
            other.region_modifier,
        ), f"{one.name} and {other.name}"
        assert one.rgb != other.rgb, f"{one.name} and {other.name}"
    assert all(0 <= part <= 255 for s in found for part in s.rgb)


def test_label_table_of_total_puts_each_name_where_its_anatomy_is(data: Path) -> None:
    """In what the real model found; a table of another version has right names on wrong organs."""
    image = nib.load(data / "ct-torso-3mm" / "labels.nii.gz")
    labels = np.asarray(image.dataobj)
    table = TABLES["total"]
    middle_mm = {
        table[int(value)]: image.affine @ [*np.argwhere(labels == value).mean(axis=0), 1]  # RAS
        for value in np.unique(labels[labels > 0])
    }
    assert len(middle_mm) == 41
    cord_mm = middle_mm["spinal_cord"]
    to_the_right_mm = {name: at[0] - cord_mm[0] for name, at in middle_mm.items()}
    sided = [name for name in middle_mm if side_of(name)]
    assert len(sided) > 20
    for name in sided:
        assert (to_the_right_mm[name] > 0) == (side_of(name) == "right"), name
    assert to_the_right_mm["liver"] > 0 > to_the_right_mm["spleen"]
    assert to_the_right_mm["inferior_vena_cava"] > to_the_right_mm["aorta"]
    spine = [middle_mm[f"vertebrae_{level}"][2] for level in ("L2", "L1", "T12", "T11")]
    assert spine == sorted(spine)


def test_only_the_discs_of_the_known_tasks_are_private() -> None:
    names = {name for task in ("total", "total_mr", "tissue") for name in TABLES[task].values()}
    assert [name for name in sorted(names) if structure(name).is_private] == ["intervertebral_discs"]


def test_left_subclavian_artery_does_not_have_the_code_of_the_right_one() -> None:
    for side, code in SIDES.items():
        found = structure(f"subclavian_artery_{side}")
        assert found.type == Code("36765005", "SCT", "Subclavian artery")
        assert found.type_modifier == code


def test_cyst_of_a_kidney_has_its_side_at_the_region() -> None:
    for side, code in SIDES.items():
        found = structure(f"kidney_cyst_{side}")
        assert (found.type.meaning, found.type_modifier) == ("Cyst", None)
        assert (found.region, found.region_modifier) == (Code("64033007", "SCT", "Kidney"), code)


# -- private codes ------------------------------------------------------------------------------------------


def test_name_without_a_code_gets_the_same_private_one_each_time() -> None:
    found = structure("flux_capacitor_left")
    assert found == structure("flux_capacitor_left")
    assert found.is_private
    assert found.type == Code("8FA84EE1A848", PRIVATE_SCHEME, "flux capacitor left")
    assert found.category == PRIVATE_CATEGORY
    assert found.type_modifier is found.region is found.region_modifier is None


@pytest.mark.parametrize("name", ["x" * 200, "x" * 63 + "_y", "größe", "a\\b\nc", "", "_", "\udcff", "^=&"])
def test_private_code_of_any_name_is_valid_in_dicom(name: str) -> None:
    found = structure(name).type
    assert re.fullmatch("[0-9A-F]{1,16}", found.value)
    assert re.fullmatch(r"[^\\\x00-\x1f\ud800-\udfff]{1,64}", found.meaning)
    assert found.meaning == found.meaning.strip()
    assert len(found.scheme) <= 16


def test_private_code_means_what_the_name_says_in_any_script() -> None:
    assert [structure(name).type.meaning for name in ("größe_links", "脾臓")] == ["größe links", "脾臓"]


def test_private_codes_of_names_that_begin_alike_differ() -> None:
    assert structure("x" * 200).type.value != structure("x" * 201).type.value


def test_private_codes_of_all_tasks_differ() -> None:
    names = {name for task in TABLES for name in TABLES[task].values()}
    private = [structure(name) for name in names if structure(name).is_private]
    assert len({found.type.value for found in private}) == len(private) > 100


# -- the data file ------------------------------------------------------------------------------------------


def test_data_file_says_where_it_comes_from_and_is_sorted() -> None:
    content = json.loads(TEXT)
    assert content["source"]["package"] == "TotalSegmentator"
    assert content["source"]["licence"] == "Apache-2.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", content["source"]["version"])
    names = list(content["structures"])
    assert names == sorted(set(names))
    assert all(f'\n  "{name}": {{' in TEXT for name in names), "one line a structure"


def test_data_file_was_built_with_the_corrections_that_are_there() -> None:
    content = json.loads(TEXT)
    codes = {tuple(c) for row in content["structures"].values() for part, c in row.items() if part != "rgb"}
    assert not codes & set(corrections.REPLACED_CODES)
    assert set(corrections.REPLACED_CODES.values()) <= codes
    for name, row in {**corrections.REPLACED_ROWS, **corrections.ADDED_ROWS}.items():
        found = structure(name)
        assert (found.category.value, found.category.meaning) == row.category
        assert (found.type.value, found.type.meaning) == row.type
        assert row.rgb in (None, found.rgb)


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A package like TotalSegmentator's, in which nothing is left to correct."""
    sequences = [
        "SegmentedPropertyCategoryCodeSequence",
        "SegmentedPropertyTypeCodeSequence",
        "SegmentedPropertyTypeModifierCodeSequence",
        "AnatomicRegionSequence",
        "AnatomicRegionModifierSequence",
    ]
    parts = ["CodingSchemeDesignator", "CodeValue", "CodeMeaning"]
    table = tmp_path / "totalsegmentator" / "resources" / "totalsegmentator_snomed_mapping.csv"
    table.parent.mkdir(parents=True)
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Structure", *(f"{s}.{p}" for s in sequences for p in parts), "DicomRGBColor"])
        codes = ["SCT", "91723000", "Anatomical Structure", "SCT", "78961009", "Spleen", *[""] * 9]
        writer.writerow(["spleen", *codes, "50,170,60"])
    about = tmp_path / "totalsegmentator-9.0.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: TotalSegmentator\nVersion: 9.0.0\nLicense: Apache 2.0\n")
    return tmp_path


def test_build_refuses_corrections_that_upstream_has_made_itself(upstream: Path) -> None:
    with pytest.raises(UpstreamChanged, match="29700009"):
        build(upstream)


def test_build_refuses_another_licence(upstream: Path) -> None:
    about = upstream / "totalsegmentator-9.0.0.dist-info" / "METADATA"
    about.write_text(about.read_text().replace("Apache 2.0", "Proprietary"))
    with pytest.raises(UpstreamChanged, match="Proprietary"):
        build(upstream)


# -- colours ------------------------------------------------------------------------------------------------


def test_organs_have_the_colours_of_the_preview() -> None:
    assert {name: structure(name).rgb for name in preview_colours.COLOURS} == preview_colours.COLOURS


def test_structures_that_touch_in_a_real_patient_have_colours_far_apart(data: Path) -> None:
    image: Any = nib.load(data / "ct-torso-3mm" / "labels.nii.gz")
    labels = np.asanyarray(image.dataobj).astype(np.int64)
    touching: set[tuple[int, int]] = set()
    for axis in range(3):
        along = np.moveaxis(labels, axis, 0)
        for apart in (1, 2):
            numbers = np.unique(along[:-apart] * 256 + along[apart:])
            touching |= {divmod(int(number), 256) for number in numbers}
    names = TABLES["total"]
    pairs = {(names[a], names[b]) for a, b in touching if a and b and a != b}
    assert len(pairs) > 100
    near = {pair: _difference(*(structure(name).rgb for name in pair)) for pair in pairs}
    assert {pair: apart for pair, apart in near.items() if apart < FAR_APART} == {}


@pytest.mark.parametrize(
    "names",
    [
        ("liver", "spleen", "pancreas", "stomach", "kidney_left", "kidney_right", "gallbladder"),
        ("vertebrae_T11", "vertebrae_T12", "vertebrae_L1", "rib_left_12", "rib_right_12"),
        ("rib_left_6", "rib_left_7", "rib_left_8"),
        ("gluteus_maximus_left", "gluteus_medius_left", "gluteus_minimus_left", "hip_left"),
    ],
    ids=lambda names: names[0],
)
def test_neighbours_have_colours_far_apart(names: tuple[str, ...]) -> None:
    for one, other in combinations(names, 2):
        assert _difference(structure(one).rgb, structure(other).rgb) >= FAR_APART, (one, other)


def test_colours_are_seen_on_grey_and_on_black() -> None:
    for name in PALETTE:
        lightness, *chroma = _cielab(structure(name).rgb)
        assert lightness > 40, name
        assert np.hypot(*chroma) > 15, name


def _difference(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Of two colours in CIELab; 2 is just seen side by side."""
    return float(np.linalg.norm(np.subtract(_cielab(one), _cielab(other))))


def _cielab(rgb: tuple[int, ...]) -> list[float]:
    lightness, a, b = cielab_of(rgb)
    return [lightness / 655.35, a / 257 - 128, b / 257 - 128]
