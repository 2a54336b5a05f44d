"""What became of a header on its way."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from gateway.prove.headers import Change, changes, in_words


@pytest.fixture
def before(small_study: Path) -> Path:
    return small_study / "0001.dcm"


def saved(before: Path, *, implicit: bool = False, **said: object) -> Path:
    image = dcmread(before)
    for keyword, value in said.items():
        setattr(image, keyword, value)
    if implicit:
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    after = before.with_name("after.dcm")
    image.save_as(after, implicit_vr=implicit, little_endian=True)
    return after


def test_object_in_another_encoding_with_an_empty_attribute_more_is_unchanged(before: Path) -> None:
    assert changes(before, saved(before, implicit=True, InstitutionName="")) == []


def test_changes_are_told_and_whose_it_is_is_grave(before: Path) -> None:
    after = saved(before, PatientID="4711", StationName="PACS", SeriesDescription=None)
    found = {change.keyword: change for change in changes(before, after)}
    assert found["PatientID"] == Change("PatientID", "SMALL-1", "4711")
    assert [keyword for keyword, change in found.items() if change.is_grave] == ["PatientID"]
    assert found["StationName"].sentence == "StationName added"
    assert found["SeriesDescription"].sentence == "SeriesDescription removed"


def test_words_begin_with_what_is_grave_and_count_what_is_the_same() -> None:
    found = [Change("StationName", "", "A"), Change("PatientID", "1", "2"), Change("StationName", "", "A")]
    assert in_words(found) == "PatientID 1 to 2, StationName added (2x)"
    many = [Change(f"Keyword{number}", "", "x") for number in range(8)]
    assert in_words(many).endswith("Keyword5 added, and 2 more")
