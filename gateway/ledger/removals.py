"""What is to be removed from here, written down before it is removed, and struck out after.

A kill in between leaves nothing half: what stands in the table is removed at the next start. What comes to
lie at a name again is struck out in the transaction that records it: nothing that is wanted is removed.
"""

import json
from collections.abc import Collection, Iterable
from enum import StrEnum

from .records import RemovalRow, utc_now
from .store import Ledger
from .transaction import Transaction


class Gone(StrEnum):
    """What kind of thing is to be removed."""

    FILE = "file"  # below data_dir
    FOLDER = "folder"  # below data_dir
    OBJECTS = "objects"  # a key of the object store, or a prefix that ends with a slash
    MIRROR = "mirror"  # an item of the mirror


def plan_removal(transaction: Transaction, kind: Gone, names: Iterable[str], job_key: str = "") -> None:
    """Write down what is to be removed.

    Parameters
    ----------
    job_key
        Whose steps wait until it is gone: they would write to the same place.
    """
    transaction.execute(
        "INSERT OR IGNORE INTO removals (kind, name, job_key, since) SELECT ?, value, ?, ? FROM json_each(?)",
        (kind, job_key, utc_now(), json.dumps(list(names))),
    )


def keep_file(transaction: Transaction, path: str) -> None:
    """Strike out a file, below data_dir: something lies there that is wanted."""
    transaction.execute("DELETE FROM removals WHERE kind = ? AND name = ?", (Gone.FILE, path))


def removals_of(ledger: Ledger, kind: Gone, after: int, limit: int) -> list[RemovalRow]:
    """What of one kind is to be removed, in the order in which it was written down, after a number."""
    rows = ledger.read(
        "SELECT * FROM removals WHERE kind = ? AND number > ? ORDER BY number LIMIT ?", (kind, after, limit)
    )
    return [RemovalRow.of(row) for row in rows]


def is_to_be_removed(ledger: Ledger, row: RemovalRow) -> bool:
    """Whether it still stands in the table."""
    return bool(ledger.read("SELECT 1 FROM removals WHERE number = ?", (row.number,)))


def strike_out(transaction: Transaction, kind: Gone, numbers: Collection[int]) -> None:
    """Say that these, all of one kind, are gone."""
    if numbers:
        transaction.transitions.append(f"removals.{kind}_gone")
    for number in numbers:
        transaction.execute("DELETE FROM removals WHERE number = ?", (number,))


def is_being_cleared(ledger: Ledger, job_key: str) -> bool:
    """Whether something that an earlier life of a job left is still to be removed."""
    return bool(ledger.read("SELECT 1 FROM removals WHERE job_key = ? AND job_key <> ''", (job_key,)))
