"""Storage commitment and availability notices: a modality that asks, the gateway, and a PACS that knows."""

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import Dataset, config, dcmread
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)
from structlog.testing import capture_logs

from gateway.adapters.dicom.peer import Peer
from gateway.app import App
from gateway.config import Config
from gateway.delivery.sending import send_files
from gateway.demo.orthanc import Orthanc
from gateway.listener.application_entity import NO_COMMITMENT
from gateway.workers.attempts import Backoff

DEADLINE_S, HOUR_S = 120.0, 3600.0
TIMEOUT_S = 0.5
LOCALHOST = "127.0.0.1"
NOBODY = [{"name": "none", "when": {"SeriesDescription": "no series has this"}}]
"""No job, so no engine."""
SUCCESS, PENDING = 0x0000, 0xFF00


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class Pacs:
    """Answers C-FIND with what it holds."""

    holds: set[str] = field(default_factory=set)
    status: int = SUCCESS

    def find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        if self.status != SUCCESS:
            yield self.status, None
            return
        if event.identifier.QueryRetrieveLevel == "IMAGE":
            for uid in sorted(self.holds):
                found = Dataset()
                found.SOPInstanceUID = uid
                yield PENDING, found

    @contextmanager
    def runs(self) -> Iterator[int]:
        entity = AE("PACS")
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        server = entity.start_server((LOCALHOST, 0), block=False, evt_handlers=[(evt.EVT_C_FIND, self.find)])
        assert server is not None
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@dataclass
class Report:
    """What a modality was told."""

    event_type: int
    transaction_uid: str
    retrieve_ae_title: str | None
    committed: set[str]
    failed: dict[str, int]
    on_requester: bool


class Modality:
    """Asks, and takes reports on the association on which it asked, and at its own port."""

    def __init__(self, answers: Sequence[int] = ()) -> None:
        self.reports: queue.Queue[Report] = queue.Queue()
        self._answers = list(answers)
        self._handlers = [(evt.EVT_N_EVENT_REPORT, self._take)]

    def _take(self, event: Event) -> tuple[int, None]:
        told = event.event_information
        self.reports.put(
            Report(
                event.request.EventTypeID,
                told.TransactionUID,
                told.get("RetrieveAETitle"),
                {item.ReferencedSOPInstanceUID for item in told.get("ReferencedSOPSequence", [])},
                {i.ReferencedSOPInstanceUID: i.FailureReason for i in told.get("FailedSOPSequence", [])},
                event.assoc.is_requestor,
            )
        )
        return (self._answers.pop(0) if self._answers else SUCCESS), None

    @contextmanager
    def listens(self) -> Iterator[int]:
        entity = AE("CT")
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        server = entity.start_server((LOCALHOST, 0), block=False, evt_handlers=self._handlers)
        assert server is not None
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()

    @contextmanager
    def calls(self, address: tuple[str, int], ae_title: str = "CT") -> Iterator[Association]:
        entity = AE(ae_title)
        for uid in (StorageCommitmentPushModel, InstanceAvailabilityNotification, CTImageStorage):
            entity.add_requested_context(uid)
        opened = entity.associate(*address, ae_title="IRIS", evt_handlers=self._handlers)
        assert opened.is_established
        try:
            yield opened
        finally:
            opened.release()

    def told(self) -> Report:
        return self.reports.get(timeout=DEADLINE_S)


