"""Whose a study is at its destination: what counts as another's, and how often it is asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from gateway.adapters.errors import Away, OutsideError, Retriable
from gateway.delivery.carriers.carrier import NotAskable
from gateway.delivery.patient_check import TOGETHER_S, UNANSWERED_S, PatientCheck
from gateway.delivery.whose import Whose, by_find, by_search

OURS = Whose("P-1", "HOSPITAL", "A-1")
STUDY = "1.2.3"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An object that says the same as OURS."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, "1.2.3.9"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = SegmentationStorage, "1.2.3.9"
    made.PatientID, made.IssuerOfPatientID, made.AccessionNumber = "P-1 ", "HOSPITAL", "A-1"
    made.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    return tmp_path / "seg.dcm"


class Asked:
    """A carrier whose destination answers, or does not, as it is told."""

    def __init__(self, *answers: Sequence[Whose] | OutsideError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def whose(self, study_uid: str) -> Sequence[Whose]:
        self.asked.append(study_uid)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OutsideError):
            raise answer
        return answer


def check_of(carrier: Any, clock: list[float] | None = None, **given: Any) -> PatientCheck:
    times = clock if clock is not None else [0.0]
    return PatientCheck(carrier, monotonic=lambda: times[0], **given)


@pytest.mark.parametrize(
    ("there", "attribute"),
    [
        (OURS, ""),
        (Whose("", "", ""), ""),
        (Whose("P-1", "", ""), ""),
        (Whose("P-2", "HOSPITAL", "A-1"), "Patient ID"),
        (Whose("P-1", "ELSEWHERE", "A-1"), "Issuer of Patient ID"),
        (Whose("P-1", "HOSPITAL", "A-2"), "Accession Number"),
    ],
)
def test_study_is_anothers_where_the_destination_says_another_value(
    path: Path, there: Whose, attribute: str
) -> None:
    assert check_of(Asked([there])).differs_in(STUDY, path) == attribute


def test_result_without_patient_id_is_not_the_patients_that_the_destination_names() -> None:
    assert Whose("", "", "").differs_from(OURS) == "Patient ID"
    assert Whose("P-1", "", "").differs_from(OURS) == ""


def test_study_that_is_there_under_two_patients_is_the_one_of_them_that_agrees(path: Path) -> None:
    other = Whose("P-2", "", "")
    assert check_of(Asked([other, OURS])).differs_in(STUDY, path) == ""
    assert check_of(Asked([other, other])).differs_in(STUDY, path) == "Patient ID"


def test_destination_is_asked_once_for_all_objects_of_a_study_that_go_at_a_time(path: Path) -> None:
    asked, clock = Asked([OURS]), [0.0]
    check = check_of(asked, clock)
    for _ in range(3):
        check.differs_in(STUDY, path)
    check.differs_in("1.2.4", path)
    assert asked.asked == [STUDY, "1.2.4"]
    clock[0] = TOGETHER_S
    check.differs_in("1.2.4", path)
    assert asked.asked == [STUDY, "1.2.4", "1.2.4"]


def test_what_differs_from_an_answer_of_before_is_asked_anew(path: Path) -> None:
    asked = Asked([OURS], [Whose("P-2", "", "")], [OURS])
    check = check_of(asked)
    assert check.differs_in(STUDY, path) == ""
    check.forget()  # it was corrected in between
    assert check.differs_in(STUDY, path) == "Patient ID"
    assert check.differs_in(STUDY, path) == ""
    assert len(asked.asked) == 3


def test_destination_without_the_service_is_asked_once_only(path: Path) -> None:
    asked, clock = Asked(NotAskable("takes no C-FIND")), [0.0]
    check = check_of(asked, clock)
    assert check.differs_in(STUDY, path) == ""
    clock[0] = 1e9
    assert check.differs_in("1.2.4", path) == ""
    assert len(asked.asked) == 1


def test_destination_that_does_not_answer_is_sent_to_and_asked_again_later(path: Path) -> None:
    asked, clock = Asked(Retriable("refuses"), [Whose("P-2", "", "")]), [0.0]
    check = check_of(asked, clock)
    assert check.differs_in(STUDY, path) == ""
    assert check.differs_in("1.2.4", path) == ""
    assert len(asked.asked) == 1
    clock[0] = UNANSWERED_S
    assert check.differs_in("1.2.4", path) == "Patient ID"


def test_destination_that_is_away_is_away_before_anything_is_sent(path: Path) -> None:
    with pytest.raises(Away, match="nobody"):
        check_of(Asked(Away("nobody is there"))).differs_in(STUDY, path)


def test_destination_is_not_asked_where_the_configuration_says_so(path: Path) -> None:
    asked = Asked([Whose("P-2", "", "")])
    assert check_of(asked, is_wanted=False).differs_in(STUDY, path) == ""
    assert not asked.asked


def test_carrier_that_cannot_ask_is_taken_as_it_is(path: Path) -> None:
    assert check_of(object()).differs_in(STUDY, path) == ""


# -- what a PACS answers ------------------------------------------------------------------------------------


def answer(**said: str) -> Dataset:
    made = Dataset()
    for keyword, value in {"StudyInstanceUID": STUDY, **said}.items():
        setattr(made, keyword, value)
    return made


def found(*studies: Dataset, series: Sequence[str] = ()) -> list[Whose]:
    def ask(level: str, _: Mapping[str, str]) -> list[Dataset]:
        return list(studies) if level == "STUDY" else [answer(Modality=modality) for modality in series]

    return by_find(ask, STUDY, with_images=True)


def test_patient_of_a_study_is_whom_the_images_there_belong_to() -> None:
    images = answer(PatientID="P-2", IssuerOfPatientID="X", AccessionNumber="A", ModalitiesInStudy="CT\\SEG")
    results = answer(PatientID="P-1", ModalitiesInStudy="SEG\\SR")
    assert found(images, results) == [Whose("P-2", "X", "A")]
    assert found(results) == []


@pytest.mark.parametrize(("series", "number"), [(["CT", "SEG"], 1), (["SEG", "OT"], 0), ([], 1)])
def test_pacs_that_does_not_say_modalities_of_studies_is_asked_for_those_of_series(
    series: list[str], number: int
) -> None:
    assert len(found(answer(PatientID="P-1"), series=series)) == number


def test_answer_about_another_study_counts_for_nothing() -> None:
    assert found(answer(StudyInstanceUID="1.2.33", PatientID="P-2", ModalitiesInStudy="CT")) == []


def test_patient_of_a_study_is_read_from_what_a_web_service_answers() -> None:
    study = {
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "00100020": {"vr": "LO", "Value": ["P-2"]},
        "00080050": {"vr": "SH"},
        "00080061": {"vr": "CS", "Value": ["CT", "SEG"]},
    }
    assert by_search([study], STUDY, with_images=True) == [Whose("P-2", "", "")]
    assert by_search([{**study, "00080061": {"vr": "CS", "Value": ["SEG"]}}], STUDY, with_images=True) == []


@pytest.mark.parametrize("content", [None, {}, [None], [{"0020000D": 1}], [{"0020000D": {"Value": "1"}}]])
def test_what_is_no_answer_of_a_search_says_nothing(content: object) -> None:
    assert by_search(content, STUDY, with_images=True) == []
