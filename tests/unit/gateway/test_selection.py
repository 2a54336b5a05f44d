"""Which volumes suit a task, which never do, and which of several is the best."""

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from converter.series import Volume, judge_series
from gateway.arrival.selection import Rank, ranked, same_scan, values_of, why_never

Maker = Callable[..., Volume]
AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


@pytest.fixture
def make(make_headers: Callable[..., Any]) -> Maker:
    def volume(**changes: Any) -> Volume:
        (made,) = judge_series(make_headers(**changes)).volumes
        return made

    return volume


def test_plain_ct_is_taken_for_ct_and_plain_mr_for_mr(make: Maker) -> None:
    assert why_never(make(), "CT") is None
    assert why_never(make(Modality="MR"), "MR") is None


@pytest.mark.parametrize(("own", "task"), [("MR", "CT"), ("CT", "MR"), ("PT", "CT"), ("", "CT")])
def test_volume_of_another_modality_is_never_taken(make: Maker, own: str, task: str) -> None:
    assert f"the task needs {task}" in (why_never(make(Modality=own), task) or "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a scout image"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "a projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "CT_SOM5 MIP"]}, "a projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}, "a projection"),
        ({"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "VOLUME_RENDER"]}, "a projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"], "SliceThickness": 5}, "a thick reformat (5 mm)"),
        ({"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "MIN_IP"]}, "a projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a screen capture"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "IODINE"]}, "another quantity than HU"),
        ({"ImageType": ["DERIVED", "PRIMARY", "IODINE MAP"]}, "another quantity than HU"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "Z_EFF"]}, "another quantity than HU"),
        ({"RescaleType": "MGML"}, "not HU but MGML"),
        ({"BurnedInAnnotation": "YES"}, "text burned into its pixels"),
    ],
)
def test_ct_that_is_no_ct_volume_is_never_taken(make: Maker, changes: dict[str, Any], why: str) -> None:
    assert why in (why_never(make(**changes), "CT") or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"], "SliceThickness": 1},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "DET_AB"]},
        {"RescaleType": "US"},
        {"BurnedInAnnotation": "NO"},
    ],
)
def test_ct_that_is_derived_but_a_volume_of_hu_may_be_taken(make: Maker, changes: dict[str, Any]) -> None:
    assert why_never(make(**changes), "CT") is None


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("kind", ["ADC", "DWI", "PHASE", "PHASE MAP", "P", "SUB", "MRA", "TRACEW", "adc"])
def test_mr_of_another_contrast_is_never_taken(make: Maker, kind: str) -> None:
    assert why_never(make(Modality="MR", ImageType=["DERIVED", "PRIMARY", kind]), "MR") is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ComplexImageComponent": "PHASE"}, "a PHASE image"),
        ({"VolumeBasedCalculationTechnique": "MAX_IP"}, "a projection"),
    ],
)
def test_enhanced_mr_of_another_kind_is_never_taken(make: Maker, changes: dict[str, str], why: str) -> None:
    assert why in (why_never(make(Modality="MR", **changes), "MR") or "")
    assert why_never(make(Modality="MR", ComplexImageComponent="MAGNITUDE"), "MR") is None


def test_mr_that_is_derived_may_be_taken(make: Maker) -> None:
    assert why_never(make(Modality="MR", ImageType=["DERIVED", "PRIMARY", "M", "NORM"]), "MR") is None


# -- ranking ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"missing": (5,)}),
        ({"ConvolutionKernel": "Br40d"}, {"ConvolutionKernel": "Br64d"}),
        ({"ConvolutionKernel": "STANDARD"}, {"ConvolutionKernel": "LUNG"}),
        ({"ConvolutionKernel": "FC08"}, {"ConvolutionKernel": "BONEPLUS"}),
        ({"spacing_mm": 2.0}, {"spacing_mm": 5.0}),
        ({"spacing_mm": 3.0}, {"spacing_mm": 3.1}),
        ({"spacing_mm": 1.0, "count": 40}, {"spacing_mm": 0.4, "count": 100}),
        ({"spacing_mm": 1.0, "count": 40}, {"spacing_mm": 1.0, "count": 20}),
        ({"spacing_mm": 1.0, "count": 41}, {"spacing_mm": 2.0, "count": 21}),
        ({"orientation": AXIAL}, {"orientation": CORONAL, "count": 40}),
    ],
)
def test_better_volume_ranks_first_whatever_the_order(
    make: Maker, better: dict[str, Any], worse: dict[str, Any]
) -> None:
    first, second = make(series=1, **better), make(series=2, **worse)
    assert [volume for volume, _ in ranked([second, first])] == [first, second]
    assert [volume for volume, _ in ranked([first, second])] == [first, second]


def test_spacing_of_three_millimetres_fits_in_spite_of_rounding(make: Maker) -> None:
    assert Rank.of(make(spacing_mm=3.0, origin_mm=-1287.3, count=30)).spacing_fits


def test_equal_volumes_rank_by_their_series_number(make: Maker) -> None:
    late, early = make(series=1, SeriesNumber=9), make(series=2, SeriesNumber=4)
    assert [volume for volume, _ in ranked([late, early])] == [early, late]


def test_rank_says_in_words_why(make: Maker) -> None:
    sentence = Rank.of(make(spacing_mm=5.0, count=11, ConvolutionKernel="B70f")).sentence
    assert sentence == "whole, axial, 5 mm (not 0.5 to 3), sharp kernel, 50 mm long"


def test_scan_is_told_by_frame_of_reference_and_contrast_phase(make: Maker) -> None:
    native = make(series=1, AcquisitionNumber=1)
    assert same_scan(native) == same_scan(make(series=2, AcquisitionNumber=1, ConvolutionKernel="LUNG"))
    assert same_scan(native) == same_scan(make(series=2, AcquisitionNumber=1, ContrastBolusAgent=""))
    assert same_scan(native) != same_scan(make(series=2, AcquisitionNumber=2))
    assert same_scan(native) != same_scan(make(series=2, AcquisitionNumber=1, ContrastBolusAgent="ULTRAVIST"))
    assert same_scan(native) != same_scan(make(series=2, AcquisitionNumber=1, FrameOfReferenceUID="1.9"))


# -- values -----------------------------------------------------------------------------------------------


def test_values_of_an_attribute_are_text_and_none_when_there_is_nothing() -> None:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.ImageType, header.PatientName, header.SliceThickness = ["A", "B "], "Demo^Abdomen", "1.50"
    header.PatientID, header.ContrastBolusAgent = "", "   "
    header.ReferencedStudySequence = [Dataset()]
    assert values_of(header, "ImageType") == ("A", "B")
    assert values_of(header, "PatientName") == ("Demo^Abdomen",)
    assert values_of(header, "SliceThickness") == ("1.50",)
    for keyword in ("PatientID", "ContrastBolusAgent", "StudyDate", "ReferencedStudySequence"):
        assert values_of(header, keyword) == ()
