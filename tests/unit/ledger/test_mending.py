"""A ledger of which rows are missing holds together again, and only what is missing is made anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import UPLOAD_RULE
from gateway.ledger.mending import make_whole, mend_rows
from gateway.ledger.states import DeliveryEvent, JobState, StudyState
from gateway.ledger.store import Ledger
from tests.unit.gateway.conftest import Book


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A study whose one job was delivered."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        book = Book(ledger)
        book.begin_encoded()
        book.move_delivery("pacs", DeliveryEvent.SENT)
        assert book.study().state is StudyState.DONE
        yield book


def _lose(book: Book, *statements: str) -> None:
    """Take rows away as damage does: nothing that refers to them is asked."""
    with book.ledger.transaction() as transaction:
        transaction.execute("PRAGMA defer_foreign_keys = ON")
        for statement in statements:
            transaction.execute(statement)
        _mend(transaction)


def _mend(transaction) -> None:
    mend_rows(transaction, lambda study_uid: f"key of {study_uid}")


def _make_whole(book: Book) -> int:
    return make_whole(book.ledger, lambda _: True, lambda *_: None)


def test_study_whose_row_is_lost_keeps_its_job_and_what_was_delivered(book: Book) -> None:
    _lose(book, "DELETE FROM volumes", "DELETE FROM studies")
    assert book.study().state is StudyState.RECEIVING
    assert book.ledger.read("SELECT * FROM instances") == []  # filed anew from the files
    assert book.state() is JobState.DELIVERED
    assert len(book.deliveries()) == 1
    assert book.ledger.read("PRAGMA foreign_key_check") == []


def test_study_is_found_by_the_same_as_before(book: Book) -> None:
    traits = [tuple(row) for row in book.ledger.read("SELECT * FROM study_traits")]
    assert traits != []
    _lose(book)
    assert [tuple(row) for row in book.ledger.read("SELECT * FROM study_traits")] == traits


def test_uploaded_image_whose_study_is_lost_stays_known(book: Book) -> None:
    _lose(
        book,
        f"UPDATE instances SET sender = '{UPLOAD_RULE}'",
        f"UPDATE jobs SET rule = '{UPLOAD_RULE}'",
        "DELETE FROM volumes",
        "DELETE FROM studies",
    )
    assert len(book.ledger.read("SELECT * FROM instances")) == 1
    assert book.ledger.read("SELECT is_upload FROM studies")[0]["is_upload"] == 1


def test_study_that_lacks_what_was_decided_begins_anew_with_its_job_as_it_was(book: Book) -> None:
    _lose(book, "DELETE FROM volumes")
    assert _make_whole(book) == 1
    assert (book.study().state, book.study().complete_requested) == (StudyState.RECEIVING, 1)
    assert book.state() is JobState.DELIVERED


def test_study_whose_images_were_removed_is_not_begun_anew(book: Book) -> None:
    at = "2026-01-01T00:00:00.000000Z"
    _lose(
        book,
        "DELETE FROM volumes",
        f"UPDATE studies SET images_removed_at = '{at}'",
        "DELETE FROM deliveries",
    )
    assert _make_whole(book) == 0
    assert book.state() is JobState.DELIVERED


def test_job_whose_deliveries_are_lost_is_encoded_again(book: Book) -> None:
    _lose(book, "DELETE FROM deliveries")
    _make_whole(book)
    assert book.state() is JobState.SEGMENTED


def test_job_that_lost_its_images_keeps_what_was_delivered(book: Book) -> None:
    _lose(book, "DELETE FROM job_images")
    assert _make_whole(book) == 1
    assert book.state() is JobState.DELIVERED
    assert len(book.deliveries()) == 1
