"""`iris ledger rebuild`: a new ledger of what can be read of the old one, and of the files that are kept.

The old one is set aside, never removed, and only when the new one is whole and durable. Killed at any instant
before that, nothing has changed; in the last step, the next `iris ledger rebuild` ends it.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.adapters.durable import make_folder, sync_file, sync_folder
from gateway.config import Config
from gateway.events import Bus, Event, InstanceStored
from gateway.files.names import LEDGER_NAME
from gateway.files.site_secret import site_secret
from gateway.ledger.backup import FOLDER, dated
from gateway.ledger.instances import RefusedObject, put_aside
from gateway.ledger.mending import make_whole, mend_rows
from gateway.ledger.migrations import migrate
from gateway.ledger.salvage import Carried, carry_over, readable_version
from gateway.ledger.soundness import look_at_all
from gateway.ledger.store import REBUILT_NAME, Ledger, locked
from gateway.listener.intake.adoption import Adoption
from gateway.listener.intake.archive import Archive
from gateway.listener.intake.filing import FOUND, Intake

IN_WORK: Final = "ledger.rebuilding.sqlite"
ASIDE: Final = "ledger-set-aside-"
KEPT: Final = (LEDGER_NAME, REBUILT_NAME, "instances", "quarantine", "uploads")
"""What a ledger can be made of, and the ledger itself."""
LOGS: Final = ("-wal", "-shm")
"""What SQLite has beside a file, by the ends of their names."""

FOUND_AGAIN: Final = (
    "why it was put aside is not known any more, since the ledger was made anew; look at it, or send it again"
)

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and of how much."""


class RebuildFailed(Exception):
    """There is no new ledger; one sentence that says why and what to do. The old one stands where it was."""


@dataclass
class Rebuilt:
    """What became of a rebuild."""

    carried: list[Carried] = field(default_factory=list)
    adopted: int = 0
    """Files in instances/ that were filed anew."""
    put_aside: int = 0
    """Files in quarantine/ of which it is not known any more why they are there."""
    begun_anew: int = 0
    """Studies of which something was missing."""
    trouble: str = ""
    """What could not be read of the archive."""
    set_aside: Path | None = None
    is_finished_only: bool = False
    """The new ledger had been made before, and only took its place now."""
    backups: tuple[Path, ...] = ()
    """Copies of the ledger that are there, the latest first."""

    def lines(self) -> Iterator[str]:
        """What was carried over and what was not, for whoever asked for it."""
        if self.is_finished_only:
            yield "a rebuild that was ended in its last step is finished"
            return
        for table in self.carried:
            if table.rows or not table.is_all:
                yield f"{table.table}: {table.rows} rows{'' if table.is_all else '; others cannot be read'}"
        if not self.carried:
            yield "nothing can be read of the old ledger: all is made anew of the files that are kept"
            if self.backups:
                yield f"`iris ledger rebuild --from {self.backups[0]}` would take over what that backup holds"
        if not any(table.is_all for table in self.carried if table.table == "deliveries"):
            yield "deliveries that are not known any more are made again, under the same UIDs"
        if self.adopted:
            yield f"{self.adopted} images were filed anew"
        if self.put_aside:
            yield f"{self.put_aside} objects in quarantine: it is not known any more why"
        if self.begun_anew:
            yield f"{self.begun_anew} studies of which something is missing are planned again"
        if self.trouble:
            yield self.trouble
        if self.set_aside is not None:
            yield f"the old ledger is now {self.set_aside}; remove it when all is well"


def rebuild_ledger(config: Config, on_progress: OnProgress, source: Path | None = None) -> Rebuilt:
    """Make the ledger anew.

    Parameters
    ----------
    source
        A backup that rows are taken of; by default the ledger itself.

    Raises
    ------
    RebuildFailed, LedgerError, ConfigError, OSError, sqlite3.Error
    """
    data_dir = config.data_dir
    path, rebuilt = data_dir / LEDGER_NAME, Rebuilt()
    if source is not None and readable_version(source) is None:
        raise RebuildFailed(f"{source} is no ledger that can be read; name another backup")
    if source is None and not any((data_dir / name).exists() for name in KEPT):
        raise RebuildFailed(f"there is nothing to make a ledger of in {data_dir}; look at site.data_dir")
    make_folder(data_dir)
    with locked(path.with_suffix(".lock")):
        rebuilt.is_finished_only = (data_dir / REBUILT_NAME).exists()
        if not rebuilt.is_finished_only:
            _remove(data_dir / IN_WORK)
            try:
                _make(config, source or path, rebuilt, on_progress)
            finally:
                _remove(data_dir / IN_WORK)  # of one that fails; it may be what fills the disk
        rebuilt.set_aside = _put_in_place(data_dir)
    backups = (path for path in (data_dir / FOLDER).glob("ledger-*.sqlite") if ASIDE not in path.name)
    rebuilt.backups = tuple(sorted(backups, key=lambda path: -path.stat().st_mtime_ns))
    return rebuilt


