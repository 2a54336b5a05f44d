"""Reasons in the mirror: codes with numbers, whatever the sentences say."""

from typing import Any

import pytest

from gateway.ledger.deliveries import put_off_delivery
from gateway.ledger.outbox import due_changes, switch_mirror
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.work import put_off_job
from gateway.mirror.details import ConfiguredNames
from gateway.mirror.items import Items

SENTENCE = "Mrs Telltale's run ended with exit code 1"


def _mirrored(book, kind: str) -> dict[str, Any]:
    switch_mirror(book.ledger, is_on=False, keep_days=90)
    switch_mirror(book.ledger, is_on=True, keep_days=90)
    items = Items(book.ledger, "test", ConfiguredNames(), 90)
    changes = [change for change in due_changes(book.ledger, 1000) if change.kind.value == kind]
    return dict(items.of(changes, 1)[-1].attributes)


@pytest.mark.parametrize(
    ("events", "detail", "code"),
    [
        ([JobEvent.SUBMITTED, JobEvent.RUN_LOST], {"exit_code": 75}, "run_lost exit=75"),
        ([JobEvent.SUBMITTED, JobEvent.FAILED], {"exit_code": 2, "attempt": 3}, "failed exit=2 attempt=3"),
        ([JobEvent.FAILED], {}, "failed"),
        ([JobEvent.HELD], {}, "held"),
        ([JobEvent.SUPERSEDED], {}, "superseded"),
    ],
)
def test_code_of_a_job_is_the_event_that_gave_its_reason_with_its_numbers(
    book, events: list[JobEvent], detail: dict[str, Any], code: str
) -> None:
    book.begin()
    book.move("k1", *events[:-1])
    book.move("k1", events[-1], reason=SENTENCE, **detail)
    assert _mirrored(book, "job")["reason"] == code


def test_code_of_a_job_that_waits_for_a_machine_says_why_in_one_known_word(book) -> None:
    book.begin()
    book.move("k1", JobEvent.SUBMITTED)
    for code in ("quota", "telltale"):
        with book.ledger.transaction() as transaction:
            transaction.update("jobs", "job_key", "k1", {"reason": SENTENCE + code})
            transaction.note(
                "job.waiting", study_uid=book.study_uid, job_key="k1", code=code, reason=SENTENCE + code
            )
        expected = "waiting quota" if code == "quota" else "waiting"
        assert _mirrored(book, "job")["reason"] == expected


def test_code_of_a_job_without_a_reason_is_empty_whatever_happened_before(book) -> None:
    book.begin()
    with book.ledger.transaction() as transaction:
        put_off_job(transaction, "k1", delay_s=1, reason=SENTENCE)
    assert _mirrored(book, "job")["reason"] == "put_off"
    book.move("k1", JobEvent.CONVERTED)
    assert _mirrored(book, "job")["reason"] == ""


def test_code_of_a_reason_that_no_event_gave_is_other(book) -> None:
    book.begin()
    with book.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", "k1", {"reason": SENTENCE})
    assert _mirrored(book, "job")["reason"] == "other"


def _deliver(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.SENT)


def _find_nothing(book) -> None:
    book.begin()
    book.move("k1", JobEvent.SEGMENTED, JobEvent.FOUND_NOTHING)


def _nothing_to_do(book) -> None:
    book.store()
    book.complete()


def _no_destination(book) -> None:
    book.begin(book.planned(send_to=()))
    book.move("k1", JobEvent.SEGMENTED)
    book.encode()


def _cancel(book) -> None:
    book.begin()
    book.move("k1", JobEvent.CANCELLED)


def _fail_job(book) -> None:
    book.begin()
    book.move("k1", JobEvent.FAILED, reason=SENTENCE, exit_code=2)


def _hold_job(book) -> None:
    book.begin(book.planned(hold=SENTENCE))


def _refuse_delivery(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.FAILED, reason=SENTENCE)


def _put_off_delivery(book) -> None:
    book.begin_encoded()
    with book.ledger.transaction() as transaction:
        put_off_delivery(transaction, book.delivery().key, delay_s=1, reason=SENTENCE)


def _cannot_plan(book) -> None:
    book.store()
    with book.ledger.transaction() as transaction:
        transaction.update("studies", "study_uid", book.study_uid, {"reason": SENTENCE})


@pytest.mark.parametrize(
    ("bring", "code"),
    [
        (_deliver, "delivered"),
        (_find_nothing, "nothing_found"),
        (_nothing_to_do, "nothing_to_do"),
        (_no_destination, "no_destination"),
        (_cancel, "cancelled"),
        (_fail_job, "job_failed exit=2"),
        (_hold_job, "job_held"),
        (_refuse_delivery, "delivery_failed attempts=0"),
        (_put_off_delivery, "delivery_put_off attempts=1"),
        (_cannot_plan, "not_planned"),
        (lambda book: book.begin(), ""),
    ],
)
def test_code_of_a_study_says_what_it_waits_for_or_why_it_is_done(book, bring: Any, code: str) -> None:
    bring(book)
    assert _mirrored(book, "study")["reason"] == code
