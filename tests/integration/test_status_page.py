"""The status page in a real browser: sign-in, list, one study, live changes, buttons, no errors."""

import hashlib
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.adapters.queue import Lane
from gateway.api.access import Access
from gateway.api.app import create_api
from gateway.api.door_routes import NO_DOOR
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.mirror_routes import NOTHING_MIRRORED
from gateway.api.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.events import Bus, JobChanged, JobProgressed
from gateway.ledger.comparisons import freeze_comparison
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan, complete_study
from gateway.ledger.corrections import (
    Evidence,
    Link,
    compared,
    expect_correction,
    waiting_corrections,
)
from gateway.ledger.deliveries import say_why_it_waits
from gateway.ledger.destinations import KnownDestination, KnownForm, learn
from gateway.ledger.flags import Flag, FlagSource, write_flags
from gateway.ledger.instances import ArrivedInstance, RefusedObject, StudyHeader, put_aside, store_instance
from gateway.ledger.pledges import say_why_unkept, unkept
from gateway.ledger.records import ComparisonRow, CorrectedStructure, utc_now
from gateway.ledger.results import record_result
from gateway.ledger.runs import begin_run, end_run, note_cost
from gateway.ledger.states import DeliveryEvent, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import wait_with_job
from tests.nifti import uploads_of
from tests.results import COST, result_of_several

pytestmark = pytest.mark.peer("chromium")

