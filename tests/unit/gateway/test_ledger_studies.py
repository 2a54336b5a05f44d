"""A study's state follows from its jobs and deliveries; completion, revisions, what a person may ask for."""

import pytest

from gateway.adapters.queue import Lane
from gateway.events import (
    CompletionRequested,
    DeliveryChanged,
    InstanceStored,
    JobChanged,
    ObjectQuarantined,
    StudyChanged,
)
from gateway.ledger.completion import (
    DecidedVolume,
    StudyPlan,
    complete_study,
    receiving_studies,
    request_completion,
)
from gateway.ledger.deliveries import (
    awaited_destinations,
    backlog_for,
    drop_delivery,
    next_delivery,
    put_off_deliveries,
    put_off_delivery,
    redirect_delivery,
)
from gateway.ledger.instances import (
    RefusedObject,
    StudyHeader,
    current_instance,
    current_instances,
    names_of_known_files,
    note_our_own_result,
    put_aside,
    result_of_ours,
    study_of_series,
)
from gateway.ledger.records import QuarantineRow, utc_now, utc_text, utc_time
from gateway.ledger.results import revisions_delivered
from gateway.ledger.runs import begin_run, end_run, lost_runs, newer_run, runs_of
from gateway.ledger.slots import delivered_slots
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent, JobState, StudyState
from gateway.ledger.transaction import NotPossible, StaleRow
from gateway.ledger.under_way import MAY_BE_THERE, begin
from gateway.ledger.work import (
    cancel,
    job,
    next_job,
    put_off_job,
    put_off_jobs,
    release,
    retry,
)

TWO = ("pacs", "archive")


def _ask(book, what, key: str = "k1", *further: str) -> None:
    with book.ledger.transaction() as transaction:
        what(transaction, key, *further)


# -- the study's state ------------------------------------------------------------------------------------


def test_study_with_a_new_instance_is_receiving(book) -> None:
    book.store()
    assert book.study().state is StudyState.RECEIVING
    assert [study.study_uid for study in receiving_studies(book.ledger)] == [book.study_uid]
    assert InstanceStored(book.study_uid, 1) in book.heard


def test_study_is_called_what_its_images_say_and_not_what_another_object_says(book) -> None:
    begun, images = (
        StudyHeader(book.study_uid, "key", patient_id, "", "", description)
        for patient_id, description in (("OTHER", ""), ("G-1", "ABDOMEN"))
    )
    book.store("1.2.3.4.8", study=begun, of_use=False)
    assert book.study().patient_id == "OTHER"
    book.store("1.2.3.4.1", study=images)
    book.store("1.2.3.4.9", study=begun, of_use=False)
    assert (book.study().patient_id, book.study().study_description) == ("G-1", "ABDOMEN")


def test_study_without_jobs_is_done_with_the_reason(book) -> None:
    book.store()
    book.complete()
    assert (book.study().state, book.study().reason) == (
        StudyState.DONE,
        "nothing to do: no rule takes any of its series",
    )


def test_study_with_an_open_job_is_processing(book) -> None:
    book.begin()
    assert book.study().state is StudyState.PROCESSING


def test_study_with_a_failed_job_is_failed_with_its_reason(book) -> None:
    book.begin(book.planned("k1"), book.planned("k2", slot="other"))
    book.move("k1", JobEvent.FAILED, reason="the disk is full")
    assert (book.study().state, book.study().reason) == (StudyState.FAILED, "the disk is full")


def test_study_with_a_held_job_is_held_with_its_reason(book) -> None:
    book.begin(book.planned(hold="a slice is missing"))
    assert book.state() is JobState.QUARANTINED
    assert (book.study().state, book.study().reason) == (StudyState.HELD, "a slice is missing")


def test_study_where_nothing_was_found_is_done(book) -> None:
    book.begin()
    book.move("k1", JobEvent.SEGMENTED, JobEvent.FOUND_NOTHING)
    assert book.study().reason == "nothing was found, so nothing was sent"


def test_study_encoded_without_destination_is_done_and_says_so(book) -> None:
    book.begin_encoded(send_to=())
    assert book.state() is JobState.ENCODED
    assert (book.study().state, book.study().reason) == (
        StudyState.DONE,
        "encoded, but no destination is configured",
    )


def test_study_with_a_pending_delivery_is_processing(book) -> None:
    book.begin_encoded()
    assert book.study().state is StudyState.PROCESSING


