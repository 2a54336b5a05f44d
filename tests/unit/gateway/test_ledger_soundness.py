"""A ledger's file that is damaged, in many ways: it is known, in a sentence, and nothing is written to it."""

import contextlib
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.events import Bus
from gateway.ledger.states import DeliveryEvent
from gateway.ledger.store import Ledger, LedgerDamaged, LedgerError
from gateway.workers.ledger_watch import LedgerWatch
from tests.damage import PAGE, overwrite_page, page_in_the_middle, settle
from tests.unit.gateway.conftest import Book

STUDIES = 30


def _zeros(_: random.Random) -> bytes:
    return b"\0" * PAGE


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(PAGE)


def _text(_: random.Random) -> bytes:
    return (b"<html>a page of something else</html>" * 200)[:PAGE]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with rows in every table that studies fill, all in its one file."""
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite"
    with Ledger(path) as ledger:
        book = Book(ledger)
        book.begin_encoded()
        book.move_delivery("pacs", DeliveryEvent.SENT)
        for number in range(STUDIES):
            for image in range(5):
                book.store(
                    f"8.{number}.{image}",
                    study_uid=f"8.{number}",
                    series_uid=f"8.{number}.0",
                    why_not="x" * (20 if image else 9000),  # which needs pages beyond the row's own
                )
        with ledger.transaction() as transaction:
            transaction.execute("DELETE FROM events WHERE seq % 3 = 0")
    settle(path)
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of the whole ledger; without what an earlier copy left."""

    def copy() -> Path:
        path = tmp_path / "ledger.sqlite"
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(whole, path)
        return path

    return copy


