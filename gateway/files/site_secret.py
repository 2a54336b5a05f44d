"""The site secret, and whether it is the one that everything kept here derives from.

Keys and UIDs of another secret are other ones: every volume would be segmented and delivered once more. So a
secret is made where there is nothing yet, and never in the place of one that is lost.
"""

from pathlib import Path

from gateway.config import ConfigError
from gateway.identity import SiteSecret
from gateway.ledger.facts import Fact, fact, set_fact
from gateway.ledger.store import Ledger

WAY_OUT = (
    "put it back from your backup; or, where there is none, `iris ledger accept-secret` goes on with another:"
    " what comes in again is then segmented and delivered anew, under other UIDs"
)


def site_secret(ledger: Ledger, path: Path) -> SiteSecret:
    """The secret in this file, made where nothing is kept yet.

    Raises
    ------
    ConfigError
        It is lost, or another one than before.
    """
    if complaint := complaint_about(ledger, path):
        raise ConfigError(complaint)
    secret = SiteSecret(path)
    if fact(ledger, Fact.SECRET_DIGEST) is None:  # the first start, or the first that keeps a digest
        with ledger.transaction() as transaction:
            set_fact(transaction, Fact.SECRET_DIGEST, secret.digest())
    return secret


def complaint_about(ledger: Ledger, path: Path) -> str:
    """What is wrong with the secret in this file, with the way out; empty where nothing is.

    Raises
    ------
    ConfigError
        It cannot be read, or is no secret.
    """
    known = fact(ledger, Fact.SECRET_DIGEST)
    if not path.exists():
        if known is not None or ledger.read("SELECT 1 FROM studies LIMIT 1"):
            return _lost(path)
        return complaint_without_a_ledger(ledger.path.parent, path)
    if known is not None and SiteSecret(path).digest() != known:
        return f"site.secret_file: {path} holds another site secret than this ledger was made with; {WAY_OUT}"
    return ""


def accept_secret(ledger: Ledger, path: Path) -> None:
    """Go on with the secret in this file, made where there is none, whatever it was before.

    Raises
    ------
    ConfigError
        It cannot be read or made, or is no secret.
    """
    digest = SiteSecret(path).digest()
    with ledger.transaction() as transaction:
        set_fact(transaction, Fact.SECRET_DIGEST, digest)
        transaction.note("ledger.secret_accepted")


def complaint_without_a_ledger(data_dir: Path, path: Path) -> str:
    """The same where no ledger can be read: images that are kept were filed under a secret."""
    images = data_dir / "instances"
    return _lost(path) if not path.exists() and images.is_dir() and any(images.iterdir()) else ""


def _lost(path: Path) -> str:
    return f"site.secret_file: the site secret {path} is lost; {WAY_OUT}"
