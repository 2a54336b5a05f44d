"""What can still be read of a damaged ledger is read, whatever page is damaged, and nothing is made up."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.migrations import SCHEMAS, migrate, names_of
from gateway.ledger.salvage import MADE_ANEW, Carried, carry_over, readable_version
from gateway.ledger.soundness import damage_in, schema_names
from gateway.ledger.store import Ledger
from tests.damage import PAGE, overwrite_page, pages_below, root_page, settle
from tests.unit.gateway.conftest import Book

STUDIES = 60
Rows = dict[str, set[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of which every table with rowids, and one without, has rows on several pages."""
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite"
    with Ledger(path) as ledger:
        book = Book(ledger)
        book.begin_encoded(instance_uids=tuple(f"1.2.3.4.{number}" for number in range(900)))
        for number in range(STUDIES):
            for image in range(4):
                uid = f"8.{number}"
                book.store(f"{uid}.{image}", study_uid=uid, series_uid=f"{uid}.0")
        with ledger.transaction() as transaction:
            transaction.execute("DELETE FROM events WHERE seq % 5 = 0")
    settle(path)
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Callable[[], Path]:
    def copy() -> Path:
        for old in tmp_path.glob("ledger.sqlite*"):
            old.unlink()
        return Path(shutil.copyfile(whole, tmp_path / "ledger.sqlite"))

    return copy


