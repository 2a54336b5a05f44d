"""The SQLite file: opening, migrations, the one writer, the many readers.

WAL with synchronous=FULL: a commit that returned is on the disk. One process writes (a lock file says so);
inside it one connection writes, one transaction at a time, and whoever reads borrows a connection from a
pool: threads come and go with every association, and must not leave one behind each. Events that a
transaction collected are published after its commit. Once the file is known to be damaged nothing more is
written to it: what it says of the free pages is not to be trusted.
"""

import fcntl
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

import structlog

from gateway.events import Bus

from .kill_points import die_if_asked
from .migrations import SCHEMAS, CannotUpgrade, names_of, upgrade, version_of
from .soundness import damage_of, damage_sentence, is_damage, look_at_all, look_quickly
from .telling import Telling
from .transaction import Transaction

INTERRUPT_EVERY_S = 0.02
REBUILT_NAME = "ledger.rebuilt.sqlite"
"""A ledger that was made anew, whole, and is to take the place of the one beside it."""

log = structlog.get_logger(__name__)


class LedgerError(Exception):
    """The ledger cannot be opened; the text says why and what to do."""


class LedgerDamaged(LedgerError, sqlite3.DatabaseError):
    """The ledger's file is not whole; the text says what is known of it, and the way out."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class LedgerBehind(LedgerError):
    """The ledger is of an earlier version, and whole: the gateway's next start brings it up to date."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the ledger has schema {version}, this version reads {len(SCHEMAS)}; start the gateway "
            "once with `iris serve`: that brings it up to date"
        )
        self.version = version


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
        self.damage = ""
        """What is known of damage to the file, with the way out, in a sentence; empty: it seems whole."""
        self.is_new = False
        """Whether there was none before."""
        self.telling = Telling()
        self._write_lock = threading.RLock()
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._is_open = True
        self._lock_file: IO[str] | None = None
        self._writer: sqlite3.Connection | None = None
        self._checking: sqlite3.Connection | None = None
        self._may_check = True
        try:
            with self._noticing_damage():
                self._open(read_only=read_only)
        except LedgerDamaged as error:
            self.close()
            raise LedgerDamaged(f"{path}: {error}") from None
        except LedgerError:
            self.close()
            raise
        except CannotUpgrade as error:
            self.close()
            raise LedgerError(f"{path}: {error}") from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise LedgerError(
                f"the ledger at {path} cannot be opened ({error}); look at its disk, and who may write there"
            ) from None

    def _open(self, *, read_only: bool) -> None:
        if read_only:
            if not self.path.exists():
                raise LedgerError(
                    f"there is no ledger at {self.path}; start the gateway with `iris serve` first"
                )
            version = int(self.read("PRAGMA user_version")[0][0])
            self._refuse_emptied(version)
            _check_schema(version)
        else:
            self._lock_file = locked(self.path.with_suffix(".lock"))
            if self.path.with_name(REBUILT_NAME).exists():
                raise LedgerError(
                    "a rebuild of the ledger was ended in its last step; `iris ledger rebuild` ends it"
                )
            was_there = self.path.exists()
            self._writer = self._connect()
            version = version_of(self._writer)
            if was_there:
                self._refuse_emptied(version)
            _refuse_newer(version)
            self.is_new = version == 0
            if finding := look_quickly(self._writer, names_of(version)):
                self.note_damage(finding)
                raise LedgerDamaged(self.damage)
            upgrade(self._writer, self.path)

    def _refuse_emptied(self, version: int) -> None:
        """Refuse a file that holds nothing, though something is kept: it was a ledger before."""
        images = self.path.parent / "instances"
        if version == 0 and images.is_dir() and any(images.iterdir()):
            self.note_damage("its file is empty, though images are kept")
            raise LedgerDamaged(self.damage)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA cell_size_check = ON")  # a damaged page is noticed when it is read
        return connection

    def note_damage(self, finding: str) -> None:
        """Remember that the file is damaged: nothing is written from now on.

        Parameters
        ----------
        finding
            What is wrong, without anything that stood in a row.
        """
        if not self.damage:
            log.error("ledger_damaged", finding=finding)
            self.damage = damage_sentence(finding)

    @contextmanager
    def _noticing_damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, LedgerDamaged) or not is_damage(error):
                raise
            self.note_damage(damage_of(error))
            raise LedgerDamaged(self.damage) from None  # SQLite's own text may hold what stood in a row

    def check(self) -> None:
        """Look at every page of the file, beside the work, and note the damage that there is.

        Raises
        ------
        sqlite3.OperationalError
            `stop_checking` ended it, or the disk failed.
        """
        with suppress(LedgerDamaged), self._noticing_damage(), self._reader() as connection:
            self._checking = connection
            try:
                findings = look_at_all(connection) if self._may_check else []
            finally:
                self._checking = None
            if findings:
                self.note_damage(findings[0])

    def stop_checking(self) -> None:
        """End a `check` in another thread, which may take minutes; from now on there is none."""
        self._may_check = False
        while (connection := self._checking) is not None:
            connection.interrupt()  # heard only by a statement that has begun
            time.sleep(INTERRUPT_EVERY_S)

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Run one query on a connection that nobody else uses meanwhile.

        Raises
        ------
        LedgerDamaged
            The file is damaged where the query came to.
        """
        with self._noticing_damage(), self._reader() as connection:
            return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with self._readers_lock:
            if not self._is_open:
                raise LedgerError("the ledger is closed; the gateway is stopping")
            connection = self._readers.pop() if self._readers else None
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._readers_lock:
            if self._is_open:
                self._readers.append(connection)
            else:  # closed meanwhile
                connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One write transaction: all of it or nothing, and its events are told after the commit.

        Raises
        ------
        UnknownTransition
            An event cannot happen in the present state; nothing is written.
        LedgerDamaged
            The file is damaged; nothing is written.
        """
        with self._write_lock, self._noticing_damage():
            writer = self._writer
            if writer is None:
                what = "was opened read-only" if self._is_open else "is closed"
                raise LedgerError(f"the ledger {what}; start the gateway with `iris serve`")
            if self.damage:
                raise LedgerDamaged(self.damage)
            writer.execute("BEGIN IMMEDIATE")
            transaction = Transaction(writer)
            try:
                yield transaction
                transaction.settle()
                die_if_asked(transaction.transitions, "before")
                self.telling.begin(transaction.first_line)
                writer.execute("COMMIT")
            except BaseException:
                self.telling.end(transaction.first_line)
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise
            die_if_asked(transaction.transitions, "after")
        try:
            for event in transaction.events:
                self.bus.publish(event)
        finally:
            self.telling.end(transaction.first_line)

    def checkpoint(self) -> None:
        """Bring the log of changes into the file, and empty it as far as nobody reads there."""
        with self._write_lock:
            if self._writer is not None:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, after the transaction at hand, and let another process write."""
        with self._write_lock, self._readers_lock:
            self._is_open = False
            for connection in self._readers:
                connection.close()
            self._readers.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None


def locked(path: Path) -> IO[str]:
    """Take the lock that says who writes; it is held until the file is closed.

    Raises
    ------
    LedgerError
        Somebody else has it.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise LedgerError(
            f"another gateway is running on {path.parent}; stop it, or give this one its own site.data_dir"
        ) from None
    return file


def _check_schema(version: int) -> None:
    """Refuse to look into a ledger whose rows would be misread."""
    _refuse_newer(version)
    if version < len(SCHEMAS):
        raise LedgerBehind(version)


def _refuse_newer(version: int) -> None:
    if version > len(SCHEMAS):
        raise LedgerError(
            f"the ledger has schema {version}, this version knows {len(SCHEMAS)}; "
            "install the newer iris-gateway"
        )