def test_study_shows_why_its_delivery_waits(book) -> None:
    book.begin_encoded()
    with book.ledger.transaction() as transaction:
        put_off_delivery(transaction, book.delivery().key, delay_s=60, reason="the PACS is away")
    assert (book.study().state, book.study().reason) == (StudyState.PROCESSING, "the PACS is away")


def test_study_with_a_failed_delivery_is_failed_with_its_reason(book) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("pacs", DeliveryEvent.SENT)
    book.move_delivery("archive", DeliveryEvent.FAILED, reason="refused")
    assert (book.study().state, book.study().reason) == (StudyState.FAILED, "refused")


def test_study_with_everything_delivered_is_done(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.SENT)
    assert (book.study().state, book.study().reason) == (StudyState.DONE, "delivered")
    assert book.heard[-1] == StudyChanged(book.study_uid, "done")


def test_study_whose_only_job_was_cancelled_is_done(book) -> None:
    book.begin()
    _ask(book, cancel)
    assert (book.study().state, book.study().reason) == (StudyState.DONE, "cancelled")


def test_study_that_receives_stays_so_whatever_its_jobs_do(book) -> None:
    book.begin_encoded()
    book.store("1.2.3.4.2")
    book.move_delivery("pacs", DeliveryEvent.SENT)
    assert book.study().state is StudyState.RECEIVING
    book.complete(book.planned())
    assert book.study().state is StudyState.DONE


def test_study_that_was_done_processes_again_when_a_job_is_redone(book) -> None:
    book.begin()
    _ask(book, cancel)
    _ask(book, retry)
    assert book.study().state is StudyState.PROCESSING


# -- instances --------------------------------------------------------------------------------------------


def test_instance_with_a_corrected_header_becomes_the_current_revision(book) -> None:
    book.store()
    book.store(header_sha256="corrected", path="instances/corrected.dcm")
    current = current_instance(book.ledger, "1.2.3.4.1")
    assert (current.revision, current.header_sha256) == (2, "corrected")
    assert len(current_instances(book.ledger, book.study_uid)) == 1
    assert names_of_known_files(book.ledger, "instances") == {"1.2.3.4.1.dcm", "corrected.dcm"}
    assert names_of_known_files(book.ledger, "instance") == set()
    assert "instance.corrected" in book.names()


def test_instance_takes_the_evidence_back_and_raises_the_generation(book) -> None:
    book.store()
    book.close_association()
    assert book.study().evidence == "released"
    book.store("1.2.3.4.2")
    assert (book.study().evidence, book.study().evidence_at, book.study().generation) == (None, None, 2)


def test_association_that_was_aborted_is_recorded_as_no_evidence(book) -> None:
    book.store()
    book.close_association(released=False)
    assert book.study().evidence == "aborted"
    assert book.names()[-1] == "association.aborted"


def test_release_by_an_association_beside_the_aborted_one_does_not_hide_the_abort(book) -> None:
    book.store()
    opened_at = utc_now()
    book.close_association(released=False)
    book.store("1.2.3.4.2")
    book.close_association(opened_at=opened_at)
    assert book.study().evidence == "aborted"
    assert book.names()[-1] == "association.released"


def test_release_by_another_sender_does_not_hide_an_abort(book) -> None:
    book.store()
    book.close_association(released=False, sender="SCANNER")
    book.close_association(sender="PACS", opened_at=utc_now())
    assert book.study().evidence == "aborted"


def test_sender_that_came_back_after_its_abort_and_released_takes_it_back(book) -> None:
    book.store()
    book.close_association(released=False)
    book.store("1.2.3.4.2")
    book.close_association(opened_at=utc_now())
    assert book.study().evidence == "released"
    book.store("1.2.3.4.3")
    assert book.study().evidence is None


def test_each_sender_takes_back_its_own_abort(book) -> None:
    book.store()
    book.close_association(released=False, sender="SCANNER")
    book.close_association(released=False, sender="PACS")
    book.close_association(sender="SCANNER", opened_at=utc_now())
    assert book.study().evidence == "aborted"
    book.close_association(sender="PACS", opened_at=utc_now())
    assert book.study().evidence == "released"


def test_abort_before_a_study_was_complete_says_nothing_of_what_comes_later(book) -> None:
    book.store()
    book.close_association(released=False)
    book.complete()
    book.store("1.2.3.4.2")
    assert book.study().evidence is None
    book.close_association()
    assert book.study().evidence == "released"


