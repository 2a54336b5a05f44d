"""The site secret is made where nothing is kept yet, and never in the place of one that is lost."""

from pathlib import Path

import pytest

from gateway.config import ConfigError
from gateway.files.site_secret import accept_secret, complaint_about, site_secret
from gateway.ledger.facts import Fact, fact
from gateway.ledger.store import Ledger
from tests.unit.gateway.conftest import Book

OTHER = "f" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site-secret"


def test_secret_is_made_at_the_first_start_and_kept(book: Book, path: Path) -> None:
    first = site_secret(book.ledger, path)
    assert site_secret(book.ledger, path).digest() == first.digest()


def test_ledger_keeps_a_digest_that_reveals_nothing_of_the_secret(book: Book, path: Path) -> None:
    secret = site_secret(book.ledger, path)
    kept = fact(book.ledger, Fact.SECRET_DIGEST)
    assert kept == secret.digest()
    assert kept not in path.read_text()
    assert path.read_text().strip() not in kept


def test_secret_that_is_lost_is_not_replaced(book: Book, path: Path) -> None:
    site_secret(book.ledger, path)
    path.unlink()
    with pytest.raises(ConfigError, match=r"is lost; put it back.*iris ledger accept-secret"):
        site_secret(book.ledger, path)
    assert not path.exists()


def test_secret_that_is_lost_before_its_digest_was_kept_is_not_replaced(book: Book, path: Path) -> None:
    """A ledger of an older version keeps none, but it has studies."""
    book.store()
    with pytest.raises(ConfigError, match="is lost"):
        site_secret(book.ledger, path)
    assert not path.exists()


def test_secret_that_is_lost_together_with_the_ledger_is_not_replaced(book: Book, path: Path) -> None:
    (path.parent / "instances" / "0a").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is lost"):
        site_secret(book.ledger, path)
    assert not path.exists()


def test_secret_of_a_ledger_of_an_older_version_is_known_from_the_next_start_on(
    book: Book, path: Path
) -> None:
    path.write_text(OTHER)
    book.store()
    site_secret(book.ledger, path)
    path.write_text("e" * 64)
    assert "another site secret" in complaint_about(book.ledger, path)


def test_secret_that_is_another_one_is_refused(book: Book, path: Path) -> None:
    site_secret(book.ledger, path)
    path.write_text(OTHER)
    with pytest.raises(ConfigError, match=r"another site secret.*put it back"):
        site_secret(book.ledger, path)


def test_secret_that_a_person_accepts_is_the_site_secret_from_then_on(book: Book, path: Path) -> None:
    site_secret(book.ledger, path)
    path.write_text(OTHER)
    accept_secret(book.ledger, path)
    assert site_secret(book.ledger, path).digest() == fact(book.ledger, Fact.SECRET_DIGEST)
    assert book.names() == ["ledger.secret_accepted"]


def test_secret_that_a_person_gives_up_is_made_anew(book: Book, path: Path) -> None:
    old = site_secret(book.ledger, path)
    path.unlink()
    accept_secret(book.ledger, path)
    assert site_secret(book.ledger, path).digest() != old.digest()


def test_complaint_about_a_secret_makes_none(book: Book, path: Path) -> None:
    with Ledger(book.ledger.path, read_only=True) as reader:
        assert complaint_about(reader, path) == ""
    assert not path.exists()
