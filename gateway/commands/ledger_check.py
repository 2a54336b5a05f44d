"""`iris ledger check`: the whole of the ledger's file, and what must hold of what it says.

It looks at one moment of the ledger, with the gateway running or not, and changes nothing.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from converter.series import parse_frame_name
from gateway.adapters.checks import Check, Verdict
from gateway.config import Config, ConfigError
from gateway.files.kept import is_there
from gateway.files.names import LEDGER_NAME
from gateway.files.site_secret import complaint_about
from gateway.ledger.records import InstanceRow
from gateway.ledger.salvage import JSON_TEXTS
from gateway.ledger.soundness import damage_of, is_damage, look_at_all
from gateway.ledger.states import JOB_OPEN, DeliveryState, StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import Transaction

OnProgress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""

EXAMPLES: Final = 3
REBUILD: Final = "stop the gateway, then `iris ledger rebuild`"


def check_ledger(config: Config, on_progress: OnProgress) -> Iterator[Check]:
    """Look at everything; where the file itself is damaged, at nothing else.

    Raises
    ------
    LedgerError
        There is none, or it is of another version.
    """
    path = config.data_dir / LEDGER_NAME
    try:
        with Ledger(path, read_only=True) as ledger:  # says it, where it is of another version
            complaint = _about_the_secret(ledger, config.secret_path)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            if damage := look_at_all(connection, thoroughly=True):
                yield from (Check("file", Verdict.FAILED, finding, REBUILD) for finding in damage)
                return
            size_mb = path.stat().st_size / 1_000_000
            yield Check("file", Verdict.OK, f"every page and index of {size_mb:.1f} MB is whole")
            yield _verdict("site secret", [complaint] if complaint else [], "it is the one of this ledger")
            look = _Look(connection, config.data_dir, on_progress)
            yield from look.at_rows()
            yield from look.at_files()
            yield look.at_states()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        yield Check("file", Verdict.FAILED, damage_of(error).partition("; ")[0], REBUILD)


def _about_the_secret(ledger: Ledger, path: Path) -> str:
    try:
        return complaint_about(ledger, path)
    except ConfigError as error:
        return str(error)


class _Look:
    """One look at one moment of the ledger."""

    def __init__(self, connection: sqlite3.Connection, data_dir: Path, on_progress: OnProgress) -> None:
        self._connection = connection
        self._data_dir = data_dir
        self._on_progress = on_progress
        self._studies = self._number("SELECT count(*) FROM studies")

    # -- rows ---------------------------------------------------------------------------------------------

    def at_rows(self) -> Iterator[Check]:
        """What rows say of each other."""
        missing = Counter(row["table"] for row in self._connection.execute("PRAGMA foreign_key_check"))
        lost = [f"{number} rows of {table} refer to missing ones" for table, number in missing.items()]
        yield _verdict("references", lost, "every row that is referred to is there", REBUILD)
        yield _verdict("texts", self._texts(), "every list and detail can be read", REBUILD)
        yield _verdict("figures", self._figures(), "they are what is there", REBUILD)
        jobs = [f"job {key}: {number} of its images are not known" for key, number in self._unknown_images()]
        fix = "send the study again, or cancel the job"
        yield _verdict("images of open jobs", jobs, "each is known", fix)

    def _texts(self) -> Iterator[str]:
        columns = self._connection.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
        )
        for table, column in columns.fetchall():
            if column in JSON_TEXTS:
                sql = f"SELECT count(*) FROM {table} WHERE NOT json_valid({column})"
                if number := self._number(sql):
                    yield f"{column} of {number} rows of {table} cannot be read"

    def _figures(self) -> Iterator[str]:
        tables = {
            "study": "studies", "job": "jobs", "delivery": "deliveries", "instance": "instances",
            "quarantine": "quarantine WHERE dismissed_at IS NULL", "correction": "corrections",
        }  # fmt: skip
        kept = {
            (row["kind"], row["state"]): row["number"]
            for row in self._connection.execute("SELECT * FROM counts WHERE number <> 0")
        }
        for kind, table in tables.items():
            state = "state" if kind in ("study", "job", "delivery", "correction") else "''"
            rows = self._connection.execute(f"SELECT {state}, count(*) FROM {table} GROUP BY 1").fetchall()
            there = {(kind, row[0]): row[1] for row in rows}
            if there != {key: number for key, number in kept.items() if key[0] == kind}:
                yield f"the number of {table.partition(' ')[0]} by state"

    def _unknown_images(self) -> Iterator[tuple[str, int]]:
        """Open jobs with the number of their images that no instance of their study is."""
        marks = ", ".join("?" for _ in JOB_OPEN)
        jobs = self._connection.execute(
            f"SELECT job_key, study_uid FROM jobs WHERE state IN ({marks})", tuple(JOB_OPEN)
        )
        for job in jobs.fetchall():
            images = self._connection.execute(
                "SELECT name FROM job_images WHERE job_key = ?", (job["job_key"],)
            )
            names = {parse_frame_name(row["name"])[0] for row in images}
            known = self._connection.execute(
                "SELECT sop_instance_uid FROM instances WHERE study_uid = ? AND is_current = 1",
                (job["study_uid"],),
            )
            unknown = len(names - {row["sop_instance_uid"] for row in known})
            if unknown or not names:
                yield job["job_key"], unknown or 1

    # -- files --------------------------------------------------------------------------------------------

    def at_files(self) -> Iterator[Check]:
        """What rows say of the disk."""
        again = "send the study again: what is lost is kept anew"
        yield _verdict("files of images", self._lost_images(), "each is there in its size", again)
        encode = "`iris retry` with the job's key makes them anew"
        yield _verdict("results to be sent", self._lost_results(), "each is there", encode)
        fix = "send the object again, or restore the folder quarantine/"
        yield _verdict("quarantine", self._lost_from_quarantine(), "each file is there", fix)

    def _lost_images(self) -> Iterator[str]:
        rows = self._connection.execute("SELECT * FROM instances WHERE is_current = 1 AND removed_at IS NULL")
        total = self._number("SELECT count(*) FROM instances WHERE is_current = 1 AND removed_at IS NULL")
        lost: Counter[str] = Counter()
        for number, row in enumerate(rows):
            if number % 1000 == 0:
                self._on_progress(number, total)
            instance = InstanceRow.of(row)
            if not is_there(self._data_dir, instance):
                lost[instance.study_uid] += 1
        return (f"study {study_uid}: {number} are not" for study_uid, number in lost.items())

    def _lost_results(self) -> Iterator[str]:
        rows = self._connection.execute(
            "SELECT DISTINCT job_key, path FROM deliveries"
            " JOIN result_objects USING (job_key, sop_instance_uid) WHERE state IN (?, ?)",
            (DeliveryState.PENDING, DeliveryState.FAILED),
        )
        return (f"job {row['job_key']}" for row in rows if not (self._data_dir / row["path"]).is_file())

    def _lost_from_quarantine(self) -> Iterator[str]:
        rows = self._connection.execute("SELECT key, path FROM quarantine")
        return (f"object {row['key'][:16]}" for row in rows if not (self._data_dir / row["path"]).is_file())

    # -- states -------------------------------------------------------------------------------------------

    def at_states(self) -> Check:
        """Whether each complete study is where its jobs and deliveries say it is."""
        return _verdict("states", self._wrong_states(), f"those of {self._studies} studies follow", REBUILD)

    def _wrong_states(self) -> Iterator[str]:
        transaction = Transaction(self._connection)  # which is not committed: nothing is written
        rows = self._connection.execute(
            "SELECT study_uid, state FROM studies WHERE state <> ?", (StudyState.RECEIVING,)
        )
        for number, row in enumerate(rows):
            if number % 100 == 0:
                self._on_progress(number, self._studies)
            try:
                state, _ = transaction.derived_state(row["study_uid"])
            except ValueError:
                yield f"study {row['study_uid']}: a job or delivery of it cannot be read"
                continue
            if state != row["state"]:
                yield f"study {row['study_uid']} is {row['state']}, and should be {state}"

    def _number(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchone()[0])


def _verdict(name: str, wrong: Iterable[str], well: str, fix: str = "") -> Check:
    """One check of what is wrong with some things: the first few by name, and how many there are."""
    found = list(wrong)
    if not found:
        return Check(name, Verdict.OK, well)
    if not fix:
        finding, _, fix = found[0].partition("; ")
        return Check(name, Verdict.FAILED, finding, fix)
    more = len(found) - EXAMPLES
    named = "; ".join(found[:EXAMPLES])
    return Check(name, Verdict.FAILED, f"{named}; and {more} more" if more > 0 else named, fix)
