"""Makes the data directory of a gateway that has seen very many studies: a ledger of schema 4, and no files.

It is that of the version before the ledger was made for such numbers, so whoever opens it migrates it, too.
What lies in it looks like a year of routine: almost everything is delivered, little failed or waits for a
person, nothing is open. UIDs are as long as real ones, and those of different studies come in no order.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import ROOT

LEDGER_NAME: Final = "ledger.sqlite"
SCHEMA: Final = 4
BEGIN: Final = datetime(2025, 1, 1, 6)  # noqa: DTZ001 - UTC, which the text says
EVERY_S: Final = 300
STUDIES_AT_ONCE: Final = 500
ONE_IN: Final = 100
"""Of so many studies one has a job that failed, one a job that is held, one an object in quarantine."""
STEPS: Final = ("planned", "converted", "staged", "submitted", "queued", "started", "segmented", "encoded")

Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much the gateway has seen."""

    studies: int
    instances: int
    """Of each study, in two series."""
    long_timeline: int = 0
    """Further lines in the timeline of the first study."""


def make_large_ledger(data_dir: Path, size: Size) -> Path:
    """Write the ledger; its path.

    Raises
    ------
    FileExistsError
        There is one already.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / LEDGER_NAME
    path.touch(exist_ok=False)
    connection = sqlite3.connect(path, isolation_level=None)
    for number in range(1, SCHEMA + 1):
        name = "schema.sql" if number == 1 else f"schema_{number}.sql"
        connection.executescript((ROOT / "gateway" / "ledger" / name).read_text(encoding="utf-8"))
    # Nobody else reads it yet, and a power cut costs a minute.
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("BEGIN")
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    made_at_the_end = connection.execute(indexes).fetchall()
    for name, _ in made_at_the_end:
        connection.execute(f"DROP INDEX {name}")
    for first in range(0, size.studies, STUDIES_AT_ONCE):
        numbers = range(first, min(size.studies, first + STUDIES_AT_ONCE))
        _insert_studies(connection, [_MadeUp(number, size.instances) for number in numbers])
    _insert(connection, "events", _MadeUp(0, 1).tries(size.long_timeline))
    for _, sql in made_at_the_end:
        connection.execute(sql)
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    secret = data_dir / "site-secret"  # a ledger that knows something must have one
    secret.write_text(f"{_digest('secret')}\n")
    secret.chmod(0o600)
    return path


def study_uid_of(number: int) -> str:
    """The Study Instance UID of the study with this number, from 0 on."""
    return _uid("study", number)


class _MadeUp:
    """One study with all its rows."""

    def __init__(self, number: int, instances: int) -> None:
        self.number = number
        self.images = instances
        self.study_uid = study_uid_of(number)
        self.job_key = _digest("job", number)
        self.series_uids = [_uid("series", number, of) for of in range(2)]
        self.instance_uids = [f"{self.series_uids[of >= instances / 2]}.{of + 1}" for of in range(instances)]
        self.result_uid = _uid("result", number)
        self.delivery_key = _digest("delivery", number)[:32]
        self.result_path = f"results/{self.job_key}/{self.result_uid}.dcm"
        self.job_state = {1: "failed", 2: "quarantined"}.get(number % ONE_IN, "delivered")
        self.reason = {
            "failed": "the engine found no input that it can read; look at the series",
            "quarantined": "one slice is missing; send it, or release the job",
        }.get(self.job_state, "")

    @cached_property
    def _begins(self) -> datetime:
        return BEGIN + timedelta(seconds=EVERY_S * self.number)

    def _at(self, seconds: float) -> str:
        return (self._begins + timedelta(seconds=seconds)).isoformat(timespec="microseconds") + "Z"

    def study(self) -> Row:
        return {
            "study_uid": self.study_uid,
            "study_key": _digest("key", self.number)[:32],
            "state": "failed" if self.reason else "done",  # schema 4 knows no study that is held
            "reason": self.reason or "delivered",
            "patient_id": f"PID{self.number:08}",
            "accession_number": f"ACC{self.number:08}",
            "study_date": f"{self._begins:%Y%m%d}",
            "study_description": "CT thorax and abdomen",
            "received_at": self._at(0),
            "last_instance_at": self._at(20),
            "updated_at": self._at(200),
            "completed_at": self._at(26),
            "evidence": "released",
            "evidence_at": self._at(21),
            "generation": self.images,
        }

    def instances(self) -> Iterator[Row]:
        digest_of_study = _digest("study", self.number)
        folder = f"instances/{digest_of_study[:32]}"
        for of, uid in enumerate(self.instance_uids):
            second = of >= self.images / 2
            digest = f"{of * 2654435761 % 2**32:08x}{digest_of_study[8:]}"
            yield {
                "sop_instance_uid": uid,
                "revision": 1,
                "is_current": 1,
                "study_uid": self.study_uid,
                "series_uid": self.series_uids[second],
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "modality": "CT",
                "series_number": 2 + second,
                "series_description": "thorax 1.25 mm hard" if second else "thorax 1.25 mm soft",
                "path": f"{folder}/{digest[:32]}-{digest[:16]}.dcm",
                "size_bytes": 526_000,
                "header_sha256": digest,
                "pixel_sha256": digest[::-1],
                "geometry_sha256": digest,
                "of_use": 1,
                "why_not": "",
                "sender": "PACS",
                "received_at": self._at(of / 10),
            }

    def job(self) -> Row:
        made = self.job_state == "delivered"
        return {
            "job_key": self.job_key,
            "study_uid": self.study_uid,
            "series_uid": self.series_uids[0],
            "slot": f"{self.series_uids[0]}#1#total",
            "rule": "ct",
            "task": "total",
            "options": '{"fast": false}',
            "engine": "totalsegmentator",
            "priority": 0,
            "instance_uids": json.dumps(self.instance_uids),
            "send_to": '["pacs"]',
            "state": self.job_state,
            "resume_state": None if made else "planned",
            "reason": self.reason,
            "run": 1,
            "stage": "done",
            "fraction": 1.0,
            "header_sha256": _digest("header", self.number),
            "labels_sha256": _digest("labels", self.number) if made else None,
            "segmented_at": self._at(180) if made else None,
            "encoded_path": self.result_path if made else None,
            "encoded_sha256": _digest("encoded", self.number) if made else None,
            "encoded_uid": self.result_uid if made else None,
            "created_at": self._at(26),
            "updated_at": self._at(200),
        }

    def deliveries(self) -> Iterator[Row]:
        if self.job_state == "delivered":
            yield {
                "key": self.delivery_key,
                "job_key": self.job_key,
                "study_uid": self.study_uid,
                "destination": "pacs",
                "path": self.result_path,
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.66.4",
                "sop_instance_uid": self.result_uid,
                "state": "sent",
                "attempts": 1,
                "created_at": self._at(190),
                "pending_since": self._at(190),
                "updated_at": self._at(200),
            }

    def volume(self) -> Row:
        return {
            "study_uid": self.study_uid,
            "series_uid": self.series_uids[0],
            "number": 1,
            "images": self.images,
            "job_key": self.job_key,
            "why": "taken by rule ct",
            "ranking": '["series 2: axial, 1.25 mm, soft kernel", "series 3: axial, 1.25 mm, hard kernel"]',
        }

    def events(self) -> Iterator[Row]:
        for seconds, event in ((0, "study.instance_stored"), (21, "association.released")):
            yield self._event(seconds, event, sender="PACS")
        yield self._event(26, "study.completed", evidence="released", jobs=1)
        for step, event in enumerate(STEPS):
            yield self._event(26 + 20 * step, f"job.{event}", self.job_key, rule="ct", task="total", run=1)
        for event in ("planned", "sent"):
            yield self._event(190, f"delivery.{event}", self.job_key, self.delivery_key, destination="pacs")
        yield self._event(200, "job.delivered", self.job_key)
        yield self._event(200, "study.finished", reason="delivered")

    def tries(self, number: int) -> Iterator[Row]:
        """Lines of one thing that was tried again very often."""
        for count in range(number):
            reason = "the PACS does not answer"
            yield self._event(200 + count, "job.put_off", self.job_key, reason=reason, delay_s=300.0)

    def _event(
        self, seconds: float, event: str, job: str | None = None, delivery: str | None = None, **detail: Any
    ) -> Row:
        return {
            "at": self._at(seconds),
            "study_uid": self.study_uid,
            "job_key": job,
            "delivery_key": delivery,
            "event": event,
            "detail": json.dumps(detail),
        }

    def put_aside(self) -> Iterator[Row]:
        if self.number % ONE_IN == 0:
            yield {
                "key": _digest("aside", self.number),
                "reason": "same_uid_other_pixels",
                "sentence": "the same SOP Instance UID is kept with other pixels",
                "path": f"quarantine/{_digest('aside', self.number)}.dcm",
                "study_uid": self.study_uid,
                "sop_instance_uid": self.instance_uids[0],
                "sender": "PACS",
                "first_at": self._at(0),
                "last_at": self._at(0),
            }


def _insert_studies(connection: sqlite3.Connection, studies: list[_MadeUp]) -> None:
    _insert(connection, "studies", (study.study() for study in studies))
    _insert(connection, "instances", chain.from_iterable(study.instances() for study in studies))
    _insert(connection, "jobs", (study.job() for study in studies))
    _insert(connection, "deliveries", chain.from_iterable(study.deliveries() for study in studies))
    _insert(connection, "volumes", (study.volume() for study in studies))
    _insert(connection, "events", chain.from_iterable(study.events() for study in studies))
    _insert(connection, "quarantine", chain.from_iterable(study.put_aside() for study in studies))


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """Insert rows that all have the same columns."""
    rows = iter(rows)
    first = next(rows, None)
    if first is not None:
        marks = ", ".join(f":{column}" for column in first)
        sql = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({marks})"
        connection.executemany(sql, chain([first], rows))


def _digest(*of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()


def _uid(*of: object) -> str:
    return f"1.2.826.0.1.3680043.8.498.{int(_digest(*of)[:28], 16):034d}"
