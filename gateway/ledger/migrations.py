"""The ledger's schema, version by version: what each holds, and how an older ledger becomes a newer one.

Each version is one transaction: a process that is killed in between leaves the one or the other.
"""

import sqlite3
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import structlog

from .backup import BackupError, back_up_before_upgrade
from .soundness import WAY_OUT, Names, schema_names

log = structlog.get_logger(__name__)

SCHEMAS: Final = (
    "schema.sql",
    "schema_2.sql",
    "schema_3.sql",
    "schema_4.sql",
    "schema_5.sql",
    "schema_6.sql",
    "schema_7.sql",
    "schema_8.sql",
    "schema_9.sql",
    "schema_10.sql",
    "schema_11.sql",
    "schema_12.sql",
    "schema_13.sql",
    "schema_14.sql",
    "schema_15.sql",
    "schema_16.sql",
    "schema_17.sql",
    "schema_18.sql",
    "schema_19.sql",
    "schema_20.sql",
    "schema_21.sql",
    "schema_22.sql",
    "schema_23.sql",
    "schema_24.sql",
    "schema_25.sql",
    "schema_26.sql",
    "schema_27.sql",
    "schema_28.sql",
)
"""One file for each schema version, applied in order."""


class CannotUpgrade(Exception):
    """The ledger stays as it was; one sentence that says why and what to do."""


def version_of(connection: sqlite3.Connection) -> int:
    """The schema's version; 0 where there is none yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@cache
def _empty(version: int) -> sqlite3.Connection:
    """A ledger of this version with nothing in it, in memory; making it takes a while."""
    empty = sqlite3.connect(":memory:", check_same_thread=False)
    migrate(empty, version)
    return empty


@cache
def names_of(version: int) -> Names:
    """Everything that the schema of this version holds."""
    return schema_names(_empty(version))


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the ledger in this file up to date; one that has a schema is backed up first.

    Raises
    ------
    CannotUpgrade, sqlite3.Error
    """
    version = version_of(connection)
    if not schema_names(connection):
        _empty(len(SCHEMAS)).backup(connection)  # one transaction, and it stays in WAL mode
    elif 0 < version < len(SCHEMAS):
        try:
            back_up_before_upgrade(path, version)
        except BackupError as error:
            raise CannotUpgrade(f"it is not brought up to date without a backup: {error}") from None
        log.info("ledger_backed_up", schema=version, why="it is brought up to date")
    migrate(connection)


def migrate(
    connection: sqlite3.Connection, to_version: int = len(SCHEMAS), *, must_hold: bool = True
) -> None:
    """Bring a ledger up to a version.

    Parameters
    ----------
    must_hold
        Whether it is refused where rows refer to missing ones; else they are mended afterwards.

    Raises
    ------
    CannotUpgrade, sqlite3.Error
        It stays at the last version that it reached.
    """
    version = version_of(connection)
    if version >= to_version:
        return
    connection.execute("PRAGMA foreign_keys = OFF")  # a table that is rebuilt is gone for a moment
    for number, name in enumerate(SCHEMAS[version:to_version], start=version + 1):
        script = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};")
        if must_hold and connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            connection.execute("ROLLBACK")
            raise CannotUpgrade(
                f"it cannot be brought to schema {number}, since rows refer to missing ones; {WAY_OUT}"
            )
        connection.execute("COMMIT")
    connection.execute("PRAGMA foreign_keys = ON")
