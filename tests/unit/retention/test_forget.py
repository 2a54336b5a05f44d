"""A study that a person wants forgotten is gone everywhere, but for a tombstone of keys and times."""

import sqlite3
from pathlib import Path

import pytest

from gateway.adapters.queue import Lane
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.store import NotFound
from gateway.events import ForgetRequested, StudyChanged
from gateway.ledger.erasing import FORGOTTEN, request_forget
from gateway.ledger.removals import Gone, removals_of
from gateway.ledger.runs import begin_run, end_run
from gateway.ledger.states import JobEvent, JobState
from tests.place import Place, open_place


def _forget(place: Place, study: str) -> None:
    assert LedgerActions(place.ledger).forget(study) == {
        "kind": "study",
        "key": f"key-{study}",
        "state": "forgetting",
    }


def _bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_forgotten_study_leaves_nothing_but_keys_and_times(place: Place) -> None:
    key = place.done("1.2.840.4711")
    place.put_aside("a" * 64, "1.2.840.4711")
    place.done("1.1")
    assert b"Doe^Jane" in _bytes_below(place.data_dir)
    kept = {path for path in place.files() if "4711" not in path and "a" * 64 not in path}
    with place.ledger.transaction() as transaction:  # what another study says of a patient is its own
        transaction.execute("UPDATE studies SET patient_id = '' WHERE study_uid = '1.1'")
    LedgerActions(place.ledger).forget("key-1.2.840.4711")
    place.look()
    assert place.files() == kept
    assert place.ledger.read("SELECT * FROM studies WHERE study_uid = '1.2.840.4711'") == []
    [tombstone] = place.ledger.read("SELECT * FROM tombstones")
    assert (tombstone["study_key"], tombstone["job_keys"]) == ("key-1.2.840.4711", f'["{key}"]')
    assert tombstone["why"] == "forgotten"
    left = _bytes_below(place.data_dir).replace(key.encode(), b"").replace(b"key-1.2.840.4711", b"")
    assert b"1.2.840.4711" not in left  # neither in the file nor in the log of changes
    assert b"Doe^Jane" not in left


def test_no_table_names_a_forgotten_study(place: Place) -> None:
    key = place.done("1.1")
    _forget(place, "1.1")
    place.look()
    with sqlite3.connect(place.ledger.path) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        named = {
            table
            for table in tables
            for row in connection.execute(f"SELECT * FROM {table}")
            if {"1.1", key} & {str(value) for value in row}
        }
    assert named == set()


def test_running_study_is_cancelled_first_and_gone_when_nobody_is_at_it(place: Place) -> None:
    place.receive("1.1")
    key = place.complete("1.1")
    place.busy = {key}
    _forget(place, "1.1")
    assert place.job(key).state is JobState.CANCELLED
    worker = place.worker()
    assert worker.work() < 1
    assert len(place.files("instances")) == 3
    place.busy = set()
    worker.work()
    assert place.files() == set()


def test_run_that_may_live_at_the_queue_is_waited_for(place: Place) -> None:
    place.receive("1.1")
    key = place.complete("1.1")
    with place.ledger.transaction() as transaction:
        begin_run(transaction, key, 1, Lane.MAIN)
    _forget(place, "1.1")
    worker = place.worker()
    worker.work()
    assert place.study("1.1").forget_at is not None
    with place.ledger.transaction() as transaction:  # the queue says that it has ended
        end_run(transaction, key, 1)
    worker.work()
    assert place.ledger.read("SELECT * FROM studies") == []
    assert place.ledger.read("SELECT * FROM runs") == []


@pytest.mark.parametrize("state", ["receiving", "held", "failed", "undelivered"])
def test_study_in_any_state_can_be_forgotten(place: Place, state: str) -> None:
    place.receive("1.1")
    if state != "receiving":
        place.complete("1.1", hold="a gap" if state == "held" else "")
    if state in ("failed", "undelivered"):
        place.segment("1.1")
    if state == "failed":
        place.move("job-1.1", JobEvent.FAILED)
    if state == "undelivered":
        place.encode("1.1")
    _forget(place, "1.1")
    worker = place.worker()
    worker.work()
    worker.work()
    assert place.files() == set()
    assert place.ledger.read("SELECT * FROM studies") == []


