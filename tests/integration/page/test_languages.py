"""The page in the reader's language: by the browser's wish, or by the choice at its head."""

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.ledger.states import JobEvent
from tests.page_gateway import TOKEN, VIEWS, Gateway, picture

pytestmark = pytest.mark.peer("chromium")


def test_page_is_in_spanish_where_the_browser_wishes_so_and_in_english_by_choice(
    browser: Browser, gateway: Gateway
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.move(job_key, JobEvent.FAILED, reason="the engine failed")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="es-ES")
    page = context.new_page()
    page.goto(gateway.address)
    expect(page.get_by_role("heading", name="Iniciar sesión")).to_be_visible()
    expect(page.get_by_text("Give a token")).to_be_hidden()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Iniciar sesión").click()
    expect(page.get_by_role("link", name="Estudios", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "es")
    picture(page, "overview-es")
    page.goto(f"{gateway.address}#/studies")
    expect(page.locator("td").get_by_text("fallido").first).to_be_visible()
    too_wide = "heads => heads.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.innerText)"
    heads = page.locator("thead th:not(.choice)")
    assert heads.evaluate_all(too_wide) == []  # Spanish words are longer
    picture(page, "studies-es")
    page.get_by_label("Idioma").select_option("en")
    expect(page.locator("td").get_by_text("failed").first).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    context.close()


NAMES = {
    *(
        "#-#-# · CT · tissue",
        "ACC#",
        "CT · PORTAL #",
        "PACS",
        "PACS@h#",
        "PID#",
        "archive",
        "pacs",
        "research",
    ),
    *("the folder /srv/a", "the folder /srv/a#", "tissue (CT)", "fast", "IRIS Gateway"),
    *("held", "not dicom", "sides contradict", "segment # %"),  # codes
    *("API", "Series", "Study Instance UID", "Tokens", "USD"),  # the same in Spanish
}
OWN_WORDS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const around = node.parentElement;
    if (around.closest("[lang]:not(html), code, time, script, .brand, noscript, [data-own]")) continue;
    const words = node.textContent.trim().replace(/[\\d.,:]+/g, "#");
    if (/[A-Za-zÀ-ÿ]{3}/.test(words)) found.push(words);
  }
  return found;
}"""


def test_nothing_of_the_page_itself_is_left_in_english(page: Page, busy: Gateway) -> None:
    """What both languages say with the same words is a name, or forgotten."""
    said = {}
    for tag in ("en", "es"):
        page.evaluate("tag => localStorage.setItem('iris-language', tag)", tag)
        for address in VIEWS.values():
            page.goto("about:blank")
            page.goto(f"{busy.address}{address}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            said.setdefault(tag, set()).update(page.evaluate(OWN_WORDS))
    assert said["en"] & said["es"] - NAMES == set()