TOKEN = "a-token-of-this-test"


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
    destinations: dict[str, str] = field(
        default_factory=lambda: {"pacs": "PACS@h:104", "archive": "the folder /srv/a", "research": "R@h:104"}
    )
    address: str = ""
    elsewhere: str = ""
    """The origin of another server that serves `folder`."""

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

    def job(self, uid: str, hold: str = "") -> str:
        job_key = hashlib.sha256(uid.encode()).hexdigest()
        job = PlannedJob(
            job_key, f"{uid}.1", f"{uid}.1#1#tissue", "ct", "tissue", {}, "threshold", 0, (f"{uid}.1.1",),
            ("pacs",), ("seg",), "h" * 64, hold,
        )  # fmt: skip
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
                transaction, StudyPlan(uid, row["generation"], (job,), volumes), evidence="released"
            )
        return job_key

    def move(self, job_key: str, event: JobEvent, reason: str = "") -> None:
        with self.ledger.transaction() as transaction:
            transaction.move_job(job_key, event, reason=reason)

    def progress(self, job_key: str, uid: str, fraction: float) -> None:
        with self.ledger.transaction() as transaction:
            transaction.update("jobs", "job_key", job_key, {"stage": "segment", "fraction": fraction})
            transaction.publish(JobProgressed(job_key, uid, "segment", fraction))

    def encode(self, job_key: str, outputs: Sequence[str] = ("seg",)) -> str:
        self.move(job_key, JobEvent.SEGMENTED)
        uid = f"2.25.{int(job_key[:12], 16)}"
        result = result_of_several(outputs, uid, "h" * 64)
        with self.ledger.transaction() as transaction:
            record_result(transaction, transaction.job(job_key), result, lambda _: ["pacs"])
        rows = self.ledger.read("SELECT key FROM deliveries WHERE job_key = ?", (job_key,))
        return str(rows[0]["key"])

    def deliveries(self) -> list[tuple[str, str, str]]:
        rows = self.ledger.read("SELECT job_key, destination, state FROM deliveries ORDER BY rowid")
        return [tuple(row) for row in rows]

    def picture(self, job_key: str) -> str:
        """Give the job a preview; its key."""
        (self.folder / job_key).mkdir(parents=True)
        (self.folder / job_key / "preview.png").write_bytes(_png(480, 240))
        return job_key

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


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """The origin of a server that has the files of jobs, too."""

    class Files(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *values: Any) -> None:
            pass

    handler = partial(Files, directory=str(tmp_path / "jobs"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def gateway(tmp_path: Path, bucket: str) -> Iterator[Gateway]:
    bus = Bus()
    with Ledger(tmp_path / "ledger.sqlite", bus) as ledger:
        gateway = Gateway(ledger, bus, tmp_path / "jobs")
        api = create_api(
            LedgerStore(ledger),
            LedgerActions(ledger, destinations=gateway.destinations),
            lambda: gateway.readiness,
            bus,
            Access(TOKEN),
            gateway,
            uploads_of(ledger, tmp_path),
            pictures_from=bucket,
            mirror=gateway.mirror,
            door=lambda: gateway.door,
        )
        server = ApiServer(api, "127.0.0.1", 0)
        server.start()
        host, port = server.address
        gateway.address = f"http://{host}:{port}/"
        yield gateway
        server.stop()


@pytest.fixture
def troubles() -> list[str]:
    """What the browser complained of, its own words."""
    return []


@pytest.fixture
def page(browser: Browser, gateway: Gateway, troubles: list[str]) -> Iterator[Page]:
    """A signed-in page; it asks nobody but the gateway."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(15_000)

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: troubles.append(str(error)))

    def only_the_gateway(request: Any) -> None:
        if not request.url.startswith(gateway.address):
            troubles.append(f"asked {request.url}")

    page.on("request", only_the_gateway)
    page.goto(f"{gateway.address}?token={TOKEN}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    yield page
    context.close()


def _picture(page: Page, name: str) -> None:
    """Keep a picture for a person to look at, where one is wished for."""
    folder = os.environ.get("IRIS_TEST_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def test_page_opened_with_token_signs_in_and_drops_it(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    assert page.url == gateway.address
    [cookie] = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"]
    expect(page.get_by_text("No study has arrived yet")).to_be_visible()
    expect(page.get_by_text("For research use only")).to_be_visible()
    assert troubles == []


def test_page_without_token_signs_in_by_its_form(browser: Browser, gateway: Gateway) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(gateway.address)
    page.get_by_label("Admin token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not the token")
    _picture(page, "sign-in")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Studies")).to_be_visible()
    context.close()


def test_list_study_arrives_and_moves_shown_without_reload(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    page.evaluate("window.wasNotReloaded = true")
    uid = gateway.study(1, "CT ABDOMEN")
    row = page.locator('[data-study="key0001"]')
    expect(row.get_by_text("receiving")).to_be_visible()
    expect(row.get_by_text("PID1")).to_be_visible()
    job_key = gateway.job(uid)
    expect(row.get_by_text("processing")).to_be_visible()
    gateway.move(job_key, JobEvent.STARTED)
    gateway.progress(job_key, uid, 0.1)
    expect(row.get_by_text("segment 10 %")).to_be_visible()
    gateway.progress(job_key, uid, 0.42)
    expect(row.get_by_text("segment 42 %")).to_be_visible()
    gateway.move(job_key, JobEvent.FAILED, reason="the engine failed")
    expect(row.get_by_text("the engine failed")).to_be_visible()
    assert page.evaluate("window.wasNotReloaded")
    assert troubles == []


def test_list_filtered_by_state_shows_only_those(page: Page, gateway: Gateway) -> None:
    gateway.study(1, "CT ABDOMEN")
    gateway.job(gateway.study(2, "CT THORAX"))
    expect(page.get_by_role("link", name="CT ABDOMEN")).to_be_visible()
    page.get_by_label("State", exact=True).select_option("processing")
    expect(page.get_by_role("link", name="CT ABDOMEN")).to_have_count(0)
    expect(page.get_by_role("link", name="CT THORAX")).to_be_visible()


def test_list_names_are_shown_as_text_never_as_markup(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    gateway.study(1, "<img src=x onerror=alert(1)>")
    expect(page.get_by_role("link", name="<img src=x onerror=alert(1)>")).to_be_visible()
    assert troubles == []


def test_preview_in_the_cloud_is_shown(
    page: Page, gateway: Gateway, bucket: str, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.picture(job_key)
    gateway.elsewhere = bucket
    gateway.encode(job_key)
    page.get_by_role("link", name="CT ABDOMEN").click()
    expect(page.get_by_role("img", name="Preview of tissue")).to_have_js_property("naturalWidth", 480)
    assert troubles == [f"asked {bucket}/{job_key}/preview.png?signed"]


def test_study_shows_decisions_result_deliveries_and_timeline(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    uid = gateway.study(1, "CT ABDOMEN", series=2)
    job_key = gateway.job(uid)
    gateway.picture(job_key)
    page.get_by_role("link", name="CT ABDOMEN").click()
    jobs = page.get_by_role("region", name="Jobs")
    expect(jobs.get_by_text("planned")).to_be_visible()
    delivery = gateway.encode(job_key)
    expect(jobs.get_by_text("encoded")).to_be_visible()
    expect(page.get_by_role("img", name="Preview of tissue")).to_have_js_property("naturalWidth", 480)
    page.get_by_text("Ranking").click()
    expect(page.get_by_text("series 2: axial, 5 mm")).to_be_visible()
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    expect(
        page.get_by_role("region", name="Deliveries", exact=True).first.get_by_text("sent")
    ).to_be_visible()
    expect(page.get_by_text("series 2: axial, 5 mm")).to_be_visible()  # unfolded still
    expect(page.get_by_text("rule ct: series 1 of the same scan ranks higher")).to_be_visible()
    expect(page.get_by_role("region", name="Timeline").get_by_text("study.finished")).to_be_visible()
    expect(page.get_by_text("delivered", exact=True).first).to_be_visible()
    _picture(page, "study")
    page.emulate_media(color_scheme="dark")
    _picture(page, "study-dark")
    assert troubles == []


def test_study_retry_of_failed_job_takes_it_up(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.move(job_key, JobEvent.FAILED, reason="the engine failed")
    page.goto(f"{gateway.address}#/studies/key0001")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Retry: the job is planned now.")).to_be_visible()
    expect(page.locator(f'[data-job="{job_key}"][data-state="planned"]')).to_be_visible()
    assert gateway.state(job_key) == "planned"
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(f'[data-job="{job_key}"][data-state="cancelled"]')).to_be_visible()
    assert gateway.state(job_key) == "cancelled"
    assert troubles == []


def test_flags_of_a_held_result_are_read_in_list_study_and_quarantine_in_a_small_window(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.move(job_key, JobEvent.SEGMENTED)
    sentence = "The left kidney lies 110 mm to the right of the right kidney: left and right are swapped."
    with gateway.ledger.transaction() as transaction:
        flag = Flag("sides_contradict", "kidney_left", 110.0, "mm", sentence)
        write_flags(transaction, job_key, FlagSource.RESULT, [flag])
    gateway.move(job_key, JobEvent.HELD, reason=f"{sentence} Release it, or cancel it.")

    def is_nothing_cut_off() -> bool:
        return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    badge = page.get_by_text("check: 1")
    expect(badge).to_have_attribute("title", "sides contradict")
    word = page.get_by_role("cell").filter(has_text="Release it").locator(".why")
    assert (word.bounding_box() or {"width": 0})["width"] > 100  # not a letter a line
    assert is_nothing_cut_off()
    page.get_by_role("link", name="CT ABDOMEN").click()
    doubts = page.get_by_role("list", name="Doubts about tissue")
    expect(doubts.get_by_text("sides contradict")).to_be_visible()
    expect(doubts.get_by_text(sentence)).to_be_visible()
    assert is_nothing_cut_off()
    _picture(page, "flags-narrow")
    page.get_by_role("link", name="Quarantine").click()
    why = page.get_by_role("cell", name=sentence)
    expect(why).to_be_visible()
    assert (why.bounding_box() or {"width": 0})["width"] > 200
    assert is_nothing_cut_off()
    assert troubles == []


def test_keyboard_stays_where_it_was_while_the_study_changes_and_at_the_page_where_that_is_gone(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN", series=2), hold="One slice is missing at 12.5 mm.")
    page.get_by_role("link", name="CT ABDOMEN").press("Enter")
    ranking = page.get_by_text("Ranking").first
    ranking.press("Enter")
    with gateway.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", job_key, {"reason": "Another one is missing."})
        transaction.publish(JobChanged(job_key, "1.2.826.0.1.1", "", JobState.QUARANTINED))
    expect(page.get_by_text("Another one is missing.").first).to_be_visible()
    expect(ranking).to_be_focused()
    page.get_by_role("button", name="Release").press("Enter")
    expect(page.get_by_role("button", name="Release")).to_have_count(0)
    expect(page.get_by_role("main")).to_be_focused()
    assert troubles == []


def test_study_says_what_each_delivery_is_and_pictures_of_an_overlay_are_one_line(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.picture(job_key)
    gateway.encode(job_key, ("seg", *["overlay"] * 3))
    rows = gateway.ledger.read("SELECT key FROM deliveries ORDER BY rowid")
    with gateway.ledger.transaction() as transaction:
        for (key,) in rows:
            transaction.move_delivery(key, DeliveryEvent.SENT)
    page.get_by_role("link", name="CT ABDOMEN").click()
    deliveries = page.get_by_role("region", name="Deliveries", exact=True).first
    expect(deliveries.get_by_role("cell", name="seg", exact=True)).to_be_visible()
    expect(deliveries.get_by_role("cell", name="overlay, 3 objects", exact=True)).to_be_visible()
    sent = page.get_by_role("listitem").filter(has_text="delivery.sent")
    expect(sent).to_have_count(1)
    expect(sent).to_contain_text("(4 times)")
    assert troubles == []


def test_job_shows_each_of_its_runs_and_how_it_ended(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    for run in (1, 2):
        with gateway.ledger.transaction() as transaction:
            transaction.move_job(job_key, JobEvent.SUBMITTED, columns={"run": run})
            begin_run(transaction, job_key, run, Lane.MAIN, backend="local")
            if run == 1:
                transaction.move_job(job_key, JobEvent.RUN_LOST, reason="the disk is full")
                end_run(
                    transaction, job_key, run, exit_code=75, sentence="the disk is full", lost_on="machine"
                )
    with gateway.ledger.transaction() as transaction:
        note_cost(transaction, transaction.job(job_key), COST, "i-0abc", utc_now())
    page.goto(f"{gateway.address}#/studies/key0001")
    job = page.locator(f'[data-job="{job_key}"]')
    job.get_by_text("2 runs").click()
    runs = job.get_by_role("listitem")
    expect(runs).to_have_count(2)
    first, second = runs.all()
    expect(first).to_contain_text(re.compile(r"on this machine, handed over .*, ended .*: the disk is full"))
    expect(second).to_contain_text("goes on")
    expect(second).to_contain_text(
        "g4dn.xlarge, Spot at 0.2160 USD an hour; held for 100 s; GPU 62 s; start and idle before 350 s;"
        " 0.0060 + 0.0210 USD"
    )
    _picture(page, "runs")
    assert troubles == []


def test_job_shows_what_changed_since_the_earlier_result(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    grown = {
        "then_ml": 100.0,
        "now_ml": 112.5,
        "change_ml": 12.5,
        "change_percent": 12.5,
        "not_compared": None,
    }
    cut = {**grown, "change_ml": None, "change_percent": None, "not_compared": "cut_now"}
    compared = ComparisonRow(
        job_key=job_key,
        chosen_for="c",
        why_none="",
        prior_date="2026-03-04",
        interval_days=1,
        changes=({"structure": "spleen", **grown}, {"structure": "kidney_left", **cut}),
    )
    with gateway.ledger.transaction() as transaction:
        freeze_comparison(transaction, compared)
    page.goto(f"{gateway.address}#/studies/key0001")
    job = page.locator(f'[data-job="{job_key}"]')
    job.get_by_text("Compared with 2026-03-04, 1 day before").click()
    expect(job.get_by_role("row", name="spleen 100 113 +12.5 +12.5")).to_be_visible()
    left = "kidney left 100 113 not compared: the scan cuts it off now"
    expect(job.get_by_role("row", name=left)).to_be_visible()
    _picture(page, "compared")
    assert troubles == []


def test_job_shows_what_a_person_corrected_the_latest_first(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    uid = gateway.study(1, "CT ABDOMEN")
    job_key = gateway.job(uid)
    gateway.encode(job_key)
    gateway.picture(job_key)
    spleen = CorrectedStructure(
        structure="spleen", is_new=False, dice=1.0, volume_ml=210.4, corrected_ml=210.4
    )
    liver = CorrectedStructure(
        structure="liver", is_new=False, dice=0.9312, volume_ml=1500, corrected_ml=1420.6
    )
    added = CorrectedStructure(
        structure="<b>Lesion</b>", is_new=True, dice=None, volume_ml=None, corrected_ml=12.0
    )
    for number, structures in enumerate([(spleen,), (liver, spleen, added)], start=1):
        with gateway.ledger.transaction() as transaction:
            expect_correction(transaction, f"1.2.3.{number}", uid)
        with gateway.ledger.transaction() as transaction:
            [row] = waiting_corrections(gateway.ledger)
            compared(transaction, row, Link(f"c{number}", job_key, Evidence.LABELS), structures)
    page.goto(f"{gateway.address}#/studies/key0001")
    job = page.locator(f'[data-job="{job_key}"]')
    shown = job.get_by_role("group", name="Corrections of tissue").locator("details")
    expect(shown).to_have_count(2)
    latest, first = shown.all()
    expect(first).to_contain_text("nothing differs")
    expect(latest).to_contain_text("liver Dice 0.931, <b>Lesion</b> added")
    latest.locator("summary").click()
    expect(latest.get_by_role("row", name="liver")).to_contain_text("-79.4")
    _picture(page, "corrections")
    assert troubles == []


def test_delivery_for_a_destination_that_is_gone_is_redirected(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    del gateway.destinations["pacs"]
    key = gateway.encode(gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN"))))
    with gateway.ledger.transaction() as transaction:
        say_why_it_waits(transaction, key, "pacs is no [[destination]]; redirect or drop it")
    page.goto(f"{gateway.address}#/studies/key0001")
    row = page.locator(f'[data-delivery="{key}"]')
    expect(row.get_by_text("pacs is no [[destination]]")).to_be_visible()
    expect(row.get_by_role("time").first).to_be_visible()  # since when
    expect(row.get_by_role("button", name="Send now")).to_have_count(0)  # there is nobody
    row.get_by_label("Another destination").select_option("research")
    _picture(page, "redirect")
    with gateway.ledger.transaction() as transaction:
        say_why_it_waits(transaction, key, "pacs is gone")
    expect(row.get_by_text("pacs is gone")).to_be_visible()  # shown anew, the choice stays
    row.get_by_role("button", name="Send there instead").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("This sends the seg to research, and not to pacs any more.")
    _picture(page, "redirect-asked")
    asked.get_by_role("button", name="Leave it as it is").click()
    expect(asked).to_have_count(0)
    assert [state for _, _, state in gateway.deliveries()] == ["pending"]
    row.get_by_role("button", name="Send there instead").click()
    asked.get_by_role("button", name="Send there instead").click()
    expect(page.get_by_text("Send there instead: it goes to research.")).to_be_visible()
    expect(row.get_by_text("redirected to research")).to_be_visible()
    expect(row.get_by_role("button")).to_have_count(0)
    assert [(to, state) for _, to, state in gateway.deliveries()] == [
        ("pacs", "cancelled"),
        ("research", "pending"),
    ]
    assert troubles == []


def test_delivery_that_failed_is_sent_now_or_not_at_all(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    key = gateway.encode(gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN"))))
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(key, DeliveryEvent.FAILED, reason="pacs refused it")
    page.goto(f"{gateway.address}#/studies/key0001")
    row = page.locator(f'[data-delivery="{key}"]')
    expect(row.get_by_text("pacs refused it")).to_be_visible()
    row.get_by_role("button", name="Send now").click()
    expect(row.get_by_text("Waits to be sent to pacs.")).to_be_visible()
    row.get_by_role("button", name="Do not send").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("This gives up sending the seg to pacs.")
    asked.get_by_role("button", name="Do not send").click()
    expect(row.get_by_text("cancelled", exact=True)).to_be_visible()
    assert gateway.deliveries()[0][2] == "cancelled"
    assert troubles == []


def test_delivery_that_nobody_keeps_yet_says_so_and_is_asked_for_now(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    key = gateway.encode(gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN"))))
    said = "pacs was asked to commit itself to keep it; its report is awaited"
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(key, DeliveryEvent.SENT, columns={"unkept_since": utc_now()})
    (group,) = unkept(gateway.ledger, "pacs")
    with gateway.ledger.transaction() as transaction:
        say_why_unkept(transaction, group, "pacs", said, delay_s=300)
    page.goto(f"{gateway.address}#/studies/key0001")
    row = page.locator(f'[data-delivery="{key}"]')
    expect(row.get_by_text(said)).to_be_visible()
    row.get_by_role("button", name="Ask now").click()
    expect(page.get_by_text("delivery.tried_now")).to_be_visible()
    (group,) = unkept(gateway.ledger, "pacs")
    assert group.until == ""
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(key, DeliveryEvent.COMMITTED)
    expect(row.get_by_text("committed", exact=True)).to_be_visible()
    expect(row.get_by_role("button", name="Ask now")).to_have_count(0)
    assert troubles == []


def test_delivery_that_arrived_is_sent_again_and_to_another_destination_too(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN")))
    gateway.encode(job_key, ("seg", "overlay", "overlay"))
    for row in gateway.ledger.read("SELECT key FROM deliveries"):
        with gateway.ledger.transaction() as transaction:
            transaction.move_delivery(row["key"], DeliveryEvent.SENT)
    page.goto(f"{gateway.address}#/studies/key0001")
    deliveries = page.get_by_role("region", name="Deliveries")
    seg, overlay = (deliveries.get_by_role("row").filter(has_text=what) for what in ("seg", "overlay"))
    overlay.get_by_role("button", name="Send again").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("This sends 2 objects of overlay to pacs once more, under the same UIDs")
    _picture(page, "resend-asked")
    asked.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("Send again: it goes to pacs once more.")).to_be_visible()
    assert sorted(state for _, _, state in gateway.deliveries()) == ["pending", "pending", "sent"]
    seg.get_by_label("Another destination").select_option("research")
    seg.get_by_role("button", name="Send there, too").click()
    expect(asked).to_contain_text("This sends the seg to research as well. pacs keeps it.")
    asked.get_by_role("button", name="Send there, too").click()
    expect(page.get_by_text("Send there, too: it goes to research, too.")).to_be_visible()
    expect(deliveries.get_by_role("row").filter(has_text="Waits to be sent to research.")).to_have_count(1)
    expect(page.get_by_text("by: admin-token, on the page").first).to_be_visible()
    _picture(page, "resend")
    for width in (1025, 360):
        page.set_viewport_size({"width": width, "height": 900})
        assert _cut_off(page) == []
        _picture(page, f"resend-{width}")
    assert troubles == []


def test_volume_that_lost_is_used_by_its_button(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    gateway.job(gateway.study(1, "CT ABDOMEN", series=2))
    page.goto(f"{gateway.address}#/studies/key0001")
    series = page.get_by_role("region", name="Series")
    expect(series.get_by_text("rule ct: series 1 of the same scan ranks higher")).to_be_visible()
    _picture(page, "use")
    series.get_by_role("button", name="Use this one").click()  # the one that is used has none
    expect(page.get_by_text("Use this one: it takes the place of the others")).to_be_visible()
    expect(page.get_by_text("study.volume_chosen")).to_be_visible()
    [chosen] = gateway.ledger.read("SELECT series_uid, number FROM choices WHERE is_open = 1")
    assert tuple(chosen) == ("1.2.826.0.1.1.2", 1)
    assert troubles == []


def test_job_that_waits_says_for_what_and_since_when_and_is_tried_now(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    with gateway.ledger.transaction() as transaction:
        wait_with_job(transaction, job_key, delay_s=3600, reason="the disk is full", on="machine")
    page.goto(f"{gateway.address}#/studies/key0001")
    job = page.locator(f'[data-job="{job_key}"]')
    expect(job.get_by_text("the disk is full")).to_be_visible()
    expect(job.get_by_text("Waits to be prepared, since ")).to_be_visible()
    expect(job.get_by_text("It is tried again: ")).to_be_visible()
    _picture(page, "job-waits")
    job.get_by_role("button", name="Try now").click()
    expect(job.get_by_role("button", name="Try now")).to_have_count(0)
    [row] = gateway.ledger.read("SELECT not_before FROM jobs")
    assert row["not_before"] is None
    assert troubles == []


WAITING = [
    (JobEvent.CONVERTED, "Waits to be put into its job folder", ["Cancel"]),
    (JobEvent.STAGED, "Waits to be handed to the queue", ["Cancel"]),
    (JobEvent.SUBMITTED, "Waits at the queue for its turn", ["Cancel"]),
    (JobEvent.QUEUED, "Waits for a machine", ["Cancel"]),
    (JobEvent.SEGMENTED, "Waits for its results to be made", ["Cancel"]),
    (JobEvent.FAILED, "Waits for a person", ["Retry", "Cancel"]),
    (JobEvent.HELD, "Waits for a person", ["Release", "Cancel"]),
]


def test_every_state_in_which_a_job_waits_has_its_sentence_and_buttons(page: Page, gateway: Gateway) -> None:
    for number, (event, waits_for, buttons) in enumerate(WAITING, start=1):
        job_key = gateway.job(gateway.study(number, "CT ABDOMEN"))
        gateway.move(job_key, event, reason="a reason")
        page.goto(f"{gateway.address}#/studies/key{number:04d}")
        job = page.locator(f'[data-job="{job_key}"]')
        expect(job.get_by_text(waits_for)).to_be_visible()
        expect(job.get_by_role("time").first).to_be_visible()
        expect(job.get_by_role("button")).to_have_text(buttons)


def test_study_that_waits_for_what_the_pacs_holds_says_how_many_images(page: Page, gateway: Gateway) -> None:
    study_uid = gateway.study(1, "CT ABDOMEN")
    with gateway.ledger.transaction() as transaction:
        for answer, missing in (("away", 0), ("more_there", 7)):
            transaction.note("study.pacs_answered", study_uid=study_uid, answer=answer, missing=missing)
    page.goto(f"{gateway.address}#/studies/key0001")
    expect(page.get_by_text("have arrived: the PACS held 7 more; its last change: ")).to_be_visible()


def test_study_called_complete_is_requested(page: Page, gateway: Gateway) -> None:
    gateway.study(1, "CT ABDOMEN")
    page.goto(f"{gateway.address}#/studies/key0001")
    page.get_by_role("button", name="It is complete").click()
    expect(page.get_by_text("study.complete_requested")).to_be_visible()
    [row] = gateway.ledger.read("SELECT complete_requested FROM studies")
    assert row["complete_requested"] == 1


def test_quarantine_release_of_held_job_lets_it_go_on(page: Page, gateway: Gateway) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"), hold="One slice is missing at 12.5 mm.")
    refused = RefusedObject(
        "o" * 64, "not_dicom", "This is no DICOM object.", "quarantine/o", None, None, "PACS"
    )
    with gateway.ledger.transaction() as transaction:
        put_aside(transaction, refused)
    stranger = {
        "at": utc_now(),
        "what": "rejected",
        "calling_ae_title": "STRANGER",
        "address": "192.0.2.9",
        "sentence": "its AE title and address are not in dicom.allow",
    }
    gateway.door = {"associations": 3, "limit": 32, "turned_away": [stranger]}
    page.get_by_role("link", name="Quarantine").click()
    row = page.locator(f'[data-key="{job_key}"]')
    expect(row.get_by_text("One slice is missing at 12.5 mm.")).to_be_visible()
    strange = page.get_by_role("row").filter(has_text="STRANGER")
    expect(strange.get_by_text("its AE title and address are not in dicom.allow")).to_be_visible()
    expect(page.get_by_text("3 of 32 associations and requests are open.")).to_be_visible()
    _picture(page, "quarantine")
    odd = page.locator(f'[data-key="{"o" * 64}"]')
    expect(odd.get_by_text("then send it again")).to_be_visible()
    expect(odd.get_by_role("button")).to_have_count(0)
    row.get_by_role("button", name="Release").click()
    expect(row).to_have_count(0)
    assert gateway.state(job_key) == "planned"


def test_all_that_waits_for_a_destination_that_is_gone_is_sent_elsewhere_or_given_up(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    del gateway.destinations["pacs"]
    keys = [gateway.encode(gateway.job(gateway.study(number, "CT ABDOMEN"))) for number in (1, 2, 3)]
    with gateway.ledger.transaction() as transaction:
        say_why_it_waits(transaction, keys[0], "pacs is no [[destination]]; redirect or drop it")
        transaction.move_delivery(keys[2], DeliveryEvent.FAILED, reason="pacs refused it")
    page.goto(f"{gateway.address}#/destinations")
    pacs, research = (page.locator(f'[data-destination="{name}"]') for name in ("pacs", "research"))
    expect(pacs.get_by_text("It is no [[destination]] any more.")).to_be_visible()
    expect(pacs.get_by_text("1 failed; their studies say why.")).to_be_visible()
    expect(pacs.get_by_role("button", name="Try now")).to_have_count(0)  # there is nobody
    expect(research.get_by_role("button")).to_have_count(0)
    pacs.get_by_label("Instead of pacs").select_option("research")
    pacs.get_by_role("button", name="Send all there instead").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("This sends 3 deliveries to research, and not to pacs any more")
    _picture(page, "bulk-asked")
    asked.get_by_role("button", name="Send all there instead").click()
    expect(page.get_by_text("Send all there instead: 3 deliveries.")).to_be_visible()
    expect(pacs).to_have_count(0)
    expect(research.get_by_text("3 waiting since")).to_be_visible()
    _picture(page, "bulk")
    research.get_by_role("button", name="Try now").click()
    expect(asked).to_contain_text("This tries 3 deliveries now that wait for research.")
    asked.get_by_role("button", name="Leave it as it is").click()
    research.get_by_role("button", name="Do not send").click()
    asked.get_by_role("button", name="Do not send").click()
    expect(page.get_by_text("Do not send: 3 deliveries.")).to_be_visible()
    expect(research.get_by_role("button")).to_have_count(0)
    assert {state for _, _, state in gateway.deliveries()} == {"cancelled"}
    assert troubles == []


def test_destinations_show_what_each_takes_and_refuses(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    now = "2026-11-30T12:00:00.000000Z"
    said = (
        KnownForm(
            "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.1.2.1", True, "Segmentation Storage", "", now
        ),
        KnownForm(
            "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.1.2.5", False, "Label Map", "allow it", utc_now()
        ),
    )
    with gateway.ledger.transaction() as transaction:
        learn(transaction, "pacs", KnownDestination("PACS@h:104", "Orthanc", "Orthanc (1.2.3)", now, said))
    page.get_by_role("link", name="Destinations").click()
    pacs = page.locator('[data-destination="pacs"]')
    expect(pacs.get_by_text("PACS@h:104 says that it is Orthanc (1.2.3).")).to_be_visible()
    expect(pacs.get_by_role("listitem").first).to_have_text("Label Map: allow it")
    expect(pacs.get_by_role("listitem").last).to_have_text("Segmentation Storage")
    archive = page.locator('[data-destination="archive"]')
    expect(archive.get_by_text("the folder /srv/a. What it takes is not known: it has not")).to_be_visible()
    _picture(page, "destinations")
    assert troubles == []


def test_page_gateway_degraded_says_so(page: Page, gateway: Gateway) -> None:
    gateway.readiness = Readiness(True, (), ("pacs: it does not answer",))
    for number, description in enumerate(["CT ABDOMEN", "CT THORAX", "MR LIVER", "CT HEAD"], start=1):
        gateway.study(number, description, series=2)
    failing = gateway.job("1.2.826.0.1.1")
    gateway.move(failing, JobEvent.FAILED, reason="the engine failed")
    running = gateway.job("1.2.826.0.1.2")
    with gateway.ledger.transaction() as transaction:
        transaction.move_job(running, JobEvent.STARTED, columns={"stage": "segment", "fraction": 0.6})
    delivery = gateway.encode(gateway.job("1.2.826.0.1.3"))
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    page.reload()
    expect(page.get_by_text("pacs: it does not answer")).to_be_visible()
    expect(page.get_by_text("segment 60 %")).to_be_visible()
    _picture(page, "studies")
    page.emulate_media(color_scheme="dark")
    _picture(page, "studies-dark")
    page.set_viewport_size({"width": 420, "height": 800})
    _picture(page, "studies-narrow")


def test_page_says_how_far_the_mirror_is_where_there_is_one(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    expect(page.get_by_text("Mirror:")).to_have_count(0)
    gateway.mirror.now |= {"on": True}
    page.reload()
    expect(page.get_by_text("Mirror: up to date.")).to_be_visible()
    gateway.mirror.now |= {"waiting": 120, "lag_s": 14.2}
    page.reload()
    expect(page.get_by_text("Mirror: 120 changes wait, the oldest for 14 s.")).to_be_visible()
    assert troubles == []


def test_docs_page_lists_every_operation(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    page.goto(f"{gateway.address}docs")
    expect(page.get_by_role("heading", name="GET /api/v1/studies/{study}", exact=True)).to_be_visible()
    _picture(page, "docs")
    assert troubles == []


def _cut_off(page: Page) -> list[list[int]]:
    """How wide each table is that does not fit into its place, and the place."""
    widths = "[...document.querySelectorAll('.records')].map((one) => [one.scrollWidth, one.clientWidth])"
    found: list[list[int]] = page.evaluate(widths)
    assert found
    return [each for each in found if each[0] > each[1]]


@pytest.mark.parametrize("width", [1100, 1025, 360])
def test_no_column_of_studies_and_quarantine_is_cut_off_in_a_small_window(
    page: Page, gateway: Gateway, width: int
) -> None:
    running = gateway.job(gateway.study(1, "CT Thorax/Abdomen/Becken mit Kontrastmittel venoes", series=2))
    for event in (JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED, JobEvent.STARTED):
        gateway.move(running, event)
    gateway.progress(running, "1.2.826.0.1.1", 0.4)
    failed = gateway.job(gateway.study(2, "Abdomen", series=2))
    gateway.move(failed, JobEvent.FAILED, "the engine ended with exit code 70: a defect; its log says where")
    gateway.job(gateway.study(3, "CT Schaedel", series=2), hold="a gap of 5 mm between images 20 and 21")
    page.set_viewport_size({"width": width, "height": 900})
    expect(page.get_by_text("CT Schaedel")).to_be_visible()
    expect(page.get_by_role("cell").filter(has_text="segment 40 %")).to_be_visible()
    assert _cut_off(page) == []
    _picture(page, f"studies-{width}")
    page.get_by_role("link", name="Quarantine").click()
    expect(page.get_by_role("button", name="Release")).to_be_visible()
    assert _cut_off(page) == []
    _picture(page, f"quarantine-{width}")
