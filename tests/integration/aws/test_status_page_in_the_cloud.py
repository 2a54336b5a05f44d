"""The status page over the mirror's table in a real browser, signed in by a proxy: it asks again itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.server import ApiServer
from gateway.cloud.status_function import cloud_status_api
from gateway.config import Api, Aws, Config, Mirror, Objects
from gateway.ledger.states import JobEvent
from tests.cloud_status import ADMIN, http_event
from tests.mirrored_ledger import MirroredLedger, make_table

pytestmark = [pytest.mark.usefixtures("aws_environment"), pytest.mark.peer("chromium")]

POLL_MS = 10_000


@dataclass
class _SignedIn:
    """What API Gateway does in front of the function: the event with the token's claims."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["aws.event"] = http_event(scope["method"], scope["path"], ADMIN, {})
        await self.app(scope, receive, send)


@pytest.fixture
def ledger(tmp_path: Path, fresh_moto: str) -> Iterator[MirroredLedger]:
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, make_table(fresh_moto), site="north")
    ledger.open()
    yield ledger
    ledger.close()


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def page(ledger: MirroredLedger, troubles: list[str], browser: Browser) -> Iterator[Page]:
    config = Config(
        api=Api(auth="cognito"),
        mirror=Mirror(backend="dynamodb", table=ledger.table),
        objects=Objects(backend="s3", bucket="iris-data"),
        aws=Aws(region="us-east-1"),
    )
    api = cloud_status_api(config)
    api.add_middleware(_SignedIn)
    server = ApiServer(api, "127.0.0.1", 0)
    server.start()
    host, port = server.address
    page = browser.new_page()

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.clock.install()
    page.goto(f"http://{host}:{port}/#/studies")
    yield page
    page.close()
    server.stop()


def test_delivery_that_waits_at_a_gateway_is_acted_on_there(
    page: Page, ledger: MirroredLedger, troubles: list[str]
) -> None:
    expect(page.get_by_text("Looks again every 10 s")).to_be_visible()
    ledger.encode(ledger.job(ledger.study(1)))
    ledger.ship()
    page.clock.run_for(POLL_MS)
    page.get_by_role("link", name="key0001").click()
    deliveries = page.get_by_role("region", name="Deliveries", exact=True).first
    expect(deliveries.get_by_text("pending")).to_be_visible()
    expect(deliveries.get_by_role("combobox")).to_have_count(0)  # the cloud does not know where else
    expect(deliveries.get_by_role("time").first).to_be_visible()
    deliveries.get_by_role("button", name="Do not send").click()
    page.get_by_role("dialog").get_by_role("button", name="Do not send").click()
    expect(page.locator("#said")).to_contain_text("Do not send: ")
    assert all("the server responded with a status of" in trouble for trouble in troubles), troubles


def test_page_without_a_stream_asks_again_and_shows_what_changed(
    page: Page, ledger: MirroredLedger, troubles: list[str]
) -> None:
    expect(page.get_by_text("Looks again every 10 s")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link", name="Quarantine")).to_have_count(0)
    job = ledger.job(ledger.study(1))
    ledger.move(job, JobEvent.FAILED, reason="a sentence", exit_code=2)
    ledger.ship()
    page.clock.run_for(POLL_MS)
    row = page.locator('[data-study="key0001"]')
    expect(row.get_by_text("failed exit=2")).to_be_visible()
    row.get_by_role("link", name="key0001").click()
    expect(page.get_by_role("heading", name="key0001")).to_be_visible()
    expect(page.locator("#who")).to_have_text("Signed in as someone (admin)")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#said")).to_contain_text("the gateway north has this study")
    assert all("the server responded with a status of" in trouble for trouble in troubles), troubles
