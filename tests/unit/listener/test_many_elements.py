"""Headers of very many elements: each costs a parser 16 microseconds and 660 bytes, and there is a limit."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian

from gateway.listener.intake import elements, header, limited_reads
from gateway.listener.intake.header import read_instance
from gateway.listener.intake.refusals import NotReadable

MANY = 400


def _written(path: Path, *, is_undefined_length: bool, items: int) -> Path:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = BasicTextSRStorage, "1.2.3.4"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    made.ReferencedImageSequence = [Dataset() for _ in range(items)]
    made["ReferencedImageSequence"].is_undefined_length = is_undefined_length
    made.ensure_file_meta()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)
    assert len(dcmread(path).ReferencedImageSequence) == items
    return path


@pytest.mark.parametrize("is_left_in_file", [True, False], ids=["left in the file", "read at once"])
@pytest.mark.parametrize("is_undefined_length", [True, False], ids=["of undefined length", "of a length"])
def test_header_of_too_many_items_is_not_filed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_undefined_length: bool, is_left_in_file: bool
) -> None:
    if is_left_in_file:
        monkeypatch.setattr(header, "_DEFER_BYTES", MANY)
    monkeypatch.setattr(elements, "MOST_ITEMS", MANY)
    monkeypatch.setattr(limited_reads.LimitedReads.__init__, "__defaults__", (3 * MANY,))
    few = _written(tmp_path / "few", is_undefined_length=is_undefined_length, items=MANY // 2)
    many = _written(tmp_path / "many", is_undefined_length=is_undefined_length, items=MANY + 1)
    assert read_instance(few).text("SOPInstanceUID") == "1.2.3.4"
    with pytest.raises(NotReadable) as refused:
        read_instance(many)
    assert refused.value.code == "too_many_elements"
