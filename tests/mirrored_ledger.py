"""A ledger with made-up studies and the worker that mirrors it into a DynamoDB table of moto's."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config as ClientConfig

from gateway.adapters.aws.dynamodb import DynamoMirror, table_definition
from gateway.adapters.mirror import Mirror
from gateway.events import Bus
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, StudyHeader, association_closed, store_instance
from gateway.ledger.outbox import backlog_of, due_changes, switch_mirror
from gateway.ledger.records import utc_now
from gateway.ledger.results import record_result
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.mirror.control import MirrorControl
from gateway.mirror.counting import CountsWorker
from gateway.mirror.details import ConfiguredNames
from gateway.mirror.items import Items
from gateway.mirror.worker import MirrorWorker
from tests.results import result_of_one

KEEP_DAYS = 90
NAMES = ConfiguredNames(
    destinations=frozenset({"pacs"}), rules=frozenset({"ct"}), tasks=frozenset({"tissue"})
)


SCAN_TIMEOUT_S = 120
"""A double takes long to look through ten thousand items."""


def dynamodb(url: str, *, tries: int = 1, read_timeout_s: float = 10) -> Any:
    """A client that asks once: what a test refuses should come out at once."""
    retries: Any = {"mode": "standard", "total_max_attempts": tries}
    config = ClientConfig(retries=retries, read_timeout=read_timeout_s, max_pool_connections=16)
    return boto3.client("dynamodb", endpoint_url=url, region_name="us-east-1", config=config)


def make_table(url: str) -> str:
    """A new table; its name."""
    name = f"iris-{uuid.uuid4().hex[:12]}"
    dynamodb(url, tries=4).create_table(**table_definition(name))
    return name


def items_in(url: str, table: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Everything in a table, by its keys."""
    plain = TypeDeserializer().deserialize
    pages = (
        dynamodb(url, tries=4, read_timeout_s=SCAN_TIMEOUT_S).get_paginator("scan").paginate(TableName=table)
    )
    found = [{k: plain(v) for k, v in item.items()} for page in pages for item in page["Items"]]
    return {(item["pk"], item["sk"]): item for item in found}


@dataclass
class MirroredLedger:
    """One ledger, and the table that it is mirrored into by way of `url`."""

    path: Path
    url: str
    table: str
    wrap: Callable[[Mirror], Mirror] = lambda mirror: mirror
    site: str = "test"
    prefix: str = ""
    bus: Bus = field(default_factory=Bus)

    def open(self, *, is_on: bool = True) -> None:
        """Open the ledger as a gateway does that starts."""
        self.ledger = Ledger(self.path, self.bus)
        switch_mirror(self.ledger, is_on=is_on, keep_days=KEEP_DAYS)
        mirror = self.wrap(DynamoMirror(dynamodb(self.url), self.table))
        items = Items(self.ledger, self.site, NAMES, KEEP_DAYS, self.prefix)
        self.worker = MirrorWorker(self.ledger, self.bus, mirror, items)
        self.counts = CountsWorker(self.ledger, self.bus, mirror, self.site)
        self.control = MirrorControl(self.ledger, self.worker, KEEP_DAYS)

    def close(self) -> None:
        self.ledger.close()

    def restart(self) -> None:
        self.close()
        self.open()

    # -- what happens -------------------------------------------------------------------------------------

    def study(self, number: int = 1, images: int = 2) -> str:
        """A study whose association was released; its UID."""
        uid = f"1.2.826.0.1.{number}"
        header = StudyHeader(uid, f"key{number:04}", f"PID{number}", f"ACC{number}", "20260131", "CT ABDOMEN")
        with self.ledger.transaction() as transaction:
            for image in range(1, images + 1):
                name = f"{uid}.1.{image}"
                arrived = ArrivedInstance(
                    header, f"{uid}.1", name, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "CT", 2,
                    "PORTAL 3.0", f"instances/{name}.dcm", 1000, "h" * 64, "p" * 64, "g" * 64, True, "",
                    "TELLTALE-AE",
                )  # fmt: skip
                store_instance(transaction, arrived, association=1)
            association_closed(transaction, [uid], released=True, sender="TELLTALE-AE")
        return uid

    def job(self, study_uid: str) -> str:
        """The study completed with one job; its key."""
        job_key = f"job-of-{study_uid.rpartition('.')[2]}"
        planned = PlannedJob(
            job_key, f"{study_uid}.1", f"{study_uid}.1#1#tissue", "ct", "tissue", {}, "threshold", 0,
            (f"{study_uid}.1.1",), ("pacs",), ("seg",), "h" * 64,
        )  # fmt: skip
        [row] = self.ledger.read("SELECT generation FROM studies WHERE study_uid = ?", (study_uid,))
        plan = StudyPlan(study_uid, row["generation"], (planned,), ())
        with self.ledger.transaction() as transaction:
            complete_study(transaction, plan, evidence="released")
        return job_key

    def move(self, job_key: str, *events: JobEvent, **given: Any) -> None:
        for event in events:
            with self.ledger.transaction() as transaction:
                transaction.move_job(job_key, event, **given)

    def progress(self, job_key: str, fraction: float) -> None:
        with self.ledger.transaction() as transaction:
            transaction.update("jobs", "job_key", job_key, {"stage": "segment", "fraction": fraction})

    def encode(self, job_key: str) -> str:
        """The job segmented and encoded; the key of its delivery."""
        self.move(job_key, JobEvent.SEGMENTED, columns={"labels_sha256": "s" * 64})
        result = result_of_one("results/a.dcm", "2.25.7", "h" * 64)
        with self.ledger.transaction() as transaction:
            record_result(transaction, transaction.job(job_key), result, lambda _: ["pacs"])
        return str(self.ledger.read("SELECT key FROM deliveries WHERE job_key = ?", (job_key,))[0]["key"])

    def age(self, seconds: float) -> None:
        """Let everything that waits be due that much sooner."""
        with self.ledger.transaction() as transaction:
            transaction.execute(
                "UPDATE mirror_outbox SET due_at ="
                " strftime('%Y-%m-%dT%H:%M:%f', due_at, ? || ' seconds') || '000Z'",
                (-seconds,),
            )

    # -- what is mirrored ---------------------------------------------------------------------------------

    def ship(self) -> None:
        """Let the worker look once when all is due, whatever it was refused before."""
        with self.ledger.transaction() as transaction:
            transaction.execute("UPDATE mirror_outbox SET due_at = min(due_at, ?)", (utc_now(),))
        self.worker.try_now()
        self.worker.work()

    def waiting(self) -> int:
        return backlog_of(self.ledger).waiting

    def due(self) -> list[tuple[str, str]]:
        return [(change.kind.value, change.key) for change in due_changes(self.ledger, 1000)]

    def items(self) -> dict[tuple[str, str], dict[str, Any]]:
        return items_in(self.url, self.table)

    def item(self, sort: str = "STUDY", number: int = 1) -> dict[str, Any]:
        return self.items()[f"STUDY#key{number:04}", sort]

    def event_numbers(self) -> list[int]:
        """The lines of every timeline that belongs to a study."""
        return [row["seq"] for row in self.ledger.read("SELECT seq FROM events WHERE study_uid IS NOT NULL")]
