"""The delivery worker against a PACS whose answers are scripted."""

import errno
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
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
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import Event
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification
from structlog.testing import capture_logs

from gateway.adapters.durable import file_digest
from gateway.adapters.errors import Away, Unanswered
from gateway.config import Config, Destination
from gateway.config.outputs import Form
from gateway.delivery.another_form import AnotherForm
from gateway.delivery.asking import Asking
from gateway.delivery.carriers.carrier import Outcome, Receipt
from gateway.delivery.carriers.catalogue import carriers_of
from gateway.delivery.carriers.dicom import DicomCarrier
from gateway.delivery.carriers.stow import StowCarrier
from gateway.delivery.worker import DeliveryWorker
from gateway.events import Bus, DeliveryChanged
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, complete_study, plan_job
from gateway.ledger.deliveries import drop_delivery, put_off_delivery, redirect_delivery, retry_delivery
from gateway.ledger.destinations import known_destinations
from gateway.ledger.erasing import request_forget
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import DeliveryRow
from gateway.ledger.resending import resend_delivery
from gateway.ledger.results import Result, ResultObject, plan_delivery, record_result
from gateway.ledger.slots import supersede_slot
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import NotPossible, Transaction
from gateway.ledger.under_way import MAY_BE_THERE, fail
from gateway.ledger.work import cancel, retry
from gateway.ledger.work import job as job_of
from gateway.workers.attempts import Backoff, Policy
from gateway.workers.waits import Waits, wall_clock
from tests.doubles.dicomweb_server import Asked, DicomWebServer, Said, both, failed, served, stored
from tests.results import SEGMENTATION_STORAGE, result_of_one

STUDY_UID, SERIES_UID = "1.2.3", "1.2.3.4"
DEADLINE_S = 120.0


@pytest.fixture(autouse=True)
def _tracebacks_are_not_drawn() -> Iterator[None]:
    """It takes seconds for each."""
    with capture_logs():
        yield


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
        entity.add_supported_context(Verification)
        if self.syntaxes:
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
        result = result_of_one("seg.dcm", uid, "h", sha256=file_digest(data_dir / "seg.dcm"))
        record_result(transaction, transaction.job("job"), result, lambda _: ["pacs"])
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
        carrier = DicomCarrier(destination, "IRIS")
        worker = DeliveryWorker(destination, carrier, site.ledger, site.bus, site.data_dir)
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


def test_delivery_of_what_is_not_negotiated_fails_at_once_and_says_what_to_allow(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    pacs = deliver(0x0000, syntaxes=())
    row = site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert row.reason == (
        f"PACS@127.0.0.1:{pacs.port}, a program made with pynetdicom, does not take Segmentation Storage"
        " (1.2.840.10008.5.1.4.1.1.66.4); add a supported context for it there; then retry"
    )
    assert pacs.received == []


def test_object_that_is_not_taken_goes_back_to_be_made_in_another_form_where_there_is_one(site: Site) -> None:
    pacs = ScriptedPacs([0x0122])
    shut_down = pacs.serve()
    peer = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port}
    config = Config(destination=[peer], seg={"type": "labelmap"})
    ((to, carrier),) = carriers = carriers_of(config)
    another = AnotherForm(site.ledger, Asking(config, carriers, site.ledger, site.bus))
    worker = DeliveryWorker(to, carrier, site.ledger, site.bus, site.data_dir, another)
    worker.start()
    try:
        row = site.wait_for(lambda row: row.state is not DeliveryState.PENDING)
    finally:
        worker.stop()
        shut_down()
    assert (row.state, site.job_state()) == (DeliveryState.SUPERSEDED, JobState.SEGMENTED)
    assert row.reason.startswith("it is made in another form: pacs answered with status 0x0122")
    refused = Form(SegmentationStorage, ExplicitVRLittleEndian)
    assert known_destinations(site.ledger)["pacs"].refused == {refused}


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [Path.unlink, _cut_short])
def test_object_that_is_gone_or_damaged_is_not_sent_but_encoded_again_and_sent_then(
    site: Site, deliver: Callable[..., ScriptedPacs], damage: Callable[[Path], None]
) -> None:
    path = site.data_dir / "seg.dcm"
    content = path.read_bytes()
    damage(path)
    pacs = deliver(0x0000)
    row = site.wait_for(lambda row: row.state is DeliveryState.SUPERSEDED)
    assert site.job_state() is JobState.SEGMENTED
    assert pacs.received == []
    path.write_bytes(content)  # as the encoder does
    with site.ledger.transaction() as transaction:
        result = result_of_one("seg.dcm", site.sop_instance_uid, "h", sha256=file_digest(path))
        record_result(transaction, transaction.job("job"), result, lambda _: ["pacs"])
    assert site.wait_for(lambda row: row.state is DeliveryState.SENT).key == row.key
    assert site.job_state() is JobState.DELIVERED


