"""Rejection notes that come in: what they name is no input any more, and jobs and results follow."""

import copy
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SegmentationStorage, generate_uid

from gateway.ledger.evidence import instances_by_series, not_to_be_waited_for
from gateway.ledger.records import DeliveryRow, JobRow
from gateway.ledger.results import current_objects, record_result
from gateway.ledger.revisits import delivered_there
from gateway.ledger.states import DeliveryState, JobEvent, JobState, StudyState
from gateway.ledger.withdrawals import Told, settle_withdrawals, waiting_withdrawals, withdraw_earlier
from gateway.listener.statuses import KEPT_ASIDE, SUCCESS
from tests.integration.test_removed_studies import House
from tests.rejections import rejection_note
from tests.results import result_of_one

CODES = ["113001", "113037", "113038", "113039"]


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(small_study.iterdir())]


@pytest.fixture
def house(gate: Any) -> House:
    return House(gate)


def uids(*datasets: Dataset) -> set[str]:
    return {str(dataset.SOPInstanceUID) for dataset in datasets}


def used(house: House) -> set[str]:
    """What may be a slice of a volume."""
    return {row.sop_instance_uid for row in house.gate.instances() if row.is_current and row.of_use}


def deliveries(house: House) -> list[DeliveryRow]:
    rows = house.gate.ledger.read("SELECT * FROM deliveries ORDER BY created_at")
    return [DeliveryRow.of(row) for row in rows]


def states(house: House) -> list[JobState]:
    return [job.state for job in house.jobs()]


# -- images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_rejected_image_stops_the_job_of_its_volume_and_it_is_planned_of_what_remains(
    house: House, slices: list[Dataset], code: str
) -> None:
    house.gate.send(*slices)
    house.complete()
    assert states(house) == [JobState.PLANNED]
    with house.gate.ledger.transaction() as transaction:
        transaction.move_job(house.jobs()[0].job_key, JobEvent.STARTED)
    assert house.gate.send(rejection_note(slices[-1:], code)) == [SUCCESS]
    (job,) = house.jobs()
    assert job.state is JobState.SUPERSEDED
    assert f"({code}, " in job.reason
    assert house.study().state is StudyState.RECEIVING

    plan = house.complete()
    assert states(house) == [JobState.SUPERSEDED, JobState.PLANNED]
    assert set(plan.jobs[0].instance_uids) == uids(*slices[:-1])
    why = [volume.why for volume in plan.volumes]
    assert sum(f"rejected it ({code}, " in each for each in why) == 1
    assert sum(f"a rejection note about 1 object ({code}, " in each for each in why) == 1
    assert len(house.gate.files("instances")) == len(slices) + 1  # nothing is lost


def test_rejected_image_in_the_middle_leaves_a_gap_that_is_held(house: House, slices: list[Dataset]) -> None:
    house.gate.send(*slices)
    house.complete()
    house.gate.send(rejection_note(slices[3:4]))
    house.complete()
    assert states(house) == [JobState.SUPERSEDED, JobState.QUARANTINED]


def test_note_before_its_images_holds_for_them_when_they_come(house: House, slices: list[Dataset]) -> None:
    house.gate.send(rejection_note(slices[-2:]))
    assert house.complete().jobs == ()
    house.gate.send(*slices)
    assert used(house) == uids(*slices[:-2])
    plan = house.complete()
    assert set(plan.jobs[0].instance_uids) == uids(*slices[:-2])


def test_image_that_comes_after_its_retention_period_had_expired_is_used(
    house: House, slices: list[Dataset]
) -> None:
    house.gate.send(rejection_note(slices[-1:], "113039"))
    house.gate.send(*slices)
    assert used(house) == uids(*slices)


def test_study_that_comes_again_after_its_retention_period_had_expired_is_planned_as_before(
    house: House, slices: list[Dataset]
) -> None:
    house.gate.send(*slices)
    first = house.complete()
    house.gate.send(rejection_note(slices, "113039"))
    house.complete()
    assert (states(house), used(house)) == ([JobState.SUPERSEDED], set())
    assert house.gate.send(*slices) == [SUCCESS] * len(slices)
    assert used(house) == uids(*slices)
    assert house.complete().jobs[0].job_key == first.jobs[0].job_key
    assert states(house) == [JobState.PLANNED]
    assert house.gate.ledger.read("SELECT 1 FROM rejections") == []


