"""What the page is shown in tests: a ledger with studies, and what the API is told beside it."""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from gateway.adapters.checks import Check
from gateway.api.callers.access import ADMIN, Access
from gateway.api.callers.ledger_tokens import LedgerTokens
from gateway.api.door_routes import NO_DOOR
from gateway.api.mirror_routes import NOTHING_MIRRORED
from gateway.api.probes.readiness import Readiness
from gateway.config.roles import Role
from gateway.events import Bus, JobProgressed
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, complete_study
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import utc_text
from gateway.ledger.results import record_result
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.listener.intake.archive import Archive
from gateway.listener.intake.filing import NOTHING_SAID, Intake, Said, Sender
from gateway.listener.intake.received import found
from tests.results import result_of_several

TOKEN = "a-token-of-this-test"
VIEWS = {
    "overview": "#/",
    "list": "#/studies",
    "held study": "#/studies/key0001",
    "failed study": "#/studies/key0002",
    "study under way": "#/studies/key0003",
    "quarantine": "#/quarantine",
    "destinations": "#/destinations",
    "upload": "#/upload",
    "tokens": "#/access",
}
"""Each view of the page, of what `busy` has."""
FIGURES = {
    name: {
        **{"volume_ml": ml, "mean_intensity": mean, "std_intensity": 24.5},
        **{"intensity_unit": "HU", "truncated": cut},
    }
    for name, ml, mean, cut in [
        ("spleen", 211.352, 112.4, False),
        ("liver", 1488.1, 104.9, True),
        ("kidney_left", 172.04, 141.2, False),
        ("kidney_right", 166.9, 139.77, False),
        ("urinary_bladder", 8.127, 6.9, False),
        ("aorta", 98.4, 151.3, False),
    ]
}
"""What `statistics.json` says."""


@dataclass
class Mirror:
    """What the page is told of the mirror."""

    now: dict[str, Any] = field(default_factory=lambda: dict(NOTHING_MIRRORED))

    def state(self) -> dict[str, Any]:
        return self.now

    def rebuild(self) -> dict[str, Any]:
        raise AssertionError("the page does not ask for that")


