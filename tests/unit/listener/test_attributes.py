"""What attributes of a header say: the same as by pydicom, however it is read."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import Dataset, config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from gateway.listener.intake.attributes import _GEOMETRY as GEOMETRY
from gateway.listener.intake.attributes import geometry_digest, header_text, identifying
from gateway.listener.intake.refusals import Damaged

TEXTS = ("SOPInstanceUID", "Modality", "PatientID", "PatientName", "StudyDescription", "StudyDate")
NUMBERS = ("SeriesNumber", "Rows", "PixelSpacing", "RescaleSlope", "ImagePositionPatient", "NumberOfFrames")
REPRESENTATIONS = ("UI", "CS", "LO", "SH", "PN", "DA", "TM", "IS", "DS", "US", "AE", "UN", "OB", "LT")
VALUES = st.one_of(
    st.binary(max_size=12),
    st.from_regex(rb"[ -~]{0,12}[\0 ]{0,2}", fullmatch=True),
    st.from_regex(rb"( ?[+-]?[0-9]{0,3}(\.[0-9]{0,3})?([eE]-?[0-9])? ?\\?){0,3}[\0 ]?", fullmatch=True),
    st.from_regex(rb"[0-9.]{1,20}\0?", fullmatch=True),
)


def header_with(keyword: str, representation: str | None, value: bytes, *, little: bool = True) -> Dataset:
    tag = Tag(keyword)
    header = Dataset()
    header.set_original_encoding(representation is None, little)
    raw = RawDataElement(tag, representation, len(value), value, 0, representation is None, little)
    header._dict[tag] = raw  # as pydicom's reader leaves it
    return header


def by_pydicom(header: Dataset, keyword: str, of: Any) -> Any:
    header[tag_for_keyword(keyword)]  # from now on there is no raw element
    return of(header)


@given(st.sampled_from(TEXTS + NUMBERS), st.sampled_from((None, *REPRESENTATIONS)), VALUES, st.booleans())
@example("SeriesNumber", "IS", b"1e3", True)
@example("PatientID", "LO", b"a\\b ", True)
@example("StudyDescription", "LO", b"\x1b$B~", True)
@example("Rows", None, b"\x02\0", False)
@config.disable_value_validation()
def test_text_of_an_attribute_is_what_pydicom_says(
    keyword: str, representation: str | None, value: bytes, little: bool
) -> None:
    header = header_with(keyword, representation, value, little=little)
    quickly = header_text(header, keyword), identifying(header)
    try:
        slowly = by_pydicom(header, keyword, lambda made: (header_text(made, keyword), identifying(made)))
    except Exception:
        assert quickly[0] == ""
    else:
        assert quickly == slowly


@given(st.sampled_from(GEOMETRY), st.sampled_from((None, *REPRESENTATIONS)), VALUES, st.booleans())
@example("PixelSpacing", "DS", b"0.70\\.7", True)
@example("ImagePositionPatient", "DS", b"1.0\\\\2", True)
@config.disable_value_validation()
def test_digest_of_the_geometry_is_that_of_what_pydicom_says(
    keyword: str, representation: str | None, value: bytes, little: bool
) -> None:
    header = header_with(keyword, representation, value, little=little)
    try:
        quickly = geometry_digest(header)
    except Damaged:
        quickly = "cannot be read"
    try:
        slowly = by_pydicom(header, keyword, geometry_digest)
    except Exception:
        slowly = "cannot be read"
    assert quickly == slowly


def test_plain_values_are_read_without_pydicom_making_objects_of_them() -> None:
    header = header_with("PixelSpacing", "DS", b"0.7\\0.7 ")
    header.update(header_with("SOPInstanceUID", "UI", b"1.2.3\0")._dict)
    geometry_digest(header)
    assert header_text(header, "SOPInstanceUID") == "1.2.3"
    assert all(isinstance(element, RawDataElement) for element in header.values())
