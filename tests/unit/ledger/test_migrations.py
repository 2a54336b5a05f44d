"""Ledgers of older versions are brought up to date whole, also when that is killed, and backed up before."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from gateway.ledger import migrations
from gateway.ledger.backup import BEFORE_UPGRADES, FOLDER, UPGRADES_KEPT
from gateway.ledger.migrations import SCHEMAS, migrate, names_of, version_of
from gateway.ledger.soundness import damage_in, schema_names
from gateway.ledger.store import Ledger, LedgerError

OLD = 4
STUDIES, IMAGES = 400, 20
KILLS = 8
OPEN = """
import sys
from pathlib import Path
from gateway.ledger.store import Ledger
Ledger(Path(sys.argv[1])).close()
print(next(line.split()[1] for line in Path("/proc/self/status").open() if line.startswith("VmHWM")))
"""


NOW = "'2026-11-01T10:00:00.000000Z'"
FILL = f"""
BEGIN;
CREATE TEMP TABLE s AS
    WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s LIMIT :studies) SELECT n FROM s;
CREATE TEMP TABLE i AS
    WITH RECURSIVE i (m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM i LIMIT :images) SELECT m FROM i;
INSERT INTO studies (study_uid, study_key, state, received_at, last_instance_at, updated_at)
    SELECT '1.' || n, 'key ' || n, 'done', {NOW}, {NOW}, {NOW} FROM s;
INSERT INTO instances (sop_instance_uid, revision, is_current, study_uid, series_uid, sop_class_uid,
    transfer_syntax_uid, path, size_bytes, header_sha256, pixel_sha256, geometry_sha256, of_use, sender,
    received_at)
    SELECT '1.' || n || '.' || m, 1, 1, '1.' || n, '1.' || n || '.0', '1.2', '1.2',
    'instances/' || n || '/' || m, 1, hex(randomblob(32)), hex(randomblob(32)), 'g', 1, 'PACS', {NOW}
    FROM s, i;
INSERT INTO jobs (job_key, study_uid, series_uid, slot, rule, task, options, engine, priority, instance_uids,
    send_to, state, header_sha256, encoded_path, encoded_sha256, encoded_uid, created_at, updated_at)
    SELECT 'job ' || n, '1.' || n, '1.' || n || '.0', 'slot', 'ct', 'tissue', '{{}}', 'threshold', 0,
    (SELECT json_group_array('1.' || n || '.' || m) FROM i), '["pacs"]', 'delivered', 'h', 'results/' || n,
    'sha', '2.25.' || n, {NOW}, {NOW} FROM s;
INSERT INTO deliveries (key, job_key, study_uid, destination, path, sop_class_uid, sop_instance_uid, state,
    created_at, pending_since, updated_at)
    SELECT 'to ' || n, 'job ' || n, '1.' || n, 'pacs', 'results/' || n, '1.2.3', '2.25.' || n, 'sent', {NOW},
    {NOW}, {NOW} FROM s;
