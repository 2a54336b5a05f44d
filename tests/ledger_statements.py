"""Every SQL statement of the gateway as it stands in its sources, and what SQLite would do to answer it.

A statement that stands there whole, or but for a list of values, is explained as it is, so that a new one is
judged without anybody thinking of it. One that is put together at run time has to be run:
`watched_connections` records its plan.
"""

import ast
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.store import Ledger

ROOT = Path(__file__).parents[1]
_IS_SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH)\s(?!/)")  # no HTTP method with its path


@dataclass(frozen=True)
class Statement:
    """One SQL text in the sources."""

    place: str
    """File and line."""
    text: str
    """With `{}` for each part that is known at run time only."""

    @property
    def forms(self) -> tuple[str, ...]:
        """The texts that it may have; empty where nobody knows before it is run.

        Of a list of values, which stands in `IN (...)`, one of one value and one of two.
        """
        forms = dict.fromkeys(self.text.replace("IN ({})", f"IN ({marks})") for marks in ("?", "?, ?"))
        return () if "{}" in "".join(forms) else tuple(forms)

    def is_form_of(self, ran: str) -> bool:
        """Whether a statement that was run may have been put together here."""
        parts = (re.escape(part) for part in self.text.split("{}"))
        return re.fullmatch(".*".join(parts), ran, re.DOTALL) is not None


@cache
def statements() -> list[Statement]:
    """Every text in the gateway's sources that is an SQL statement."""
    return [found for path in sorted((ROOT / "gateway").rglob("*.py")) for found in _statements_in(path)]


def _statements_in(path: Path) -> Iterator[Statement]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in parts:
            continue
        text = _text(node)
        if text is not None and _IS_SQL.match(text):
            yield Statement(f"{path.relative_to(ROOT)}:{node.lineno}", text)


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def plan_of(connection: sqlite3.Connection, sql: str, parameters: Any = None) -> tuple[str, ...]:
    """What SQLite would do, one line a step; parameters that are not given are NULL."""
    marks = re.findall(r"\?(\d*)", sql)
    number = max((int(mark) for mark in marks if mark), default=len(marks))
    given = [None] * number if parameters is None else parameters
    rows = sqlite3.Connection.execute(connection, f"EXPLAIN QUERY PLAN {sql}", given)
    return tuple(row[3] for row in rows)


def statements_of_triggers(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """The name of each trigger with each statement of its program; EXPLAIN QUERY PLAN leaves them out."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, sql in rows:
        body = re.search(r"\bBEGIN\b(.*)\bEND\b", sql, re.DOTALL)
        assert body is not None
        for program in filter(str.strip, body[1].split(";")):
            yield name, re.sub(r"\b(NEW|OLD)\.\w+", "?", program).strip()


# -- what is run --------------------------------------------------------------------------------------------

Plans = dict[str, tuple[str, ...]]
"""By the text of each statement that was run."""


@contextmanager
def watched_connections(patch: pytest.MonkeyPatch) -> Iterator[Plans]:
    """Record the plan of every statement that ledgers run which are opened meanwhile."""
    plans: Plans = {}

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if sql not in plans and _IS_SQL.match(sql):
                plans[sql] = plan_of(self, sql, parameters)
            return super().execute(sql, parameters)

    connect = sqlite3.connect
    with patch.context() as context:
        context.setattr(sqlite3, "connect", lambda *args, **named: connect(*args, factory=Watched, **named))
        yield plans


# -- what it costs ------------------------------------------------------------------------------------------


class Steps:
    """Counts what SQLite's machine does for a ledger: the same each time, however busy the computer is."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.steps = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count from here on; one ledger at a time, in one thread."""
        for connection in self._connections():
            connection.set_progress_handler(self._tick, 1)
        self.steps = 0
        try:
            yield
        finally:
            for connection in self._connections():
                connection.set_progress_handler(None, 0)

    def _tick(self) -> int:
        self.steps += 1
        return 0

    def _connections(self) -> list[sqlite3.Connection]:
        self._ledger.read("SELECT 1")  # so that there is a reader
        assert self._ledger._writer is not None
        return [self._ledger._writer, *self._ledger._readers]
