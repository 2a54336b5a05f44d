"""Signing in to the page by a token."""

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.api.callers.access import NotKnown
from gateway.config.roles import Role
from gateway.ledger.states import JobEvent
from tests.page_gateway import TOKEN, Gateway, cut_off, page_of, picture

pytestmark = pytest.mark.peer("chromium")


def test_page_opened_with_a_code_signs_in_and_drops_it(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    assert page.url == gateway.address
    [cookie] = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"]
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    expect(page.get_by_text("For research use only")).to_be_visible()
    assert troubles == []


def test_page_without_token_signs_in_by_its_form(browser: Browser, gateway: Gateway) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(gateway.address)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no token of this gateway")
    picture(page, "sign-in")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    context.close()


def test_viewer_sees_who_is_signed_in_and_no_button_to_act_and_operator_does(
    browser: Browser, gateway: Gateway
) -> None:
    study = gateway.study(1, "CT ABDOMEN")
    job = gateway.job(study)
    gateway.move(job, JobEvent.FAILED, "the disk is full")
    for role, acts in ((Role.VIEWER, 0), (Role.OPERATOR, 1)):
        page = page_of(role, browser, gateway)
        expect(page.locator("#who")).to_contain_text(f"Signed in as some-{role} ({role})")
        expect(page.get_by_role("heading", name="1 study failed")).to_be_visible()
        expect(page.get_by_role("button", name="Test pacs")).to_have_count(acts)
        page.goto(f"{gateway.address}#/studies/key0001")
        expect(page.get_by_text("the disk is full").first).to_be_visible()
        expect(page.get_by_role("button", name="Retry")).to_have_count(acts)
        expect(page.get_by_role("navigation").get_by_role("link", name="Upload", exact=True)).to_have_count(
            acts
        )
        expect(page.get_by_role("link", name="Who may ask")).to_have_count(0)
        picture(page, f"study-{role}")
        page.context.close()


def test_admin_makes_a_token_that_is_shown_once_and_revokes_it(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    page.get_by_role("link", name="Who may ask").click()
    page.get_by_label("Who or what uses it").fill("prometheus")
    page.get_by_label("Role").select_option("viewer")
    page.get_by_role("button", name="Make a token").click()
    token = page.get_by_role("dialog").locator("code").inner_text()
    assert gateway.access.by_token(token).name == "prometheus"
    picture(page, "token-made")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="I have kept it").click()
    row = page.get_by_role("row").filter(has_text="prometheus")
    expect(row).to_contain_text(token[:11])
    picture(page, "tokens")
    page.set_viewport_size({"width": 390, "height": 800})
    assert not cut_off(page)
    picture(page, "tokens-phone")
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("revoked", exact=True)).to_be_visible()
    with pytest.raises(NotKnown, match="revoked"):
        gateway.access.by_token(token)
    assert troubles == []


def test_sign_out_ends_the_session_in_the_browser(page: Page, gateway: Gateway) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert page.context.cookies() == []


def test_session_whose_token_is_revoked_ends_in_the_page(browser: Browser, gateway: Gateway) -> None:
    page = page_of(Role.VIEWER, browser, gateway)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    gateway.tokens.revoke("some-viewer")
    gateway.study(1, "CT ABDOMEN")  # something to tell, which it is not told
    expect(page.get_by_role("alert")).to_contain_text("The token some-viewer was revoked on")
    page.context.close()