INSERT INTO events (at, study_uid, event) SELECT {NOW}, '1.' || n, 'study.' || m FROM s, i;
COMMIT;
"""
"""Studies of schema 4, each with its images, a job on them, an object and its delivery, and a timeline."""


def old_ledger(path: Path, studies: int = STUDIES, images: int = IMAGES) -> Path:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, OLD)
        connection.executescript(FILL.replace(":studies", str(studies)).replace(":images", str(images)))
    return path


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return old_ledger(tmp_path / "ledger.sqlite")


def _backups(path: Path) -> list[Path]:
    return sorted((path.parent / FOLDER).glob(f"{BEFORE_UPGRADES}*"))


def _counted(path: Path, *tables: str) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]


def test_ledger_that_is_killed_while_it_is_brought_up_to_date_keeps_everything(ledger_path: Path) -> None:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", OPEN, old_ledger(ledger_path.with_name("other.sqlite"))], check=True
    )
    whole_s = time.monotonic() - began
    chance = random.Random(20261129)
    killed = 0
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", OPEN, ledger_path])
        try:
            assert process.wait(chance.uniform(0.3, 1.0) * whole_s) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        assert damage_in(ledger_path) == []
        with closing(sqlite3.connect(ledger_path)) as connection:
            assert schema_names(connection) == names_of(version_of(connection))
    assert killed
    with Ledger(ledger_path) as ledger:
        assert ledger.read("PRAGMA foreign_key_check") == []
    tables = ("studies", "instances", "jobs", "job_images", "result_objects", "deliveries", "events")
    of_images = STUDIES * IMAGES
    assert _counted(ledger_path, *tables) == [
        STUDIES, of_images, STUDIES, of_images, STUDIES, STUDIES, of_images,
    ]  # fmt: skip


def test_ledger_of_an_older_version_is_backed_up_before_it_is_changed(ledger_path: Path) -> None:
    Ledger(ledger_path).close()
    (backup,) = _backups(ledger_path)
    assert backup.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(backup)) as connection:
        assert version_of(connection) == OLD
    assert _counted(backup, "studies", "instances") == [STUDIES, STUDIES * IMAGES]
    assert {path.name for path in backup.parent.iterdir()} == {backup.name}


def test_ledger_that_is_up_to_date_or_new_is_not_backed_up(tmp_path: Path) -> None:
    for _ in range(2):
        Ledger(tmp_path / "ledger.sqlite").close()
    assert _backups(tmp_path / "ledger.sqlite") == []


def test_backups_before_upgrades_are_removed_but_for_the_latest(ledger_path: Path) -> None:
    folder = ledger_path.parent / FOLDER
    folder.mkdir()
    for number in range(UPGRADES_KEPT + 1):
        (folder / f"{BEFORE_UPGRADES}{number}.sqlite").touch()
    by_hand = folder / "ledger-20260101T000000Z.sqlite"
    by_hand.touch()
    Ledger(ledger_path).close()
    assert len(_backups(ledger_path)) == UPGRADES_KEPT
    assert by_hand.exists()


def test_ledger_that_cannot_be_backed_up_is_not_changed(ledger_path: Path) -> None:
    (ledger_path.parent / FOLDER).touch()  # where the folder should be
    with pytest.raises(LedgerError, match="without a backup"):
        Ledger(ledger_path)
    with closing(sqlite3.connect(ledger_path)) as connection:
        assert version_of(connection) == OLD


def test_ledger_whose_rows_refer_to_missing_ones_stays_as_it_was(ledger_path: Path) -> None:
    with closing(sqlite3.connect(ledger_path)) as connection:
        connection.execute("DELETE FROM studies WHERE study_uid = '1.1'")
        connection.commit()
    with pytest.raises(LedgerError, match=r"missing.*iris ledger rebuild"):
        Ledger(ledger_path)
    with closing(sqlite3.connect(ledger_path)) as connection:
        assert version_of(connection) == OLD


def test_migration_that_fails_in_the_middle_leaves_the_version_before(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(ledger_path)) as connection:
        connection.execute("CREATE TABLE counts (a)")  # in the way of one that is made last
        with pytest.raises(sqlite3.Error):
            migrations.migrate(connection)
    with closing(sqlite3.connect(ledger_path)) as connection:
        connection.execute("DROP TABLE counts")
        assert schema_names(connection) == names_of(OLD)


@pytest.mark.long
def test_memory_stays_flat_for_a_ledger_of_a_million_images(tmp_path: Path) -> None:
    path = old_ledger(tmp_path / "ledger.sqlite", 10_000, 100)
    done = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=True)
    peak_kb = int(done.stdout.split()[-1])
    assert peak_kb < 100_000
    with closing(sqlite3.connect(path)) as connection:
        assert version_of(connection) == len(SCHEMAS)