def test_rejected_image_with_another_header_stays_rejected(house: House, slices: list[Dataset]) -> None:
    house.gate.send(*slices)
    house.gate.send(rejection_note(slices[-1:]))
    corrected = copy.deepcopy(slices[-1])
    corrected.PatientName = "Other^Name"
    house.gate.send(corrected)
    assert used(house) == uids(*slices[:-1])


def test_note_twice_and_another_note_of_the_same_change_nothing_more(
    house: House, slices: list[Dataset]
) -> None:
    house.gate.send(*slices)
    note = rejection_note(slices[-1:])
    house.gate.send(note)
    house.complete()
    assert house.gate.send(note, rejection_note(slices[-1:])) == [SUCCESS] * 2
    house.complete()
    assert states(house) == [JobState.PLANNED]
    rejected = [each for each in house.gate.timeline() if each.event == "study.instances_rejected"]
    assert len(rejected) == 2
    assert rejected[0].detail == {"code": "113001", "named": 1, "here": 1}


def test_study_that_is_rejected_as_a_whole_has_nothing_to_do(house: House, slices: list[Dataset]) -> None:
    house.gate.send(*slices)
    house.complete()
    house.gate.send(rejection_note(slices))
    house.complete()
    assert states(house) == [JobState.SUPERSEDED]
    assert house.study().state is StudyState.DONE


def test_rejected_images_are_not_waited_for_and_no_reason_to_doubt_the_pacs(
    house: House, slices: list[Dataset]
) -> None:
    house.gate.send(*slices[:-1])
    house.gate.send(rejection_note(slices[-2:]))
    ledger, study_uid = house.gate.ledger, house.study().study_uid
    here = set().union(*instances_by_series(ledger, study_uid).values())
    assert uids(slices[-2]).isdisjoint(here)
    assert not_to_be_waited_for(ledger, study_uid, uids(slices[-1])) == uids(slices[-1])


# -- results -----------------------------------------------------------------------------------------------


def result(house: House, slices: list[Dataset], *, is_sent: bool) -> Dataset:
    """An object of ours that was made of the study, and is sent or still waits."""
    house.gate.send(*slices)
    house.complete()
    (job,) = house.jobs()
    made = copy.deepcopy(slices[0])
    made.SOPClassUID = SegmentationStorage
    if is_sent:
        house.run(job)
        made.SOPInstanceUID = deliveries(house)[0].sop_instance_uid
        return made
    made.SOPInstanceUID = generate_uid()
    _encode(house, job, str(made.SOPInstanceUID))
    return made


def _encode(house: House, job: JobRow, uid: str) -> None:
    with house.gate.ledger.transaction() as transaction:
        transaction.move_job(job.job_key, JobEvent.SEGMENTED)
    _encode_again(house, job, uid)


def _encode_again(house: House, job: JobRow, uid: str) -> None:
    with house.gate.ledger.transaction() as transaction:
        encoded = result_of_one("r.dcm", uid, job.header_sha256)
        record_result(transaction, transaction.job(job.job_key), encoded, lambda _: ["pacs"])


def test_result_of_ours_that_is_rejected_says_so_and_its_job_stays(
    house: House, slices: list[Dataset]
) -> None:
    made = result(house, slices, is_sent=True)
    assert house.gate.send(rejection_note([made], "113037")) == [SUCCESS]
    (delivery,) = deliveries(house)
    assert delivery.state is DeliveryState.SENT
    assert delivery.reason == "the PACS rejected it (113037, rejected for patient safety reasons)"
    house.complete()
    assert states(house) == [JobState.DELIVERED]
    assert delivered_there(house.gate.ledger, house.study().study_uid, "pacs") == []  # to be sent again
    assert [line.detail for line in house.gate.timeline() if line.event == "job.result_rejected"] == [
        {"code": "113037"}
    ]