def _rows(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that fits on a page: SQLite has no checksum that would tell of the ends of longer ones."""
    return {
        table: [row for row in rows if sum(len(str(value)) for value in row) < PAGE // 4]
        for table, rows in Book(ledger).everything().items()
    }


def _is_known_to_be_damaged(path: Path) -> bool:
    """Whether a gateway that starts on this file says so, at once or when it has looked at all of it."""
    try:
        with Ledger(path) as ledger:
            ledger.check()
            if not ledger.damage:
                return False
            _require_way_out(ledger.damage)
            with pytest.raises(LedgerDamaged), ledger.transaction():
                pytest.fail("a damaged ledger began a transaction")
    except LedgerDamaged as error:
        _require_way_out(str(error))
    return True


def _require_way_out(sentence: str) -> None:
    assert "damaged" in sentence
    assert "iris ledger check" in sentence
    assert "iris ledger rebuild" in sentence


@pytest.mark.parametrize("filling", [_zeros, _noise, _text])
def test_every_page_that_is_overwritten_is_noticed_or_was_of_no_use(
    whole: Path, copied: Callable[[], Path], filling: Callable[[random.Random], bytes]
) -> None:
    chance = random.Random(20261129)
    with Ledger(copied()) as ledger:
        expected = _rows(ledger)
    pages = whole.stat().st_size // PAGE
    assert pages > 40
    harmless = 0
    for page in range(1, pages + 1):
        path = copied()
        overwrite_page(path, page, filling(chance))
        if not _is_known_to_be_damaged(path):
            harmless += 1
            with Ledger(path) as ledger:
                assert _rows(ledger) == expected, f"page {page}"
    assert harmless < pages // 2


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_file_that_was_cut_off_is_noticed(copied: Callable[[], Path], kept: float) -> None:
    path = copied()
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * kept))
    assert _is_known_to_be_damaged(path)


@pytest.mark.parametrize("header", [b"PK\3\4", b"\x89PNG\r\n\x1a\n", b"SQLite format 2\0", b"\0" * 100])
def test_file_with_the_header_of_something_else_is_noticed(copied: Callable[[], Path], header: bytes) -> None:
    path = copied()
    with path.open("r+b") as file:
        file.write(header)
    assert _is_known_to_be_damaged(path)


def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE visits (at TEXT)")
    before = path.read_bytes()
    with pytest.raises(LedgerDamaged, match="those of another program"):
        Ledger(path)
    assert path.read_bytes()[100:] == before[100:]  # the header alone says that it was opened as WAL


def test_ledger_that_lacks_a_table_is_noticed_at_once(copied: Callable[[], Path]) -> None:
    path = copied()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE quarantine")
    with pytest.raises(LedgerDamaged, match="are missing"):
        Ledger(path)


def test_log_of_another_ledger_beside_the_file_is_noticed(copied: Callable[[], Path], tmp_path: Path) -> None:
    """An older ledger was put back, and the log of the newer one was left beside it."""
    path, newer = copied(), tmp_path / "newer.sqlite"
    shutil.copyfile(path, newer)
    with Ledger(newer) as ledger:
        book = Book(ledger)
        for number in range(200):
            book.store(f"9.{number}", study_uid=f"9.{number}", series_uid=f"9.{number}.0")
        settle(newer)
        for number in range(200, 203):
            book.store(f"9.{number}", study_uid=f"9.{number}", series_uid=f"9.{number}.0")
        shutil.copyfile(f"{newer}-wal", f"{path}-wal")
    assert _is_known_to_be_damaged(path)


def test_log_that_is_lost_leaves_a_ledger_that_opens_or_says_that_it_is_damaged(
    copied: Callable[[], Path], tmp_path: Path
) -> None:
    path = copied()
    with Ledger(path) as ledger:
        Book(ledger).store("9.1", study_uid="9.1", series_uid="9.1.0")
        shutil.copyfile(path, tmp_path / "without.sqlite")
    if not _is_known_to_be_damaged(tmp_path / "without.sqlite"):
        with Ledger(tmp_path / "without.sqlite") as ledger:
            assert len(ledger.read("SELECT * FROM studies")) == STUDIES + 1


def test_log_that_is_noise_is_left_out(copied: Callable[[], Path]) -> None:
    path = copied()
    with Ledger(path) as ledger:
        expected = _rows(ledger)
    Path(f"{path}-wal").write_bytes(random.Random(1).randbytes(50_000))
    with Ledger(path) as ledger:
        assert _rows(ledger) == expected


@pytest.fixture
def damaged(copied: Callable[[], Path]) -> Iterator[Ledger]:
    """A ledger that is open, of whose instances some cannot be read; nobody knows yet."""
    path = copied()
    overwrite_page(path, page_in_the_middle(path, "instances"))
    with Ledger(path) as ledger:
        assert not ledger.damage
        yield ledger


def test_query_that_comes_to_a_damaged_page_makes_it_known(damaged: Ledger) -> None:
    with pytest.raises(LedgerDamaged) as raised:
        damaged.read("SELECT * FROM instances")
    _require_way_out(str(raised.value))
    assert damaged.damage == str(raised.value)


def test_transaction_that_comes_to_a_damaged_page_makes_it_known_and_writes_nothing(damaged: Ledger) -> None:
    with pytest.raises(LedgerDamaged):
        _write_to_all_instances(damaged)
    assert damaged.damage
    assert not damaged.read("SELECT 1 FROM events WHERE event = 'something'")
    with pytest.raises(LedgerDamaged), damaged.transaction():
        pytest.fail("a damaged ledger began a transaction")


def _write_to_all_instances(ledger: Ledger) -> None:
    with ledger.transaction() as transaction:
        transaction.note("something")
        transaction.execute("UPDATE instances SET sender = 'nobody'")


def test_damage_is_an_error_of_the_ledger_and_of_the_database(damaged: Ledger) -> None:
    with pytest.raises(LedgerError):
        damaged.read("SELECT * FROM instances")
    with pytest.raises(sqlite3.DatabaseError):
        damaged.read("SELECT * FROM instances")


def test_what_can_still_be_read_is_read_after_the_damage_is_known(damaged: Ledger) -> None:
    damaged.check()
    assert damaged.damage
    assert len(damaged.read("SELECT * FROM studies")) == STUDIES + 1


def test_text_that_is_none_is_damage_and_is_not_told(damaged: Ledger) -> None:
    with contextlib.closing(sqlite3.connect(damaged.path)) as other:
        other.execute("UPDATE studies SET patient_id = CAST(x'4A6F686EFF' AS TEXT)")
        other.commit()
    with pytest.raises(LedgerDamaged) as raised:
        damaged.read("SELECT patient_id FROM studies")
    assert "John" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_ledger_that_is_busy_is_not_taken_for_damaged(book: Book) -> None:
    with contextlib.closing(sqlite3.connect(book.ledger.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert book.ledger._writer is not None
        book.ledger._writer.execute("PRAGMA busy_timeout = 1")  # not half a minute
        with pytest.raises(sqlite3.OperationalError, match="locked"), book.ledger.transaction():
            pytest.fail("two wrote at once")
    assert not book.ledger.damage


def test_watch_finds_damage_beside_the_work(damaged: Ledger, eventually: Callable[..., None]) -> None:
    watch = LedgerWatch(damaged, Bus())
    watch.start()
    try:
        eventually(lambda: damaged.damage)
    finally:
        watch.stop()


def test_watch_stops_in_the_middle_of_a_look(book: Book) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    with book.ledger._reader() as connection:  # the one that the look will borrow

        def pause() -> int:
            begun.set()
            may_go_on.wait(60)
            return 0

        connection.set_progress_handler(pause, 1)
    watch = LedgerWatch(book.ledger, Bus())
    watch.start()
    assert begun.wait(60)
    stopping = threading.Thread(target=watch.stop)
    stopping.start()
    may_go_on.set()
    stopping.join(60)
    assert not stopping.is_alive()
    assert not book.ledger.damage


@pytest.mark.parametrize(
    ("is_new", "has_images", "is_told"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_ledger_that_is_gone_while_images_are_there_is_told(
    tmp_path: Path, is_new: bool, has_images: bool, is_told: bool
) -> None:
    path = tmp_path / "ledger.sqlite"
    if not is_new:
        Ledger(path).close()
    if has_images:
        (tmp_path / "instances" / "0a").mkdir(parents=True)
    with Ledger(path) as ledger:
        complaint = LedgerWatch(ledger, Bus()).complaint()
    assert ("iris ledger rebuild --from" in complaint) == is_told
