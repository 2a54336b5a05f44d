"""The delivery worker against a PACS whose answers are scripted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
    generate_uid,
)
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from gateway.config import Destination
from gateway.delivery.worker import DeliveryWorker
from gateway.events import Bus
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import DeliveryRow
from gateway.ledger.results import record_result
from gateway.ledger.states import DeliveryState, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import job as job_of
from gateway.ledger.work import retry
from tests.results import result_of_one

STUDY_UID, SERIES_UID = "1.2.3", "1.2.3.4"
DEADLINE_S = 20.0


@dataclass
class ScriptedPacs:
    """Answers C-STORE with the next of `statuses` (the last one for ever), C-FIND with what it `holds`."""

    statuses: list[int]
    holds: set[str] = field(default_factory=set)
    syntaxes: tuple[UID, ...] = (ExplicitVRLittleEndian,)
    can_find: bool = True
    received: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def serve(self) -> Callable[[], None]:
        entity = AE("PACS")
        entity.add_supported_context(SegmentationStorage, list(self.syntaxes))
        if self.can_find:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)]
        server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = server.server_address[1]
        return server.shutdown

    def _store(self, event: Event) -> int:
        self.received.append((event.request.AffectedSOPInstanceUID, event.context.transfer_syntax))
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def _find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        if event.identifier.SOPInstanceUID in self.holds:
            yield 0xFF00, event.identifier


@dataclass
class Site:
    """A ledger with one encoded job and one pending delivery."""

    ledger: Ledger
    bus: Bus
    data_dir: Path
    sop_instance_uid: str

    def delivery(self) -> DeliveryRow:
        return DeliveryRow.of(self.ledger.read("SELECT * FROM deliveries")[0])

    def job_state(self) -> JobState:
        job = job_of(self.ledger, "job")
        assert job is not None
        return job.state

    def wait_for(self, condition: Callable[[DeliveryRow], bool]) -> DeliveryRow:
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.delivery()):
            assert time.monotonic() < deadline, self.delivery()
            time.sleep(0.01)
        return self.delivery()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    bus = Bus()
    with Ledger(tmp_path / "ledger.sqlite", bus) as ledger:
        yield Site(ledger, bus, tmp_path, _encoded_job(ledger, tmp_path))


def _encoded_job(ledger: Ledger, data_dir: Path) -> str:
    header = StudyHeader(STUDY_UID, "key", "", "", "", "")
    arrived = ArrivedInstance(
        header, SERIES_UID, "1.2.3.4.5", str(CTImageStorage), str(ExplicitVRLittleEndian), "CT", 1, "",
        "instances/a.dcm", 1, "h", "p", "g", True, "", "PACS",
    )  # fmt: skip
    planned = PlannedJob(
        "job",
        SERIES_UID,
        "slot",
        "ct",
        "tissue",
        {},
        "threshold",
        0,
        ("1.2.3.4.5",),
        ("pacs",),
        ("seg",),
        "h",
    )
    with ledger.transaction() as transaction:
        store_instance(transaction, arrived, 1)
    with ledger.transaction() as transaction:
        decided = DecidedVolume(SERIES_UID, 1, 1, "job", "taken")
        complete_study(transaction, StudyPlan(STUDY_UID, 1, (planned,), (decided,)), evidence="test")
        transaction.move_job("job", JobEvent.SEGMENTED)
    uid = generate_uid(entropy_srcs=["delivery"])
    _write_seg(data_dir / "seg.dcm", uid)
    with ledger.transaction() as transaction:
        result = result_of_one("seg.dcm", uid, "h")
        record_result(transaction, transaction.job("job"), result, ["pacs"])
    return uid


def _write_seg(path: Path, uid: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    seg.SOPClassUID, seg.SOPInstanceUID = SegmentationStorage, uid
    seg.StudyInstanceUID, seg.SeriesInstanceUID = STUDY_UID, "1.2.3.9"
    seg.save_as(path, enforce_file_format=True)


@pytest.fixture
def deliver(site: Site) -> Iterator[Callable[..., ScriptedPacs]]:
    """Start a PACS with these statuses and the worker that sends to it."""
    stops: list[Callable[[], None]] = []

    def begin(
        *statuses: int, give_up_after_h: float = 72, serve: bool = True, **traits: object
    ) -> ScriptedPacs:
        pacs = ScriptedPacs(list(statuses), **traits)  # type: ignore[arg-type]
        shut_down = pacs.serve()
        if not serve:
            shut_down()
        destination = Destination(
            name="pacs", ae_title="PACS", host="127.0.0.1", port=pacs.port, give_up_after_h=give_up_after_h
        )
        worker = DeliveryWorker(destination, site.ledger, site.bus, site.data_dir, "IRIS")
        worker.start()
        stops.extend([worker.stop, shut_down] if serve else [worker.stop])
        return pacs

    yield begin
    for stop in stops:
        stop()


@pytest.mark.parametrize("status", [0x0000, 0xB000])
def test_delivery_answered_with_success_or_warning_is_sent_and_its_job_delivered(
    site: Site, deliver: Callable[..., ScriptedPacs], status: int
) -> None:
    pacs = deliver(status)
    site.wait_for(lambda row: row.state is DeliveryState.SENT)
    assert [uid for uid, _ in pacs.received] == [site.sop_instance_uid]
    assert site.job_state() is JobState.DELIVERED


@pytest.mark.parametrize("status", [0xA700, 0x0110])
def test_delivery_answered_with_lack_of_resources_is_sent_again(
    site: Site, deliver: Callable[..., ScriptedPacs], status: int
) -> None:
    pacs = deliver(status, 0x0000)
    row = site.wait_for(lambda row: row.state is DeliveryState.SENT)
    assert len(pacs.received) == 2
    assert row.attempts == 2


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0x0117, 0x0122, 0x0124])
def test_delivery_that_is_refused_fails_and_says_why(
    site: Site, deliver: Callable[..., ScriptedPacs], status: int
) -> None:
    pacs = deliver(status)
    row = site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert f"0x{status:04X}" in row.reason
    assert len(pacs.received) == 1


def test_delivery_of_a_duplicate_that_c_find_shows_counts_as_sent(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    deliver(0x0111, holds={site.sop_instance_uid})
    site.wait_for(lambda row: row.state is DeliveryState.SENT)


def test_delivery_of_a_duplicate_that_c_find_does_not_show_is_tried_again(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    deliver(0x0111)
    row = site.wait_for(lambda row: row.attempts > 0)
    assert row.state is DeliveryState.PENDING
    assert "C-FIND does not show it" in row.reason


def test_delivery_of_a_duplicate_where_nobody_answers_c_find_counts_as_sent(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    deliver(0x0111, can_find=False)
    site.wait_for(lambda row: row.state is DeliveryState.SENT)


def test_delivery_to_a_pacs_that_is_away_waits_and_goes_out_when_it_is_back(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    pacs = deliver(0x0000, serve=False)
    row = site.wait_for(lambda row: row.attempts > 0)
    assert row.state is DeliveryState.PENDING
    assert "cannot be reached" in row.reason
    shut_down = pacs.serve()
    try:
        site.wait_for(lambda row: row.state is DeliveryState.SENT)
    finally:
        shut_down()


def test_delivery_to_a_pacs_that_stays_away_fails_in_the_end_and_can_be_retried(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    pacs = deliver(0x0000, serve=False, give_up_after_h=1e-9)
    row = site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert row.reason.startswith("given up after")
    shut_down = pacs.serve()
    try:
        with site.ledger.transaction() as transaction:
            retry(transaction, row.key)
        site.wait_for(lambda row: row.state is DeliveryState.SENT)
    finally:
        shut_down()


def test_delivery_to_a_pacs_that_takes_implicit_vr_only_is_converted(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    pacs = deliver(0x0000, syntaxes=(ImplicitVRLittleEndian,))
    site.wait_for(lambda row: row.state is DeliveryState.SENT)
    assert pacs.received == [(site.sop_instance_uid, ImplicitVRLittleEndian)]


def test_delivery_whose_file_is_gone_fails_and_says_so(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    (site.data_dir / "seg.dcm").unlink()
    deliver(0x0000)
    row = site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert "gone" in row.reason


def test_two_workers_of_two_destinations_do_not_take_each_others_deliveries(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    other = DeliveryWorker(
        Destination(name="other", ae_title="OTHER", host="127.0.0.1", port=1),
        site.ledger, site.bus, site.data_dir, "IRIS",
    )  # fmt: skip
    other.start()
    try:
        deliver(0x0000)
        row = site.wait_for(lambda row: row.state is DeliveryState.SENT)
        assert row.destination == "pacs"
        assert other.trouble == ""
    finally:
        other.stop()
