"""What a destination is told of results that do not count any more, when, and what a person is told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from gateway.adapters.durable import file_digest
from gateway.adapters.errors import Away, Retriable
from gateway.api.studies.listings import show_job, show_study
from gateway.config import Config
from gateway.config.outputs import NOTE
from gateway.delivery.carriers.carrier import Outcome, Receipt
from gateway.delivery.whose import Whose
from gateway.delivery.withdrawing import LOOK, Withdrawals
from gateway.events import Bus, JobChanged
from gateway.ledger.deliveries import drop_delivery
from gateway.ledger.records import DeliveryRow, JobRow
from gateway.ledger.rejections import Rejection, reject
from gateway.ledger.results import plan_delivery, record_result, revisions_delivered
from gateway.ledger.slots import supersede_deliveries
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.under_way import begin, left_nothing
from gateway.ledger.withdrawals import make_note_again, withdraw_earlier
from tests.integration.test_delivery_worker import STUDY_UID, Site, site
from tests.results import result_of_one

__all__ = ["site"]
OLD, NEW = "1.2.9.1", "1.2.9.2"


@dataclass
class Pacs:
    """A carrier that says whose the study is, and deletes, as it is told."""

    holders: Sequence[Whose] = ()
    trouble: Exception | None = None
    receipt: Receipt = field(default_factory=lambda: Receipt(Outcome.ARRIVED, "removed"))
    removed: list[str] = field(default_factory=list)

    def whose(self, study_uid: str, *, with_images: bool = True) -> Sequence[Whose]:
        assert (study_uid, with_images) == (STUDY_UID, False)
        if self.trouble is not None:
            raise self.trouble
        return self.holders

    def remove(self, path: Path) -> Receipt:
        if self.trouble is not None:
            raise self.trouble
        self.removed.append(str(dcmread(path).SOPInstanceUID))
        return self.receipt


@dataclass
class House:
    """One job, its results one after the other, and what deals with the earlier ones."""

    site: Site
    supersede: str = "iocm"
    pacs: Pacs = field(default_factory=Pacs)

    def make(self, uid: str, patient_id: str = "P-1") -> None:
        """Make a result of the job, in the place of the one that it has."""
        path = self.site.data_dir / f"{uid}.dcm"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        seg = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        seg.SOPClassUID, seg.SOPInstanceUID = SegmentationStorage, uid
        seg.StudyInstanceUID, seg.SeriesInstanceUID, seg.PatientID = STUDY_UID, f"{uid}.1", patient_id
        seg.PatientName, seg.PatientBirthDate, seg.PatientSex, seg.StudyID = "Test", "", "", "1"
        seg.StudyDate, seg.StudyTime, seg.AccessionNumber = "20260101", "101010", "A-1"
        seg.ReferringPhysicianName, seg.Modality, seg.Rows, seg.Columns = "", "SEG", 1, 1
        seg.save_as(path, enforce_file_format=True)
        with self.ledger.transaction() as transaction:
            if transaction.job("job").state is not JobState.SEGMENTED:
                transaction.move_job("job", JobEvent.HEADER_CORRECTED)
                supersede_deliveries(transaction, "job")
            result = result_of_one(path.name, uid, "h", sha256=file_digest(path))
            record_result(transaction, transaction.job("job"), result, lambda _: ["pacs"])
            withdraw_earlier(transaction, transaction.job("job"))

    def arrive(self) -> None:
        """Have all that waits arrive."""
        for delivery in self.deliveries():
            if delivery.state is DeliveryState.PENDING:
                with self.ledger.transaction() as transaction:
                    transaction.move_delivery(delivery.key, DeliveryEvent.SENT)

    def work(self, name: str = "pacs") -> float | None:
        destination = {"name": name, "stow": "http://127.0.0.1", "supersede": self.supersede}
        config = Config(site={"data_dir": str(self.site.data_dir)}, destination=[destination])
        carriers: Any = [(config.destination[0], self.pacs)]
        self.worker = Withdrawals(config, carriers, self.ledger, Bus())
        return self.worker.work()

    @property
    def ledger(self) -> Ledger:
        return self.site.ledger

    def deliveries(self) -> list[DeliveryRow]:
        return [DeliveryRow.of(row) for row in self.ledger.read("SELECT * FROM deliveries ORDER BY rowid")]

    def notes(self) -> list[Any]:
        """Every note that was made, as it lies there."""
        rows = self.ledger.read("SELECT path FROM result_objects WHERE output = ? ORDER BY rowid", (NOTE,))
        return [dcmread(self.site.data_dir / row["path"]) for row in rows]

    def states(self) -> dict[str, str]:
        rows = self.ledger.read("SELECT sop_instance_uid, state FROM withdrawals")
        return {row["sop_instance_uid"]: row["state"] for row in rows}

    def job(self) -> JobRow:
        return JobRow.of(self.ledger.read("SELECT * FROM jobs")[0])


@pytest.fixture
def house(site: Site) -> Iterator[House]:
    """The first result is not there any more; the job is to make results of its own."""
    house = House(site)
    with site.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM deliveries")
        transaction.execute("DELETE FROM result_objects")
        transaction.move_job("job", JobEvent.HEADER_CORRECTED)
    house.make(OLD)
    house.arrive()
    return house


def titles(house: House) -> list[str]:
    return [str(note.ConceptNameCodeSequence[0].CodeValue) for note in house.notes()]


def named(note: Any) -> list[str]:
    return [str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for item in note.ContentSequence]


def test_earlier_result_is_rejected_when_the_newer_one_is_there_and_not_before(house: House) -> None:
    house.make(NEW)
    house.work()
    assert house.notes() == []
    house.arrive()
    house.work()
    (note,) = house.notes()
    assert (titles(house), named(note), note.PatientID) == (["113001"], [OLD], "P-1")
    assert house.deliveries()[-1].sop_instance_uid == note.SOPInstanceUID
    assert house.deliveries()[-1].state is DeliveryState.PENDING
    house.work()
    assert len(house.notes()) == 1
    assert house.states() == {OLD: "told"}


def test_earlier_result_stays_where_a_person_dropped_the_newer_one(house: House) -> None:
    house.make(NEW)
    newer = house.deliveries()[-1].key
    with house.ledger.transaction() as transaction:
        plan_delivery(transaction, transaction.job("job"), NEW, "another")
        drop_delivery(transaction, newer)
    house.arrive()
    assert house.job().state is JobState.DELIVERED
    house.work()
    assert house.notes() == []


def test_result_under_another_patient_is_rejected_at_once(house: House) -> None:
    house.make(NEW, "P-2")
    house.pacs.holders = [Whose("P-1", "", ""), Whose("P-2", "", "")]
    house.work()
    (note,) = house.notes()
    assert (titles(house), named(note), note.PatientID) == (["113037"], [OLD], "P-1")


def test_result_that_the_pacs_gave_to_the_right_patient_itself_is_rejected_as_an_earlier_one(
    house: House,
) -> None:
    house.make(NEW, "P-2")
    house.pacs.holders = [Whose("P-2", "", "")]
    house.work()
    assert house.notes() == []
    house.arrive()
    house.work()
    (note,) = house.notes()
    assert (titles(house), named(note), note.PatientID) == (["113001"], [OLD], "P-2")


@pytest.mark.parametrize("trouble", [Retriable("it refuses"), None])
def test_correction_that_the_pacs_does_not_know_of_rejects_nothing_before_the_newer_result_is_there(
    house: House, trouble: Exception | None
) -> None:
    house.make(NEW, "P-2")
    house.pacs.trouble, house.pacs.holders = trouble, [Whose("P-1", "", "")]
    house.work()
    assert house.notes() == []
    house.arrive()
    house.work()
    assert titles(house) == ["113037"]


def test_destination_that_is_away_is_asked_again_later(house: House) -> None:
    house.make(NEW, "P-2")
    house.pacs.trouble = Away("nobody is there")
    wait_s = house.work()
    assert wait_s is not None
    assert house.worker.trouble == "nobody is there"
    assert house.states() == {OLD: "waiting"}
    assert house.notes() == []


def test_what_waits_to_be_withdrawn_is_said_with_its_job_until_it_is_dealt_with(house: House) -> None:
    house.make(NEW)
    house.arrive()
    house.pacs.trouble = Away("nobody is there")
    house.supersede = "delete"
    house.make("1.2.9.3")
    house.arrive()
    house.work()
    study = show_study(house.ledger, STUDY_UID)
    assert study is not None
    (warning,) = study["jobs"][0]["warnings"]
    assert warning.startswith("pacs still has 2 objects of an earlier result of this study; that is dealt")
    assert show_job(house.ledger, "job")["warnings"] == [warning]  # type: ignore[index]
    house.pacs.trouble = None
    house.work()
    assert show_study(house.ledger, STUDY_UID)["jobs"][0]["warnings"] == []  # type: ignore[index]


def test_note_outlives_a_newer_revision_and_a_transfer_that_did_not_succeed(house: House) -> None:
    house.make(NEW)
    house.arrive()
    house.work()
    key = house.deliveries()[-1].key
    house.make("1.2.9.3")
    assert house.site.ledger.read("SELECT state FROM deliveries WHERE key = ?", (key,))[0][0] == "pending"
    with house.ledger.transaction() as transaction:
        begin(transaction, [key])
        assert left_nothing(transaction, key)


def test_note_whose_file_is_gone_is_made_again_as_it_was(house: House) -> None:
    house.make(NEW)
    house.arrive()
    house.work()
    (note,) = house.notes()
    with house.ledger.transaction() as transaction:
        make_note_again(transaction, house.deliveries()[-1].key)
    house.work()
    assert house.notes() == [note]
    assert house.deliveries()[-1].state is DeliveryState.PENDING


def test_note_is_no_revision_of_a_result(house: House) -> None:
    house.make(NEW)
    house.arrive()
    before = revisions_delivered(house.ledger, house.job())
    house.work()
    house.arrive()
    assert revisions_delivered(house.ledger, house.job()) == before


def test_result_that_counts_again_before_anybody_was_told_is_not_withdrawn(house: House) -> None:
    house.make(NEW)
    house.make(OLD)
    house.arrive()
    house.work()
    assert house.notes() == []
    assert house.states() == {}


def test_site_that_keeps_earlier_results_is_told_only_of_those_under_another_patient(house: House) -> None:
    house.supersede = "add"
    house.make(NEW)
    house.arrive()
    house.work()
    assert (house.job().warnings, house.states()) == ((), {OLD: "left"})
    house.make("1.2.9.3", "P-2")
    house.arrive()
    house.work()
    assert house.job().warnings == (
        "pacs still has 1 object of an earlier result of this study under another patient:"
        " reject or delete it there by hand",
    )
    assert house.notes() == []
    assert house.states() == {OLD: "left", NEW: "left"}


def test_result_of_rejected_images_is_rejected_with_them(house: House) -> None:
    with house.ledger.transaction() as transaction:
        reject(transaction, Rejection("1.2.8", STUDY_UID, "", "113038", ("1.2.3.4.5",)))
    house.work()
    assert titles(house) == ["113037"]
    assert house.job().state is JobState.DELIVERED


def test_result_whose_file_is_gone_is_left_to_a_person(house: House) -> None:
    house.make(NEW)
    house.arrive()
    (house.site.data_dir / f"{OLD}.dcm").unlink()
    house.work()
    (warning,) = house.job().warnings
    assert warning.endswith("which is not here any more: reject or delete it there by hand")


@pytest.mark.parametrize("supersede", ["iocm", "delete"])
def test_earlier_object_whose_transfer_was_not_answered_arrives_before_it_is_withdrawn(
    house: House, supersede: str
) -> None:
    house.supersede = supersede
    (old,) = house.deliveries()
    with house.ledger.transaction() as transaction:
        transaction.move_delivery(old.key, DeliveryEvent.RESENT)
        begin(transaction, [old.key])
    house.make(NEW)
    new = house.deliveries()[-1]
    with house.ledger.transaction() as transaction:
        transaction.move_delivery(new.key, DeliveryEvent.SENT)
    house.work()
    assert (house.notes(), house.pacs.removed, house.states()) == ([], [], {OLD: "waiting"})
    house.arrive()
    house.work()
    assert house.states() == {OLD: "told"}


def test_what_an_earlier_destination_still_has_is_left_to_a_person_with_a_sentence(house: House) -> None:
    house.make(NEW, "P-2")
    house.work("another")
    assert house.states() == {OLD: "left"}
    assert house.job().warnings == (
        "pacs still has 1 object of an earlier result of this study under another patient, and is no"
        " [[destination]] any more: reject or delete it there by hand",
    )


def test_what_waits_is_looked_at_again_when_something_happens_to_its_study_and_now_and_then(
    house: House,
) -> None:
    house.make(NEW, "P-2")
    wait_s = house.work()
    assert wait_s is not None
    assert 0 < wait_s <= LOOK.first_s
    house.pacs.holders = [Whose("P-1", "", ""), Whose("P-2", "", "")]  # it was corrected there
    (of_another, of_this) = (
        JobChanged("job", uid, "encoded", JobState.ENCODED) for uid in ("1.2", STUDY_UID)
    )
    assert house.worker.is_woken_by(of_another)
    house.worker.work()
    assert house.notes() == []
    assert house.worker.is_woken_by(of_this)
    house.worker.work()
    assert titles(house) == ["113037"]


# -- deleting ----------------------------------------------------------------------------------------------


def test_earlier_result_is_deleted_when_the_newer_one_is_there(house: House) -> None:
    house.supersede = "delete"
    house.make(NEW)
    house.work()
    assert house.pacs.removed == []
    house.arrive()
    house.work()
    assert house.pacs.removed == [OLD]
    assert house.states() == {OLD: "told"}


def test_destination_that_deletes_nothing_is_named_and_the_new_result_is_not_disturbed(house: House) -> None:
    house.supersede = "delete"
    house.pacs.receipt = Receipt(Outcome.REFUSED, "pacs removes nothing by DICOMweb")
    house.make(NEW)
    house.arrive()
    house.work()
    (warning,) = house.job().warnings
    assert "pacs removes nothing by DICOMweb; or use supersede = 'iocm'" in warning
    assert house.deliveries()[-1].state is DeliveryState.SENT
    assert house.states() == {OLD: "left"}
