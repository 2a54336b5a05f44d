"""The mirror's outbox: it has what changed, once it is committed, and nothing while there is no mirror."""

from datetime import timedelta

import pytest

from gateway.ledger.outbox import (
    PROGRESS_INTERVAL_S,
    STEP_INTERVAL_S,
    backlog_of,
    begin_rebuild,
    due_changes,
    end_rebuild,
    mark_shipped,
    mirror_of,
    note_newer_epoch,
    seconds_to_next_change,
    switch_mirror,
)
from gateway.ledger.records import OutboxRow, utc_in, utc_text, utc_time
from gateway.ledger.states import DeliveryEvent, JobEvent


@pytest.fixture
def mirrored(book):
    switch_mirror(book.ledger, is_on=True, keep_days=90)
    return book


def _waiting(book) -> list[OutboxRow]:
    return [OutboxRow.of(row) for row in book.ledger.read("SELECT * FROM mirror_outbox ORDER BY number")]


def _named(changes: list[OutboxRow]) -> list[tuple[str, str]]:
    return [(change.kind.value, change.key) for change in changes]


def _due(book) -> list[tuple[str, str]]:
    return _named(due_changes(book.ledger, 1000))


def _pass(book, seconds: float) -> None:
    """Let so much time pass for all that waits."""
    with book.ledger.transaction() as transaction:
        for change in _waiting(book):
            sooner = utc_text(utc_time(change.due_at) - timedelta(seconds=seconds))
            transaction.execute(
                "UPDATE mirror_outbox SET due_at = ? WHERE number = ?", (sooner, change.number)
            )


def _ship_all(book) -> None:
    with book.ledger.transaction() as transaction:
        mark_shipped(transaction, [change.number for change in _waiting(book)])


def _progress(book, fraction: float) -> None:
    with book.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", "k1", {"stage": "segment", "fraction": fraction})


def test_outbox_without_a_mirror_stays_empty(book) -> None:
    book.begin_encoded()
    book.move_delivery("pacs", DeliveryEvent.SENT)
    assert backlog_of(book.ledger).waiting == 0