def test_association_that_touched_a_done_study_leaves_its_evidence(book) -> None:
    book.store()
    book.close_association()
    book.complete()
    book.close_association(released=False)
    assert book.study().evidence == "released"


def test_series_is_known_under_the_study_that_it_came_with(book) -> None:
    book.store()
    assert study_of_series(book.ledger, "1.2.3.4") == book.study_uid
    assert study_of_series(book.ledger, "9.9") is None
    assert current_instance(book.ledger, "9.9") is None


def test_refused_object_that_comes_often_is_one_row_and_one_line(book) -> None:
    refused = RefusedObject("digest", "not_dicom", "cannot be parsed", "quarantine/x.dcm", None, None, "PACS")
    for _ in range(3):
        with book.ledger.transaction() as transaction:
            put_aside(transaction, refused)
    (row,) = [QuarantineRow.of(row) for row in book.ledger.read("SELECT * FROM quarantine")]
    assert (row.times, row.reason, row.first_at <= row.last_at) == (3, "not_dicom", True)
    assert book.names() == ["instance.quarantined"]
    assert book.heard == [ObjectQuarantined("digest", "not_dicom")]


def test_result_of_ours_is_known_by_its_uid(book) -> None:
    book.begin_encoded()
    assert result_of_ours(book.ledger, "2.25.1") == "results/2.25.1.dcm"
    assert result_of_ours(book.ledger, "2.25.2") is None
    with book.ledger.transaction() as transaction:
        note_our_own_result(transaction, book.study_uid)
        note_our_own_result(transaction, "a study that nobody knows")
    assert [line.study_uid for line in book.timeline()[-2:]] == [book.study_uid, None]


# -- completion and revisions -----------------------------------------------------------------------------


def test_completion_of_a_plan_that_is_out_of_date_is_refused(book) -> None:
    book.store()
    plan = StudyPlan(book.study_uid, book.study().generation, (book.planned(),), ())
    book.store("1.2.3.4.2")
    with pytest.raises(StaleRow), book.ledger.transaction() as transaction:
        complete_study(transaction, plan, evidence="released")
    assert book.jobs() == {}


def test_completion_of_a_complete_study_is_refused(book) -> None:
    book.begin()
    with pytest.raises(StaleRow):
        book.complete(book.planned("k2"))


def test_completion_writes_what_was_decided_and_replaces_what_was_before(book) -> None:
    for why in ("the first reason", "the second reason"):
        book.store(header_sha256=why)
        volume = DecidedVolume("1.2.3.4", 1, 20, None, why, ({"code": "gap", "sentence": "s"},), ("a", "b"))
        with book.ledger.transaction() as transaction:
            plan = StudyPlan(book.study_uid, transaction.study(book.study_uid).generation, (), (volume,))
            complete_study(transaction, plan, evidence="released")
    (row,) = book.ledger.read("SELECT * FROM volumes")
    assert (row["why"], row["ranking"]) == ("the second reason", '["a", "b"]')
    assert book.study().completed_at is not None


def test_completion_request_is_taken_once(book) -> None:
    book.store()
    _ask(book, request_completion, book.study_uid)
    assert book.study().complete_requested == 1
    assert CompletionRequested(book.study_uid) in book.heard
    book.complete()
    assert book.study().complete_requested == 0


def test_completion_request_for_a_complete_study_does_not_close_its_next_revision(book) -> None:
    book.begin()
    _ask(book, request_completion, book.study_uid)
    book.store("1.2.3.4.2")
    assert book.study().complete_requested == 0


def test_completion_request_for_an_unknown_study_is_stale(book) -> None:
    with pytest.raises(StaleRow):
        _ask(book, request_completion, "9.9")


def test_job_that_is_planned_is_told_to_whoever_converts_it(book) -> None:
    book.begin()
    assert JobChanged("k1", book.study_uid, "planned", "planned") in book.heard


def test_job_that_exists_is_left_alone_by_a_second_completion(book) -> None:
    book.begin()
    book.move("k1", JobEvent.CONVERTED)
    book.store("9.9.9", series_uid="9.9", of_use=False)
    before = book.job()
    book.complete(book.planned())
    assert book.job() == before


def test_late_slice_supersedes_the_open_job_of_its_slot(book) -> None:
    book.begin()
    book.store("1.2.3.4.2")
    book.complete(book.planned("k2", instance_uids=("1.2.3.4.1", "1.2.3.4.2")))
    assert {key: row.state for key, row in book.jobs().items()} == {"k1": "superseded", "k2": "planned"}
    assert book.job("k1").reason == "an instance came in later"


