"""Every view of the page by axe-core: WCAG 2.2, levels A and AA, in light and dark, wide and on a phone."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page_gateway import VIEWS, Gateway

pytestmark = pytest.mark.peer("chromium")

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def _complaints(page: Page) -> Iterator[str]:
    found: dict[str, Any] = Axe().run(page, options=RULES).response
    for rule in found["violations"]:
        for node in rule["nodes"]:
            yield f"{rule['impact']} {rule['id']}: {node['html'][:160]} {node['failureSummary']}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(page: Page, busy: Gateway, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(
        {"width": 390, "height": 844} if scheme == "dark" else {"width": 1280, "height": 900}
    )
    complaints = {}
    for name, address in VIEWS.items():
        page.goto("about:blank")
        page.goto(f"{busy.address}{address}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if found := list(_complaints(page)):
            complaints[name] = found
    assert complaints == {}


def test_axe_finds_nothing_in_sign_in_and_list_of_operations(page: Page, gateway: Gateway) -> None:
    page.goto(f"{gateway.address}docs")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert list(_complaints(page)) == []
    page.context.clear_cookies()
    page.goto(gateway.address)
    expect(page.get_by_label("Token")).to_be_visible()
    assert list(_complaints(page)) == []
