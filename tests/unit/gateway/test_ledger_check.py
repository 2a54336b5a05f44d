"""`iris ledger check` finds what does not hold, one thing at a time, and says what to do."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.adapters.checks import Check, Verdict
from gateway.commands.ledger_check import check_ledger
from gateway.config import Config, Site
from gateway.files.site_secret import site_secret
from gateway.ledger.instances import RefusedObject, put_aside
from gateway.ledger.states import JobEvent
from tests.damage import overwrite_page, page_in_the_middle, root_page, settle
from tests.unit.gateway.conftest import STUDY_UID, Book

ALL = {
    "file", "site secret", "references", "texts", "figures", "images of open jobs", "files of images",
    "results to be sent", "quarantine", "states",
}  # fmt: skip


@pytest.fixture
def data_dir(book: Book, tmp_path: Path) -> Path:
    """Where everything holds: a study with an object that waits to be sent, and another object put aside."""
    site_secret(book.ledger, tmp_path / "site-secret")
    book.begin_encoded()
    aside = RefusedObject("key", "not_dicom", "This is none.", "quarantine/key.dcm", None, None, "PACS")
    with book.ledger.transaction() as transaction:
        put_aside(transaction, aside)
    paths = [
        row["path"]
        for table in ("instances", "result_objects", "quarantine")
        for row in book.ledger.read(f"SELECT path FROM {table}")
    ]
    assert len(paths) == 3
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"1")  # of the size that the ledger says
    return tmp_path


def _checks(data_dir: Path) -> dict[str, Check]:
    return {
        check.name: check for check in check_ledger(Config(site=Site(data_dir=data_dir)), lambda *_: None)
    }


def _the_one_that_failed(data_dir: Path) -> Check:
    (failed,) = [check for check in _checks(data_dir).values() if check.verdict is Verdict.FAILED]
    assert failed.fix
    return failed


def _spoil(data_dir: Path, sql: str) -> None:
    with closing(sqlite3.connect(data_dir / "ledger.sqlite")) as connection:
        connection.execute(sql)
        connection.commit()


def test_ledger_of_which_everything_holds_passes_every_check(data_dir: Path) -> None:
    checks = _checks(data_dir)
    assert set(checks) == ALL
    assert {check.verdict for check in checks.values()} == {Verdict.OK}


@pytest.mark.parametrize(
    ("sql", "name", "says"),
    [
        ("DELETE FROM studies", "references", "refer to missing ones"),
        ("UPDATE jobs SET options = '{'", "texts", "options of 1 rows of jobs"),
        ("UPDATE counts SET number = 7 WHERE kind = 'study' AND state = 'processing'", "figures", "studies"),
        ("UPDATE job_images SET name = '9.9'", "images of open jobs", "job k1: 1 of its images"),
        ("DELETE FROM job_images", "images of open jobs", "job k1"),
        (
            "UPDATE studies SET state = 'done'",
            "states",
            f"study {STUDY_UID} is done, and should be processing",
        ),
        ("UPDATE facts SET value = 'other'", "site secret", "another site secret"),
    ],
)
def test_row_that_does_not_hold_is_found(data_dir: Path, sql: str, name: str, says: str) -> None:
    _spoil(data_dir, sql)
    failed = _checks(data_dir)[name]
    assert failed.verdict is Verdict.FAILED
    assert says in failed.finding
    assert failed.fix


@pytest.mark.parametrize(
    ("folder", "name", "fix"),
    [
        ("instances", "files of images", "send the study again"),
        ("results", "results to be sent", "iris retry"),
        ("quarantine", "quarantine", "send the object again"),
    ],
)
def test_file_that_is_gone_is_found(data_dir: Path, folder: str, name: str, fix: str) -> None:
    (path,) = [path for path in (data_dir / folder).rglob("*") if path.is_file()]
    path.unlink()
    failed = _the_one_that_failed(data_dir)
    assert failed.name == name
    assert fix in failed.fix


def test_file_of_another_size_is_found(data_dir: Path) -> None:
    (path,) = (data_dir / "instances").iterdir()
    path.write_bytes(b"more than one byte")
    assert f"study {STUDY_UID}: 1" in _the_one_that_failed(data_dir).finding


def test_many_faults_are_named_by_the_first_few(data_dir: Path, book: Book) -> None:
    for number in range(5):
        book.store(f"9.{number}", study_uid=f"9.{number}", series_uid=f"9.{number}.0")
    assert _the_one_that_failed(data_dir).finding.endswith("and 2 more")


def _middle_of_events(path: Path) -> None:
    overwrite_page(path, page_in_the_middle(path, "events"))


def _root_of_jobs(path: Path) -> None:
    overwrite_page(path, root_page(path, "jobs"))


def _header(path: Path) -> None:
    overwrite_page(path, 1, b"PK\3\4")


@pytest.mark.parametrize("damage", [_middle_of_events, _root_of_jobs, _header])
def test_file_that_is_damaged_is_found_and_nothing_else_is_looked_at(
    data_dir: Path, book: Book, damage: Callable[[Path], None]
) -> None:
    with book.ledger.transaction() as transaction:
        for _ in range(3000):
            transaction.note("something")
    book.ledger.close()
    settle(book.ledger.path)
    damage(book.ledger.path)
    checks = _checks(data_dir)
    assert set(checks) == {"file"}
    assert checks["file"].verdict is Verdict.FAILED
    assert "iris ledger rebuild" in checks["file"].fix


def test_check_changes_nothing(data_dir: Path, book: Book) -> None:
    book.move("k1", JobEvent.FAILED, reason="it was so")
    before = book.everything()
    _checks(data_dir)
    assert book.everything() == before