def test_outbox_has_event_job_and_study_of_a_change_and_the_study_comes_last(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    seq = str(mirrored.timeline()[-1].seq)
    assert _named(_waiting(mirrored)) == [("event", seq), ("job", "k1"), ("study", mirrored.study_uid)]


def test_outbox_has_nothing_of_a_change_that_was_rolled_back(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    with pytest.raises(RuntimeError), mirrored.ledger.transaction() as transaction:  # noqa: PT012
        transaction.move_job("k1", JobEvent.CONVERTED)
        raise RuntimeError
    assert _waiting(mirrored) == []


def test_outbox_has_every_event_but_a_job_that_changed_often_only_once_and_due_since_the_first(
    mirrored,
) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    first = _waiting(mirrored)[0].due_at
    mirrored.move("k1", JobEvent.STAGED, JobEvent.SUBMITTED)
    assert sorted(change.kind for change in _waiting(mirrored)) == ["event", "event", "event", "job", "study"]
    assert {change.due_at for change in _waiting(mirrored)} == {first}


def test_steps_of_a_job_are_due_together_seconds_after_the_first(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    _pass(mirrored, STEP_INTERVAL_S - 1)
    mirrored.move("k1", JobEvent.STAGED)
    assert _due(mirrored) == []
    wait_s = seconds_to_next_change(mirrored.ledger)
    assert wait_s is not None
    assert 0 < wait_s <= 1
    _pass(mirrored, 1)
    assert [kind for kind, _ in _due(mirrored)] == ["event", "event", "job", "study"]


def test_change_of_a_studys_state_is_due_at_once_with_all_that_waits_of_it(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    assert _due(mirrored) == []
    mirrored.move("k1", JobEvent.FAILED, reason="no")
    kinds = [kind for kind, _ in _due(mirrored)]
    assert kinds[-1] == "study"
    assert len(kinds) == backlog_of(mirrored.ledger).waiting


def test_change_that_only_a_clock_set_back_put_off_is_due(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    with mirrored.ledger.transaction() as transaction:
        transaction.execute("UPDATE mirror_outbox SET due_at = ?", (utc_in(86400),))
    assert len(_due(mirrored)) == backlog_of(mirrored.ledger).waiting
    assert seconds_to_next_change(mirrored.ledger) == 0


def test_outbox_keeps_what_changed_while_it_was_shipped(mirrored) -> None:
    mirrored.begin()
    taken = _waiting(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    with mirrored.ledger.transaction() as transaction:
        mark_shipped(transaction, [change.number for change in taken])
    assert [change.kind for change in _waiting(mirrored)] == ["event", "job", "study"]


def test_outbox_gives_every_further_change_a_higher_number_also_after_everything_was_shipped(
    mirrored,
) -> None:
    mirrored.begin()
    before = max(change.number for change in _waiting(mirrored))
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    assert min(change.number for change in _waiting(mirrored)) > before


def test_outbox_leaves_out_events_of_no_study(mirrored) -> None:
    with mirrored.ledger.transaction() as transaction:
        transaction.note("instance.quarantined", key="k")
    assert _waiting(mirrored) == []


def test_outbox_is_not_written_for_each_instance_that_comes_in(mirrored) -> None:
    mirrored.store("1.2.3.4.1")
    _ship_all(mirrored)
    for number in range(2, 20):
        mirrored.store(f"1.2.3.4.{number}")
    assert _waiting(mirrored) == []


def test_study_whose_reason_alone_changes_is_due(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    with mirrored.ledger.transaction() as transaction:
        transaction.update("studies", "study_uid", mirrored.study_uid, {"reason": "another"})
    assert _named(_waiting(mirrored)) == [("study", mirrored.study_uid)]


def test_progress_is_due_a_minute_after_its_first_change(mirrored) -> None:
    mirrored.begin()
    mirrored.move("k1", JobEvent.SUBMITTED, JobEvent.STARTED)
    _ship_all(mirrored)
    _progress(mirrored, 0.2)
    _pass(mirrored, PROGRESS_INTERVAL_S - 2)
    _progress(mirrored, 0.3)
    assert _due(mirrored) == []
    wait_s = seconds_to_next_change(mirrored.ledger)
    assert wait_s is not None
    assert 0 < wait_s <= 2
    _pass(mirrored, 2)
    assert _due(mirrored) == [("job", "k1")]


def test_progress_goes_with_what_else_waits_of_its_study_and_puts_nothing_off(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.SUBMITTED, JobEvent.STARTED)
    _progress(mirrored, 0.2)
    _pass(mirrored, STEP_INTERVAL_S)
    assert ("job", "k1") in _due(mirrored)
    _ship_all(mirrored)
    _progress(mirrored, 0.3)
    mirrored.move("k1", JobEvent.RUN_LOST, reason="no")
    _pass(mirrored, STEP_INTERVAL_S)
    assert [kind for kind, _ in _due(mirrored)] == ["event", "job", "study"]


def test_outbox_of_a_mirror_switched_on_later_has_everything_the_latest_study_first(book) -> None:
    book.begin()
    book.store("9.1.1", study_uid="9.1", series_uid="9.1.0")
    switch_mirror(book.ledger, is_on=True, keep_days=90)
    due = _due(book)
    assert due[0] == ("event", str(book.timeline()[-1].seq))
    assert due[1] == ("study", "9.1")
    assert due[-2:] == [("job", "k1"), ("study", book.study_uid)]
    assert len([kind for kind, _ in due if kind == "event"]) == len(book.timeline())


def test_outbox_of_a_mirror_that_was_on_before_a_restart_is_left_as_it_is(mirrored) -> None:
    mirrored.begin()
    _ship_all(mirrored)
    mirrored.move("k1", JobEvent.CONVERTED)
    before = _waiting(mirrored)
    switch_mirror(mirrored.ledger, is_on=True, keep_days=90)
    assert _waiting(mirrored) == before


def test_outbox_of_a_mirror_switched_off_is_emptied(mirrored) -> None:
    mirrored.begin()
    switch_mirror(mirrored.ledger, is_on=False, keep_days=90)
    mirrored.move("k1", JobEvent.CONVERTED)
    assert backlog_of(mirrored.ledger).waiting == 0


def test_rebuild_leaves_out_studies_that_were_done_too_long_ago(mirrored) -> None:
    mirrored.begin_encoded()
    mirrored.move_delivery("pacs", DeliveryEvent.SENT)
    with mirrored.ledger.transaction() as transaction:
        transaction.execute(
            "UPDATE studies SET updated_at = ?1, done_at = ?1", ("2020-01-01T00:00:00.000000Z",)
        )
        begin_rebuild(transaction, keep_days=90)
    assert _due(mirrored) == []


def test_epoch_grows_at_every_start_and_rebuild_also_within_an_instant_and_beyond_what_was_met(
    mirrored,
) -> None:
    epochs = [mirror_of(mirrored.ledger).epoch]
    switch_mirror(mirrored.ledger, is_on=True, keep_days=90)
    epochs.append(mirror_of(mirrored.ledger).epoch)
    with mirrored.ledger.transaction() as transaction:
        begin_rebuild(transaction, keep_days=90)
    epochs.append(mirror_of(mirrored.ledger).epoch)
    with mirrored.ledger.transaction() as transaction:
        note_newer_epoch(transaction, epochs[-1] + 10**6)
        begin_rebuild(transaction, keep_days=90)
    epochs.append(mirror_of(mirrored.ledger).epoch)
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == epochs[-2] + 10**6 + 1


def test_end_of_a_rebuild_says_nothing_of_one_that_was_begun_since(mirrored) -> None:
    with mirrored.ledger.transaction() as transaction:
        begin_rebuild(transaction, keep_days=90)
    first = mirror_of(mirrored.ledger).rebuilding
    with mirrored.ledger.transaction() as transaction:
        begin_rebuild(transaction, keep_days=90)
        end_rebuild(transaction, first)
    assert mirror_of(mirrored.ledger).rebuilding > first
