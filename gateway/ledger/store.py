"""The SQLite file: opening, migrations, the one writer, the many readers.

WAL with synchronous=FULL: a commit that returned is on the disk. One process writes (a lock file says so);
inside it one connection writes, one transaction at a time, and every thread that reads has a connection of
its own. Events that a transaction collected are published after its commit.
"""

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Any, Self

from gateway.events import Bus

from .kill_points import die_if_asked
from .transaction import Transaction

SCHEMAS = ("schema.sql",)
"""One file for each schema version, applied in order."""


class LedgerError(Exception):
    """The ledger cannot be opened; the text says why and what to do."""


class Ledger:
    """What is known, durable.

    Parameters
    ----------
    path
        The SQLite file. Its folder must exist.
    bus
        Where events go after a commit.
    read_only
        Open for looking only: no lock, no migration, `transaction` refused.
    """

    def __init__(self, path: Path, bus: Bus | None = None, *, read_only: bool = False) -> None:
        self.path = path
        self.bus = bus or Bus()
        self._write_lock = threading.RLock()
        self._readers = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._connections_lock = threading.Lock()
        self._lock_file: IO[str] | None = None
        self._writer: sqlite3.Connection | None = None
        if read_only:
            if not path.exists():
                raise LedgerError(f"there is no ledger at {path}; start the gateway with `iris serve` first")
        else:
            self._lock_file = _locked(path.with_suffix(".lock"))
            self._writer = self._connect()
            _migrate(self._writer)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 30000")
        with self._connections_lock:
            self._connections.append(connection)
        return connection

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Run one query on this thread's own connection."""
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            self._readers.connection = connection
        return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One write transaction: all of it or nothing, and its events are told after the commit.

        Raises
        ------
        UnknownTransition
            An event cannot happen in the present state; nothing is written.
        """
        if self._writer is None:
            raise LedgerError("the ledger was opened read-only; start the gateway with `iris serve`")
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            transaction = Transaction(self._writer)
            try:
                yield transaction
                transaction.settle()
                die_if_asked(transaction.transitions, "before")
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            die_if_asked(transaction.transitions, "after")
        for event in transaction.events:
            self.bus.publish(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and let another process write."""
        with self._connections_lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


def _locked(path: Path) -> IO[str]:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise LedgerError(
            f"another gateway is running on {path.parent}; stop it, or give this one its own site.data_dir"
        ) from None
    return file


def _migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(SCHEMAS):
        raise LedgerError(
            f"the ledger has schema {version}, this version knows {len(SCHEMAS)}; "
            "install the newer iris-gateway"
        )
    for number, name in enumerate(SCHEMAS[version:], start=version + 1):
        script = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