def test_kill_after_the_ledger_says_so_leaves_nothing_at_the_next_start(place: Place) -> None:
    place.done("1.1")
    _forget(place, "1.1")
    worker = place.worker()
    worker._remover.remove = lambda _: None
    worker.work()
    assert place.files() != set()
    place.ledger.close()
    again = open_place(place.data_dir)
    again.look()
    assert again.files() == set()
    again.ledger.close()


def test_kill_before_that_forgets_at_the_next_start(place: Place) -> None:
    place.done("1.1")
    _forget(place, "1.1")
    place.ledger.close()
    again = open_place(place.data_dir)
    again.look()
    assert (again.files(), again.ledger.read("SELECT * FROM studies")) == (set(), [])
    again.ledger.close()


def test_study_that_comes_again_after_it_was_forgotten_is_a_new_one(place: Place) -> None:
    place.done("1.1")
    _forget(place, "1.1")
    place.look()
    place.receive("1.1")
    assert place.complete("1.1") == "job-1.1"
    assert place.job("job-1.1").state is JobState.PLANNED
    assert place.study("1.1").forget_at is None
    assert len(place.files("instances")) == 3


def test_file_that_comes_again_before_its_removal_stays(place: Place) -> None:
    place.done("1.1")
    _forget(place, "1.1")
    worker = place.worker()
    remove, worker._remover.remove = worker._remover.remove, lambda _: None
    worker.work()
    place.receive("1.1")  # the same images under the same names
    remove(lambda: False)
    assert len(place.files("instances")) == 3


def test_mirrored_items_are_written_down_for_removal_where_there_is_a_mirror(place: Place) -> None:
    with place.ledger.transaction() as transaction:
        transaction.execute("UPDATE mirror SET is_on = 1")
    key = place.done("1.1")
    lines = [row["seq"] for row in place.ledger.read("SELECT seq FROM events WHERE study_uid = '1.1'")]
    _forget(place, "1.1")
    place.look()
    names = {row.name for row in removals_of(place.ledger, Gone.MIRROR, 0, 1000)}
    assert {"key-1.1/study/", f"key-1.1/job/{key}"} <= names
    assert {f"key-1.1/event/{seq}" for seq in lines} <= names
    assert place.ledger.read("SELECT * FROM mirror_outbox WHERE study_uid = '1.1'") == []


def test_whoever_watches_is_told(place: Place) -> None:
    heard: list[object] = []
    place.bus.subscribe(heard.append)
    place.done("1.1")
    _forget(place, "1.1")
    assert heard[-1] == ForgetRequested("1.1")
    worker = place.worker()
    assert worker.is_woken_by(ForgetRequested("1.1"))
    worker.work()
    assert heard[-1] == StudyChanged("1.1", FORGOTTEN)


def test_study_that_is_gone_says_when_and_why(place: Place) -> None:
    place.done("1.1", days_ago=3)
    place.done("1.2")
    _forget(place, "1.2")
    place.look(images_days=1, results_days=1, ledger_days=1)
    for key, why in (("key-1.1", "for its age"), ("key-1.2", "as a person asked")):
        with pytest.raises(NotFound, match=rf"was forgotten here on \d{{4}}-\d\d-\d\d, {why}"):
            LedgerStore(place.ledger).study(key)
    with pytest.raises(NotFound, match="there is no such study"):
        LedgerActions(place.ledger).forget("key-1.2")


def test_asked_twice_it_is_forgotten_once(place: Place) -> None:
    place.done("1.1")
    for _ in range(2):
        with place.ledger.transaction() as transaction:
            request_forget(transaction, "1.1")
    assert place.events("1.1").count("study.forget_requested") == 1
