"""A consistent copy of the ledger, made while it is written to; and the one before each migration."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.adapters.durable import in_one_step, make_folder, sync_file, sync_folder

from .soundness import look_at_all

FOLDER: Final = "backups"
"""Below the data directory."""
BEFORE_UPGRADES: Final = "ledger-before-schema-"
UPGRADES_KEPT: Final = 2
PAGES_A_STEP: Final = 4096

OnProgress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


class BackupError(Exception):
    """No backup was made; one sentence that says why and what to do."""


def dated(at: datetime | None = None) -> str:
    """A time for the name of a file; the present one by default."""
    return (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")


def back_up(source: Path, target: Path, on_progress: OnProgress | None = None) -> None:
    """Copy a ledger, as it is at this moment, into one file that is durable when this returns.

    Parameters
    ----------
    target
        Must not exist; readable by the gateway's user only.

    Raises
    ------
    BackupError
        Nothing is left behind.
    """
    if target.exists():
        raise BackupError(f"{target} is there already; choose another name")
    try:
        make_folder(target.parent)
        with in_one_step(target) as temporary:
            temporary.touch(0o600)
            try:
                _copy(source, temporary, on_progress)
            finally:
                for suffix in ("-wal", "-shm", "-journal"):
                    temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
            sync_file(temporary)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BackupError(f"no backup could be made in {target.parent} ({why}); see to its disk") from None


def _copy(source: Path, target: Path, on_progress: OnProgress | None) -> None:
    def tell(_: int, left: int, pages: int) -> None:
        if on_progress is not None:
            on_progress(pages - left, pages)

    with (
        closing(sqlite3.connect(source, isolation_level=None, timeout=30)) as ledger,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        copy.execute("PRAGMA synchronous = OFF")  # it is flushed when it is whole
        ledger.execute("BEGIN")  # all steps see the ledger of one moment, whatever is written meanwhile
        ledger.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        ledger.backup(copy, pages=PAGES_A_STEP, progress=tell, sleep=0)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
        if findings := look_at_all(copy):
            raise BackupError(
                f"the ledger is damaged ({findings[0]}), so no backup was made; `iris ledger check` says more"
            )


def back_up_before_upgrade(ledger: Path, version: int) -> None:
    """Copy a ledger of an older schema before it is changed; the latest few such copies are kept.

    Raises
    ------
    BackupError
    """
    folder = ledger.parent / FOLDER
    for half_made in folder.glob(f".{BEFORE_UPGRADES}*.part*"):  # by a process that was killed
        half_made.unlink()
    back_up(ledger, folder / f"{BEFORE_UPGRADES}{version + 1}-{dated()}{ledger.suffix}")
    copies = sorted(folder.glob(f"{BEFORE_UPGRADES}*"), key=lambda path: path.stat().st_mtime_ns)
    for old in copies[:-UPGRADES_KEPT]:
        with suppress(OSError):
            old.unlink()
