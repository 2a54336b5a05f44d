"""The `when` language of a rule."""

from typing import Any

import pytest

from gateway.arrival.rules import RuleError, compile_rule
from gateway.config import Rule

Attributes = dict[str, tuple[str, ...]]

CT: Attributes = {
    "Modality": ("CT",),
    "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
    "SeriesDescription": (" Abdomen venous 1.0 ",),
    "ConvolutionKernel": ("B30f",),
    "SliceThickness": ("1.00",),
    "SeriesNumber": ("2",),
    "images": ("120",),
    "slice_spacing_mm": ("0.8",),
    "study_age_days": ("3",),
}


def _matches(when: dict[str, Any], attributes: Attributes = CT) -> bool:
    return compile_rule(Rule(name="r", when=when)).first_refusal(attributes) is None


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"Modality": "CT"},
        {"Modality": "ct "},
        {"Modality": ["MR", "CT"]},
        {"ImageType": "AXIAL"},
        {"ImageType": ["HELIX", "AXIAL"]},
        {"ImageType": "!LOCALIZER"},
        {"ImageType": ["!LOCALIZER", "!MIP"]},
        {"SeriesDescription": "abdomen VENOUS 1.0"},
        {"SeriesDescription": "~venous"},
        {"SeriesDescription": "~^abdomen"},
        {"SeriesDescription": "!~lung|bone"},
        {"SeriesDescription": ["~lung", "~venous"]},
        {"ConvolutionKernel": "~^B[23]"},
        {"SliceThickness": 1},
        {"SliceThickness": 1.0},
        {"SliceThickness": "1"},
        {"SliceThickness": "<=1"},
        {"SliceThickness": "!>1"},
        {"images": ">=120"},
        {"images": ">119.5"},
        {"images": "< 121"},
        {"images": "<=120"},
        {"slice_spacing_mm": "<=3"},
        {"study_age_days": "<30"},
        {"SeriesNumber": [1, 2]},
        {"BodyPartExamined": "!HEAD"},
        {"BodyPartExamined": "!~."},
        {"Modality": "CT", "images": ">=20", "ImageType": "PRIMARY"},
    ],
)
def test_rule_that_fits_takes_the_volume(when: dict[str, Any]) -> None:
    assert _matches(when)


@pytest.mark.parametrize(
    "when",
    [
        {"Modality": "MR"},
        {"Modality": "C"},
        {"Modality": "!CT"},
        {"Modality": ["MR", "PT"]},
        {"ImageType": "LOCALIZER"},
        {"ImageType": "!AXIAL"},
        {"ImageType": ["!LOCALIZER", "!AXIAL"]},
        {"ImageType": "!~PRIM"},
        {"SeriesDescription": "venous"},
        {"SeriesDescription": "~lung"},
        {"SliceThickness": ">1"},
        {"SliceThickness": "!<=1"},
        {"SliceThickness": 2},
        {"images": ">120"},
        {"images": "<120"},
        {"slice_spacing_mm": ">=3"},
        {"SeriesDescription": ">1"},
        {"BodyPartExamined": "HEAD"},
        {"BodyPartExamined": ""},
        {"BodyPartExamined": "~.*"},
        {"BodyPartExamined": ">0"},
        {"Modality": "CT", "images": ">=200"},
    ],
)
def test_rule_that_does_not_fit_leaves_the_volume(when: dict[str, Any]) -> None:
    assert not _matches(when)


def test_rule_names_the_first_condition_that_does_not_hold() -> None:
    refusal = compile_rule(
        Rule(name="r", when={"Modality": "CT", "images": [">=200", "<10"], "ImageType": "X"})
    ).first_refusal(CT)
    assert refusal is not None
    assert (refusal.keyword, refusal.wanted) == ("images", ">=200, <10")


def test_number_with_many_values_matches_when_any_does() -> None:
    assert _matches({"PixelSpacing": "<0.6"}, {"PixelSpacing": ("0.5", "0.9")})
    assert not _matches({"PixelSpacing": "!<0.6"}, {"PixelSpacing": ("0.5", "0.9")})


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ({"Modallity": "CT"}, "rule r: when.Modallity: neither a DICOM keyword nor one of images"),
        ({"images": ">=many"}, "rule r: when.images: 'many' is not a number"),
        ({"images": ">="}, "is not a number"),
        ({"SeriesDescription": "~("}, r"rule r: when.SeriesDescription: '\(' is not a regular expression"),
        ({"Modality": ["CT", "!MR"]}, "either all plain or all with '!'"),
        ({"Modality": []}, "an empty list matches nothing"),
    ],
)
def test_rule_that_cannot_be_understood_is_refused_with_its_key(when: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RuleError, match=sentence):
        compile_rule(Rule(name="r", when=when))
