"""What can still be read of a damaged ledger, row by row, carried into a new one.

A damaged page hides the rows that stand on it, and a damaged page above others all rows below it. They are
come around: by rowid in ever smaller stretches, or from both ends. What is read is taken only where the new
ledger's own rules allow it. The damaged file is not written to.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .migrations import SCHEMAS, migrate, version_of
from .soundness import key_of_table

MADE_ANEW: Final = frozenset({"counts", "received", "mirror", "mirror_outbox"})
"""Triggers keep the figures; a mirror that is switched on is filled, under a new epoch."""
JSON_TEXTS: Final = frozenset(
    {
        "options",
        "send_to",
        "outputs",
        "warnings",
        "findings",
        "ranking",
        "detail",
        "instance_uids",
        "job_keys",
        "volumes",
        "prior_object",
        "changes",
        "structures",
        "standing",
        "message",
    }
)
"""Columns whose text is JSON, in whatever table and version."""
A_COMMIT: Final = 20_000
"""Rows."""
MOST_BITS: Final = 40
"""Of a rowid: a trillion rows."""


@dataclass(frozen=True)
class Carried:
    """How much of one table was carried over."""

    table: str
    rows: int
    is_all: bool
    """Nothing of it was hidden or refused."""


def open_damaged(path: Path) -> sqlite3.Connection:
    """A connection that only reads, and leaves the file and its log as they are."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    # Else a file that is shorter than its first page says is refused as a whole (https://sqlite.org/pragma.html).
    connection.execute("PRAGMA writable_schema = ON")
    return connection


def readable_version(path: Path) -> int | None:
    """The schema's version of a ledger whose schema can be read; None where it cannot, or is a newer one."""
    with suppress(sqlite3.Error), closing(open_damaged(path)) as connection:
        connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        version = version_of(connection)
        return version if 0 < version <= len(SCHEMAS) else None
    return None


def carry_over(source: Path, target: Path, version: int) -> Iterator[Carried]:
    """Fill a new ledger of the same version with what can be read; one table after the other.

    Parameters
    ----------
    target
        A new file. Rows may refer to missing ones in it: see `mending`.
    """
    with (
        closing(open_damaged(source)) as damaged,
        closing(sqlite3.connect(target, isolation_level=None)) as new,
    ):
        new.execute("PRAGMA journal_mode = WAL")
        new.execute("PRAGMA synchronous = OFF")  # it is flushed when it is whole
        migrate(new, version)
        new.execute("PRAGMA foreign_keys = OFF")
        for table in _tables(new):
            if table not in MADE_ANEW:
                yield _carry(_Table(damaged, new, table))