def _rows(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        tables = {name for kind, name, _ in schema_names(connection) if kind == "table"} - MADE_ANEW
        return {table: set(connection.execute(f"SELECT * FROM {table}")) for table in tables}


def _salvaged(path: Path) -> tuple[dict[str, Carried], Rows]:
    version = readable_version(path)
    assert version is not None
    target = path.with_name("salvaged.sqlite")
    for old in target.parent.glob("salvaged.sqlite*"):
        old.unlink()
    carried = {table.table: table for table in carry_over(path, target, version)}
    assert damage_in(target) == []
    return carried, _rows(target)


def test_ledger_that_is_whole_is_carried_over_whole(copied: Callable[[], Path]) -> None:
    path = copied()
    expected = _rows(path)
    carried, found = _salvaged(path)
    assert found == expected
    assert {table: len(rows) for table, rows in expected.items()} == {
        table.table: table.rows for table in carried.values()
    }
    assert all(table.is_all for table in carried.values())


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
def test_damage_to_any_page_hides_rows_of_one_table_only_and_makes_none_up(
    whole: Path, copied: Callable[[], Path], every: int
) -> None:
    expected = _rows(whole)
    hidden_at_most = 0
    for page in range(2, whole.stat().st_size // PAGE + 1, every):
        path = copied()
        overwrite_page(path, page)
        if readable_version(path) is None:  # a further page of the schema
            continue
        carried, found = _salvaged(path)
        hidden = {
            table: expected[table] - found[table] for table in expected if expected[table] != found[table]
        }
        assert all(found[table] <= expected[table] for table in expected), f"page {page}"
        assert len(hidden) <= 1, f"page {page}"
        for table, rows in hidden.items():
            assert not carried[table].is_all
            if page != root_page(whole, table) and table != "job_images":
                hidden_at_most = max(hidden_at_most, len(rows))
    assert 0 < hidden_at_most < 80  # what stands on one page


def test_several_damaged_pages_of_a_table_hide_what_stands_on_them(copied: Callable[[], Path]) -> None:
    path = copied()
    expected = _rows(path)["instances"]
    pages = pages_below(path, "instances")
    assert len(pages) > 6
    for page in pages[1::2]:
        overwrite_page(path, page)
    _, found = _salvaged(path)
    assert 0.3 * len(expected) < len(found["instances"]) < 0.7 * len(expected)


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_ledger_whose_end_is_missing_is_read_as_far_as_it_goes(
    share: float, whole: Path, copied: Callable[[], Path]
) -> None:
    expected = _rows(whole)
    path = copied()
    with path.open("r+b") as file:
        file.truncate(int(share * whole.stat().st_size) // PAGE * PAGE)
    assert damage_in(path) != []
    carried, found = _salvaged(path)
    assert all(found[table] <= expected[table] for table in expected)
    assert {name for name, table in carried.items() if not table.is_all} >= {
        table for table in expected if found[table] < expected[table]
    }
    kept = sum(len(rows) for rows in found.values()) / sum(len(rows) for rows in expected.values())
    assert 0.5 * share < kept < 1


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8, 0.95])
def test_ledger_that_was_cut_anywhere_is_read_without_making_rows_up(
    share: float, whole: Path, copied: Callable[[], Path]
) -> None:
    path = copied()
    with path.open("r+b") as file:
        file.truncate(int(share * whole.stat().st_size))
    if readable_version(path) is None:
        assert damage_in(path) != []
        return
    expected, (_, found) = _rows(whole), _salvaged(path)
    assert all(found[table] <= expected[table] for table in expected)


def test_rows_without_rowid_are_read_from_both_ends_and_by_whose_they_are(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        book = Book(ledger)
        book.begin(
            *(book.planned(f"k{job:03}", slot=f"s{job}", instance_uids=_names(job)) for job in range(60))
        )
    settle(path)
    expected = _rows(path)["job_images"]
    pages = pages_below(path, "job_images")
    for page in (pages[2], pages[-2]):  # what lies between is reached from neither end
        overwrite_page(path, page)
    _, found = _salvaged(path)
    assert found["job_images"] < expected
    assert len(found["job_images"]) > 0.9 * len(expected)


def _names(job: int) -> tuple[str, ...]:
    return tuple(f"1.2.840.10008.5.1.4.1.1.2.{job}.{image}" for image in range(40))


def test_text_that_is_none_and_list_that_is_none_are_left_out(copied: Callable[[], Path]) -> None:
    path = copied()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE studies SET patient_id = CAST(x'4AFF' AS TEXT) WHERE study_uid = '8.7'")
        connection.execute("UPDATE jobs SET options = '{' WHERE job_key = 'k1'")
        connection.commit()
    carried, found = _salvaged(path)
    assert len(found["studies"]) == STUDIES
    assert found["jobs"] == set()
    assert (carried["studies"].is_all, carried["jobs"].is_all, carried["events"].is_all) == (
        False,
        False,
        True,
    )


def test_damaged_ledger_and_its_log_are_left_as_they_are(copied: Callable[[], Path], tmp_path: Path) -> None:
    path = copied()
    with Ledger(path) as ledger:
        Book(ledger).store("9.1", study_uid="9.1", series_uid="9.1.0")
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", tmp_path / f"killed.sqlite{end}")
    killed = tmp_path / "killed.sqlite"
    before = [hashlib.sha256(Path(f"{killed}{end}").read_bytes()).digest() for end in ("", "-wal")]
    _, found = _salvaged(killed)
    assert len(found["studies"]) == STUDIES + 2  # the last of them stands in the log alone
    assert [hashlib.sha256(Path(f"{killed}{end}").read_bytes()).digest() for end in ("", "-wal")] == before


def test_file_that_is_no_ledger_has_no_version(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert readable_version(path) is None
    path.write_bytes(b"something else" * 1000)
    assert readable_version(path) is None


def test_ledger_of_an_older_version_is_carried_over_in_that_version(tmp_path: Path) -> None:
    path, target = tmp_path / "ledger.sqlite", tmp_path / "new.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, 4)
        connection.execute("INSERT INTO events (at, event) VALUES ('2026', 'something')")
    assert readable_version(path) == 4
    list(carry_over(path, target, 4))
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        assert schema_names(connection) == names_of(4)
        migrate(connection)
        assert schema_names(connection) == names_of(len(SCHEMAS))
        assert connection.execute("SELECT event FROM events").fetchall() == [("something",)]