@dataclass
class Gateway:
    """A ledger with studies, and the API in front of it."""

    ledger: Ledger
    bus: Bus
    folder: Path
    readiness: Readiness = field(default_factory=lambda: Readiness(True))
    mirror: Mirror = field(default_factory=Mirror)
    door: dict[str, Any] = field(default_factory=lambda: dict(NO_DOOR))
    tried: dict[str, list[Check]] = field(default_factory=dict)
    """How a destination answers when it is tried."""
    destinations: dict[str, str] = field(
        default_factory=lambda: {"pacs": "PACS@h:104", "archive": "the folder /srv/a", "research": "R@h:104"}
    )
    intake: Intake = field(init=False)
    """What comes in by `comes`."""
    access: Access = field(init=False)
    tokens: LedgerTokens = field(init=False)
    address: str = ""
    elsewhere: str = ""
    """The origin of another server that serves `folder`."""

    def __post_init__(self) -> None:
        self.tokens = LedgerTokens(self.ledger)
        self.access = Access(TOKEN, find=self.tokens.find)
        self.intake = Intake(self.ledger, Archive(self.folder.parent), lambda uid: f"key of {uid}")
        (self.folder.parent / "incoming").mkdir()

    @property
    def signing_in(self) -> str:
        """The page's address with a code that signs an admin in, once."""
        return f"{self.address}?code={self.access.new_code(ADMIN)}"

    def located(self, job_key: str, name: str) -> Path | str | None:
        path = self.folder / job_key / name
        if self.elsewhere and path.is_file():
            return f"{self.elsewhere}/{job_key}/{name}?signed"
        return path if path.is_file() else None

    def study(self, number: int, description: str, series: int = 1) -> str:
        uid = f"1.2.826.0.1.{number}"
        header = StudyHeader(uid, f"key{number:04}", f"PID{number}", f"ACC{number}", "20260131", description)
        for of_series in range(1, series + 1):
            for image in range(1, 4):
                name = f"{uid}.{of_series}.{image}"
                arrived = ArrivedInstance(
                    header, f"{uid}.{of_series}", name, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1",
                    "CT", of_series, f"PORTAL {of_series}.0", f"instances/{name}.dcm", 1000, "h" * 64,
                    "p" * 64, "g" * 64, True, "", "PACS",
                )  # fmt: skip
                with self.ledger.transaction() as transaction:
                    store_instance(transaction, arrived, association=1)
        return uid

    def job(self, uid: str, hold: str = "", also: Sequence[str] = ()) -> str:
        """Its job for the task tissue, and one for each other task."""
        jobs = [
            PlannedJob(
                hashlib.sha256((uid + (task if number else "")).encode()).hexdigest(), f"{uid}.1",
                f"{uid}.1#1#{task}", "ct", task, {}, "threshold", 0, (f"{uid}.1.1",),
                ("pacs",), ("seg",), "h" * 64, hold,
            )
            for number, task in enumerate(["tissue", *also])
        ]  # fmt: skip
        job_key = jobs[0].job_key
        ranking = ("series 1: axial, 1 mm", "series 2: axial, 5 mm")
        volumes = (
            DecidedVolume(f"{uid}.1", 1, 3, job_key, "taken by rule ct for task tissue", (), ranking),
            DecidedVolume(
                f"{uid}.2",
                1,
                3,
                None,
                "rule ct: series 1 of the same scan ranks higher",
                can_be_used=True,
            ),
        )
        [row] = self.ledger.read("SELECT generation FROM studies WHERE study_uid = ?", (uid,))
        with self.ledger.transaction() as transaction:
            complete_study(
                transaction, StudyPlan(uid, row["generation"], tuple(jobs), volumes), evidence="released"
            )
        return job_key

    def move(self, job_key: str, event: JobEvent, reason: str = "") -> None:
        with self.ledger.transaction() as transaction:
            transaction.move_job(job_key, event, reason=reason)

    def progress(self, job_key: str, uid: str, fraction: float) -> None:
        with self.ledger.transaction() as transaction:
            transaction.update("jobs", "job_key", job_key, {"stage": "segment", "fraction": fraction})
            transaction.publish(JobProgressed(job_key, uid, "segment", fraction))

    def encode(self, job_key: str, outputs: Sequence[str] = ("seg",), to: Sequence[str] = ("pacs",)) -> str:
        self.move(job_key, JobEvent.SEGMENTED)
        uid = f"2.25.{int(job_key[:12], 16)}"
        result = result_of_several(outputs, uid, "h" * 64)
        with self.ledger.transaction() as transaction:
            record_result(transaction, transaction.job(job_key), result, lambda _: to)
        rows = self.ledger.read("SELECT key FROM deliveries WHERE job_key = ?", (job_key,))
        return str(rows[0]["key"])

    def deliveries(self) -> list[tuple[str, str, str]]:
        rows = self.ledger.read("SELECT job_key, destination, state FROM deliveries ORDER BY rowid")
        return [tuple(row) for row in rows]

    def comes(self, content: bytes, said: Said = NOTHING_SAID, sender: str = "PACS") -> None:
        """An object comes in, whatever it is."""
        path = self.intake.data_dir / "incoming" / "came.part"
        path.write_bytes(content)
        self.intake.file(found(path), Sender(sender, 1), said)
        path.unlink(missing_ok=True)

    def picture(self, job_key: str) -> str:
        """Give the job a preview and figures; its key."""
        (self.folder / job_key).mkdir(parents=True)
        (self.folder / job_key / "preview.png").write_bytes(_png(480, 240))
        (self.folder / job_key / "statistics.json").write_text(json.dumps(FIGURES))
        return job_key

    def spread(self, *seconds: float) -> None:
        """Let the lines of the timeline lie so far apart, the last ones all at the end."""
        begun, steps = datetime.now(UTC) - timedelta(seconds=sum(seconds)), iter(seconds)
        with self.ledger.transaction() as transaction:
            for row in self.ledger.read("SELECT seq FROM events ORDER BY seq"):
                transaction.execute("UPDATE events SET at = ? WHERE seq = ?", (utc_text(begun), row["seq"]))
                begun += timedelta(seconds=next(steps, 0.0))

    def state(self, job_key: str) -> str:
        return str(self.ledger.read("SELECT state FROM jobs WHERE job_key = ?", (job_key,))[0]["state"])


def _png(width: int, height: int) -> bytes:
    """A grey picture (PNG, ISO/IEC 15948)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    rows = b"".join(b"\0" + bytes((x + y) % 256 for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def page_of(role: Role, browser: Browser, gateway: Gateway, **window: int) -> Page:
    """The page in a window of its own, signed in by a token of that role."""
    made = gateway.tokens.create(f"some-{role}", role, None)
    page = browser.new_context(viewport={"width": 1280, "height": 900, **window}).new_page()
    page.goto(gateway.address)
    page.get_by_label("Token").fill(made["token"])
    page.get_by_role("button", name="Sign in").click()
    return page


def say_yes(page: Page, words: str, button: str) -> None:
    """Read what will happen, and mean it."""
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(words)).to_be_visible()
    dialog.get_by_role("button", name=button).click()


def picture(page: Page, name: str) -> None:
    """Keep a picture for a person to look at, where one is wished for."""
    folder = os.environ.get("IRIS_TEST_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def cut_off(page: Page) -> list[list[int]]:
    """How wide each table is that does not fit into its place, and the place."""
    widths = "[...document.querySelectorAll('.records')].map((one) => [one.scrollWidth, one.clientWidth])"
    found: list[list[int]] = page.evaluate(widths)
    assert found
    return [each for each in found if each[0] > each[1]]
