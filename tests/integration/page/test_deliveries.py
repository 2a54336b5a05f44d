"""A study's deliveries on the page: what each is, sent now, again, elsewhere or not at all."""

import pytest
from playwright.sync_api import Page, expect

from gateway.ledger.deliveries import say_why_it_waits
from gateway.ledger.pledges import say_why_unkept, unkept
from gateway.ledger.records import utc_now
from gateway.ledger.states import DeliveryEvent
from tests.page_gateway import Gateway, cut_off, picture

pytestmark = pytest.mark.peer("chromium")


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
    page.goto(f"{gateway.address}#/studies")
    page.get_by_role("link", name="CT ABDOMEN").click()
    deliveries = page.get_by_role("region", name="Deliveries", exact=True).first
    expect(deliveries.get_by_role("cell", name="seg", exact=True)).to_be_visible()
    expect(deliveries.get_by_role("cell", name="overlay, 3 objects", exact=True)).to_be_visible()
    expect(page.get_by_text("pacs has it (4 times)")).to_have_count(1)
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
    picture(page, "redirect")
    with gateway.ledger.transaction() as transaction:
        say_why_it_waits(transaction, key, "pacs is gone")
    expect(row.locator("td.sentence")).to_contain_text("pacs is gone")  # shown anew, the choice stays
    row.get_by_role("button", name="Send there instead").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("This sends the seg to research, and not to pacs any more.")
    picture(page, "redirect-asked")
    asked.get_by_role("button", name="Leave it as it is").click()
    expect(asked).to_have_count(0)
    assert [state for _, _, state in gateway.deliveries()] == ["pending"]
    row.get_by_role("button", name="Send there instead").click()
    asked.get_by_role("button", name="Send there instead").click()
    expect(page.get_by_text("Send there instead: it goes to research.")).to_be_visible()
    expect(row.locator("td.sentence")).to_contain_text("redirected to research")
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
    expect(page.get_by_text("Tried now at pacs, without waiting any longer").last).to_be_visible()
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
    overlay.get_by_text("Send it again, or elsewhere").click()
    overlay.get_by_role("button", name="Send again").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("This sends 2 objects of overlay to pacs once more, under the same UIDs")
    picture(page, "resend-asked")
    asked.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("Send again: it goes to pacs once more.")).to_be_visible()
    assert sorted(state for _, _, state in gateway.deliveries()) == ["pending", "pending", "sent"]
    seg.get_by_text("Send it again, or elsewhere").click()
    seg.get_by_label("Another destination").select_option("research")
    seg.get_by_role("button", name="Send there, too").click()
    expect(asked).to_contain_text("This sends the seg to research as well. pacs keeps it.")
    asked.get_by_role("button", name="Send there, too").click()
    expect(page.get_by_text("Send there, too: it goes to research, too.")).to_be_visible()
    expect(deliveries.get_by_role("row").filter(has_text="Waits to be sent to research.")).to_have_count(1)
    expect(page.get_by_text("(asked for by admin-token, on the page)").last).to_be_visible()
    picture(page, "resend")
    for width in (1025, 360):
        page.set_viewport_size({"width": width, "height": 900})
        assert cut_off(page) == []
        picture(page, f"resend-{width}")
    assert troubles == []
