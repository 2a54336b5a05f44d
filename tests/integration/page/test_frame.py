"""What surrounds each view of the page: notices, the mirror; and the list of operations."""

import pytest
from playwright.sync_api import Page, expect

from gateway.api.probes.readiness import Readiness
from gateway.ledger.states import DeliveryEvent, JobEvent
from tests.page_gateway import Gateway, picture

pytestmark = pytest.mark.peer("chromium")


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
    page.goto(f"{gateway.address}#/studies")
    page.reload()
    expect(page.get_by_text("pacs: it does not answer")).to_be_visible()
    expect(page.get_by_text("segment 60 %")).to_be_visible()
    picture(page, "studies")
    page.emulate_media(color_scheme="dark")
    picture(page, "studies-dark")
    page.set_viewport_size({"width": 420, "height": 800})
    picture(page, "studies-narrow")


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


def test_tab_says_what_is_shown(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    gateway.study(1, "CT ABDOMEN")
    expect(page).to_have_title("Overview - IRIS Gateway")
    for name in ("Studies", "Quarantine", "Destinations", "Upload"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page).to_have_title(f"{name} - IRIS Gateway")
        expect(page.locator("nav [aria-current]")).to_have_text(name)
    page.goto(f"{gateway.address}#/studies/key0001")
    expect(page).to_have_title("CT ABDOMEN, receiving - IRIS Gateway")
    assert troubles == []


def test_study_whose_description_is_one_long_word_fits_a_phone(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    gateway.study(1, "L" * 64)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{gateway.address}#/studies/key0001")
    expect(page.get_by_role("heading", level=1)).to_have_text("L" * 64)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert troubles == []


def test_address_with_half_a_character_says_that_there_is_no_such_study(page: Page, gateway: Gateway) -> None:
    page.goto(f"{gateway.address}#/studies/%E0%A4%A")
    expect(page.get_by_text("there is no such study", exact=False)).to_be_visible()


def test_docs_page_lists_every_operation(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    page.goto(f"{gateway.address}docs")
    expect(page.get_by_role("heading", name="GET /api/v1/studies/{study}", exact=True)).to_be_visible()
    picture(page, "docs")
    assert troubles == []
