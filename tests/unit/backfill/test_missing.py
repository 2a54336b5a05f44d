"""What is missing here of what a PACS says that it has; the PACS is a table that answers questions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from pydicom import Dataset

from gateway.adapters.dicom.peer import Peer
from gateway.adapters.dicom.retrieval import Ask, NotAnswered
from gateway.backfill import missing
from gateway.backfill.missing import Inquiry, MissingSeries, MissingStudy, Wanted
from gateway.ledger.instances import BACKFILLED
from gateway.ledger.states import StudyState
from tests.one_job import SERIES_UID, STUDY_UID

HERE = "1.2.3.4.5"
DAYS = Wanted(date(2026, 11, 1), date(2026, 11, 2))
OTHER_SERIES, OTHER_STUDY = "1.2.3.5", "1.2.4"


class Pacs:
    """Answers by level; a level that is not there is refused."""

    def __init__(self, **levels: list[dict[str, Any]]) -> None:
        self.levels = levels
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    @contextmanager
    def asking(self, *_: Any, **__: Any) -> Iterator[Ask]:
        yield self.answer

    def answer(self, level: str, keys: Mapping[str, str]) -> list[Dataset]:
        self.asked.append((level, keys))
        if level not in self.levels:
            raise NotAnswered("PACS answered C-FIND with status 0xA900", 0xA900)
        found = []
        for row in self.levels[level]:
            asked_for = {key: value for key, value in keys.items() if value and key in row}
            if all(value in (row[key], [row[key]]) or value in row[key] for key, value in asked_for.items()):
                answer = Dataset()
                for keyword, value in row.items():
                    setattr(answer, keyword, value)
                found.append(answer)
        return found


@pytest.fixture
def ask(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make an inquiry at a PACS of these levels."""

    def make(pacs: Pacs, modality: str = "") -> Inquiry:
        monkeypatch.setattr(missing, "asking", pacs.asking)
        return Inquiry(Peer("PACS", "127.0.0.1", 104), "IRIS", site.ledger, modality)

    return make


def study(
    uid: str, images: int | None = None, modalities: str = "CT", day: str = "20261101"
) -> dict[str, Any]:
    return {
        "StudyInstanceUID": uid,
        "StudyDate": "20261101",
        "ModalitiesInStudy": modalities,
        "NumberOfStudyRelatedInstances": images,
    }


def series(
    uid: str, images: int | None = None, study_uid: str = STUDY_UID, modality: str = "CT"
) -> dict[str, Any]:
    return {
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": uid,
        "Modality": modality,
        "NumberOfSeriesRelatedInstances": images,
    }


def image(uid: str, series_uid: str = SERIES_UID) -> dict[str, Any]:
    return {
        "SeriesInstanceUID": series_uid,
        "SOPInstanceUID": uid,
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    }


def found(inquiry: Inquiry) -> list[MissingStudy]:
    return inquiry.of_days(DAYS, lambda _: None)


def test_study_with_as_many_images_here_as_there_is_not_asked_about_further(ask: Any) -> None:
    pacs = Pacs(STUDY=[study(STUDY_UID, 1)])
    assert found(ask(pacs)) == []
    assert [level for level, _ in pacs.asked] == ["STUDY", "STUDY"]
    assert [keys["StudyDate"] for _, keys in pacs.asked] == ["20261101", "20261102"]


def test_study_that_is_not_here_is_missing_with_all_its_images(ask: Any) -> None:
    assert found(ask(Pacs(STUDY=[study(OTHER_STUDY, 30)]))) == [MissingStudy(OTHER_STUDY, 30)]


def test_study_that_is_here_in_part_is_compared_by_its_images(ask: Any) -> None:
    images = [image(HERE), image("1.9"), image("1.8", OTHER_SERIES)]
    pacs = Pacs(
        STUDY=[study(STUDY_UID, 3)], SERIES=[series(SERIES_UID, 2), series(OTHER_SERIES, 1)], IMAGE=images
    )
    inquiry = ask(pacs)
    assert found(inquiry) == [MissingStudy(STUDY_UID, 2)]
    assert inquiry.series_of(STUDY_UID) == [
        MissingSeries(SERIES_UID, 2, 1),
        MissingSeries(OTHER_SERIES, 1, 1),
    ]


def test_what_is_quarantined_is_not_missed(ask: Any, site: Any) -> None:
    with site.ledger.transaction() as transaction:
        transaction.insert(
            "quarantine",
            {
                "key": "k", "reason": "r", "sentence": "s", "path": "p", "study_uid": STUDY_UID,
                "sop_instance_uid": "1.9", "sender": "PACS", "first_at": "a", "last_at": "a",
            },
        )  # fmt: skip
    pacs = Pacs(
        STUDY=[study(STUDY_UID, 2)], SERIES=[series(SERIES_UID, 2)], IMAGE=[image(HERE), image("1.9")]
    )
    assert found(ask(pacs)) == []


def test_pacs_without_the_image_level_is_compared_by_numbers(ask: Any) -> None:
    pacs = Pacs(STUDY=[study(STUDY_UID, 5)], SERIES=[series(SERIES_UID, 5)])
    assert found(ask(pacs)) == [MissingStudy(STUDY_UID, 4)]


def test_pacs_that_tells_no_numbers_is_asked_for_the_series_and_images(ask: Any) -> None:
    pacs = Pacs(
        STUDY=[study(STUDY_UID), study(OTHER_STUDY)],
        SERIES=[series(SERIES_UID), series("1.2.4.1", study_uid=OTHER_STUDY)],
        IMAGE=[image(HERE)],
    )
    assert found(ask(pacs)) == [MissingStudy(OTHER_STUDY, 0)]


def test_only_series_of_the_modality_are_missed_also_where_the_pacs_does_not_match_it(ask: Any) -> None:
    pacs = Pacs(
        STUDY=[{**study(OTHER_STUDY, 9), "ModalitiesInStudy": ["CT", "SR"]}, study("1.2.5", 4, "MR")],
        SERIES=[
            series("1.2.4.1", 8, OTHER_STUDY),
            series("1.2.4.2", 1, OTHER_STUDY, "SR"),
            series("1.2.5.1", 4, "1.2.5", "MR"),
        ],
    )
    assert found(ask(pacs, "CT")) == [MissingStudy(OTHER_STUDY, 8)]


@pytest.mark.parametrize(("sender", "is_left_out"), [("PACS", True), (BACKFILLED, False)])
def test_study_that_somebody_else_is_sending_is_left_out(
    ask: Any, site: Any, sender: str, is_left_out: bool
) -> None:
    with site.ledger.transaction() as transaction:
        transaction.update("studies", "study_uid", STUDY_UID, {"state": StudyState.RECEIVING})
        transaction.execute("UPDATE instances SET sender = ? WHERE sop_instance_uid = ?", (sender, HERE))
    pacs = Pacs(STUDY=[study(STUDY_UID, 5)], SERIES=[series(SERIES_UID, 5)])
    assert (found(ask(pacs)) == []) is is_left_out


def test_answer_without_a_uid_is_told_without_its_words(ask: Any) -> None:
    with pytest.raises(NotAnswered, match=r"answered C-FIND without StudyInstanceUID") as raised:
        found(ask(Pacs(STUDY=[{**study("", 3), "PatientName": "Mueller"}])))
    assert "Mueller" not in str(raised.value)
