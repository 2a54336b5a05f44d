"""A backup is one moment of the ledger, in one file, durable, also while the ledger is written to."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from gateway.ledger import backup
from gateway.ledger.backup import BackupError, back_up
from gateway.ledger.store import Ledger
from tests.damage import overwrite_page, page_in_the_middle, settle

LINES = 20_000


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite") as made:
        with made.transaction() as transaction:
            for number in range(LINES):
                transaction.note(f"line.{number}")
        yield made


def test_backup_of_a_ledger_that_is_written_to_is_of_one_moment(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGES_A_STEP", 5)
    seen: list[int] = []
    is_over = threading.Event()

    def write_pairs() -> None:
        while not is_over.is_set():
            with ledger.transaction() as transaction:  # far from one another in the file
                transaction.execute("UPDATE events SET event = event || '+' WHERE seq IN (1, ?)", (LINES,))

    writer = threading.Thread(target=write_pairs)
    writer.start()
    try:
        back_up(ledger.path, tmp_path / "copy.sqlite", lambda done, total: seen.append(total - done))
    finally:
        is_over.set()
        writer.join()
    assert seen == sorted(seen, reverse=True)  # it never begins anew
    assert seen[-1] == 0
    with Ledger(tmp_path / "copy.sqlite") as copy:
        first, last = copy.read("SELECT event FROM events WHERE seq IN (1, ?) ORDER BY seq", (LINES,))
        assert first["event"].count("+") == last["event"].count("+")
        assert len(copy.read("SELECT * FROM events")) == LINES


def test_backup_is_one_file_that_only_its_owner_reads(ledger: Ledger, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "copy.sqlite"
    back_up(ledger.path, target)
    assert [path.name for path in target.parent.iterdir()] == ["copy.sqlite"]
    assert target.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(f"file:{target}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone()[0] == LINES


def test_backup_takes_no_files_place(ledger: Ledger, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    target.write_text("something of mine")
    with pytest.raises(BackupError, match="choose another name"):
        back_up(ledger.path, target)
    assert target.read_text() == "something of mine"


def test_backup_of_a_damaged_ledger_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger, ledger.transaction() as transaction:
        for number in range(LINES):
            transaction.note(f"line.{number}")
    settle(path)
    overwrite_page(path, page_in_the_middle(path, "events"))
    with pytest.raises(BackupError, match="iris ledger check"):
        back_up(path, tmp_path / "backups" / "copy.sqlite")
    assert list((tmp_path / "backups").iterdir()) == []