def test_object_that_is_sent_to_another_destination_as_well_goes_there_when_it_is_made_again(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    with site.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM deliveries")  # it never went to "pacs"
        plan_delivery(transaction, transaction.job("job"), site.sop_instance_uid, "archive")
    with site.ledger.transaction() as transaction:
        transaction.move_delivery(site.delivery().key, DeliveryEvent.SENT)
        resend_delivery(transaction, site.delivery().key, "pacs")
    path = site.data_dir / "seg.dcm"
    content = path.read_bytes()
    path.unlink()
    pacs = deliver(0x0000)

    def to_pacs() -> DeliveryRow:
        return DeliveryRow.of(site.ledger.read("SELECT * FROM deliveries WHERE destination = 'pacs'")[0])

    until(lambda: to_pacs().state is DeliveryState.SUPERSEDED)
    path.write_bytes(content)  # as the encoder does
    with site.ledger.transaction() as transaction:
        result = result_of_one("seg.dcm", site.sop_instance_uid, "h", sha256=file_digest(path))
        record_result(transaction, transaction.job("job"), result, lambda _: ["archive"])
    until(lambda: to_pacs().state is DeliveryState.SENT)
    assert len(pacs.received) == 1
    assert site.job_state() is JobState.DELIVERED


def test_object_that_is_gone_while_its_job_cannot_be_encoded_again_fails_with_the_way_out(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    (site.data_dir / "seg.dcm").unlink()
    with site.ledger.transaction() as transaction:
        transaction.move_job("job", JobEvent.FAILED, reason="a disk failed")
    deliver(0x0000)
    row = site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert row.reason == "its file is gone from the results folder, and its job is failed; retry the job"


def test_two_workers_of_two_destinations_do_not_take_each_others_deliveries(
    site: Site, deliver: Callable[..., ScriptedPacs]
) -> None:
    destination = Destination(name="other", ae_title="OTHER", host="127.0.0.1", port=1)
    carrier = DicomCarrier(destination, "IRIS")
    other = DeliveryWorker(destination, carrier, site.ledger, site.bus, site.data_dir)
    other.start()
    try:
        deliver(0x0000)
        row = site.wait_for(lambda row: row.state is DeliveryState.SENT)
        assert row.destination == "pacs"
        assert other.trouble == ""
    finally:
        other.stop()


# -- what goes wrong with one concerns that one -----------------------------------------------------------


@dataclass
class ScriptedCarrier:
    """Carries, or raises what it is told for a file; then what became of it is the next of `says`."""

    raises: dict[str, list[BaseException]] = field(default_factory=dict)
    says: list[Outcome] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None

    def carry(self, path: Path) -> Receipt:
        self.before(path.name)
        self.carried.append(path.name)
        errors = self.raises.get(path.name, [])
        if errors:
            raise errors.pop() if len(errors) > 1 else errors[0]
        return Receipt(self.says.pop(0) if self.says else Outcome.ARRIVED, "carried")

    def check(self) -> str:
        return "is there"

    def interrupt(self) -> None:
        pass


QUICK = Policy(own=Backoff(0.01, 0.02), machine=Backoff(0.01, 0.02), outside=Backoff(0.01, 0.02))


@pytest.fixture
def carry(site: Site) -> Iterator[Callable[..., tuple[ScriptedCarrier, DeliveryWorker]]]:
    """Start the worker with a scripted carrier, beside the first delivery with those of further jobs."""
    workers: list[DeliveryWorker] = []

    def begin(
        *further: tuple[str, int], policy: Policy = QUICK, waits: Waits | None = None, **traits: Any
    ) -> tuple[ScriptedCarrier, DeliveryWorker]:
        for name, priority in further:
            add_encoded(site, name, priority)
        carrier = ScriptedCarrier(**traits)
        destination = Destination(name="pacs", folder="/nowhere")
        worker = DeliveryWorker(
            destination, carrier, site.ledger, site.bus, site.data_dir, policy=policy, waits=waits
        )
        worker.start()
        workers.append(worker)
        return carrier, worker

    yield begin
    for worker in workers:
        worker.stop()


def add_encoded(site: Site, name: str, priority: int = 0) -> None:
    """A further job of the study whose one object, with a file of its name, waits for the destination."""
    images, send_to, outputs = ("1.2.3.4.5",), ("pacs",), ("seg",)
    planned = PlannedJob(
        name, SERIES_UID, name, "ct", "tissue", {}, "threshold", priority, images, send_to, outputs, "h"
    )
    (site.data_dir / f"{name}.dcm").write_bytes(b"object")
    with site.ledger.transaction() as transaction:
        plan_job(transaction, STUDY_UID, planned)
        transaction.move_job(name, JobEvent.SEGMENTED)
        uid = generate_uid(entropy_srcs=[name])
        digest = file_digest(site.data_dir / f"{name}.dcm")
        made = ResultObject("seg", f"{name}.dcm", digest, str(SegmentationStorage), uid)
        record_result(transaction, transaction.job(name), Result((made,), "h", ()), lambda _: ["pacs"])


def delivery_states(site: Site) -> dict[str, str]:
    return {row["job_key"]: row["state"] for row in site.ledger.read("SELECT job_key, state FROM deliveries")}


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EIO, "Input/output error"), "a disk fails to read or write"),
        (KeyError("Doe^Jane"), "an unforeseen error in the delivery to pacs; the log names the place"),
        (SystemExit(1), "an unforeseen error in the delivery to pacs; the log names the place"),
    ],
    ids=["unreadable", "unforeseen", "ended by a library"],
)
def test_delivery_that_raises_does_not_hold_up_the_others(
    site: Site, carry: Callable[..., Any], error: BaseException, sentence: str
) -> None:
    policy = Policy(failures_allowed=10**6, own=Backoff(60, 60), machine=Backoff(60, 60))
    carrier, worker = carry(("other", 0), ("third", 0), policy=policy, raises={"seg.dcm": [error]})
    until(lambda: delivery_states(site) == {"job": "pending", "other": "sent", "third": "sent"})
    assert carrier.carried == ["seg.dcm", "other.dcm", "third.dcm"]
    until(lambda: sentence in worker.complaint())
    assert sentence in site.delivery().reason
    carrier.raises.clear()
    with site.ledger.transaction() as transaction:
        transaction.publish(DeliveryChanged(site.delivery().key, STUDY_UID, "tried_now", "pending"))
        transaction.execute("UPDATE deliveries SET not_before = NULL")
    site.wait_for(lambda row: row.state is DeliveryState.SENT)
    until(lambda: worker.complaint() == "")