@pytest.mark.parametrize(
    "events",
    [
        (JobEvent.FAILED,),
        (JobEvent.HELD,),
        (JobEvent.SUBMITTED, JobEvent.STARTED),
        (JobEvent.SEGMENTED,),
    ],
)
def test_late_slice_supersedes_a_job_wherever_it_stands(book, events: tuple[JobEvent, ...]) -> None:
    book.begin()
    book.move("k1", *events)
    book.store("1.2.3.4.2")
    book.complete(book.planned("k2"))
    assert book.state("k1") is JobState.SUPERSEDED
    assert book.study().state is StudyState.PROCESSING


def test_late_slice_leaves_a_cancelled_job_cancelled(book) -> None:
    book.begin()
    _ask(book, cancel)
    book.store("1.2.3.4.2")
    book.complete(book.planned("k2"))
    assert book.state("k1") is JobState.CANCELLED


def test_late_slice_supersedes_deliveries_that_have_not_arrived(book) -> None:
    book.begin_encoded(send_to=("pacs", "archive", "ward"))
    book.move_delivery("pacs", DeliveryEvent.SENT)
    book.move_delivery("archive", DeliveryEvent.FAILED)
    book.store("1.2.3.4.2")
    book.complete(book.planned("k2"))
    states = {d.destination: d.state for d in book.deliveries()}
    assert states == {"pacs": "sent", "archive": "superseded", "ward": "superseded"}
    assert book.state("k1") is JobState.SUPERSEDED


def test_late_slice_leaves_what_was_delivered_and_the_new_result_is_a_second_one(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.SENT)
    book.store("1.2.3.4.2")
    book.complete(book.planned("k2"))
    assert book.state("k1") is JobState.DELIVERED
    assert revisions_delivered(book.ledger, book.job("k2")) == (1, 1)


def test_job_whose_volume_is_numbered_anew_keeps_its_place(book) -> None:
    book.begin()
    book.store("1.2.3.4.2")
    # Another stack of the series came in and is number 1 now; the one that has a job is number 2.
    book.complete(book.planned("k2"), book.planned("k1", slot="1.2.3.4#2#tissue"))
    assert (book.state("k1"), book.state("k2")) == (JobState.PLANNED, JobState.PLANNED)
    assert book.job("k1").slot == "1.2.3.4#2#tissue"


@pytest.mark.parametrize("delivered", [False, True])
def test_corrected_header_encodes_again_without_a_run(book, delivered: bool) -> None:
    book.begin_encoded()
    if delivered:
        book.move_delivery("pacs", DeliveryEvent.SENT)
    book.store(header_sha256="corrected")
    book.complete(book.planned(header_sha256="corrected"))
    assert book.state() is JobState.SEGMENTED
    assert book.delivery().state == ("sent" if delivered else "superseded")
    book.encode(uid="2.25.2")
    assert [(d.sop_instance_uid, d.state) for d in book.deliveries()][-1] == ("2.25.2", "pending")
    book.move_delivery("pacs", DeliveryEvent.SENT)
    assert book.state() is JobState.DELIVERED


def test_corrected_header_that_is_taken_back_sends_nothing_twice(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.SENT)
    for header, uid in (("corrected", "2.25.2"), ("header", "2.25.1")):
        book.store(header_sha256=header)
        book.complete(book.planned(header_sha256=header))
        book.encode(uid=uid)
    assert {d.sop_instance_uid: d.state for d in book.deliveries()} == {
        "2.25.1": "sent",
        "2.25.2": "superseded",
    }
    assert book.state() is JobState.DELIVERED


def test_corrected_header_that_comes_while_it_is_encoded_is_not_lost(book) -> None:
    book.begin()
    book.move("k1", JobEvent.SEGMENTED)
    read_before = book.job()
    book.store(header_sha256="corrected")
    book.complete(book.planned(header_sha256="corrected"))
    with pytest.raises(StaleRow, match="corrected"):
        book.encode(job=read_before)
    assert (book.state(), book.job().header_sha256, book.deliveries()) == ("segmented", "corrected", [])


def test_corrected_header_of_a_job_that_is_not_encoded_yet_changes_no_state(book) -> None:
    book.begin()
    book.move("k1", JobEvent.CONVERTED)
    book.store(header_sha256="corrected")
    book.complete(book.planned(header_sha256="corrected"))
    assert (book.state(), book.job().header_sha256) == (JobState.CONVERTED, "corrected")


