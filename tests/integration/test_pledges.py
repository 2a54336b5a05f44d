"""Storage commitment as a user: a PACS is asked to keep what it was sent, and reports however it likes."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import Dataset
from pydicom.uid import SegmentationStorage
from pynetdicom import AE
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from structlog.testing import capture_logs

from gateway.adapters.checks import Verdict
from gateway.app import App
from gateway.commands.doctor_commitment import examine_commitment
from gateway.config import AllowedSender, Config
from gateway.configured import warnings_about
from gateway.demo.loopback import free_port
from gateway.demo.orthanc import Orthanc, find_orthanc
from gateway.ledger.pledges import NO_LONGER_ASKED
from gateway.ledger.records import DeliveryRow
from gateway.ledger.rejections import Rejection, reject
from gateway.ledger.resending import resend_job
from gateway.ledger.slots import supersede_slot
from gateway.ledger.states import DeliveryEvent, DeliveryState, StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible, Transaction
from gateway.ledger.work import cancel, retry
from gateway.workers.attempts import Backoff
from tests.conftest import CALLERS
from tests.doubles.keeper import LOCALHOST, SUCCESS, Keeper

from .test_delivery_worker import STUDY_UID, Site, _encoded_job, add_pictures, until
from .test_whose import dcmqrscp

DEADLINE_S = 120.0
ANOTHER = AllowedSender(ae_title="CT", address="192.0.2.1/32")


@dataclass
class Kept:
    """A gateway with one encoded job whose destination is asked."""

    folder: Path
    keeper: Keeper
    uid: str = ""
    gateway: Any = None

    @contextmanager
    def runs(self, **changes: Any) -> Iterator[App]:
        destination = {
            **{"name": "pacs", "ae_title": "PACS", "host": LOCALHOST, "port": self.keeper.port},
            **{"commitment": True, **changes},
        }
        gateway = App(
            Config(
                site={"data_dir": self.folder, "low_water_mb": 0},
                dicom={"port": self.keeper.gateway_port},
                api={"port": 0},
                rule=[{"name": "none", "when": {"SeriesDescription": "no series has this"}}],
                destination=[destination],
            )
        )
        if not self.uid:
            self.uid = _encoded_job(gateway._ledger, self.folder)
        self.gateway = gateway
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.stop()

    @property
    def ledger(self) -> Ledger:
        return self.gateway._ledger  # type: ignore[no-any-return]

    def delivery(self) -> DeliveryRow:
        return DeliveryRow.of(self.ledger.read("SELECT * FROM deliveries")[0])

    def study(self) -> tuple[str, str]:
        (row,) = self.ledger.read("SELECT state, reason FROM studies")
        return row["state"], row["reason"]

    def until(self, condition: Callable[[DeliveryRow], object]) -> DeliveryRow:
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.delivery()):
            assert time.monotonic() < deadline, (self.delivery(), self.keeper.answers)
            time.sleep(0.01)
        return self.delivery()

    def do(self, what: Callable[[Transaction], object]) -> None:
        with self.ledger.transaction() as transaction:
            what(transaction)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr("gateway.adapters.dicom.pledge.SAME_ASSOCIATION_S", 0.1)
    (tmp_path / "data").mkdir()
    with capture_logs():
        yield Kept(tmp_path / "data", Keeper())


def is_committed(row: DeliveryRow) -> bool:
    return row.state is DeliveryState.COMMITTED


def is_asked(row: DeliveryRow) -> bool:
    return "its report is awaited" in row.reason


@pytest.mark.parametrize("reports", ["new", "same", "before"])
def test_delivery_ends_as_committed_however_its_destination_reports(
    kept: Kept, reports: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keeper.reports = reports
    monkeypatch.setattr("gateway.adapters.dicom.pledge.SAME_ASSOCIATION_S", DEADLINE_S)
    with kept.keeper.runs(), kept.runs():
        row = kept.until(is_committed)
        assert (row.unkept_since, row.reason) == (None, "")
        assert kept.study() == (StudyState.DONE, "delivered")
        (asked,) = kept.keeper.asked
        assert asked.TransactionUID.startswith("2.25.")
        (item,) = asked.ReferencedSOPSequence
        assert (item.ReferencedSOPInstanceUID, item.ReferencedSOPClassUID) == (kept.uid, SegmentationStorage)
    assert kept.keeper.answers == [SUCCESS]


def test_study_is_open_until_its_destination_says_that_it_keeps_the_result(kept: Kept) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs(), kept.runs():
        row = kept.until(is_asked)
        assert row.state is DeliveryState.SENT
        assert kept.study() == (StudyState.PROCESSING, row.reason)
        assert kept.keeper.report(kept.keeper.asked[0]) == SUCCESS
        kept.until(is_committed)


def test_objects_of_a_job_are_asked_for_together_after_the_last_and_each_has_its_own_end(kept: Kept) -> None:
    kept.keeper.busy_for = {"2.25.2"}
    kept.keeper.failures = {"2.25.3": 0x0119}
    with kept.keeper.runs(), kept.runs() as gateway:
        add_pictures(Site(kept.ledger, gateway._bus, kept.folder, kept.uid), 3)
        until(lambda: "pending" not in states(kept) and "sent" not in states(kept))
        assert sorted(states(kept)) == ["committed", "committed", "committed", "failed"]
        lines = kept.ledger.read("SELECT 1 FROM events WHERE event = 'delivery.commitment_awaited'")
    asked = [
        {item.ReferencedSOPInstanceUID for item in one.ReferencedSOPSequence} for one in kept.keeper.asked
    ]
    assert sorted(asked, key=len) == [{kept.uid}, {"2.25.1", "2.25.2", "2.25.3"}]
    assert len(lines) <= 2


def states(kept: Kept) -> list[str]:
    return [row["state"] for row in kept.ledger.read("SELECT state FROM deliveries")]


def test_what_it_does_not_have_after_all_is_sent_again_and_kept_then(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.pledges.FIRST_AGAIN_S", 0.1)
    with kept.keeper.runs():
        with kept.runs(commitment=False):
            kept.until(lambda row: row.state is DeliveryState.SENT)
            kept.keeper.failures = {kept.uid: 0x0112}
        with kept.runs():
            kept.do(lambda transaction: transaction.move_delivery(kept.delivery().key, DeliveryEvent.RESENT))
            kept.until(is_committed)
            sql = "SELECT detail FROM events WHERE event = 'delivery.commitment_refused'"
            lines = [row["detail"] for row in kept.ledger.read(sql)]
    assert kept.keeper.stored == [kept.uid] * 3
    assert ["0x0112: it does not have it" in line for line in lines] == [True]


def test_destination_that_takes_again_and_again_and_keeps_nothing_fails_it(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.pledges.FIRST_AGAIN_S", 0.01)

    class Forgetful(dict[str, int]):
        def __contains__(self, uid: object) -> bool:
            return True

        def pop(self, uid: str, *_: object) -> int:
            return 0x0112

    kept.keeper.failures = Forgetful()
    with kept.keeper.runs(), kept.runs():
        row = kept.until(lambda row: row.state is DeliveryState.FAILED)
        assert "5 times it took it and did not keep it" in row.reason
        assert row.begun_at is None
        assert kept.study()[0] == StudyState.FAILED
    assert len(kept.keeper.stored) == 5


@pytest.mark.parametrize(
    ("reason", "state", "words"),
    [
        (0x0119, DeliveryState.FAILED, "something of another SOP class under its UID"),
        (0x0122, DeliveryState.SENT, "commits itself to nothing of that SOP class"),
    ],
)
def test_reason_that_will_not_change_ends_it_with_a_sentence(
    kept: Kept, reason: int, state: DeliveryState, words: str
) -> None:
    with kept.keeper.runs(), kept.runs():
        kept.keeper.reports = "never"
        kept.until(is_asked)
        kept.keeper.failures = {kept.uid: reason}
        kept.keeper.report(kept.keeper.asked[0])
        row = kept.until(lambda row: row.unkept_since is None)
    assert (row.state, words in row.reason) == (state, True)


@pytest.mark.parametrize("reason", [0x0110, 0x0999])
def test_reason_that_may_change_is_told_and_it_is_asked_again(kept: Kept, reason: int) -> None:
    with kept.keeper.runs(), kept.runs():
        kept.keeper.reports = "never"
        kept.until(is_asked)
        kept.keeper.failures = {kept.uid: reason}
        kept.keeper.report(kept.keeper.asked[0])
        row = kept.until(lambda row: f"0x{reason:04X}" in row.reason)
        assert row.state is DeliveryState.SENT
        kept.keeper.reports = "new"
        kept.do(lambda transaction: retry(transaction, "job"))
        kept.until(is_committed)
    assert len({asked.TransactionUID for asked in kept.keeper.asked}) == 2


@pytest.mark.parametrize(("offers", "status"), [(False, SUCCESS), (True, 0x0211)])
def test_destination_without_storage_commitment_leaves_it_as_sent_with_a_sentence(
    kept: Kept, offers: bool, status: int
) -> None:
    kept.keeper.offers, kept.keeper.status = offers, status
    with kept.keeper.runs(), kept.runs():
        row = kept.until(lambda row: row.reason)
        assert (row.state, row.unkept_since) == (DeliveryState.SENT, None)
        assert "offers no storage commitment" in row.reason
        assert kept.study() == (StudyState.DONE, "delivered")


def test_destination_that_answers_with_a_failure_is_asked_again_and_that_is_told(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.delivery.pledging.LATER", Backoff(0.1, 0.1))
    kept.keeper.status = 0x0110
    with kept.keeper.runs(), kept.runs() as gateway:
        kept.until(lambda row: "answered with status 0x0110" in row.reason)
        until(lambda: [why for why in gateway.readiness().degraded if why.startswith("commitment-pacs: ")])
        kept.keeper.status = SUCCESS
        kept.until(is_committed)
        until(lambda: gateway.readiness().degraded == ())


# -- real peers ------------------------------------------------------------------------------------------


@contextmanager
def asks(kept: Kept, orthanc: Orthanc) -> Iterator[None]:
    """The gateway with an Orthanc that knows where it takes reports."""
    peer, port = orthanc.peer, kept.keeper.gateway_port
    address, auth = orthanc.rest
    there = {"AET": "IRIS", "Host": LOCALHOST, "Port": port}
    assert requests.put(f"{address}/modalities/IRIS", json=there, auth=auth, timeout=30).ok
    with kept.runs(ae_title=peer.ae_title, port=peer.port):
        yield


@pytest.mark.peer("orthanc")
def test_orthanc_keeps_what_it_was_sent_and_says_so(kept: Kept, orthanc: Orthanc) -> None:
    with asks(kept, orthanc):
        row = kept.until(is_committed)
        assert row.attempts == 1
        checks = [*examine_commitment(kept.gateway.config, kept.gateway.config.destination[0])]
        assert [check.verdict for check in checks] == [Verdict.OK]


@pytest.mark.peer("orthanc")
def test_orthanc_that_loses_what_it_took_is_found_out(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.pledges.FIRST_AGAIN_S", 0.01)
    program = find_orthanc()
    assert program
    script = tmp_path / "lose.lua"
    script.write_text("function OnStoredInstance(instanceId) Delete(instanceId) end\n")
    orthanc = Orthanc(tmp_path / "orthanc", program, CALLERS, {"LuaScripts": [str(script)]})
    orthanc.start()
    try:
        with asks(kept, orthanc):
            row = kept.until(lambda row: row.state is DeliveryState.FAILED)
    finally:
        orthanc.stop()
    assert "reason 0x0112: it does not have it" in row.reason
    assert "5 times it took it and did not keep it" in row.reason


@pytest.mark.peer("dcmtk")
def test_dcmqrscp_has_no_commitment_and_that_is_said_in_the_delivery_and_by_doctor(
    kept: Kept, tmp_path: Path
) -> None:
    with dcmqrscp(tmp_path, free_port()) as peer, kept.runs(ae_title=peer.ae_title, port=peer.port):
        row = kept.until(lambda row: row.reason)
        assert (row.state, row.unkept_since) == (DeliveryState.SENT, None)
        assert "offers no storage commitment" in row.reason
        config = kept.gateway.config
        (check,) = examine_commitment(config, config.destination[0])
        assert check.verdict is Verdict.WARNING
        assert "(dcmqrscp has none): deliveries there end as sent" in check.finding


@pytest.mark.parametrize(
    ("host", "allow", "words"),
    [
        ("127.0.0.1", [ANOTHER], "is turned away at the door; add PACS to dicom.allow"),
        ("192.0.2.10", [], "cannot reach dicom.host = 127.0.0.1; set an address of this machine there"),
        ("127.0.0.1", [], ""),
    ],
)
def test_report_that_cannot_come_in_is_said_at_the_start(host: str, allow: list[Any], words: str) -> None:
    to = {"name": "pacs", "ae_title": "PACS", "host": host, "port": 104, "commitment": True}
    said = warnings_about(Config(dicom={"allow": allow}, destination=[to]))
    assert [words in line for line in said if "storage commitment" in line] == ([True] if words else [])


# -- what is not believed --------------------------------------------------------------------------------


def test_forged_foreign_late_and_repeated_reports_change_nothing(kept: Kept) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs(), kept.runs():
        kept.until(is_asked)
        (asked,) = kept.keeper.asked
        forged = Dataset()
        forged.update(asked)
        forged.TransactionUID = "2.25.1"
        assert kept.keeper.report(forged) == 0x0115
        assert kept.keeper.report(asked, ae_title="ANYBODY") is None
        assert kept.delivery().state is DeliveryState.SENT
        assert kept.keeper.report(asked) == SUCCESS
        assert is_committed(kept.delivery())
        kept.keeper.failures = {kept.uid: 0x0112}
        assert kept.keeper.report(asked) == SUCCESS
        assert is_committed(kept.delivery())
        kept.do(lambda transaction: transaction.move_delivery(kept.delivery().key, DeliveryEvent.RESENT))
        kept.until(is_asked)
        assert kept.keeper.report(asked) == 0x0115
        assert kept.delivery().state is DeliveryState.SENT


def test_report_of_another_kind_and_what_is_none_are_refused(kept: Kept) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs(), kept.runs() as gateway:
        kept.until(is_asked)
        entity = AE("PACS")
        entity.add_requested_context(StorageCommitmentPushModel)
        opened = entity.associate(LOCALHOST, kept.keeper.gateway_port)
        nothing, kind = Dataset(), (StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        nothing.PatientComments = "no transaction"
        answers = [opened.send_n_event_report(nothing, number, *kind)[0].Status for number in (3, 1)]
        opened.release()
        assert answers == [0x0113, 0x0110]
        assert kept.delivery().state is DeliveryState.SENT
        assert gateway.listener.is_listening


def test_report_of_another_destination_is_refused(kept: Kept) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs(), kept.runs():
        kept.until(is_asked)
        (asked,) = kept.keeper.asked
        kept.gateway.listener._pledged.reporters["OTHER"] = frozenset({"other"})
        assert kept.keeper.report(asked, ae_title="OTHER") == 0x0124
        assert kept.delivery().state is DeliveryState.SENT


# -- beside what else happens ----------------------------------------------------------------------------


def supersede(transaction: Transaction) -> None:
    supersede_slot(transaction, STUDY_UID, "slot", "an instance came in later")


def rejected_there(transaction: Transaction) -> None:
    """It hides what it rejected, and so does not keep it."""
    row = transaction.one("SELECT sop_instance_uid FROM deliveries")
    assert row is not None
    reject(transaction, Rejection("1.2.8", STUDY_UID, "", "113001", (row["sop_instance_uid"],)))


@pytest.mark.parametrize(
    ("what", "state"),
    [
        (supersede, DeliveryState.SUPERSEDED),
        (None, DeliveryState.CANCELLED),
        (rejected_there, DeliveryState.CANCELLED),
    ],
)
def test_refused_commitment_of_a_job_that_is_over_goes_nowhere(
    kept: Kept, what: Callable[[Transaction], object] | None, state: DeliveryState
) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs(), kept.runs():
        kept.until(is_asked)
        kept.do(lambda transaction: _end_job(transaction, what))
        kept.keeper.failures = {kept.uid: 0x0112}
        assert kept.keeper.report(kept.keeper.asked[0]) == SUCCESS
        row = kept.delivery()
        assert (row.state, row.begun_at, row.unkept_since) == (state, None, None)
        assert kept.study()[0] == StudyState.DONE
    assert kept.keeper.stored == [kept.uid]


def test_result_that_is_rejected_while_its_word_is_awaited_says_so_when_it_is_kept(kept: Kept) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs(), kept.runs():
        kept.until(is_asked)
        kept.do(rejected_there)
        assert kept.keeper.report(kept.keeper.asked[0]) == SUCCESS
        said = "the PACS rejected it (113001, rejected for quality reasons)"
        assert kept.until(is_committed).reason == said
        with pytest.raises(NotPossible, match=re.escape(said)):
            kept.do(lambda transaction: resend_job(transaction, "job"))


def _end_job(transaction: Transaction, what: Callable[[Transaction], object] | None) -> None:
    """As it is where another object of the job had not arrived."""
    transaction.execute("UPDATE jobs SET state = 'encoded'")
    if what is None:
        cancel(transaction, "job")
    else:
        what(transaction)


def test_what_was_asked_before_a_restart_is_asked_again_and_either_report_counts(kept: Kept) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs():
        with kept.runs():
            kept.until(is_asked)
        with kept.runs():
            until(lambda: len(kept.keeper.asked) == 2)
            assert kept.keeper.report(kept.keeper.asked[0]) == SUCCESS
            assert is_committed(kept.delivery())
            assert kept.keeper.report(kept.keeper.asked[1]) == SUCCESS
            assert is_committed(kept.delivery())


def test_destination_that_is_not_asked_any_more_leaves_it_as_sent(kept: Kept) -> None:
    kept.keeper.reports = "never"
    with kept.keeper.runs():
        with kept.runs():
            kept.until(is_asked)
        with kept.runs(commitment=False):
            row = kept.until(lambda row: row.unkept_since is None)
            assert (row.state, row.reason) == (DeliveryState.SENT, NO_LONGER_ASKED)
            assert kept.study()[0] == StudyState.DONE


def test_destination_that_never_reports_is_given_up_with_the_way_out(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.delivery.pledging.ANSWER", Backoff(0.1, 0.1))
    kept.keeper.reports = "never"
    with kept.keeper.runs(), kept.runs(give_up_after_h=1e-4):
        row = kept.until(lambda row: row.state is DeliveryState.FAILED)
        assert "See that it knows this gateway as IRIS with host and port, then retry" in row.reason
        kept.keeper.reports = "new"
        kept.do(lambda transaction: retry(transaction, "job"))
        kept.until(is_committed)
    assert kept.keeper.stored == [kept.uid] * 2


def test_provider_of_commitment_is_nobody_for_a_destination_that_reports(kept: Kept) -> None:
    with kept.keeper.runs(), kept.runs():
        entity = AE("PACS")
        entity.add_requested_context(StorageCommitmentPushModel)
        kept.until(is_committed)
        opened = entity.associate(LOCALHOST, kept.keeper.gateway_port)
        asked = Dataset()
        asked.TransactionUID = "1.2.3"
        status, _ = opened.send_n_action(
            asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        opened.release()
        assert status.Status == 0x0211
