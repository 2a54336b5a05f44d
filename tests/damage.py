"""Damage to a ledger's file, as bad blocks and lost sectors do it."""

import sqlite3
from contextlib import closing
from pathlib import Path

PAGE = 4096


def overwrite_page(path: Path, page: int, content: bytes = b"\0" * PAGE) -> None:
    """Overwrite one page; the first is 1."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(content)


def settle(path: Path) -> None:
    """Bring everything that a ledger's log holds into its file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def root_page(path: Path, table: str) -> int:
    """The first page of a table."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
    return int(page)


def pages_below(path: Path, table: str) -> list[int]:
    """The pages below a table's first one but the last, in the order of its rows (SQLite's format, 1.6)."""
    with path.open("rb") as file:
        file.seek((root_page(path, table) - 1) * PAGE)
        content = file.read(PAGE)
    assert content[0] in (2, 5), "the table needs more rows than one page holds"
    cells = int.from_bytes(content[3:5], "big")
    starts = [int.from_bytes(content[12 + 2 * cell :][:2], "big") for cell in range(cells)]
    return [int.from_bytes(content[start : start + 4], "big") for start in starts]


def page_in_the_middle(path: Path, table: str) -> int:
    """A page of a table's rows, neither its first nor its last."""
    pages = pages_below(path, table)
    return pages[len(pages) // 2]