def test_corrected_header_of_a_job_where_nothing_was_found_changes_no_state(book) -> None:
    book.begin()
    book.move("k1", JobEvent.SEGMENTED, JobEvent.FOUND_NOTHING)
    book.store(header_sha256="corrected")
    book.complete(book.planned(header_sha256="corrected"))
    assert book.state() is JobState.DELIVERED


def test_corrected_header_of_a_job_that_failed_when_encoded_is_encoded_by_the_retry(book) -> None:
    book.begin_encoded()
    book.move("k1", JobEvent.FAILED)
    book.store(header_sha256="corrected")
    book.complete(book.planned(header_sha256="corrected"))
    _ask(book, retry)
    assert book.state() is JobState.SEGMENTED


# -- deliveries -------------------------------------------------------------------------------------------


def test_last_delivery_that_arrives_delivers_the_job(book) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("pacs", DeliveryEvent.SENT)
    assert book.state() is JobState.ENCODED
    book.move_delivery("archive", DeliveryEvent.SENT)
    assert book.state() is JobState.DELIVERED
    assert book.names()[-3:] == ["delivery.sent", "job.delivered", "study.finished"]


def test_delivery_of_an_older_object_does_not_deliver_the_job(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.SENT)
    book.store(header_sha256="corrected")
    book.complete(book.planned(header_sha256="corrected"))
    book.encode(uid="2.25.2")
    assert book.state() is JobState.ENCODED


def test_result_of_a_job_that_moved_meanwhile_is_stale(book) -> None:
    book.begin()
    with pytest.raises(StaleRow):
        book.encode()
    assert book.deliveries() == []


def test_cancelled_delivery_that_is_wanted_again_begins_anew(book) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("pacs", DeliveryEvent.SENT)
    _ask(book, cancel)
    _ask(book, retry)
    book.move("k1", JobEvent.SEGMENTED)
    book.encode()
    assert {d.destination: d.state for d in book.deliveries()} == {"pacs": "sent", "archive": "pending"}


def test_object_that_may_be_there_counts_as_delivered_whatever_becomes_of_its_delivery(book) -> None:
    book.begin_encoded()
    with book.ledger.transaction() as transaction:
        begin(transaction, [book.delivery("pacs").key])
    _ask(book, cancel)
    assert book.delivery("pacs").reason == MAY_BE_THERE
    assert delivered_slots(book.ledger, book.study_uid) == {book.job("k1").slot}
    _ask(book, retry)
    book.move("k1", JobEvent.SEGMENTED)
    book.encode()
    assert book.delivery("pacs").begun_at is not None
    book.store("1.2.3.4.2")
    book.complete(book.planned("k2"))
    assert book.delivery("pacs").state is DeliveryState.PENDING
    assert revisions_delivered(book.ledger, book.job("k2")) == (1, 1)


def test_refused_commitment_sends_again_at_once(book) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("pacs", DeliveryEvent.SENT, DeliveryEvent.COMMITMENT_REFUSED)
    assert book.delivery("pacs").state is DeliveryState.PENDING
    chosen = next_delivery(book.ledger, "pacs")
    assert chosen is not None
    assert chosen.destination == "pacs"


# -- what a person may ask for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed_after", "resumes"),
    [
        ((), "planned"),
        ((JobEvent.CONVERTED,), "converted"),
        ((JobEvent.SUBMITTED, JobEvent.STARTED), "staged"),
        ((JobEvent.SEGMENTED,), "segmented"),
    ],
)
def test_retry_of_a_failed_job_goes_on_from_the_last_good_state(
    book, failed_after: tuple[JobEvent, ...], resumes: str
) -> None:
    book.begin()
    book.move("k1", *failed_after, JobEvent.FAILED)
    _ask(book, retry)
    assert (book.state(), book.job().resume_state, book.job().reason) == (resumes, None, "")


def test_retry_of_a_job_takes_up_its_failed_deliveries(book) -> None:
    book.begin_encoded(send_to=TWO)
    for destination in TWO:
        book.move_delivery(destination, DeliveryEvent.FAILED)
    _ask(book, retry)
    assert {d.state for d in book.deliveries()} == {"pending"}
    assert book.study().state is StudyState.PROCESSING


def test_retry_of_one_delivery_leaves_the_other(book) -> None:
    book.begin_encoded(send_to=TWO)
    for destination in TWO:
        book.move_delivery(destination, DeliveryEvent.FAILED)
    _ask(book, retry, book.delivery("pacs").key)
    assert {d.destination: d.state for d in book.deliveries()} == {"pacs": "pending", "archive": "failed"}