def test_delivery_that_raises_again_and_again_fails_in_the_end(site: Site, carry: Callable[..., Any]) -> None:
    policy = Policy(failures_allowed=2, own=Backoff(0.01, 0.01))
    carrier, _ = carry(("other", 0), policy=policy, raises={"seg.dcm": [KeyError("Doe^Jane")]})
    row = site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert "unforeseen error in the delivery to pacs" in row.reason
    assert "Doe" not in row.reason
    assert carrier.carried.count("seg.dcm") == policy.failures_allowed
    until(lambda: delivery_states(site)["other"] == "sent")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE])
def test_delivery_that_the_machine_cannot_read_is_never_failed_by_it(
    site: Site, carry: Callable[..., Any], number: int
) -> None:
    carrier, worker = carry(raises={"seg.dcm": [OSError(number, "said by the system")]})
    until(lambda: len(carrier.carried) > 3 * QUICK.failures_allowed)
    assert site.delivery().state is DeliveryState.PENDING
    assert worker.complaint()
    carrier.raises.clear()
    site.wait_for(lambda row: row.state is DeliveryState.SENT)


def test_destination_that_is_away_rests_as_a_whole_and_everything_says_why(
    site: Site, carry: Callable[..., Any]
) -> None:
    away = {name: [Away("PACS cannot be reached; check it")] for name in ("seg.dcm", "other.dcm")}
    carrier, worker = carry(("other", 0), policy=Policy(outside=Backoff(60, 60)), raises=away)
    until(lambda: len(site.ledger.read("SELECT 1 FROM deliveries WHERE reason LIKE 'PACS cannot%'")) == 2)
    assert carrier.carried == ["seg.dcm"]
    assert worker.complaint() == "PACS cannot be reached; check it"
    carrier.raises.clear()
    site.bus.publish(DeliveryChanged(site.delivery().key, STUDY_UID, "tried_now", "pending"))
    with site.ledger.transaction() as transaction:
        transaction.execute("UPDATE deliveries SET not_before = NULL")
        transaction.publish(DeliveryChanged(site.delivery().key, STUDY_UID, "tried_now", "pending"))
    until(lambda: set(delivery_states(site).values()) == {"sent"})
    until(lambda: worker.complaint() == "")