def test_rejected_result_is_not_sent_any_more_nor_planned_again_by_itself(
    house: House, slices: list[Dataset]
) -> None:
    made = result(house, slices, is_sent=False)
    house.gate.send(rejection_note([made]))
    assert [delivery.state for delivery in deliveries(house)] == [DeliveryState.CANCELLED]
    (job,) = house.jobs()
    with house.gate.ledger.transaction() as transaction:
        transaction.move_job(job.job_key, JobEvent.REPLANNED)
    _encode(house, job, str(made.SOPInstanceUID))
    assert [delivery.state for delivery in deliveries(house)] == [DeliveryState.CANCELLED]


def _told(house: House, code: str = "") -> None:
    """Have every destination told of what waits to be withdrawn."""
    with house.gate.ledger.transaction() as transaction:
        rows = [row for row in waiting_withdrawals(house.gate.ledger) if row.code == code]
        assert rows
        settle_withdrawals(transaction, rows, Told.TOLD)


def test_result_of_what_remains_that_was_rejected_as_an_earlier_one_is_made_anew(
    house: House, slices: list[Dataset]
) -> None:
    house.gate.send(*slices[:-1])
    house.complete()
    (first,) = house.jobs()
    house.run(first)
    house.gate.send(slices[-1])
    house.complete()
    second = house.jobs()[-1]
    house.run(second)
    with house.gate.ledger.transaction() as transaction:
        withdraw_earlier(transaction, second)
    _told(house)
    house.gate.send(rejection_note(slices[-1:]))
    assert "job.result_withdrawn" in [line.event for line in house.gate.timeline()]
    _told(house, "113001")
    house.complete()
    first = next(job for job in house.jobs() if job.job_key == first.job_key)
    assert first.state is JobState.SEGMENTED
    assert current_objects(house.gate.ledger, first.job_key) == []  # of a new revision, with a UID of its own
    _encode_again(house, first, "2.25.7")
    assert deliveries(house)[-1].sop_instance_uid == "2.25.7"


# -- what changes nothing ----------------------------------------------------------------------------------


def _of_another_study(note: Dataset) -> None:
    note.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = generate_uid()


def _without_evidence(note: Dataset) -> None:
    del note.CurrentRequestedProcedureEvidenceSequence


def _without_content(note: Dataset) -> None:
    del note.ContentSequence


def _of_nothing_listed(note: Dataset) -> None:
    evidence = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = generate_uid()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda note: setattr(note, "PatientID", "ANOTHER"), "rejection_of_another_patient"),
        (_of_another_study, "rejection_of_another_study"),
        (_without_evidence, "rejection_not_understood"),
        (_without_content, "rejection_not_understood"),
        (_of_nothing_listed, "rejection_not_understood"),
    ],
)
def test_note_that_contradicts_itself_or_what_is_here_is_put_aside_and_changes_nothing(
    house: House, slices: list[Dataset], spoil: Any, reason: str
) -> None:
    house.gate.send(*slices)
    house.complete()
    note = rejection_note(slices[-1:])
    spoil(note)
    assert house.gate.send(note) == [KEPT_ASIDE]
    (aside,) = house.gate.quarantine()
    assert aside.reason == reason
    assert "ANOTHER" not in aside.sentence
    assert (states(house), used(house)) == ([JobState.PLANNED], uids(*slices))
    assert house.gate.ledger.read("SELECT 1 FROM rejections") == []


def test_note_in_a_study_of_its_own_that_names_what_is_kept_elsewhere_is_put_aside(
    house: House, slices: list[Dataset]
) -> None:
    house.gate.send(*slices)
    strange = copy.deepcopy(slices[-1])
    strange.StudyInstanceUID = generate_uid()
    assert house.gate.send(rejection_note([strange])) == [KEPT_ASIDE]
    assert used(house) == uids(*slices)


def test_selection_of_key_objects_that_rejects_nothing_is_kept_as_any_object(
    house: House, slices: list[Dataset]
) -> None:
    house.gate.send(*slices)
    assert house.gate.send(rejection_note(slices[-1:], "113000")) == [SUCCESS]
    assert used(house) == uids(*slices)
    assert house.gate.quarantine() == []