@pytest.mark.parametrize("key", ["k1", "delivery"])
def test_retry_of_what_neither_failed_nor_waits_is_refused_with_a_sentence(book, key: str) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.SENT)
    with pytest.raises(NotPossible, match="only one that failed"):
        _ask(book, retry, book.delivery().key if key == "delivery" else key)


def test_retry_of_an_unknown_key_is_stale(book) -> None:
    with pytest.raises(StaleRow):
        _ask(book, retry, "nothing")


def test_cancel_stops_the_job_and_what_it_has_not_delivered(book) -> None:
    book.begin_encoded(send_to=("pacs", "archive", "ward"))
    book.move_delivery("pacs", DeliveryEvent.SENT)
    book.move_delivery("archive", DeliveryEvent.FAILED, reason="refused")
    _ask(book, cancel)
    assert book.state() is JobState.CANCELLED
    states = {d.destination: d.state for d in book.deliveries()}
    assert states == {"pacs": "sent", "archive": "cancelled", "ward": "cancelled"}
    assert (book.study().state, book.study().reason) == (StudyState.DONE, "cancelled")


def test_cancel_of_a_held_job_ends_the_hold(book) -> None:
    book.begin(book.planned(hold="a gap"))
    _ask(book, cancel)
    assert book.state() is JobState.CANCELLED


def test_cancel_of_a_failed_job_ends_it_and_its_study_is_done(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.FAILED, reason="refused")
    book.move("k1", JobEvent.FAILED, reason="a file was lost")
    _ask(book, cancel)
    assert (book.state(), book.delivery().state) == (JobState.CANCELLED, DeliveryState.CANCELLED)
    assert (book.study().state, book.study().reason) == (StudyState.DONE, "cancelled")


@pytest.mark.parametrize("event", [JobEvent.CANCELLED, JobEvent.SUPERSEDED])
def test_cancel_of_a_job_that_is_over_is_refused_with_a_sentence(book, event: JobEvent) -> None:
    book.begin()
    book.move("k1", event)
    with pytest.raises(NotPossible, match="nothing to cancel"):
        _ask(book, cancel)


@pytest.mark.parametrize("held_in", [(), (JobEvent.SEGMENTED,)])
def test_release_lets_a_held_job_go_on_where_it_was(book, held_in: tuple[JobEvent, ...]) -> None:
    book.begin()
    book.move("k1", *held_in)
    before = book.state()
    book.move("k1", JobEvent.HELD, reason="a flag")
    _ask(book, release)
    assert book.state() is before


def test_release_of_a_job_that_is_not_held_is_refused_with_a_sentence(book) -> None:
    book.begin()
    with pytest.raises(NotPossible, match="only a quarantined one"):
        _ask(book, release)


def test_released_job_is_not_held_again_by_a_second_completion(book) -> None:
    book.begin(book.planned(hold="a gap"))
    _ask(book, release)
    book.store("9.9.9", series_uid="9.9", of_use=False)
    book.complete(book.planned(hold="a gap"))
    assert book.state() is JobState.PLANNED


# -- work -------------------------------------------------------------------------------------------------


def test_next_job_is_the_most_urgent_one_that_does_not_rest(book) -> None:
    jobs = [book.planned(key, slot=key, priority=p) for key, p in (("later", 9), ("low", 0), ("high", 5))]
    book.begin(*jobs)
    with book.ledger.transaction() as transaction:
        put_off_job(transaction, "later", delay_s=60, reason="busy")
    put_off = put_off_jobs(book.ledger, JobState.PLANNED)
    assert put_off == {"later": book.job("later").not_before}
    assert put_off_jobs(book.ledger, JobState.STAGED) == {}
    resting = set(put_off)
    for key in ("high", "low"):
        chosen = next_job(book.ledger, JobState.PLANNED, resting)
        assert chosen is not None
        assert chosen.job_key == key
        resting.add(key)
    assert next_job(book.ledger, JobState.PLANNED, resting) is None
    assert next_job(book.ledger, JobState.STAGED) is None
    assert (book.job("later").failures, book.job("later").reason) == (1, "busy")


def test_next_of_equally_urgent_jobs_is_the_oldest(book) -> None:
    book.begin(*(book.planned(key, slot=key) for key in ("b", "a", "c")))
    chosen = next_job(book.ledger, JobState.PLANNED)
    assert chosen is not None
    assert chosen.job_key == "b"


