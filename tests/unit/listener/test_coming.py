"""An instance that is read while it comes is known as one whose file is read afterwards."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import data_manager
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from converter.reading.header_file import HeaderReader
from gateway.listener.intake.coming import LONGEST_HEADER_BYTES, ComingInstance, header_reader
from gateway.listener.intake.header import ReadInstance, read_instance
from gateway.listener.intake.refusals import NotReadable

PIXEL_DATA = b"\xe0\x7f\x10\x00"


def image(private: bytes = b"", side: int = 64) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.Rows = made.Columns = side
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
    block = made.private_block(0x0009, "IRIS TEST", create=True)
    block.add_new(0x01, "OB", private)
    made.PixelData = np.arange(side * side, dtype=np.int16).tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def saved(made: Dataset, folder: Path) -> Path:
    path = folder / "image.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


def known_while_it_comes(
    path: Path, piece_bytes: int, reader: HeaderReader | None = None
) -> ReadInstance | None:
    coming, content = ComingInstance(reader), path.read_bytes()
    for at in range(0, len(content), piece_bytes):
        coming.feed(memoryview(content)[at : at + piece_bytes])
    return coming.read(path)


def test_file_of_any_kind_is_known_as_it_is_when_it_is_read_afterwards() -> None:
    known = 0
    for path in sorted(Path(data_manager.DATA_ROOT).rglob("test_files/*.dcm")):
        for piece_bytes in (1 << 14, 1 << 17):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    wanted: object = read_instance(path)
                except NotReadable as refused:
                    wanted = refused.sentence
                try:
                    found: object = known_while_it_comes(path, piece_bytes)
                except NotReadable as refused:
                    found = refused.sentence
            assert found in (None, wanted), path.name
            known += found is not None
    assert known > 50  # the others have no pixel data, or a header that is no whole one


@pytest.mark.parametrize("piece_bytes", [1, 7, 500, 1 << 17])
def test_image_in_pieces_of_any_length_is_known_when_it_is_there(tmp_path: Path, piece_bytes: int) -> None:
    path = saved(image(), tmp_path)
    found = known_while_it_comes(path, piece_bytes)
    assert found is not None
    assert found == read_instance(path)


def test_tag_of_pixel_data_within_a_value_ends_no_header(tmp_path: Path) -> None:
    path = saved(image(private=b"before" + PIXEL_DATA + b"OW" + bytes(20)), tmp_path)
    content = path.read_bytes()
    inside = content.index(PIXEL_DATA) + 14
    coming = ComingInstance()
    coming.feed(content[:inside])
    coming.feed(content[inside:])
    assert coming.read(path) in (None, read_instance(path))
    assert known_while_it_comes(path, len(content)) == read_instance(path)


def test_header_that_is_too_long_to_wait_for_is_left_to_who_reads_the_file(tmp_path: Path) -> None:
    path = saved(image(private=bytes(2 * LONGEST_HEADER_BYTES)), tmp_path)
    assert known_while_it_comes(path, 1 << 17) is None


def test_image_that_ends_within_its_pixels_is_refused_in_the_same_words(tmp_path: Path) -> None:
    path = saved(image(), tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NotReadable) as wanted:
        read_instance(path)
    with pytest.raises(NotReadable) as found:
        known_while_it_comes(path, 1 << 14)
    assert (found.value.code, found.value.sentence) == (wanted.value.code, wanted.value.sentence)


def test_header_is_known_whatever_the_same_sender_sent_before(tmp_path: Path) -> None:
    reader = header_reader()
    for number, private in enumerate((b"a" * 8, b"a" * 8, b"b" * 40_000, b"", b"a" * 8)):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = saved(image(private=private, side=64 + number), folder)
        found = known_while_it_comes(path, 1 << 14, reader)
        assert found is not None
        assert found == read_instance(path)


def test_reader_remembers_no_more_of_a_senders_headers_than_it_may(tmp_path: Path) -> None:
    """Each has an element that no other has: what stood in all of them would not fit into the memory."""
    reader = HeaderReader(forgets_after_bytes=100_000)
    for number in range(20):
        made = image()
        made.private_block(0x0011 + 2 * number, "IRIS TEST", create=True).add_new(0x01, "OB", bytes(20_000))
        assert reader.usual(BytesIO(saved(made, tmp_path).read_bytes())) is not None
        remembered = sum(len(encoded) for encoded, *_ in reader._known.explicit.values())
        assert remembered <= 130_000