def _make(config: Config, source: Path, rebuilt: Rebuilt, on_progress: OnProgress) -> None:
    """Make the new ledger beside the old one, whole and durable, under the name that says so."""
    data_dir, target = config.data_dir, config.data_dir / IN_WORK
    version = readable_version(source)
    for carried in carry_over(source, target, version) if version else ():
        rebuilt.carried.append(carried)
        on_progress(f"read {carried.table}", len(rebuilt.carried), 0)
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        migrate(connection, must_hold=False)
    with Ledger(target) as ledger:
        secret = site_secret(ledger, config.secret_path)

        def study_key_of(study_uid: str) -> str:
            return secret.study_key(config.site.name, study_uid)

        with ledger.transaction() as transaction:
            mend_rows(transaction, study_key_of)
        _file_what_is_kept(ledger, data_dir, study_key_of, rebuilt, on_progress)
        rebuilt.begun_anew = make_whole(
            ledger,
            lambda job_key: any((data_dir / "results" / job_key).glob("*.dcm")),
            lambda done, total: on_progress("deriving states", done, total),
        )
        with ledger.transaction() as transaction:
            transaction.note("ledger.rebuilt", files=rebuilt.adopted, studies=rebuilt.begun_anew)
    _finish(target)


def _file_what_is_kept(
    ledger: Ledger,
    data_dir: Path,
    study_key_of: Callable[[str], str],
    rebuilt: Rebuilt,
    on_progress: OnProgress,
) -> None:
    """Take in what lies in the archive and in quarantine without the new ledger knowing it."""
    archive, bus = Archive(data_dir), Bus()
    unknown = sum(1 for _ in archive.instances.glob("*/*.dcm"))
    unknown -= ledger.read("SELECT count(*) AS known FROM instances")[0]["known"]

    def tell(event: Event) -> None:
        if isinstance(event, InstanceStored):
            rebuilt.adopted += 1
            on_progress("filing images", rebuilt.adopted, max(unknown, rebuilt.adopted))

    bus.subscribe(tell)
    adoption = Adoption(ledger, archive, Intake(ledger, archive, study_key_of), bus, is_alone=True)
    adoption.work()
    rebuilt.adopted, rebuilt.trouble = adoption.adopted, adoption.trouble
    for path in (data_dir / "quarantine").glob("*.dcm"):
        name = str(path.relative_to(data_dir))
        if not ledger.read("SELECT 1 FROM quarantine WHERE path = ? LIMIT 1", (name,)):
            refused = RefusedObject(path.stem, "found_again", FOUND_AGAIN, name, None, None, FOUND.ae_title)
            with ledger.transaction() as transaction:
                put_aside(transaction, refused)
            rebuilt.put_aside += 1


def _finish(target: Path) -> None:
    """Give the new ledger the name that says that it is whole; it is durable then."""
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if findings := look_at_all(connection):
            raise RebuildFailed(
                f"what was written is damaged ({findings[0]}); look at the disk below {target}"
            )
    sync_file(target)
    target.replace(target.with_name(REBUILT_NAME))
    sync_folder(target.parent)
    _remove(target)


def _put_in_place(data_dir: Path) -> Path | None:
    """Set the old ledger aside, its log first, and let the new one take its place; where the old one is then.

    As long as the new one has the name that says that it is whole, this goes on where it was.
    """
    new, aside_folder = data_dir / REBUILT_NAME, data_dir / FOLDER
    make_folder(aside_folder)
    made_at = datetime.fromtimestamp(new.stat().st_mtime, UTC)
    aside = aside_folder / f"{ASIDE}{dated(made_at)}{new.suffix}"
    for end in (*LOGS, ""):
        old = data_dir / f"{LEDGER_NAME}{end}"
        if old.exists():
            old.replace(aside.with_name(f"{aside.name}{end}"))
    sync_folder(aside_folder)
    sync_folder(data_dir)
    new.replace(data_dir / LEDGER_NAME)
    sync_folder(data_dir)
    return aside if aside.exists() else None


def _remove(database: Path) -> None:
    for end in ("", *LOGS):
        database.with_name(f"{database.name}{end}").unlink(missing_ok=True)
    database.with_suffix(".lock").unlink(missing_ok=True)
