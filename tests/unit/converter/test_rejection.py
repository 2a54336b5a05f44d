"""Rejection notes: what they say, that they are valid, and that the same again is the same."""

import shutil
import subprocess
import warnings
from datetime import UTC, datetime
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import Dataset, dcmread

from converter.results.header import is_our_own
from converter.results.rejection import PATIENT_SAFETY, QUALITY, RejectionSettings, write_rejection_note
from converter.results.settings import WrittenObject

MADE_AT = datetime(2026, 1, 2, 10, 11, 12, tzinfo=UTC)


@pytest.fixture
def headers(small_study: Path) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in sorted(small_study.iterdir())[:2]]


def written(headers: list[Dataset], folder: Path, code: str = QUALITY, **changes: str) -> WrittenObject:
    whose = Dataset({element.tag: element for element in headers[0]})
    for keyword, value in changes.items():
        setattr(whose, keyword, value)
    settings = RejectionSettings(code=code, series_number=9900, made_at=MADE_AT)
    return write_rejection_note(headers, whose, settings, folder)


@pytest.mark.parametrize("code", [QUALITY, PATIENT_SAFETY])
def test_note_names_its_objects_and_is_of_their_study_and_the_patient_that_is_said(
    headers: list[Dataset], tmp_path: Path, code: str
) -> None:
    made = written(headers, tmp_path, code, PatientID="P-9", PatientName="Müller")
    note = hd.ko.KeyObjectSelectionDocument.from_dataset(dcmread(made.path))
    assert note.ConceptNameCodeSequence[0].CodeValue == code
    assert {uids[2] for uids in map(note.resolve_reference, (h.SOPInstanceUID for h in headers))} == {
        header.SOPInstanceUID for header in headers
    }
    assert (note.PatientID, str(note.PatientName)) == ("P-9", "Müller")
    assert (note.StudyInstanceUID, note.AccessionNumber) == (
        headers[0].StudyInstanceUID,
        headers[0].AccessionNumber,
    )
    assert is_our_own(note)


def test_same_note_again_is_the_same_and_any_other_one_has_another_uid(
    headers: list[Dataset], tmp_path: Path
) -> None:
    made = [
        written(headers, tmp_path),
        written(headers, tmp_path),
        written(headers[:1], tmp_path),
        written(headers, tmp_path, PATIENT_SAFETY),
        written(headers, tmp_path, PatientID="P-9"),
    ]
    assert made[0] == made[1]
    assert len({each.sop_instance_uid for each in made}) == 4


def test_warnings_of_libraries_say_nothing_of_the_patient(headers: list[Dataset], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(headers, tmp_path, PatientName="Onlyone")


@pytest.mark.peer("dicom3tools")
def test_note_is_valid_by_dciodvfy(headers: list[Dataset], tmp_path: Path) -> None:
    program = shutil.which("dciodvfy")
    assert program
    command = [program, str(written(headers, tmp_path).path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (answer.stdout + answer.stderr).splitlines()
    assert "KeyObjectSelectionDocument" in said
    assert [line for line in said if line.startswith(("Error", "Warning"))] == []
