"""The ledger's file: one writer, many readers, transactions that are all or nothing."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.events import Bus, Event, JobChanged, StudyChanged
from gateway.ledger.migrations import SCHEMAS
from gateway.ledger.states import JobEvent, JobState, StudyState, UnknownTransition
from gateway.ledger.store import Ledger, LedgerDamaged, LedgerError
from gateway.ledger.transaction import StaleRow

DEADLINE_S = 120.0


class Stumble(Exception):
    """Raised in the middle of a transaction."""


def _convert_and_stumble(book) -> None:
    with book.ledger.transaction() as transaction:
        transaction.move_job("k1", JobEvent.CONVERTED)
        transaction.note("job.something", job_key="k1")
        raise Stumble


def _convert_and_deliver(book) -> None:
    with book.ledger.transaction() as transaction:
        transaction.move_job("k1", JobEvent.CONVERTED)
        transaction.move_job("k1", JobEvent.DELIVERED)


def _convert_and_fail_to_commit(book) -> None:
    with book.ledger.transaction() as transaction:
        transaction.execute("PRAGMA defer_foreign_keys = ON")  # the violation is seen by COMMIT alone
        transaction.move_job("k1", JobEvent.CONVERTED)
        transaction.execute("UPDATE jobs SET study_uid = 'nowhere'")


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (_convert_and_stumble, Stumble),
        (_convert_and_deliver, UnknownTransition),
        (_convert_and_fail_to_commit, sqlite3.IntegrityError),
    ],
)
def test_transaction_that_does_not_end_well_writes_and_tells_nothing(
    book, write: Callable[[Any], None], error: type[Exception]
) -> None:
    book.begin()
    before, book.heard[:] = book.everything(), []
    with pytest.raises(error):
        write(book)
    assert book.everything() == before
    assert book.heard == []


def test_transaction_after_an_exception_works_again(book) -> None:
    book.begin()
    with pytest.raises(Stumble), book.ledger.transaction():
        raise Stumble
    book.move("k1", JobEvent.CONVERTED)
    assert book.state() is JobState.CONVERTED


def test_events_are_told_after_the_commit(book) -> None:
    book.begin()
    seen: list[JobState] = []

    def look(event: Event) -> None:
        if isinstance(event, JobChanged):
            with ThreadPoolExecutor(1) as other_thread:
                seen.append(other_thread.submit(book.state).result())

    book.ledger.bus.subscribe(look)
    with book.ledger.transaction() as transaction:
        transaction.move_job("k1", JobEvent.CONVERTED)
        assert seen == []
    assert seen == [JobState.CONVERTED]


def test_listener_that_fails_disturbs_neither_the_writer_nor_other_listeners(book) -> None:
    book.begin()
    heard: list[Event] = []

    def stumble(_: Event) -> None:
        raise Stumble

    book.ledger.bus.subscribe(stumble)
    book.ledger.bus.subscribe(heard.append)
    book.move("k1", JobEvent.CONVERTED)
    assert [event.state for event in heard if isinstance(event, JobChanged)] == ["converted"]


def test_listener_may_write_itself(book) -> None:
    book.begin()

    def convert_further(event: Event) -> None:
        if isinstance(event, JobChanged) and event.state == JobState.CONVERTED:
            book.move("k1", JobEvent.STAGED)

    book.ledger.bus.subscribe(convert_further)
    book.move("k1", JobEvent.CONVERTED)
    assert book.state() is JobState.STAGED


def test_listener_that_unsubscribed_hears_nothing_more() -> None:
    bus, heard = Bus(), []
    unsubscribe = bus.subscribe(heard.append)
    bus.publish(StudyChanged("1.2", "done"))
    unsubscribe()
    bus.publish(StudyChanged("1.2", "failed"))
    assert heard == [StudyChanged("1.2", "done")]


def test_row_that_moved_meanwhile_is_stale(book) -> None:
    book.begin()
    book.move("k1", JobEvent.CONVERTED)
    with pytest.raises(StaleRow, match="is converted, not planned"):
        book.move("k1", JobEvent.FAILED, expect=JobState.PLANNED)
    assert book.state() is JobState.CONVERTED


@pytest.mark.parametrize("kind", ["job", "delivery", "study"])
def test_row_that_does_not_exist_is_stale(book, kind: str) -> None:
    with pytest.raises(StaleRow, match=f"no such {kind}"), book.ledger.transaction() as transaction:
        getattr(transaction, kind)("nothing")


def test_update_of_a_row_that_does_not_exist_is_stale(book) -> None:
    with pytest.raises(StaleRow), book.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", "nothing", {"fraction": 1.0})


def test_second_ledger_in_another_process_is_refused_with_a_sentence(book) -> None:
    program = (
        "import sys; from pathlib import Path; from gateway.ledger.store import Ledger, LedgerError\n"
        "try: Ledger(Path(sys.argv[1]))\n"
        "except LedgerError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", program, str(book.ledger.path)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert "another gateway is running" in second.stderr
    assert "site.data_dir" in second.stderr
    book.begin()  # the first one goes on undisturbed


def test_ledger_that_was_closed_lets_the_next_one_write(book) -> None:
    book.begin()
    book.ledger.close()
    with Ledger(book.ledger.path) as second, second.transaction() as transaction:
        assert transaction.move_job("k1", JobEvent.CONVERTED) is JobState.CONVERTED


def test_ledger_that_was_closed_refuses_to_read_and_write(book) -> None:
    book.ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        book.ledger.read("SELECT 1")
    with pytest.raises(LedgerError, match="closed"), book.ledger.transaction():
        pytest.fail("a closed ledger began a transaction")


def test_read_only_ledger_shows_what_a_running_gateway_commits(book) -> None:
    book.begin()
    with Ledger(book.ledger.path, read_only=True) as reader:
        book.move("k1", JobEvent.CONVERTED)
        assert reader.read("SELECT state FROM jobs")[0]["state"] == "converted"


def test_read_only_ledger_opens_without_a_gateway_and_cannot_write(book) -> None:
    book.begin()
    book.ledger.close()
    with Ledger(book.ledger.path, read_only=True) as reader:
        assert len(reader.read("SELECT * FROM jobs")) == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.read("DELETE FROM jobs")
        with pytest.raises(LedgerError, match="read-only"), reader.transaction():
            pytest.fail("a read-only ledger began a transaction")
        with Ledger(book.ledger.path):  # and holds no gateway up
            pass


def test_read_only_ledger_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(LedgerError, match="iris serve"):
        Ledger(path, read_only=True)
    assert not path.exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_ledger_with_a_newer_schema_is_refused_and_left_alone(book, read_only: bool) -> None:
    book.ledger.close()
    _set_schema(book.ledger.path, len(SCHEMAS) + 1)
    with pytest.raises(LedgerError, match="install the newer"):
        Ledger(book.ledger.path, read_only=read_only)
    _set_schema(book.ledger.path, len(SCHEMAS))
    with Ledger(book.ledger.path):  # the refusal held neither lock nor file
        pass


def test_read_only_ledger_with_an_older_schema_is_refused(book) -> None:
    book.ledger.close()
    _set_schema(book.ledger.path, len(SCHEMAS) - 1)
    with pytest.raises(LedgerError, match="up to date"):
        Ledger(book.ledger.path, read_only=True)


@pytest.mark.parametrize("read_only", [False, True])
def test_ledger_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(LedgerError, match=r"damaged.*iris ledger rebuild"):
        Ledger(path, read_only=read_only)
    assert path.read_bytes() == b"something else" * 100


@pytest.mark.parametrize("read_only", [True, False])
def test_ledger_that_was_emptied_is_damaged_where_images_are_kept_and_new_where_none_are(
    tmp_path: Path, read_only: bool
) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    (tmp_path / "instances" / "1.2").mkdir(parents=True)
    with pytest.raises(LedgerDamaged, match=r"file is empty, though images are kept.*iris ledger rebuild"):
        Ledger(path, read_only=read_only)
    (tmp_path / "instances" / "1.2").rmdir()
    Ledger(path).close()


def test_ledger_commits_are_durable(book) -> None:
    with book.ledger.transaction() as transaction:
        assert transaction.one("PRAGMA synchronous")[0] == 2  # FULL
        assert transaction.one("PRAGMA journal_mode")[0] == "wal"
        assert transaction.one("PRAGMA foreign_keys")[0] == 1


def test_readers_in_many_short_threads_leave_no_connection_behind(book) -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    def read_in_a_new_thread() -> None:
        thread = threading.Thread(target=book.ledger.read, args=("SELECT 1",))
        thread.start()
        thread.join(DEADLINE_S)

    read_in_a_new_thread()
    before = open_files()
    for _ in range(30):
        read_in_a_new_thread()
    assert open_files() <= before


def test_writers_in_many_threads_take_turns(book) -> None:
    book.begin()

    def count_up() -> None:
        for _ in range(20):
            with book.ledger.transaction() as transaction:
                run = transaction.job("k1").run
                transaction.update("jobs", "job_key", "k1", {"run": run + 1})

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(count_up) for _ in range(8)]:
            done.result(DEADLINE_S)
    assert book.job().run == 160


def test_study_of_an_empty_ledger_is_nothing(book) -> None:
    assert book.ledger.read("SELECT * FROM studies") == []
    book.store()
    assert book.study().state is StudyState.RECEIVING


def _set_schema(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