def asks(instances: Mapping[str, str], transaction_uid: str = "1.2.826.1") -> Dataset:
    """The Action Information of a storage commitment request (PS3.4 table J.3-1)."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [reference(*one) for one in instances.items()]
    return request


def reference(uid: str, sop_class_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
    return item


def request(association: Association, asked: Dataset | None, **changes: Any) -> int:
    """Ask for storage commitment; the status of the answer."""
    wanted = {
        "action_type": 1,
        "class_uid": StorageCommitmentPushModel,
        "instance_uid": StorageCommitmentPushModelInstance,
        **changes,
    }
    status, _ = association.send_n_action(asked, **wanted)
    return int(status.Status)


@dataclass
class Site:
    """A gateway that takes custody, its PACS, and a modality."""

    folder: Path
    files: list[Path]
    pacs: Pacs = field(default_factory=Pacs)
    modality: Modality = field(default_factory=Modality)

    def __post_init__(self) -> None:
        self.images = {
            str(dcmread(file, specific_tags=["SOPInstanceUID"]).SOPInstanceUID): CTImageStorage
            for file in self.files
        }

    @contextmanager
    def gateway(
        self, pacs_port: int, *, port: int = 0, pacs: str = "PACS", requester: str = "CT", **study: Any
    ) -> Iterator[App]:
        gateway = App(
            Config(
                site={"data_dir": self.folder, "low_water_mb": 0},
                dicom={
                    "port": 0,
                    "commitment": True,
                    "allow": [{"ae_title": requester, "address": LOCALHOST, "port": port}],
                },
                api={"port": 0},
                study={
                    "quiet_s": HOUR_S,
                    "timeout_s": HOUR_S,
                    "find": {"ae_title": pacs, "host": LOCALHOST, "port": pacs_port},
                    **study,
                },
                rule=NOBODY,
            )
        )
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.stop()

    def told(self, gateway: App) -> Report:
        """What the modality is told; it has answered then."""
        report = self.modality.told()
        until(lambda: not open_requests(gateway))
        return report

    def send(self, gateway: App, files: Sequence[Path] | None = None) -> None:
        send_files(self.files if files is None else files, Peer("IRIS", *gateway.listener.address), "CT")


@pytest.fixture
def site(tmp_path: Path, small_study: Path) -> Site:
    return Site(tmp_path / "data", sorted(small_study.glob("*.dcm")))


def open_requests(gateway: App) -> int:
    (row,) = gateway._ledger.read("SELECT count(*) AS n FROM named_lists WHERE transaction_uid IS NOT NULL")
    return int(row["n"])


# -- what is committed ------------------------------------------------------------------------------------


def test_what_the_pacs_has_is_committed_on_the_same_association_with_its_ae_title(site: Site) -> None:
    site.pacs.holds = set(site.images)
    with site.pacs.runs() as port, site.gateway(port) as gateway:
        site.send(gateway)
        with site.modality.calls(gateway.listener.address) as association:
            assert request(association, asks(site.images)) == SUCCESS
            told = site.told(gateway)
            assert association.is_established
    assert told == Report(1, "1.2.826.1", "PACS", set(site.images), {}, on_requester=True)


def test_what_is_not_confirmed_or_of_another_class_is_reported_failed_after_the_timeout(site: Site) -> None:
    _, not_there, of_another_class, *_ = site.images
    never_came = generate_uid()
    site.pacs.holds = set(site.images) - {not_there} | {never_came}
    asked = {**site.images, of_another_class: MRImageStorage, never_came: CTImageStorage}
    with site.pacs.runs() as port, site.gateway(port, timeout_s=TIMEOUT_S) as gateway:
        site.send(gateway)
        with site.modality.calls(gateway.listener.address) as association:
            assert request(association, asks(asked)) == SUCCESS
            told = site.told(gateway)
    assert (told.event_type, told.retrieve_ae_title) == (2, "PACS")
    assert told.failed == {not_there: 0x0112, never_came: 0x0112, of_another_class: 0x0119}
    assert told.committed == asked.keys() - told.failed.keys()


def test_nothing_is_committed_while_images_or_the_pacs_are_late(site: Site) -> None:
    with site.pacs.runs() as port, site.gateway(port) as gateway:
        with site.modality.calls(gateway.listener.address) as association:
            assert request(association, asks(site.images)) == SUCCESS
            site.send(gateway, site.files[:3])
            site.send(gateway)
            until(lambda: gateway._ledger.read("SELECT 1 FROM studies WHERE state = 'done'"))
            assert site.modality.reports.empty()
            site.pacs.holds = set(site.images)
            assert site.told(gateway).committed == set(site.images)
        completed = gateway._ledger.read("SELECT detail FROM events WHERE event = 'study.completed'")
        assert ["nothing else named" in row["detail"] for row in completed] == [True]


def test_pacs_that_refuses_is_asked_again_and_told_in_readyz(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.listener.commitments.LATER", Backoff(0.2, 0.2))
    site.pacs.holds, site.pacs.status = set(site.images), 0xA700
    with capture_logs(), site.pacs.runs() as port, site.gateway(port, timeout_s=TIMEOUT_S) as gateway:
        site.send(gateway)
        with site.modality.calls(gateway.listener.address) as association:
            assert request(association, asks(site.images)) == SUCCESS
            until(lambda: [why for why in gateway.readiness().degraded if why.startswith("commitment: ")])
            site.pacs.status = SUCCESS
            assert site.told(gateway).event_type == 1


# -- how it is reported -----------------------------------------------------------------------------------


def test_report_comes_on_a_new_association_where_the_first_is_over(site: Site) -> None:
    with (
        site.pacs.runs() as pacs_port,
        site.modality.listens() as port,
        site.gateway(pacs_port, port=port) as gateway,
    ):
        with site.modality.calls(gateway.listener.address) as association:
            assert request(association, asks(site.images)) == SUCCESS
        site.pacs.holds = set(site.images)
        site.send(gateway)
        told = site.told(gateway)
        assert told == Report(1, "1.2.826.1", "PACS", set(site.images), {}, on_requester=False)


def test_report_that_fills_many_pdus_comes_whole_when_its_requester_is_silent(site: Site) -> None:
    never_came = {f"1.2.826.{number}": CTImageStorage for number in range(1000)}
    image = dcmread(site.files[0])
    with (
        site.pacs.runs() as port,
        site.gateway(port, timeout_s=TIMEOUT_S) as gateway,
        site.modality.calls(gateway.listener.address) as association,
    ):
        assert request(association, asks(never_came)) == SUCCESS
        until(lambda: gateway._ledger.read("SELECT 1 FROM named_lists WHERE failures IS NOT NULL"))
        for _ in range(20):
            assert association.send_c_store(image).Status == SUCCESS
        assert site.told(gateway).failed == dict.fromkeys(never_came, 0x0112)


def test_requester_that_fails_to_take_a_report_is_told_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.listener.commitments.LATER", Backoff(0.1, 0.1))
    site.pacs.holds = set(site.images)
    site.modality = Modality(answers=[0x0110])
    with site.pacs.runs() as port, site.gateway(port) as gateway:
        site.send(gateway)
        with site.modality.calls(gateway.listener.address) as association:
            assert request(association, asks(site.images)) == SUCCESS
            assert site.modality.told() == site.told(gateway)


def test_decision_is_reported_after_a_restart_until_the_requester_takes_it(
    site: Site, free_port: Callable[[], int]
) -> None:
    site.pacs.holds = set(site.images)
    with site.pacs.runs() as pacs_port:
        with capture_logs(), site.gateway(pacs_port, port=free_port()) as gateway:
            site.send(gateway)
            with site.modality.calls(gateway.listener.address) as association:
                assert request(association, asks(site.images)) == SUCCESS
            until(lambda: gateway._ledger.read("SELECT 1 FROM named_lists WHERE failures = '{}'"))
        assert site.modality.reports.empty()
        site.pacs.holds = set()  # it was decided already
        with site.modality.listens() as port, site.gateway(pacs_port, port=port) as gateway:
            assert site.told(gateway).committed == set(site.images)


def test_same_request_again_is_one_and_another_list_under_its_transaction_is_refused(site: Site) -> None:
    with site.pacs.runs() as port, site.gateway(port) as gateway:
        with site.modality.calls(gateway.listener.address) as association:
            assert [request(association, asks(site.images)) for _ in range(2)] == [SUCCESS] * 2
            assert request(association, asks({"1.2.3": CTImageStorage})) == 0x0115
        assert open_requests(gateway) == 1


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"action_type": 2}, 0x0123),
        ({"instance_uid": "1.2.3"}, 0x0112),
    ],
)
def test_request_of_something_else_is_refused(site: Site, changes: dict[str, Any], status: int) -> None:
    with (
        site.pacs.runs() as port,
        site.gateway(port) as gateway,
        site.modality.calls(gateway.listener.address) as association,
    ):
        assert request(association, asks(site.images), **changes) == status


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # the modality's
def test_malformed_requests_are_refused_and_the_association_goes_on(site: Site) -> None:
    no_transaction, bad_uid, no_items = asks(site.images), asks(site.images), asks({})
    del no_transaction.TransactionUID
    with config.disable_value_validation():
        bad_uid.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1..2"
    with site.pacs.runs() as port, capture_logs() as logs, site.gateway(port) as gateway:
        with site.modality.calls(gateway.listener.address) as association:
            for asked in (None, no_transaction, bad_uid, no_items):
                assert request(association, asked) == 0x0115
            status, _ = association.send_n_get([0x00080018], StorageCommitmentPushModel, "1.2.3")
            assert status.Status == 0x0211
            assert request(association, asks(site.images)) == SUCCESS
        assert "1..2" not in str(logs)


def test_storage_commitment_is_not_accepted_where_it_is_off(gate: Any) -> None:
    entity = AE("CT")
    for uid in (StorageCommitmentPushModel, CTImageStorage):
        entity.add_requested_context(uid)
    with capture_logs() as logs:
        for _ in range(2):
            association = entity.associate(*gate.address)
            refused = [one.abstract_syntax for one in association.rejected_contexts]
            assert refused == [StorageCommitmentPushModel]
            association.release()
    told = gate.listener.turned_away
    assert [(one.what, one.calling_ae_title, one.why) for one in told.last()] == [
        ("declined", "CT", NO_COMMITMENT)
    ]
    assert [line["event"] for line in logs] == ["association_declined"]


@pytest.mark.peer("orthanc")
def test_orthanc_asks_for_what_it_holds_itself_and_hears_what_is_committed(
    site: Site, orthanc: Orthanc
) -> None:
    send_files(site.files[1:], orthanc.peer, "IRIS-TEST")
    address, auth = orthanc.rest
    title = orthanc.peer.ae_title
    study = {"timeout_s": TIMEOUT_S, "pacs": title, "requester": title}
    with site.gateway(orthanc.peer.port, **study) as gateway:
        send_files(site.files, Peer("IRIS", *gateway.listener.address), title)
        there = {"AET": "IRIS", "Host": LOCALHOST, "Port": gateway.listener.address[1]}
        assert requests.put(f"{address}/modalities/IRIS", json=there, auth=auth, timeout=30).ok
        asked = {"DicomInstances": [[sop_class, uid] for uid, sop_class in site.images.items()]}
        answer = requests.post(
            f"{address}/modalities/IRIS/storage-commitment", json=asked, auth=auth, timeout=30
        )
        report = f"{address}{answer.json()['Path']}"

        def said() -> dict[str, Any]:
            return dict(requests.get(report, auth=auth, timeout=30).json())

        until(lambda: said()["Status"] != "Pending")
        until(lambda: not open_requests(gateway))
    (failed,) = said()["Failures"]
    not_there, *there_too = site.images
    assert (failed["SOPInstanceUID"], failed["FailureReason"]) == (not_there, 0x0112)
    assert {one["SOPInstanceUID"] for one in said()["Success"]} == set(there_too)


# -- notices ----------------------------------------------------------------------------------------------


def notice(study_uid: str, instances: Sequence[str], availability: str = "ONLINE") -> Dataset:
    """The Attribute List of a notice (PS3.4 table R.3.2-1)."""
    said = Dataset()
    said.ReferencedPerformedProcedureStepSequence = []
    said.StudyInstanceUID = study_uid
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3.4"
    series.ReferencedSOPSequence = [reference(uid, CTImageStorage) for uid in instances]
    for item in series.ReferencedSOPSequence:
        item.InstanceAvailability, item.RetrieveAETitle = availability, "PACS"
    said.ReferencedSeriesSequence = [series]
    return said


def test_notice_is_kept_with_what_it_names_as_available(gate: Any, small_study: Path) -> None:
    images = [dcmread(path) for path in sorted(small_study.glob("*.dcm"))]
    entity = AE("PACS")
    entity.add_requested_context(InstanceAvailabilityNotification)
    association = entity.associate(*gate.address)
    said = notice(images[0].StudyInstanceUID, [image.SOPInstanceUID for image in images])
    status, _ = association.send_n_create(said, InstanceAvailabilityNotification, generate_uid())
    assert status.Status == SUCCESS
    status, _ = association.send_n_create(said, InstanceAvailabilityNotification)
    assert status.Status == SUCCESS
    gone = notice("1.2.3", ["1.2.3.4.5"], availability="UNAVAILABLE")
    status, _ = association.send_n_create(gone, InstanceAvailabilityNotification)
    assert status.Status == SUCCESS
    del said.StudyInstanceUID
    status, _ = association.send_n_create(said, InstanceAvailabilityNotification)
    assert status.Status == 0x0120
    association.release()
    lists = gate.ledger.read("SELECT study_uid, count(*) AS n FROM named_lists GROUP BY study_uid")
    named = gate.ledger.read("SELECT count(DISTINCT sop_instance_uid) AS n FROM named_instances")
    assert {row["study_uid"]: row["n"] for row in lists} == {images[0].StudyInstanceUID: 2, "1.2.3": 1}
    assert named[0]["n"] == len(images)
