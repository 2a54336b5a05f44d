"""What an operator sees first: the verdict, the figures, what the last day and month brought."""

import re

import pytest
from playwright.sync_api import Page, expect

from gateway.adapters.checks import Check, Verdict
from gateway.ledger.states import DeliveryEvent, JobEvent
from tests.page_gateway import Gateway, picture

pytestmark = pytest.mark.peer("chromium")


def test_verdict_says_what_is_wrong_as_it_happens_and_leads_there(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    expect(page.get_by_role("heading", name="All is well", level=1)).to_be_visible()
    failing = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.job(gateway.study(2, "CT THORAX"), hold="One slice is missing at 12.5 mm.")
    gateway.move(failing, JobEvent.FAILED, reason="the engine failed")
    expect(page.get_by_role("heading", name="1 study failed", level=1)).to_be_visible()
    held = page.get_by_role("listitem").filter(has_text="1 study is held")
    expect(held.get_by_text("A person decides")).to_be_visible()
    person = page.locator(".card").filter(has=page.get_by_role("heading", name="For a person"))
    expect(person.get_by_role("link", name="failed jobs 1")).to_be_visible()
    today = page.locator(".card").filter(has=page.get_by_role("heading", name="Received today"))
    expect(today.get_by_text("6 images, 6 kB")).to_be_visible()
    page.get_by_role("heading", name="1 study failed").get_by_role("link").click()
    expect(page).to_have_url(f"{gateway.address}#/studies?state=failed")
    expect(page.get_by_role("link", name="CT ABDOMEN")).to_be_visible()
    assert troubles == []


def test_destination_is_tried_by_a_button_and_its_answer_stays_while_figures_change(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    gateway.tried["pacs"] = [
        Check("destination pacs", Verdict.OK, "PACS@h:104 answers C-ECHO"),
        Check("destination pacs", Verdict.FAILED, "pacs takes no Comprehensive SR", "allow it there"),
    ]
    page.get_by_role("button", name="Test pacs").click()
    row = page.locator('[data-destination="pacs"]')
    expect(row.get_by_text("PACS@h:104 answers C-ECHO")).to_be_visible()
    expect(row.get_by_text("pacs takes no Comprehensive SR; allow it there")).to_be_visible()
    expect(page.get_by_role("button", name="Test pacs")).to_be_focused()
    gateway.study(1, "CT ABDOMEN")
    expect(page.locator(".card").filter(has_text="Received today").get_by_text("study")).to_be_visible()
    expect(row.get_by_text("PACS@h:104 answers C-ECHO")).to_be_visible()
    assert troubles == []


def test_charts_say_in_words_what_they_draw_for_a_day_and_a_month_and_fit_a_small_window(
    gateway: Gateway, troubles: list[str], request: pytest.FixtureRequest
) -> None:
    for number in (1, 2):
        delivery = gateway.encode(gateway.job(gateway.study(number, "CT ABDOMEN")))
        with gateway.ledger.transaction() as transaction:
            transaction.move_delivery(delivery, DeliveryEvent.SENT)
    with gateway.ledger.transaction() as transaction:
        transaction.note("job.segmented", study_uid="1.2.826.0.1.1", usd_estimate=1.25)
    page: Page = request.getfixturevalue("page")  # what happens later is drawn a minute later
    in_all = "2 studies received, 2 results delivered, 0 failed in all"
    expect(page.get_by_role("img", name=in_all)).to_be_visible()
    expect(page.get_by_role("img", name="1.25 USD in all")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Encoded. Lately: median"))).to_be_visible()
    picture(page, "overview")
    page.get_by_role("link", name="Month").click()
    expect(page.get_by_role("heading", name="The last 30 days")).to_be_visible()
    expect(page).to_have_url(f"{gateway.address}#/?span=month")
    expect(page.get_by_role("img", name=in_all)).to_be_visible()
    page.get_by_text("The same as a table").click()
    today = page.get_by_role("table", name="History").get_by_role("row").nth(1)
    expect(today.get_by_role("cell").nth(0)).to_have_text("2")
    expect(today.get_by_role("cell").last).to_have_text("1.25")
    page.emulate_media(color_scheme="dark")
    picture(page, "overview-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_role("img", name=in_all)).to_have_attribute("viewBox", re.compile("^0 0 (2|3)"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(page, "overview-narrow")
    page.go_back()
    expect(page.get_by_role("heading", name="The last 24 hours")).to_be_visible()
    assert troubles == []