def _tables(connection: sqlite3.Connection) -> list[str]:
    """Those that others refer to before those, where the schema made them in that order."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    )
    return [row[0] for row in rows]


def _refuse_zeros(row: tuple[Any, ...]) -> None:
    """Where the file ends within a page, what is missing of that reads as zeros; no text of ours has any."""
    if any(isinstance(value, str) and "\0" in value for value in row):
        raise ValueError("a part of this row is missing")


def _carry(table: "_Table") -> Carried:
    marks = ", ".join("?" for _ in table.columns)
    (begins_with,) = table.new.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()
    how = "INSERT OR REPLACE" if begins_with else "INSERT"
    insert = f'{how} INTO "{table.name}" ({table.listed}) VALUES ({marks})'
    carried = 0
    table.new.execute("BEGIN")
    for row in table.rows():
        try:
            for place in table.json_places:
                json.loads(row[place])
            _refuse_zeros(row)
            table.new.execute(insert, row)
        except (sqlite3.IntegrityError, ValueError, TypeError):
            table.is_all = False
            continue
        carried += 1
        if carried % A_COMMIT == 0:
            table.new.execute("COMMIT")
            table.new.execute("BEGIN")
    table.new.execute("COMMIT")
    return Carried(table.name, carried, table.is_all)


class _Table:
    """One table of a damaged ledger."""

    def __init__(self, damaged: sqlite3.Connection, new: sqlite3.Connection, name: str) -> None:
        self.name = name
        self.new = new
        self.columns = [row[0] for row in new.execute("SELECT name FROM pragma_table_info(?)", (name,))]
        self.listed = ", ".join(f'"{column}"' for column in self.columns)
        self.json_places = [place for place, column in enumerate(self.columns) if column in JSON_TEXTS]
        self.is_all = True
        self._damaged = damaged
        self._key = key_of_table(new, name)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Every row that can be read, once."""
        return self._by_rowid() if self._key == "rowid" else self._from_both_ends()

    # -- with rowids --------------------------------------------------------------------------------------

    def _by_rowid(self) -> Iterator[tuple[Any, ...]]:
        """Stretch by stretch: one that cannot be read is halved, down to the row."""
        sql = f'SELECT rowid, {self.listed} FROM "{self.name}" WHERE rowid BETWEEN ? AND ? ORDER BY rowid'
        stretches = [self._bounds()]
        while stretches:
            first, last = stretches.pop()
            read = first - 1
            try:
                for row in self._damaged.execute(sql, (first, last)):
                    if row[0] <= read:
                        raise sqlite3.DatabaseError("a page stands in the wrong place")
                    read = row[0]
                    yield row[1:]
            except sqlite3.Error:
                self.is_all = False
                if read >= first:
                    stretches.append((read + 1, last))
                elif first < last:
                    middle = (first + last) // 2
                    stretches += [(middle + 1, last), (first, middle)]

    def _bounds(self) -> tuple[int, int]:
        """The first and the last rowid, by the table or, where its ends cannot be read, by an index."""
        first, last = self._bound("min"), self._bound("max")
        return first or 0, self._behind_the_last() if last is None else last

    def _behind_the_last(self) -> int:
        """Where the ends of table and indexes are gone alike, as those of a file that was cut: at most twice
        the last rowid that can be asked for.
        """
        behind = 0
        for power in range(MOST_BITS):
            with suppress(sqlite3.Error):
                self._damaged.execute(
                    f'SELECT 1 FROM "{self.name}" NOT INDEXED WHERE rowid = ?', (1 << power,)
                ).fetchone()
                behind = 2 << power
        return behind

    def _bound(self, which: str) -> int | None:
        indexes = self.new.execute("SELECT name FROM pragma_index_list(?) WHERE NOT partial", (self.name,))
        for how in ["NOT INDEXED", *(f'INDEXED BY "{row[0]}"' for row in indexes.fetchall())]:
            try:
                (found,) = self._damaged.execute(f'SELECT {which}(rowid) FROM "{self.name}" {how}').fetchone()
            except sqlite3.Error:
                self.is_all = False
                continue
            return int(found or 0)
        return None

    # -- without ------------------------------------------------------------------------------------------

    def _from_both_ends(self) -> Iterator[tuple[Any, ...]]:
        """Up to the first page that cannot be read, and down to the last; between them, by what it is of."""
        columns = [column.strip('"') for column in self._key.split(", ")]
        places = [self.columns.index(column) for column in columns]
        low = high = None
        try:
            for row in self._damaged.execute(f'SELECT {self.listed} FROM "{self.name}" ORDER BY {self._key}'):
                key = tuple(row[place] for place in places)
                if None in key:
                    raise sqlite3.DatabaseError("a row without its key: it is none")
                low = key
                yield row
            return
        except sqlite3.Error:
            self.is_all = False
        down = ", ".join(f'"{column}" DESC' for column in columns)
        with suppress(sqlite3.Error):
            for row in self._damaged.execute(f'SELECT {self.listed} FROM "{self.name}" ORDER BY {down}'):
                key = tuple(row[place] for place in places)
                if None in key or (low is not None and key <= low):
                    return
                high = key
                yield row
        yield from self._between(columns[0], low, high)

    def _between(self, column: str, low: Any, high: Any) -> Iterator[tuple[Any, ...]]:
        """What belongs to rows of another table that were carried over already, one after the other."""
        referred = self.new.execute(
            'SELECT "table" FROM pragma_foreign_key_list(?) WHERE "from" = ?', (self.name, column)
        ).fetchone()
        if referred is None:
            return
        owners = self.new.execute(f'SELECT "{column}" FROM "{referred[0]}" ORDER BY 1').fetchall()
        sql = f'SELECT {self.listed} FROM "{self.name}" WHERE "{column}" = ? ORDER BY {self._key}'
        for (owner,) in owners:
            if (low is None or owner >= low[0]) and (high is None or owner <= high[0]):
                with suppress(sqlite3.Error):
                    yield from self._damaged.execute(sql, (owner,))
