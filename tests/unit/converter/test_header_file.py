"""Reading headers: the same as pydicom reads, of every file that pydicom ships and of our own oddities."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from converter.errors import UnusableSeries
from converter.reading.header_file import HeaderReader, read_header
from converter.reading.headers import numbers_of, text_of

SHIPPED = Path(pydicom.__file__).parent / "data"
CHARACTER_SET = 0x00080005
KEYWORDS = (
    *("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ImageType", "Modality"),
    *("EchoTime", "AcquisitionTime", "InstanceNumber", "ImagePositionPatient", "PixelSpacing", "Rows"),
    *("SliceThickness", "KVP", "SeriesDescription", "PatientName", "RescaleSlope", "SamplesPerPixel"),
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is odd in these files is known."""
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read_by_pydicom(path: Path) -> Dataset | None:
    try:
        return dcmread(path, stop_before_pixels=True)
    except Exception:
        return None


def test_header_is_what_pydicom_reads(data: Path) -> None:
    compared = 0
    for path in [*files(SHIPPED), *files(data)]:
        expected = read_by_pydicom(path)
        if expected is None:
            with pytest.raises(UnusableSeries):
                read_header(path)
            continue
        header = read_header(path)
        assert list(header.keys()) == list(expected.keys()), path.name
        for tag in expected.keys() - {CHARACTER_SET}:
            assert str(header.get_item(tag)) == str(expected.get_item(tag)), path.name
        assert header.file_meta == expected.file_meta, path.name
        assert header.original_encoding == expected.original_encoding, path.name
        assert header.original_character_set == expected.original_character_set, path.name
        compared += 1
    assert compared > 200


def test_header_is_the_same_whatever_was_read_before(data: Path) -> None:
    """Also where headers are explicit, implicit, damaged, longer than a piece, and cut short."""
    reader, shared = HeaderReader(), 0
    kept: dict[int, Any] = {}
    for path in [*files(SHIPPED), *files(data), *reversed(files(data))]:
        if read_by_pydicom(path) is None:
            continue
        header, alone = reader.read(path), read_header(path)
        assert [described(e) for e in raw(header)] == [described(e) for e in raw(alone)], path.name
        assert [described(e) for e in raw(header.file_meta)] == [described(e) for e in raw(alone.file_meta)]
        shared += sum(id(element) in kept for element in raw(header))
        kept.update((id(element), element) for element in raw(header))
    assert shared > 1000


def raw(header: Dataset) -> list[Any]:
    return [header.get_item(tag) for tag in header.keys() - {CHARACTER_SET}]


def described(element: Any) -> str:
    if isinstance(element, RawDataElement):
        return str(element._replace(value_tell=0))
    return str(element)


def test_element_that_was_cut_short_is_read_whole_in_the_next_file(make_series: Callable[..., Path]) -> None:
    """What follows the cut looks like an element; it must not be taken for one."""
    value = b"12345678" + bytes.fromhex("0900 1110 4c4f 0200 5858")

    def with_private_value(dataset: Dataset, number: int) -> None:
        dataset.private_block(0x0009, "TEST", create=True).add_new(0x10, "OB", value)

    first, second, *_ = sorted(make_series(edit=with_private_value).iterdir())
    content = first.read_bytes()
    first.write_bytes(content[: content.index(value) + 8])
    reader = HeaderReader()
    reader.read(first)
    header = reader.read(second)
    assert header[0x0009, 0x1010].value == value
    assert (0x0009, 0x1011) not in header


def test_values_read_from_the_files_bytes_are_those_that_pydicom_converts(data: Path) -> None:
    compared = 0
    for path in [*files(SHIPPED), *files(data)]:
        if read_by_pydicom(path) is None:
            continue
        raw, converted = read_header(path), read_header(path)
        for keyword in KEYWORDS:
            try:
                _ = converted.get(keyword)
            except Exception:
                continue
            assert text_of(raw, keyword) == text_of(converted, keyword), (path.name, keyword)
            for count in (1, 2, 3):
                assert numbers_of(raw, keyword, count) == numbers_of(converted, keyword, count), path.name
            compared += 1
    assert compared > 1000


def test_header_says_whether_pixels_follow(make_series: Callable[..., Path]) -> None:
    path = next(make_series().iterdir())
    assert read_header(path).has_pixels
    image = dcmread(path)
    del image.PixelData
    image.save_as(path)
    assert not read_header(path).has_pixels


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_header_in_another_encoding_is_the_same(make_series: Callable[..., Path], syntax: str) -> None:
    path = next(make_series().iterdir())
    plain = read_header(path)
    image = dcmread(path)
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian)
    other = read_header(path)
    assert (other.has_pixels, {e.tag: e.value for e in other}) == (True, {e.tag: e.value for e in plain})


def test_header_says_where_the_pixels_are(data: Path) -> None:
    found = 0
    for path in [*files(SHIPPED), *files(data)]:
        if read_by_pydicom(path) is None:
            continue
        header = read_header(path)
        if header.has_pixels and header.file_meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            group = path.read_bytes()[header.pixels_at : header.pixels_at + 2]
            assert group in (b"\xe0\x7f", b"\x7f\xe0"), path.name
            found += 1
    assert found > 100


def test_header_longer_than_one_piece_of_the_file_is_read_whole(make_series: Callable[..., Path]) -> None:
    path = next(make_series().iterdir())
    image = dcmread(path)
    block = image.private_block(0x0029, "LONG", create=True)
    for number in range(5):
        block.add_new(number, "OB", bytes([number]) * 50_000)
    image.save_as(path)
    header = read_header(path)
    assert [len(header[0x0029, 0x1000 + number].value) for number in range(5)] == [50_000] * 5
    assert header.PixelSpacing == image.PixelSpacing
    assert header.has_pixels


def test_file_with_a_sequence_that_has_no_end_is_refused(make_series: Callable[..., Path]) -> None:
    """Of this pydicom makes an OSError, which would read as a fault of the disk."""
    path = next(make_series().iterdir())
    image = dcmread(path)
    image.ReferencedStudySequence = [Dataset()]
    image["ReferencedStudySequence"].is_undefined_length = True
    image.save_as(path)
    content = path.read_bytes()
    end = content.index(b"\xfe\xff\xdd\xe0")
    path.write_bytes(content[:end])
    with pytest.raises(UnusableSeries, match="cannot be parsed"):
        read_header(path)


def test_file_that_is_gone_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "gone.dcm")


@pytest.mark.parametrize("cut", [0, 3, 100, 131, 140, 150, 200, 340, 500])
def test_file_that_ends_early_is_read_like_pydicom_or_refused(
    make_series: Callable[..., Path], cut: int
) -> None:
    path = next(make_series().iterdir())
    path.write_bytes(path.read_bytes()[:cut])
    expected = read_by_pydicom(path)
    if expected is None:
        with pytest.raises(UnusableSeries):
            read_header(path)
    else:
        assert list(read_header(path).keys()) == list(expected.keys())