def test_put_off_job_that_moves_on_forgets_its_failures(book) -> None:
    book.begin()
    with book.ledger.transaction() as transaction:
        put_off_job(transaction, "k1", delay_s=60, reason="busy")
    book.move("k1", JobEvent.CONVERTED)
    assert (book.job().failures, book.job().not_before, book.job().reason) == (0, None, "")


def test_put_off_delivery_is_not_due_and_a_repeated_reason_is_one_line(book) -> None:
    book.begin_encoded()
    for _ in range(3):
        with book.ledger.transaction() as transaction:
            put_off_delivery(transaction, book.delivery().key, delay_s=60, reason="the PACS is away")
    put_off = put_off_deliveries(book.ledger, "pacs")
    assert put_off == {book.delivery().key: book.delivery().not_before}
    assert next_delivery(book.ledger, "pacs", set(put_off)) is None
    assert put_off_deliveries(book.ledger, "archive") == {}
    assert book.delivery().attempts == 3
    assert book.names().count("delivery.put_off") == 1


def _lose(book, run: int, lost_on: str = "work", queue_id: str = "") -> None:
    """The job's next run, which comes to nothing."""
    book.move("k1", JobEvent.SUBMITTED, columns={"run": run})
    with book.ledger.transaction() as transaction:
        begin_run(transaction, "k1", run, Lane.MAIN, backend="local")
        transaction.execute("UPDATE runs SET queue_id = ? WHERE run = ?", (queue_id, run))
        transaction.move_job("k1", JobEvent.RUN_LOST)
        end_run(transaction, "k1", run, sentence="gone", lost_on=lost_on)


def test_lost_runs_leave_out_restarts_and_what_a_person_retried(book) -> None:
    book.begin()
    for run, on in enumerate(("work", "", "machine", "work"), start=1):
        _lose(book, run, on)
    assert [run.run for run in lost_runs(book.ledger, "k1")] == [1, 4]
    assert [run.run for run in lost_runs(book.ledger, "k1", "machine")] == [3]
    book.move("k1", JobEvent.FAILED)
    _ask(book, retry)
    assert lost_runs(book.ledger, "k1") == lost_runs(book.ledger, "k1", "machine") == []
    _lose(book, 5)
    assert [run.run for run in lost_runs(book.ledger, "k1")] == [5]
    assert [run.run for run in runs_of(book.ledger, "k1")] == [1, 2, 3, 4, 5]


def test_runs_that_the_outside_did_not_take_count_since_it_last_took_one(book) -> None:
    book.begin()
    for run, queue_id in enumerate(("", "b-2", "", ""), start=1):
        _lose(book, run, "outside", queue_id)
    assert [run.run for run in lost_runs(book.ledger, "k1", "outside")] == [3, 4]


def test_news_of_an_older_run_does_not_matter(book) -> None:
    book.begin()
    book.move("k1", JobEvent.SUBMITTED, columns={"run": 2})
    assert not newer_run(book.job(), 1)
    assert newer_run(book.job(), 2)
    book.move("k1", JobEvent.SEGMENTED)
    assert not newer_run(book.job(), 2)


def test_job_that_does_not_exist_is_none(book) -> None:
    assert job(book.ledger, "nothing") is None


def test_times_of_the_ledger_sort_as_text() -> None:
    now = utc_now()
    assert utc_text(utc_time(now)) == now
    assert len(now) == len("2026-01-02T03:04:05.000006Z")


# -- deliveries that a person drops, redirects or wants now ----------------------------------------------


def test_dropped_delivery_is_not_missed_and_its_job_is_delivered_with_the_others(book) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("pacs", DeliveryEvent.SENT)
    with book.ledger.transaction() as transaction:
        drop_delivery(transaction, book.delivery("archive").key)
    assert book.delivery("archive").state is DeliveryState.CANCELLED
    assert (book.state(), book.study().state) == (JobState.DELIVERED, StudyState.DONE)
    assert book.timeline()[-3].detail["reason"] == "a person dropped it"


def test_dropped_delivery_leaves_the_job_open_while_another_waits(book) -> None:
    book.begin_encoded(send_to=TWO)
    with book.ledger.transaction() as transaction:
        drop_delivery(transaction, book.delivery("archive").key)
    assert (book.state(), book.study().state) == (JobState.ENCODED, StudyState.PROCESSING)
    book.move_delivery("pacs", DeliveryEvent.SENT)
    assert book.state() is JobState.DELIVERED


