"""The list of studies on the page, live, also in a small window."""

import pytest
from playwright.sync_api import Page, expect

from gateway.ledger.flags import Flag, FlagSource, write_flags
from gateway.ledger.states import JobEvent
from tests.page_gateway import Gateway, cut_off, picture

pytestmark = pytest.mark.peer("chromium")


def test_list_study_arrives_and_moves_shown_without_reload(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    page.goto(f"{gateway.address}#/studies")
    page.evaluate("window.wasNotReloaded = true")
    uid = gateway.study(1, "CT ABDOMEN")
    row = page.locator('[data-study="key0001"]')
    state = row.locator("td.state")
    expect(state.get_by_text("receiving")).to_be_visible()
    expect(row.get_by_text("PID1")).to_be_visible()
    job_key = gateway.job(uid)
    expect(state.get_by_text("processing")).to_be_visible()
    gateway.move(job_key, JobEvent.STARTED)
    gateway.progress(job_key, uid, 0.1)
    expect(row.get_by_text("segment 10 %")).to_be_visible()
    gateway.progress(job_key, uid, 0.42)
    expect(row.get_by_text("segment 42 %")).to_be_visible()
    gateway.move(job_key, JobEvent.FAILED, reason="the engine failed")
    expect(state.get_by_text("the engine failed")).to_be_visible()
    assert page.evaluate("window.wasNotReloaded")
    assert troubles == []


def test_list_filtered_by_state_shows_only_those_and_keeps_the_filter_in_the_address(
    page: Page, gateway: Gateway
) -> None:
    page.goto(f"{gateway.address}#/studies")
    gateway.study(1, "CT ABDOMEN")
    gateway.job(gateway.study(2, "CT THORAX"))
    expect(page.get_by_role("link", name="CT ABDOMEN")).to_be_visible()
    page.get_by_label("State", exact=True).select_option("processing")
    expect(page.get_by_role("link", name="CT ABDOMEN")).to_have_count(0)
    expect(page.get_by_role("link", name="CT THORAX")).to_be_visible()
    expect(page).to_have_url(f"{gateway.address}#/studies?state=processing")
    page.reload()
    expect(page.get_by_role("link", name="CT THORAX")).to_be_visible()
    expect(page.get_by_role("link", name="CT ABDOMEN")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("link", name="CT ABDOMEN")).to_be_visible()
    expect(page).to_have_url(f"{gateway.address}#/studies")


def test_list_names_are_shown_as_text_never_as_markup(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    page.goto(f"{gateway.address}#/studies")
    gateway.study(1, "<img src=x onerror=alert(1)>")
    expect(page.get_by_role("link", name="<img src=x onerror=alert(1)>")).to_be_visible()
    assert troubles == []


def test_flags_of_a_held_result_are_read_in_list_study_and_quarantine_in_a_small_window(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{gateway.address}#/studies")
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.move(job_key, JobEvent.SEGMENTED)
    sentence = "The left kidney lies 110 mm to the right of the right kidney: left and right are swapped."
    with gateway.ledger.transaction() as transaction:
        flag = Flag("sides_contradict", "kidney_left", 110.0, "mm", sentence)
        write_flags(transaction, job_key, FlagSource.RESULT, [flag])
    gateway.move(job_key, JobEvent.HELD, reason=f"{sentence} Release it, or cancel it.")

    def is_nothingcut_off() -> bool:
        return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    badge = page.get_by_text("check: 1")
    expect(badge).to_have_attribute("title", "sides contradict")
    word = page.locator("td.state").filter(has_text="Release it").locator(".why")
    assert (word.bounding_box() or {"width": 0})["width"] > 100  # not a letter a line
    assert is_nothingcut_off()
    page.get_by_role("link", name="CT ABDOMEN").click()
    doubts = page.get_by_role("list", name="Doubts about tissue")
    expect(doubts.get_by_text("sides contradict")).to_be_visible()
    expect(doubts.get_by_text(sentence)).to_be_visible()
    assert is_nothingcut_off()
    picture(page, "flags-narrow")
    page.get_by_role("navigation").get_by_role("link", name="Quarantine").click()
    expect(page.get_by_role("heading", level=1, name="Quarantine")).to_be_visible()
    why = page.get_by_role("main").get_by_text(sentence).locator("visible=true").first
    expect(why).to_be_visible()
    assert (why.bounding_box() or {"width": 0})["width"] > 200
    assert is_nothingcut_off()
    assert troubles == []


@pytest.mark.parametrize("width", [1100, 1025, 360])
def test_no_column_of_studies_is_cut_off_in_a_small_window(page: Page, gateway: Gateway, width: int) -> None:
    running = gateway.job(gateway.study(1, "CT Thorax/Abdomen/Becken mit Kontrastmittel venoes", series=2))
    for event in (JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED, JobEvent.STARTED):
        gateway.move(running, event)
    gateway.progress(running, "1.2.826.0.1.1", 0.4)
    failed = gateway.job(gateway.study(2, "Abdomen", series=2))
    gateway.move(failed, JobEvent.FAILED, "the engine ended with exit code 70: a defect; its log says where")
    gateway.job(gateway.study(3, "CT Schaedel", series=2), hold="a gap of 5 mm between images 20 and 21")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{gateway.address}#/studies")
    expect(page.get_by_text("CT Schaedel")).to_be_visible()
    expect(page.get_by_role("cell").filter(has_text="segment 40 %")).to_be_visible()
    assert cut_off(page) == []
    picture(page, f"studies-{width}")


def test_list_is_searched_and_sorted_by_keyboard_and_its_address_says_how(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    for number in (1, 2, 12):
        gateway.study(number, f"CT {number}", series=3 - number % 2)
    page.goto(f"{gateway.address}#/studies")
    expect(page.get_by_role("link", name="CT 12")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("PID1")
    expect(page.get_by_role("link", name="CT 2", exact=True)).to_have_count(0)
    assert _shown(page) == ["key0012", "key0001"]
    expect(page).to_have_url(f"{gateway.address}#/studies?q=PID1")
    page.get_by_role("button", name="Images").press("Enter")
    heads = page.get_by_role("columnheader", name="Images")
    expect(heads).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Images").press("Enter")
    expect(heads).to_have_attribute("aria-sort", "ascending")
    expect(page.get_by_role("button", name="Images")).to_be_focused()
    assert _shown(page) == ["key0001", "key0012"]
    page.reload()
    expect(page.get_by_label("Patient ID, accession number")).to_have_value("PID1")
    expect(heads).to_have_attribute("aria-sort", "ascending")
    page.get_by_text("More filters").click()
    page.get_by_label("Sender").select_option("PACS")
    page.get_by_label("Waits for").select_option("person")
    expect(page.get_by_text("No study matches.")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="CT 12")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("link", name="CT 2", exact=True)).to_be_visible()
    assert troubles == []


def test_list_selection_scroll_and_typed_text_stay_while_studies_move(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    for number in range(1, 54):
        gateway.study(number, f"CT {number}")
    page.goto(f"{gateway.address}#/studies")
    page.get_by_label("Select CT 40 of PID40").check()
    page.get_by_role("button", name="Select all that match").click()
    expect(page.get_by_text("All 53 studies that match are selected.")).to_be_visible()
    page.get_by_label("Select CT 41 of PID41").uncheck()
    expect(page.get_by_text("49 studies selected.")).to_be_visible()
    box = page.get_by_label("Patient ID, accession number")
    box.evaluate("one => { one.value = 'typed'; one.focus({ preventScroll: true }); }")
    page.evaluate("scrollTo(0, 900)")
    gateway.job("1.2.826.0.1.53")
    expect(page.locator('[data-study="key0053"] td.state').get_by_text("processing")).to_be_attached()
    assert page.evaluate("scrollY") == 900
    expect(box).to_have_value("typed")
    expect(page.get_by_text("49 studies selected.")).to_be_visible()
    page.get_by_role("button", name="Next page →").click()
    expect(page.get_by_role("link", name="CT 1", exact=True)).to_be_visible()
    assert _shown(page) == ["key0003", "key0002", "key0001"]
    expect(page.get_by_text("49 studies selected.")).to_be_visible()
    page.get_by_role("button", name="← First page").click()
    expect(page.get_by_label("Select CT 40 of PID40")).to_be_checked()
    expect(page.get_by_label("Select CT 41 of PID41")).not_to_be_checked()
    assert troubles == []


def test_list_does_with_selected_studies_what_it_said_that_it_would(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    first, second, third = (gateway.job(gateway.study(number, f"CT {number}")) for number in (1, 2, 3))
    page.goto(f"{gateway.address}#/studies")
    for number in (1, 3):
        page.get_by_label(f"Select CT {number} of PID{number}").check()
    picture(page, "studies-selected")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("Release: nothing of these can be asked for that.")).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Cancel")
    expect(dialog.get_by_text("This stops 2 jobs of 2 studies")).to_be_visible()
    dialog.get_by_role("button", name="Leave it as it is").click()
    assert gateway.state(first) == "planned"
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancel: 2 jobs.")).to_be_visible()
    assert [gateway.state(job) for job in (first, second, third)] == ["cancelled", "planned", "cancelled"]
    expect(page.get_by_role("region", name="Selected studies")).to_be_hidden()
    page.get_by_label("Waits for").select_option("gateway")
    expect(page.get_by_role("link", name="CT 1")).to_have_count(0)
    page.get_by_label("Select all on this page").check()
    expect(page.get_by_text("1 study selected.")).to_be_visible()
    page.get_by_role("button", name="Forget").click()
    expect(page.get_by_text("This erases 1 study here")).to_be_visible()
    page.keyboard.press("Escape")
    assert troubles == []


def _shown(page: Page) -> list[str]:
    keys: list[str] = page.locator("tr[data-study]").evaluate_all(
        "all => all.map((one) => one.dataset.study)"
    )
    return keys