@pytest.mark.parametrize("error", [Away("PACS cannot be reached"), OSError(errno.EIO, "x")], ids=repr)
def test_delivery_that_is_dropped_is_complained_of_no_longer(
    site: Site, carry: Callable[..., Any], error: Exception
) -> None:
    policy = Policy(outside=Backoff(60, 60), machine=Backoff(60, 60))
    _, worker = carry(policy=policy, raises={"seg.dcm": [error]})
    until(lambda: site.delivery().reason and worker.complaint() and worker.piece is None)
    with site.ledger.transaction() as transaction:
        drop_delivery(transaction, site.delivery().key)
    until(lambda: worker.complaint() == "")


def test_urgent_result_goes_before_those_that_wait_longer(site: Site, carry: Callable[..., Any]) -> None:
    """It comes while the first is on its way."""

    def come(name: str) -> None:
        if name == "seg.dcm":
            add_encoded(site, "urgent", 9)

    carrier, _ = carry(("other", 0), ("third", 0), before=come)
    until(lambda: len(carrier.carried) == 4)
    assert carrier.carried == ["seg.dcm", "urgent.dcm", "other.dcm", "third.dcm"]


def test_answer_that_the_ledger_could_not_take_is_kept_until_it_can(
    site: Site, carry: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PACS is not sent the same object again only because our own disk was full."""
    write, failures = site.ledger.transaction, iter(range(6))

    def transaction() -> Any:
        if next(failures, None) is not None:
            raise sqlite3.OperationalError("database or disk is full")
        return write()

    monkeypatch.setattr(site.ledger, "transaction", transaction)
    carrier, _ = carry()
    site.wait_for(lambda row: row.state is DeliveryState.SENT)
    assert carrier.carried == ["seg.dcm"]


@pytest.mark.parametrize("hours", [-2, 2])
def test_wall_clock_that_is_set_neither_stretches_nor_cuts_the_patience_with_a_destination(
    site: Site, carry: Callable[..., Any], hours: int
) -> None:
    shift = timedelta(0)
    waits = Waits(now=lambda: wall_clock() + shift)
    away = {"seg.dcm": [Away("PACS cannot be reached; check it")]}
    carrier, worker = carry(waits=waits, raises=away)
    worker._waiting.patience_s = 1.5
    begun = time.monotonic()
    until(lambda: carrier.carried)
    site.wait_for(lambda row: bool(row.reason))
    shift = timedelta(hours=hours)
    site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert time.monotonic() - begun >= 1.0


def test_retry_that_a_clock_ahead_put_off_comes_after_the_longest_delay(
    site: Site, carry: Callable[..., Any]
) -> None:
    with site.ledger.transaction() as transaction:
        put_off_delivery(transaction, site.delivery().key, delay_s=7200, reason="away")
    carry()
    site.wait_for(lambda row: row.state is DeliveryState.SENT)


# -- a stop -----------------------------------------------------------------------------------------------


class SilentPeer:
    """Takes TCP connections, or an association too, and answers nothing more."""

    def __init__(self, *, associates: bool) -> None:
        self._go_on = threading.Event()
        self.is_called = threading.Event()
        if associates:
            entity = AE("PACS")
            entity.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
            handlers = [(evt.EVT_C_STORE, self._hang)]
            self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
            self.port = self._server.server_address[1]
            return
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._server = None
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        self._line, _ = self._listening.accept()
        self._line.recv(1)
        self.is_called.set()

    def _hang(self, _: Event) -> int:
        self.is_called.set()
        self._go_on.wait(DEADLINE_S)
        return 0x0000

    def close(self) -> None:
        self._go_on.set()
        if self._server is not None:
            self._server.shutdown()
        else:
            self._line.close()
            self._listening.close()


@pytest.mark.parametrize("associates", [False, True], ids=["no association", "no answer to C-STORE"])
def test_stop_aborts_a_call_that_is_not_answered_and_leaves_the_delivery_for_the_next_start(
    site: Site, *, associates: bool
) -> None:
    peer = SilentPeer(associates=associates)
    destination = Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=peer.port)
    carrier = DicomCarrier(destination, "IRIS")
    worker = DeliveryWorker(destination, carrier, site.ledger, site.bus, site.data_dir)
    worker.start()
    assert peer.is_called.wait(DEADLINE_S)
    before = site.delivery()
    begun = time.monotonic()
    assert worker.stop(DEADLINE_S)
    assert time.monotonic() - begun < 25  # pynetdicom would wait for 30 s, and the peer for longer
    peer.close()
    assert site.delivery() == before
    assert not [thread for thread in threading.enumerate() if isinstance(thread, DULServiceProvider)]


# -- several at once --------------------------------------------------------------------------------------


def add_pictures(site: Site, number: int) -> list[str]:
    """Let the job of the study have so many objects more, each with its file; their UIDs."""
    uids = [f"2.25.{place}" for place in range(1, 1 + number)]
    for uid in uids:
        _write_seg(site.data_dir / f"{uid}.dcm", uid)
    made = tuple(
        ResultObject(
            "seg", f"{uid}.dcm", file_digest(site.data_dir / f"{uid}.dcm"), SEGMENTATION_STORAGE, uid
        )
        for uid in uids
    )
    with site.ledger.transaction() as transaction:
        planned = PlannedJob(
            "pictures", SERIES_UID, "pictures", "ct", "tissue", {}, "threshold", 1, ("1.2.3.4.5",), ("pacs",),
            ("seg",), "h",
        )  # fmt: skip
        plan_job(transaction, STUDY_UID, planned)
        transaction.move_job("pictures", JobEvent.SEGMENTED)
        record_result(transaction, transaction.job("pictures"), Result(made, "h", ()), lambda _: ["pacs"])
    return uids


@pytest.fixture
def by_web(site: Site) -> Iterator[Callable[[Callable[[Asked], Said]], DicomWebServer]]:
    """Start a DICOMweb service that answers so, and the worker that sends to it."""
    with ExitStack() as stack:

        def begin(answer: Callable[[Asked], Said]) -> DicomWebServer:
            service = stack.enter_context(served(DicomWebServer(answer)))
            destination = Destination(name="pacs", stow=service.url)
            worker = DeliveryWorker(
                destination, StowCarrier(destination), site.ledger, site.bus, site.data_dir, policy=QUICK
            )
            worker.start()
            stack.callback(worker.stop)
            return service

        yield begin


def uids_in(asked: Asked) -> list[str]:
    return [str(dcmread(BytesIO(part)).SOPInstanceUID) for part in asked.parts()]


def outcomes(site: Site) -> dict[str, str]:
    rows = site.ledger.read("SELECT sop_instance_uid, state FROM deliveries")
    return {row["sop_instance_uid"]: row["state"] for row in rows}


def until_over(site: Site) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while "pending" in outcomes(site).values():
        assert time.monotonic() < deadline, outcomes(site)
        time.sleep(0.01)


def test_objects_of_a_job_go_by_one_request_and_each_has_its_own_end(
    site: Site, by_web: Callable[..., DicomWebServer]
) -> None:
    uids = add_pictures(site, 5)

    def answer(asked: Asked) -> Said:
        sent = uids_in(asked)
        if sent == ["2.25.4"]:
            return Said(200, stored("2.25.4"))
        return Said(202, both(stored(*sorted({*sent} - {"2.25.3", "2.25.4"})), failed("2.25.3", 0xC000)))

    service = by_web(answer)
    until_over(site)
    assert [uids_in(post) for post in service.posts] == [uids, ["2.25.4"], [site.sop_instance_uid]]
    assert {uid for uid, state in outcomes(site).items() if state == "failed"} == {"2.25.3"}


def test_request_that_is_refused_as_a_whole_is_sent_one_by_one(
    site: Site, by_web: Callable[..., DicomWebServer]
) -> None:
    add_pictures(site, 3)

    def answer(asked: Asked) -> Said:
        sent = uids_in(asked)
        return Said(413, b"") if len(sent) > 1 else Said(200, stored(*sent))

    service = by_web(answer)
    until_over(site)
    assert set(outcomes(site).values()) == {"sent"}
    assert [len(post.parts()) for post in service.posts].count(1) == 4


def test_objects_that_go_together_are_known_to_be_under_way_before_they_go(
    site: Site, by_web: Callable[..., DicomWebServer]
) -> None:
    uids = add_pictures(site, 3)
    unknown: list[set[str]] = []

    def answer(asked: Asked) -> Said:
        rows = site.ledger.read("SELECT sop_instance_uid FROM deliveries WHERE begun_at IS NOT NULL")
        unknown.append(set(uids_in(asked)) - {row["sop_instance_uid"] for row in rows})
        return Said(503, b"") if len(unknown) == 1 else Said(200, stored(*uids_in(asked)))

    service = by_web(answer)
    until_over(site)
    assert uids_in(service.posts[0]) == uids
    assert set().union(*unknown) == set()


def test_service_that_is_busy_is_waited_for_with_all_of_it(
    site: Site, by_web: Callable[..., DicomWebServer]
) -> None:
    add_pictures(site, 3)
    busy = [Said(503, b""), Said(429, b"", {"Retry-After": "1"})]
    by_web(lambda asked: busy.pop() if busy else Said(200, stored(*uids_in(asked))))
    site.wait_for(lambda row: "it takes nothing now" in row.reason)
    until_over(site)
    assert set(outcomes(site).values()) == {"sent"}


# -- what may have arrived is never taken for what was not sent -------------------------------------------


def supersede(transaction: Transaction, site: Site) -> None:
    supersede_slot(transaction, STUDY_UID, "slot", "an instance came in later")


CALLED_OFF: dict[str, Callable[[Transaction, Site], None]] = {
    "cancel": lambda transaction, _: cancel(transaction, "job"),
    "drop": lambda transaction, site: drop_delivery(transaction, site.delivery().key),
    "redirect": lambda transaction, site: redirect_delivery(transaction, site.delivery().key, "elsewhere"),
    "forget": lambda transaction, _: request_forget(transaction, STUDY_UID),
}


def under_way(
    site: Site, carry: Callable[..., Any], what: Callable[[Transaction, Site], None], *says: Outcome
) -> ScriptedCarrier:
    """Have this done in the course of the first transfer, and say that of this one and the next."""
    done: list[str] = []

    def once(name: str) -> None:
        assert site.delivery().begun_at is not None
        if not done:
            done.append(name)
            with site.ledger.transaction() as transaction:
                what(transaction, site)

    carrier, _ = carry(before=once, says=list(says))
    until(lambda: done and len(carrier.carried) > len(carrier.says) - len(says))
    return carrier


@pytest.mark.parametrize("what", CALLED_OFF.values(), ids=CALLED_OFF)
@pytest.mark.parametrize(
    ("said", "state", "is_in_doubt"),
    [
        (Outcome.ARRIVED, DeliveryState.SENT, False),
        (Outcome.AGAIN, DeliveryState.CANCELLED, False),
        (Outcome.REFUSED, DeliveryState.CANCELLED, False),
        (Outcome.UNKNOWN, DeliveryState.CANCELLED, True),
    ],
)
def test_delivery_that_is_called_off_while_it_is_under_way_says_what_became_of_it(
    site: Site,
    carry: Callable[..., Any],
    what: Callable[[Transaction, Site], None],
    said: Outcome,
    state: DeliveryState,
    is_in_doubt: bool,
) -> None:
    carrier = under_way(site, carry, what, said)
    row = site.wait_for(lambda row: (row.begun_at is not None) == is_in_doubt)
    assert row.state is state
    assert (MAY_BE_THERE in row.reason) == is_in_doubt
    assert carrier.carried == ["seg.dcm"]


@pytest.mark.parametrize(
    ("said", "state", "times"),
    [
        (Outcome.ARRIVED, DeliveryState.SENT, 1),
        (Outcome.AGAIN, DeliveryState.SUPERSEDED, 1),
        (Outcome.REFUSED, DeliveryState.SUPERSEDED, 1),
        (Outcome.UNKNOWN, DeliveryState.SENT, 2),
    ],
)
def test_delivery_that_is_superseded_while_it_is_under_way_is_sent_to_its_end_unless_nothing_is_there(
    site: Site, carry: Callable[..., Any], said: Outcome, state: DeliveryState, times: int
) -> None:
    carrier = under_way(site, carry, supersede, said)
    row = site.wait_for(lambda row: row.state is not DeliveryState.PENDING)
    assert (row.state, row.begun_at) == (state, None)
    assert carrier.carried == ["seg.dcm"] * times
    assert site.job_state() is JobState.SUPERSEDED


@pytest.mark.parametrize(
    ("error", "is_in_doubt"), [(Away("nobody"), False), (Unanswered("nobody"), True), (KeyError("x"), True)]
)
def test_transfer_that_raised_left_something_unless_nobody_was_there(
    site: Site, carry: Callable[..., Any], error: BaseException, is_in_doubt: bool
) -> None:
    policy = Policy(own=Backoff(60, 60), outside=Backoff(60, 60))
    carry(policy=policy, raises={"seg.dcm": [error]})
    row = site.wait_for(lambda row: row.attempts > 0)
    assert (row.begun_at is not None) == is_in_doubt
    with site.ledger.transaction() as transaction:
        supersede(transaction, site)
    expected = DeliveryState.PENDING if is_in_doubt else DeliveryState.SUPERSEDED
    assert (site.delivery().state, MAY_BE_THERE in site.delivery().reason) == (expected, is_in_doubt)


def test_object_that_is_only_sent_to_its_end_is_not_redirected_to_who_never_had_it(
    site: Site, carry: Callable[..., Any]
) -> None:
    carry(policy=Policy(own=Backoff(60, 60)), says=[Outcome.UNKNOWN])
    row = site.wait_for(lambda row: row.attempts > 0)
    with site.ledger.transaction() as transaction:
        supersede(transaction, site)
        with pytest.raises(NotPossible, match="a newer object takes the place of this one"):
            redirect_delivery(transaction, row.key, "elsewhere")
    assert site.delivery().state is DeliveryState.PENDING


def test_object_that_failed_when_it_was_sent_to_its_end_is_not_sent_after_the_newer_one(
    site: Site, carry: Callable[..., Any]
) -> None:
    carry(policy=Policy(own=Backoff(60, 60)), says=[Outcome.UNKNOWN])
    row = site.wait_for(lambda row: row.attempts > 0)
    with site.ledger.transaction() as transaction:
        supersede(transaction, site)
        fail(transaction, row.key, "refused")
        with pytest.raises(NotPossible, match="drop it"):
            retry_delivery(transaction, row.key)
        drop_delivery(transaction, row.key)


def test_doubt_stays_whatever_later_transfers_are_answered_and_a_failed_one_is_sent_to_its_end(
    site: Site, carry: Callable[..., Any]
) -> None:
    carry(says=[Outcome.UNKNOWN, Outcome.AGAIN, Outcome.REFUSED])
    row = site.wait_for(lambda row: row.state is DeliveryState.FAILED)
    assert row.reason == f"carried; {MAY_BE_THERE}"
    with site.ledger.transaction() as transaction:
        supersede(transaction, site)
    site.wait_for(lambda row: row.state is DeliveryState.SENT)


def test_worker_says_of_which_job_something_is_under_way(site: Site, carry: Callable[..., Any]) -> None:
    goes_on = threading.Event()
    _, worker = carry(before=lambda _: goes_on.wait(DEADLINE_S))
    until(lambda: worker.job_at_hand == "job")
    goes_on.set()
    site.wait_for(lambda row: row.state is DeliveryState.SENT)
    until(lambda: worker.job_at_hand == "")


def test_delivery_that_was_sent_and_is_sent_again_may_be_there(site: Site, carry: Callable[..., Any]) -> None:
    carry(policy=Policy(outside=Backoff(60, 60)))
    row = site.wait_for(lambda row: row.state is DeliveryState.SENT)
    with site.ledger.transaction() as transaction:
        transaction.move_delivery(row.key, DeliveryEvent.RESENT)
        supersede(transaction, site)
        assert transaction.delivery(row.key).state is DeliveryState.PENDING
    site.wait_for(lambda row: row.state is DeliveryState.SENT)