def test_job_whose_deliveries_are_all_dropped_is_cancelled_and_says_why(book) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("archive", DeliveryEvent.FAILED, reason="refused")
    for name in TWO:
        with book.ledger.transaction() as transaction:
            drop_delivery(transaction, book.delivery(name).key)
    assert (book.state(), book.study().state) == (JobState.CANCELLED, StudyState.DONE)
    assert book.job().reason == "every delivery of it was dropped"


def test_redirected_delivery_goes_to_the_other_destination_instead(book) -> None:
    book.begin_encoded(send_to=("old",))
    with book.ledger.transaction() as transaction:
        redirect_delivery(transaction, book.delivery("old").key, "pacs")
    assert {d.destination: d.state for d in book.deliveries()} == {"old": "cancelled", "pacs": "pending"}
    assert book.state() is JobState.ENCODED
    book.move_delivery("pacs", DeliveryEvent.SENT)
    assert (book.state(), book.study().reason) == (JobState.DELIVERED, "delivered")
    assert "redirected to pacs" in [line.detail.get("reason") for line in book.timeline()]


def test_delivery_redirected_to_where_its_object_is_already_ends_the_wait(book) -> None:
    book.begin_encoded(send_to=("pacs", "old"))
    book.move_delivery("pacs", DeliveryEvent.SENT)
    with book.ledger.transaction() as transaction:
        redirect_delivery(transaction, book.delivery("old").key, "pacs")
    assert {d.destination: d.state for d in book.deliveries()} == {"pacs": "sent", "old": "cancelled"}
    assert book.state() is JobState.DELIVERED


def test_failed_delivery_can_be_redirected(book) -> None:
    book.begin_encoded(send_to=("old",))
    book.move_delivery("old", DeliveryEvent.FAILED, reason="refused")
    with book.ledger.transaction() as transaction:
        redirect_delivery(transaction, book.delivery("old").key, "pacs")
    assert book.study().state is StudyState.PROCESSING


@pytest.mark.parametrize("events", [(DeliveryEvent.SENT,), (DeliveryEvent.CANCELLED,)])
def test_delivery_that_is_over_is_neither_dropped_nor_redirected_nor_retried(
    book, events: tuple[DeliveryEvent, ...]
) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("pacs", *events)
    key = book.delivery("pacs").key
    before = book.everything()
    for ask, *where in ((drop_delivery,), (redirect_delivery, "archive"), (retry,)):
        with pytest.raises(NotPossible, match="only one that failed or waits"):
            _ask(book, ask, key, *where)
    assert book.everything() == before


def test_delivery_is_not_redirected_to_where_it_goes_anyway(book) -> None:
    book.begin_encoded()
    with pytest.raises(NotPossible, match="goes to pacs"), book.ledger.transaction() as transaction:
        redirect_delivery(transaction, book.delivery().key, "pacs")


def test_retry_of_a_delivery_that_waits_tries_it_now(book) -> None:
    book.begin_encoded()
    key = book.delivery().key
    with book.ledger.transaction() as transaction:
        put_off_delivery(transaction, key, delay_s=60, reason="the PACS is away")
    book.heard.clear()
    with book.ledger.transaction() as transaction:
        retry(transaction, key)
    assert (book.delivery().not_before, book.delivery().reason) == (None, "the PACS is away")
    assert book.names()[-1] == "delivery.tried_now"
    told = [event for event in book.heard if isinstance(event, DeliveryChanged)]
    assert [(event.event, event.state) for event in told] == [("tried_now", "pending")]


def test_retry_of_a_job_that_was_put_off_tries_it_now(book) -> None:
    book.begin()
    with book.ledger.transaction() as transaction:
        put_off_job(transaction, "k1", delay_s=60, reason="busy")
    _ask(book, retry)
    assert (book.state(), book.job().not_before) == (JobState.PLANNED, None)
    assert book.names()[-1] == "job.tried_now"


def test_backlogs_say_how_many_wait_for_whom_and_since_when(book) -> None:
    book.begin_encoded(send_to=TWO)
    book.move_delivery("archive", DeliveryEvent.SENT)
    assert awaited_destinations(book.ledger) == ["pacs"]
    backlog = backlog_for(book.ledger, "pacs")
    assert backlog is not None
    assert (backlog.destination, backlog.number) == ("pacs", 1)
    assert backlog.since == book.delivery("pacs").pending_since
