"""Odd source headers: encoded all the same, and never quoted in an error."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from converter.contours.document import write_structure_set
from converter.report.document import write_report
from converter.results.labelled import Labelled
from converter.results.settings import free_series_number
from converter.seg.encoder import SegmentationSettings, encode_segmentation
from converter.series import Volume, read_series
from converter.source_header import copied_header_digest

MakeSeries = Callable[..., Path]
Encode = Callable[..., Dataset]


@pytest.fixture
def encode(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> Encode:
    """Encodes a series whose headers were changed; gives the result."""

    def encoded(**values: object) -> Dataset:
        def edit(dataset: Dataset, number: int) -> None:
            for keyword, value in values.items():
                if value is None:
                    dataset.pop(keyword, None)
                else:
                    setattr(dataset, keyword, value)

        volume = read_series(make_series(edit=edit))
        names = {1: "bone", 6: "lung_right"}
        return dcmread(encode_segmentation(volume, two_boxes, names, settings, tmp_path / "seg.dcm").path)

    return encoded


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (None, "Plain^Name"),
    ],
)
def test_patient_name_survives_in_its_character_set(
    encode: Encode, character_set: str | None, name: str
) -> None:
    seg = encode(SpecificCharacterSet=character_set, PatientName=name)
    assert str(seg.PatientName) == name
    assert seg.get("SpecificCharacterSet") == character_set


def test_unknown_character_set_becomes_unicode(encode: Encode) -> None:
    seg = encode(SpecificCharacterSet="LATIN1", PatientName="Plain^Name")
    assert (seg.SpecificCharacterSet, str(seg.PatientName)) == ("ISO_IR 192", "Plain^Name")


TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)


def test_missing_attributes_become_empty(encode: Encode) -> None:
    seg = encode(**dict.fromkeys(TYPE_2))
    for keyword in TYPE_2:
        assert keyword in seg
        assert not seg[keyword].value


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "X"),
        ("PatientSex", "male"),
        ("PatientBirthDate", "01.02.1970"),
        ("StudyDate", "2024-01-02"),
        ("StudyTime", "25:61"),
    ],
)
def test_malformed_value_becomes_empty(encode: Encode, keyword: str, value: str) -> None:
    assert not encode(**{keyword: value})[keyword].value


@pytest.mark.parametrize(("keyword", "value"), [("PatientAge", "45"), ("TimezoneOffsetFromUTC", "CET")])
def test_malformed_optional_value_is_left_out(encode: Encode, keyword: str, value: str) -> None:
    assert keyword not in encode(**{keyword: value})


@pytest.mark.parametrize("name", ["Single", "Ünüsual=Names=With=Too=Many=Groups", "a^b^c^d^e^f^g"])
def test_unusual_patient_name_is_not_quoted_anywhere(
    encode: Encode, name: str, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    seg = encode(PatientName=name)
    assert str(seg.PatientName) == name
    texts = [str(warning.message) for warning in recwarn] + [record.getMessage() for record in caplog.records]
    assert not [text for text in texts if name in text]


def test_overlong_identifiers_are_kept_as_the_pacs_holds_them(encode: Encode) -> None:
    seg = encode(PatientID="p" * 70, AccessionNumber="a" * 20)
    assert (seg.PatientID, seg.AccessionNumber) == ("p" * 70, "a" * 20)


def test_missing_frame_of_reference_is_derived_from_the_series(encode: Encode) -> None:
    first, second = (encode(FrameOfReferenceUID=None) for _ in range(2))
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.FrameOfReferenceUID.startswith("2.25.")


@pytest.mark.parametrize("keyword", ["KVP", "ProtocolName", "DeviceSerialNumber"])
def test_what_belongs_to_the_acquisition_is_not_copied(encode: Encode, keyword: str) -> None:
    assert encode(**{keyword: "77"}).get(keyword) != "77"


def test_side_is_taken_over_where_it_is_one(encode: Encode) -> None:
    """Of the right knee a result must say that it is the right one (PS3.3 C.7.3.1)."""
    assert encode(BodyPartExamined="KNEE", Laterality="R").Laterality == "R"
    assert "Laterality" not in encode(BodyPartExamined="KNEE", Laterality="B")


def test_body_part_is_taken_over_and_a_correction_of_it_alone_makes_no_revision(
    encode: Encode, make_series: Callable[..., Path]
) -> None:
    assert encode(BodyPartExamined="ABDOMEN").BodyPartExamined == "ABDOMEN"
    assert "BodyPartExamined" not in encode()

    def with_part(part: str) -> Volume:
        def edit(header: Dataset, number: int) -> None:
            header.BodyPartExamined = part

        return read_series(make_series(edit=edit))

    assert copied_header_digest(with_part("ABDOMEN")) == copied_header_digest(with_part("CHEST"))


def test_result_has_an_equipment_of_its_own(encode: Encode) -> None:
    seg = encode(Manufacturer="Scanner maker", ManufacturerModelName="Scanner")
    assert seg.Manufacturer == "IRIS Gateway"
    for keyword in ("ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber"):
        assert seg[keyword].value
    assert seg.ManufacturerModelName != "Scanner"


@pytest.mark.parametrize(
    ("character_set", "kept"),
    [("ISO_IR 100", False), (["", "ISO 2022 IR 87"], False), (None, False), ("GB18030", True)],
)
def test_texts_that_the_character_set_has_no_room_for_are_written_in_unicode(
    make_series: MakeSeries,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    character_set: str | list[str] | None,
    kept: bool,
) -> None:
    def edit(dataset: Dataset, _: int) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = character_set, "Yamada^Tarou"

    names = {1: "Größe", 6: "脾臓"}
    said = replace(settings, series_description="für Prüfung 脾臓", label_names=tuple(names.values()))
    volume = read_series(make_series(edit=edit))
    seg = dcmread(encode_segmentation(volume, two_boxes, names, said, tmp_path / "seg.dcm").path)
    assert seg.SpecificCharacterSet == (character_set if kept else "ISO_IR 192")
    assert seg.SeriesDescription == "für Prüfung 脾臓"
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Größe", "脾臓"]
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for segment in seg.SegmentSequence]
    assert kinds == ["Größe", "脾臓"]
    assert str(seg.PatientName) == "Yamada^Tarou"


def test_text_with_accents_is_written_in_unicode_where_the_images_say_that_they_have_ascii_only(
    make_series: MakeSeries, two_boxes: np.ndarray, settings: SegmentationSettings, tmp_path: Path
) -> None:
    volume = read_series(
        make_series(edit=lambda image, _: setattr(image, "SpecificCharacterSet", "ISO_IR 6"))
    )
    said = replace(settings, series_description="Segmentación")
    encode_segmentation(volume, two_boxes, {1: "liver", 6: "spleen"}, said, tmp_path / "seg.dcm")
    seg = dcmread(tmp_path / "seg.dcm")
    assert (seg.SpecificCharacterSet, seg.SeriesDescription) == ("ISO_IR 192", "Segmentación")


@pytest.mark.parametrize(("keyword", "write"), [("SR", write_report), ("RTSTRUCT", write_structure_set)])
@pytest.mark.parametrize("names", [{1: "Größe"}, {1: "脾臓"}], ids=["Latin-1", "Unicode"])
def test_private_structures_are_called_by_their_names_in_codes(
    make_series: MakeSeries,
    two_boxes: np.ndarray,
    settings: SegmentationSettings,
    tmp_path: Path,
    keyword: str,
    write: Callable[..., object],
    names: dict[int, str],
) -> None:
    def edit(dataset: Dataset, _: int) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Jörg"

    labelled = Labelled(read_series(make_series(edit=edit)), np.uint8(1) * (two_boxes == 1), names)
    write(labelled, replace(settings, label_names=tuple(names.values())), tmp_path / "made.dcm")
    made = dcmread(tmp_path / "made.dcm")
    assert (made.Modality, str(made.PatientName)) == (keyword, "Müller^Jörg")
    assert names[1] in {element.value for element in made.iterall() if element.keyword == "CodeMeaning"}


def test_series_number_that_is_as_high_as_numbers_go_counts_as_none() -> None:
    assert free_series_number(9000, 2**31 - 1, {9000}) == 9001
    assert free_series_number(9000, 99_999_999_999, ()) == 9000
    assert free_series_number(9000, 3, ()) == 9003
