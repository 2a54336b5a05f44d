"""The page's destinations: what each takes, what waits for it, and what is done with all of that."""

import pytest
from playwright.sync_api import Page, expect

from gateway.ledger.deliveries import say_why_it_waits
from gateway.ledger.destinations import KnownDestination, KnownForm, learn
from gateway.ledger.records import utc_now
from gateway.ledger.states import DeliveryEvent
from tests.page_gateway import Gateway, picture

pytestmark = pytest.mark.peer("chromium")


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
    picture(page, "bulk-asked")
    asked.get_by_role("button", name="Send all there instead").click()
    expect(page.get_by_text("Send all there instead: 3 deliveries.")).to_be_visible()
    expect(pacs).to_have_count(0)
    expect(research.get_by_text("3 waiting since")).to_be_visible()
    picture(page, "bulk")
    research.get_by_role("button", name="Try now").click()
    expect(asked).to_contain_text("This tries what waits for research now: 3 deliveries.")
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
    page.get_by_role("navigation").get_by_role("link", name="Destinations").click()
    pacs = page.locator('[data-destination="pacs"]')
    expect(pacs.get_by_text("PACS@h:104 says that it is Orthanc (1.2.3).")).to_be_visible()
    expect(pacs.get_by_role("listitem").first).to_have_text("Label Map: allow it")
    expect(pacs.get_by_role("listitem").last).to_have_text("Segmentation Storage")
    archive = page.locator('[data-destination="archive"]')
    expect(archive.get_by_text("the folder /srv/a. What it takes is not known: it has not")).to_be_visible()
    picture(page, "destinations")
    assert troubles == []
