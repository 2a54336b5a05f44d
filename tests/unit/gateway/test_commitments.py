"""Storage commitment requests, and what becomes of them when nobody answers; days pass at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom import Dataset, config
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import InstanceAvailabilityNotification
from structlog.testing import capture_logs

from gateway.adapters import command_set
from gateway.adapters.contents import NoAnswer, NotTold, SeriesContents
from gateway.adapters.dicom.peer import Peer
from gateway.backends.pacs import requester_of
from gateway.config import Config, ConfigError, read_config
from gateway.ledger.commitments import open_commitments
from gateway.ledger.erasing import erase_study
from gateway.ledger.named import AlreadyNamed, NamedList, name_instances, standing_of
from gateway.listener.commitments import Commitments, Custody
from gateway.listener.notices import take_notice
from gateway.listener.wire.guard import Command
from gateway.listener.wire.naming import NamingRequest, answer_to
from gateway.workers.waits import Waits
from tests.results import SEGMENTATION_STORAGE

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY, SERIES, IMAGE = "1.2.3", "1.2.3.4", "1.2.3.4.1"
HOUR_S, DAY_S = 3600.0, 86_400.0


@dataclass
class Clock:
    at_s: float = 0.0

    def monotonic(self) -> float:
        return self.at_s

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.at_s)


@dataclass
class Pacs:
    """Holds images of the one series."""

    holds: frozenset[str] = frozenset()
    trouble: NotTold | None = None
    asked: list[str] = field(default_factory=list)
    series: set[str] = field(default_factory=set)

    def of_series(self, study_uid: str, series_uids: Iterable[str]) -> Mapping[str, SeriesContents]:
        self.asked.append(study_uid)
        self.series |= set(series_uids)
        if self.trouble is not None:
            raise self.trouble
        return {uid: SeriesContents(len(self.holds), self.holds or None) for uid in series_uids}

    def answers(self) -> str:
        return ""

    def interrupt(self) -> None:
        """Nothing is open."""


def ask(book, transaction_uid: str = "1.9", *instances: str) -> None:
    named = NamedList("CT1", "192.0.2.1", dict.fromkeys(instances or (IMAGE,), CT), None, transaction_uid)
    with book.ledger.transaction() as transaction:
        name_instances(transaction, named)


def commitments(book, pacs: Pacs, clock: Clock) -> Commitments:
    custody = Custody(pacs, "PACS", "IRIS", lambda title, address: None, timeout_s=60)
    return Commitments(book.ledger, custody, Waits(clock.monotonic, clock.now))


def test_requester_that_nobody_can_reach_is_told_of_and_given_up_after_three_days(book) -> None:
    book.store()
    ask(book)
    clock, pacs = Clock(), Pacs(frozenset({IMAGE}))
    worker = commitments(book, pacs, clock)
    worker.work()
    assert "give dicom.allow its port" in worker.complaint()
    assert [request.failures for request in open_commitments(book.ledger)] == [{}]
    clock.at_s = 3 * DAY_S + 1
    with capture_logs() as logs:
        worker.work()
    assert [line["event"] for line in logs] == ["commitment_given_up"]
    assert open_commitments(book.ledger) == []
    assert worker.complaint() == ""
    assert pacs.asked == [STUDY]  # what is decided stays so


def test_pacs_that_never_answers_lets_all_fail_after_three_days(book) -> None:
    book.store()
    ask(book)
    clock = Clock()
    worker = commitments(book, Pacs(trouble=NotTold(NoAnswer.AWAY, "the PACS is away")), clock)
    worker.work()
    assert worker.complaint() == "the PACS is away"
    clock.at_s = HOUR_S
    worker.work()
    assert [request.failures for request in open_commitments(book.ledger)] == [None]
    clock.at_s = 3 * DAY_S + 1
    worker.work()
    assert open_commitments(book.ledger) == []
    (reported,) = [line for line in book.timeline() if line.event == "study.commitment_reported"]
    assert reported.detail == {"committed": 0, "failed": 1}


def test_pacs_that_only_counts_confirms_nothing(book) -> None:
    book.store()
    ask(book)
    clock = Clock()
    worker = commitments(book, Pacs(), clock)
    worker.work()
    clock.at_s = 61
    worker.work()
    assert [request.failures for request in open_commitments(book.ledger)] == [{IMAGE: 0x0112}]


@pytest.mark.parametrize(
    ("holds", "failures"),
    [(frozenset({IMAGE, "2.25.1"}), {}), (frozenset({IMAGE}), {"2.25.1": 0x0112})],
    ids=["the PACS has it", "the PACS has it not"],
)
def test_result_of_ours_that_was_routed_back_is_committed_where_the_pacs_has_it(
    book, holds: frozenset[str], failures: dict[str, int]
) -> None:
    book.begin_encoded()
    result = Dataset()
    result.SOPClassUID, result.SOPInstanceUID = SEGMENTATION_STORAGE, "2.25.1"
    result.SeriesInstanceUID = "1.2.3.9"
    path = book.data_dir / "results" / "2.25.1.dcm"
    path.parent.mkdir()
    result.ensure_file_meta()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    result.save_as(path, enforce_file_format=True)
    named = NamedList("PACS", "192.0.2.1", {IMAGE: CT, "2.25.1": SEGMENTATION_STORAGE}, None, "1.9")
    with book.ledger.transaction() as transaction:
        name_instances(transaction, named)
    clock, pacs = Clock(), Pacs(holds)
    worker = commitments(book, pacs, clock)
    worker.work()
    clock.at_s = 61
    worker.work()
    assert [request.failures for request in open_commitments(book.ledger)] == [failures]
    assert pacs.series == {SERIES, "1.2.3.9"}


def test_list_stands_until_it_is_reported_and_its_study_closed_and_is_erased_with_the_study(book) -> None:
    book.store()
    ask(book)
    with pytest.raises(AlreadyNamed):
        ask(book, "1.9", "1.2.3.4.2")
    ask(book, "1.10", "1.2.3.4.2")
    with book.ledger.transaction() as transaction:
        name_instances(transaction, NamedList("PACS", "192.0.2.2", {"1.2.3.4.3": CT}, STUDY))
    standing = standing_of(book.ledger, STUDY)
    assert standing is not None
    assert (standing.missing, standing.are_all_named) == (1, True)
    book.complete()
    assert standing_of(book.ledger, STUDY) is None
    with book.ledger.transaction() as transaction:
        erase_study(transaction, transaction.study(STUDY), why="age")
    assert [request.transaction_uid for request in open_commitments(book.ledger)] == ["1.10"]


def test_notice_that_cannot_be_parsed_is_refused_and_nothing_of_it_logged(book) -> None:
    elements = {
        command_set.AFFECTED_SOP_CLASS_UID: command_set.uid_value(InstanceAvailabilityNotification),
        command_set.COMMAND_FIELD: command_set.number_value(command_set.N_CREATE_RQ),
    }
    content = b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xffMUELLER"
    request = NamingRequest(
        "CT1", "192.0.2.1", InstanceAvailabilityNotification, elements, content, ExplicitVRLittleEndian
    )
    with capture_logs() as logs:
        assert take_notice(book.ledger, request).status in (0x0110, 0x0120)
    assert [line["event"] for line in logs] == ["names_not_understood"]
    assert "MUELLER" not in str(logs)


@pytest.mark.filterwarnings("error")  # one would quote the value
def test_notice_with_values_that_are_no_uids_is_refused_and_none_is_quoted(book) -> None:
    elements = {
        command_set.AFFECTED_SOP_CLASS_UID: command_set.uid_value(InstanceAvailabilityNotification),
        command_set.COMMAND_FIELD: command_set.number_value(command_set.N_CREATE_RQ),
    }
    with config.disable_value_validation():
        item, series, notice = Dataset(), Dataset(), Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, "MUELLER"
        series.ReferencedSOPSequence = [item]
        notice.StudyInstanceUID, notice.ReferencedSeriesSequence = "HANS", [series]
        content = encode(notice, False, True)
    assert content is not None
    request = NamingRequest(
        "CT1", "192.0.2.1", InstanceAvailabilityNotification, elements, content, ExplicitVRLittleEndian
    )
    assert take_notice(book.ledger, request).status == 0x0106


def test_answer_to_a_notice_without_a_uid_gives_it_one() -> None:
    elements = {
        command_set.AFFECTED_SOP_CLASS_UID: command_set.uid_value(InstanceAvailabilityNotification),
        command_set.COMMAND_FIELD: command_set.number_value(command_set.N_CREATE_RQ),
        command_set.MESSAGE_ID: command_set.number_value(7),
    }
    answer = command_set.parsed(answer_to(Command(1, b"", elements), 0x0000)[12:])
    assert answer[command_set.AFFECTED_SOP_INSTANCE_UID].startswith(b"1.2.826.0.1.3680043.8.498.")
    assert answer[command_set.MESSAGE_ID_BEING_RESPONDED_TO] == b"\x07\x00"
    assert answer[command_set.COMMAND_FIELD] == b"\x40\x81"


# -- who may be told --------------------------------------------------------------------------------------


def test_requester_is_called_where_allow_a_destination_or_study_find_says() -> None:
    config = Config(
        dicom={"allow": [{"ae_title": "CT1", "address": "192.0.2.0/24", "port": 104}]},
        destination=[{"name": "a", "ae_title": "CT2", "host": "ct2", "port": 105}],
        study={"find": {"ae_title": "PACS", "host": "pacs", "port": 106}},
    )
    assert requester_of(config, "CT1", "::ffff:192.0.2.7") == Peer("CT1", "192.0.2.7", 104)
    assert requester_of(config, "CT1", "198.51.100.1") is None
    assert requester_of(config, "CT2", "192.0.2.7") == Peer("CT2", "ct2", 105)
    assert requester_of(config, "PACS", "192.0.2.7") == Peer("PACS", "pacs", 106)


def test_custody_without_a_pacs_that_confirms_is_refused_at_start(tmp_path: Path) -> None:
    path = tmp_path / "iris.toml"
    path.write_text("[dicom]\ncommitment = true\n")
    with pytest.raises(ConfigError, match=r"needs study\.find"):
        read_config(path)
