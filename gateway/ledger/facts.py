"""What the ledger knows beside studies, by name."""

from enum import StrEnum

from .store import Ledger
from .transaction import Transaction


class Fact(StrEnum):
    """What is known under which name."""

    SECRET_DIGEST = "secret_digest"  # of the site secret that every key in this ledger derives from
    TRACED = "traced"  # the line of the timeline (events.seq) until which studies are traced
    DESTINATIONS = "destinations"  # JSON: what each takes (destinations.py)


def fact(ledger: Ledger, name: Fact) -> str | None:
    """What is known under this name, or None."""
    rows = ledger.read("SELECT value FROM facts WHERE name = ?", (name,))
    return rows[0]["value"] if rows else None


def set_fact(transaction: Transaction, name: Fact, value: str) -> None:
    """Know this from now on."""
    transaction.execute(
        "INSERT INTO facts (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
