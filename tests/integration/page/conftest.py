"""A ledger with studies, the API in front of it, and a signed-in page in a real browser."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from batch_job.contract import engine_facts
from gateway.api.app import create_api
from gateway.api.ledger_actions import AnotherTask, LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.live.live import live_feed
from gateway.api.overview.premises import Premises
from gateway.api.server import ApiServer
from gateway.api.studies.links import Links
from gateway.config import Config
from gateway.events import Bus
from gateway.identity import SiteSecret
from gateway.ledger.flags import Flag, FlagSource, write_flags
from gateway.ledger.instances import RefusedObject, put_aside
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.listener.put_aside import PutAside
from gateway.reprocessing import Reprocessing
from tests.nifti import ENGINE, uploads_of
from tests.page_gateway import Gateway


def another_task(ledger: Ledger, folder: Path) -> AnotherTask:
    """What says which job another task of the engine `threshold` is."""
    facts, secret = engine_facts(ENGINE.name), SiteSecret(folder / "site-secret")
    return Reprocessing(ledger, facts, secret, ENGINE).planned


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """The origin of a server that has the files of jobs, too."""

    class Files(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Access-Control-Allow-Origin", "*")
            super().end_headers()

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
        put_aside = PutAside(ledger, gateway.intake)
        api = create_api(
            LedgerStore(ledger, links=Links("https://viewer.example/viewer?StudyInstanceUIDs={study_uid}")),
            LedgerActions(ledger, put_aside.take_in, gateway.destinations, another_task(ledger, tmp_path)),
            lambda: gateway.readiness,
            live_feed(ledger),
            gateway.access,
            gateway,
            uploads_of(ledger, tmp_path),
            pictures_from=bucket,
            mirror=gateway.mirror,
            tokens=gateway.tokens,
            door=lambda: gateway.door,
            put_aside=put_aside,
            premises=Premises(Config(), ledger, [], frozenset(), lambda name: gateway.tried[name]),
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
    page.set_default_timeout(60_000)

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: troubles.append(str(error)))

    def only_the_gateway(request: Any) -> None:
        if not request.url.startswith(gateway.address):
            troubles.append(f"asked {request.url}")

    page.on("request", only_the_gateway)
    page.goto(gateway.signing_in)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    yield page
    context.close()


@pytest.fixture
def busy(gateway: Gateway) -> Gateway:
    """Something of everything."""
    held, failed, running = (
        gateway.job(gateway.study(number, f"CT {number}", series=2)) for number in (1, 2, 3)
    )
    gateway.picture(held)
    doubt = Flag("sides_contradict", "kidney_left", 110.0, "mm", "Left and right are swapped.")
    with gateway.ledger.transaction() as transaction:
        write_flags(transaction, held, FlagSource.RESULT, [doubt])
    gateway.move(held, JobEvent.SEGMENTED)
    gateway.move(held, JobEvent.HELD, reason="held by sides_contradict")
    gateway.move(failed, JobEvent.FAILED, reason="the engine failed")
    gateway.move(running, JobEvent.STARTED)
    gateway.progress(running, "1.2.826.0.1.3", 0.4)
    with gateway.ledger.transaction() as transaction:
        put_aside(
            transaction,
            RefusedObject("q" * 64, "not_dicom", "It is no DICOM.", "quarantine/a", None, None, "PACS"),
        )
    return gateway
