"""Whether the ledger's file is whole: which errors say that it is not, a quick look, and a look at all of it.

SQLite finds a damaged page when it comes to it, which may be months later. So the schema and the first pages
are looked at whenever the ledger is opened, and all pages afterwards, beside the work.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

WAY_OUT: Final = (
    "stop the gateway; `iris ledger check` says what is wrong, and `iris ledger rebuild` makes a new ledger "
    "of the files that are kept, and of what can still be read of this one"
)
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNDECODABLE: Final = "Could not decode to UTF-8"
"""What the module sqlite3 says, without a code, of a text that is none; the rest of it may be a patient's."""

MOST_FINDINGS: Final = 20

Names = frozenset[tuple[str, str, str]]
"""Type, name and table of everything in a schema."""


def is_damage(error: BaseException) -> bool:
    """Whether an error says that the file is damaged, and not that it is busy or its disk full."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return str(error).startswith(_UNDECODABLE)
    return code & 0xFF in _DAMAGED or code == sqlite3.SQLITE_IOERR_CORRUPTFS


def damage_sentence(finding: str) -> str:
    """What is wrong and what to do, for whoever looks after the gateway."""
    return f"the ledger is damaged ({finding}); {WAY_OUT}"


def damage_of(error: sqlite3.Error) -> str:
    """What such an error says, for a sentence; never what stood in a row."""
    text = str(error)
    return "a text in it is none" if text.startswith(_UNDECODABLE) else text


def schema_names(connection: sqlite3.Connection) -> Names:
    """Everything that a schema holds, by its name; what SQLite makes for itself left out."""
    rows = connection.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
    return frozenset((str(row[0]), str(row[1]), str(row[2])) for row in rows)


def look_quickly(connection: sqlite3.Connection, expected: Names) -> str:
    """Look at the schema and the ends of every table and index; milliseconds, whatever the size.

    Parameters
    ----------
    expected
        What the schema of this ledger's version holds.

    Returns
    -------
    str
        What is wrong, or nothing.

    Raises
    ------
    sqlite3.DatabaseError
        It cannot be read.
    """
    found = schema_names(connection)
    if found - expected:
        return f"{len(found - expected)} of its tables and indexes are those of another program or version"
    if expected - found:
        return f"{len(expected - found)} of its {len(expected)} tables and indexes are missing"
    for kind, name, table in sorted(found):
        if kind == "table":
            for order in ("ASC", "DESC"):
                key = key_of_table(connection, table)
                connection.execute(f'SELECT * FROM "{table}" ORDER BY {key} {order} LIMIT 1').fetchall()
        elif kind == "index" and not _is_partial(connection, name, table):
            connection.execute(f'SELECT 1 FROM "{table}" INDEXED BY "{name}" LIMIT 1').fetchall()
    return ""


def look_at_all(connection: sqlite3.Connection, *, thoroughly: bool = False) -> list[str]:
    """Look at every page; seconds for each gigabyte.

    Parameters
    ----------
    thoroughly
        Whether every row is looked up in every index, too; minutes for each gigabyte.

    Returns
    -------
    list of str
        What is wrong, at most `MOST_FINDINGS` of it: names of tables and numbers of pages, nothing of a row.
    """
    try:
        if thoroughly:
            return _found_by(connection, "integrity_check")
        return _found_by(connection, "quick_check") or list(_uneven_indexes(connection))
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return [damage_of(error)]


def _found_by(connection: sqlite3.Connection, check: str) -> list[str]:
    rows = connection.execute(f"PRAGMA {check}({MOST_FINDINGS})").fetchall()
    lines = [line for row in rows for line in str(row[0]).splitlines()]
    found = [line for line in lines if not line.startswith("***")]  # a headline
    return [] if found == ["ok"] else found[:MOST_FINDINGS]


def _uneven_indexes(connection: sqlite3.Connection) -> Iterator[str]:
    """Indexes that hold more or fewer rows than their tables: pages of an older file among those of a newer.

    That is nothing wrong with any page, so a quick check passes it.
    """
    indexes = connection.execute(
        "SELECT t.name, i.name, coalesce(m.sql, '')"
        " FROM sqlite_master t, pragma_index_list(t.name) i JOIN sqlite_master m ON m.name = i.name"
        " WHERE t.type = 'table' ORDER BY 1, 2"
    )
    for table, index, sql in indexes.fetchall():
        where = "".join(sql.partition(" WHERE ")[1:])  # of a partial one
        by_table = f'SELECT count(*) FROM "{table}" NOT INDEXED {where}'
        by_index = f'SELECT count(*) FROM "{table}" INDEXED BY "{index}" {where}'
        # In one statement, so of one moment.
        one, other = connection.execute(f"SELECT ({by_table}), ({by_index})").fetchone()
        if one != other:
            yield f"wrong number of entries in index {index}"


def damage_in(path: Path, *, thoroughly: bool = False) -> list[str]:
    """The same of a file that need not open as a ledger."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        return look_at_all(connection, thoroughly=thoroughly)


def key_of_table(connection: sqlite3.Connection, table: str) -> str:
    """By what a table's own rows are ordered: "rowid", or the columns of its key."""
    (without_rowid,) = connection.execute(
        "SELECT wr FROM pragma_table_list WHERE name = ?", (table,)
    ).fetchone()
    if not without_rowid:
        return "rowid"
    rows = connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,))
    return ", ".join(f'"{row[0]}"' for row in rows)


def _is_partial(connection: sqlite3.Connection, index: str, table: str) -> bool:
    row = connection.execute(
        "SELECT partial FROM pragma_index_list(?) WHERE name = ?", (table, index)
    ).fetchone()
    return bool(row[0])
