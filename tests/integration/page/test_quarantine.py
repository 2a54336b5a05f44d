"""What waits for a person, on the page."""

import io
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from pydicom import Dataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from gateway.api.quarantine.listing import list_quarantine
from gateway.config.roles import Role
from gateway.ledger.records import utc_now
from gateway.ledger.states import JobEvent
from gateway.listener.intake.filing import Said
from tests.page_gateway import Gateway, page_of, picture, say_yes

pytestmark = pytest.mark.peer("chromium")

STRANGER = {
    "at": utc_now(),
    "what": "rejected",
    "calling_ae_title": "STRANGER",
    "address": "192.0.2.9",
    "sentence": "its AE title and address are not in dicom.allow",
}


def _report() -> bytes:
    """An object that is sound, without pixels."""
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", generate_uid()
    report.StudyInstanceUID, report.SeriesInstanceUID = generate_uid(), generate_uid()
    report.PatientName, report.PatientID, report.Modality = "Planted^Patient", "PID77", "SR"
    stream = io.BytesIO()
    report.ensure_file_meta()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(stream, report, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture
def waiting(gateway: Gateway, page: Page) -> Callable[[str], Locator]:
    """A held job, two that are no DICOM, and one that came to a wrong address; each by its reason."""
    gateway.job(gateway.study(1, "CT ABDOMEN"), hold="One slice is missing at 12.5 mm.")
    gateway.comes(b"%PDF-1.7 no image", sender="CT-WORKSTATION")
    gateway.comes(b"nothing either", sender="CT-WORKSTATION")
    gateway.comes(_report(), Said(study_uid="1.2.3.4"), sender="sender-token")
    gateway.door = {"associations": 3, "limit": 32, "turned_away": [STRANGER]}
    page.get_by_role("navigation").get_by_role("link", name="Quarantine").click()
    expect(page.get_by_text("4 wait. They did not fail: a person decides.")).to_be_visible()

    def card(reason: str) -> Locator:
        return page.locator(".waiting article").filter(has=page.locator(".badge", has_text=reason))

    return card


def test_quarantine_says_why_and_what_to_do_of_each(
    page: Page, waiting: Callable[[str], Locator], troubles: list[str]
) -> None:
    expect(waiting("held").get_by_text("One slice is missing at 12.5 mm.")).to_be_visible()
    expect(waiting("held").get_by_text("Release lets the job go on")).to_be_visible()
    expect(waiting("not dicom").first.get_by_text("Have it corrected where it was made")).to_be_visible()
    expect(waiting("not dicom").first.get_by_role("button", name="Release")).to_have_count(0)
    expect(waiting("another study").get_by_role("button", name="Release")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="STRANGER")).to_be_visible()
    expect(page.get_by_text("3 of 32 associations and requests are open.")).to_be_visible()
    assert troubles == []


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")]
)
def test_quarantine_fits_and_everything_in_it_is_on_the_screen(
    page: Page, waiting: Callable[[str], Locator], width: int, scheme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    picture(page, f"quarantine-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = page.evaluate(
        "[...document.querySelectorAll('.waiting a, .waiting button, .choices select')].filter((one) =>"
        " one.getBoundingClientRect().right > innerWidth || one.getBoundingClientRect().height < 24"
        " && one.tagName !== 'A').length"
    )
    assert outside == 0
    for role, name in (("button", "Release"), ("link", "1.2.826.0.1.1")):
        waiting("held").get_by_role(role, name=name).hover()  # type: ignore[arg-type]
        expect(waiting("held").get_by_role(role, name=name)).to_be_in_viewport(ratio=1)  # type: ignore[arg-type]


def test_release_of_held_job_asks_and_lets_it_go_on(
    page: Page, gateway: Gateway, waiting: Callable[[str], Locator]
) -> None:
    job_key = waiting("held").get_attribute("data-key") or ""
    waiting("held").get_by_role("button", name="Release").click()
    page.get_by_role("button", name="Leave it as it is").click()
    assert gateway.state(job_key) == "quarantined"
    waiting("held").get_by_role("button", name="Release").click()
    say_yes(page, "what it makes is sent", "Release")
    expect(waiting("held")).to_have_count(0)
    assert gateway.state(job_key) == "planned"


def test_release_of_an_object_takes_it_in(
    page: Page, gateway: Gateway, waiting: Callable[[str], Locator]
) -> None:
    waiting("another study").get_by_role("button", name="Release").click()
    say_yes(page, "as what it says itself", "Release")
    expect(waiting("another study")).to_have_count(0)
    assert gateway.ledger.read("SELECT sender FROM instances")[-1]["sender"] == "sender-token"


def test_header_is_shown_when_it_is_asked_for_and_stays_open(
    page: Page, gateway: Gateway, waiting: Callable[[str], Locator]
) -> None:
    card = waiting("another study")
    expect(page.get_by_text("Planted^Patient")).to_have_count(0)
    card.get_by_text("Header of the object").click()
    expect(card.get_by_role("row").filter(has_text="PatientName")).to_contain_text("Planted^Patient")
    picture(page, "quarantine-header")
    gateway.comes(b"one more")
    expect(page.get_by_text("5 wait.")).to_be_visible()
    expect(card.get_by_text("Planted^Patient")).to_be_visible()
    with page.expect_download() as download:
        card.get_by_role("link", name="Save the object").click()
    assert download.value.suggested_filename.endswith(".dcm")


def test_what_is_pressed_while_news_come_is_pressed(
    page: Page, gateway: Gateway, waiting: Callable[[str], Locator]
) -> None:
    waiting("held").get_by_role("button", name="Release").hover()
    page.mouse.down()
    with page.expect_response("**/api/v1/quarantine?*"):
        gateway.comes(b"one more")
    page.mouse.up()
    say_yes(page, "what it makes is sent", "Release")
    expect(waiting("held")).to_have_count(0)
    expect(waiting("not dicom")).to_have_count(3)


def test_news_of_what_is_not_shown_leaves_all_as_it_is(
    page: Page, gateway: Gateway, waiting: Callable[[str], Locator]
) -> None:
    waiting("held").evaluate("one => { one.dataset.marked = '' }")
    other = gateway.job(gateway.study(2, "CT CHEST"))
    with page.expect_response("**/api/v1/door"):
        gateway.move(other, JobEvent.STARTED)
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(page.locator("[data-marked]")).to_have_count(1)


def test_all_of_one_reason_are_dismissed_at_once_after_it_is_said_how_many(
    page: Page, gateway: Gateway, waiting: Callable[[str], Locator]
) -> None:
    page.get_by_label("Reason").select_option("not_dicom")
    expect(waiting("another study")).to_have_count(0)
    expect(page).to_have_url(re.compile("reason=not_dicom"))
    page.get_by_role("button", name="Dismiss all of them").click()
    say_yes(page, "2 objects are settled then", "Dismiss all of them")
    expect(page.get_by_text("Nothing waits that is like that.")).to_be_visible()
    page.get_by_role("link", name="Dismissed").click()
    expect(page.get_by_text("Dismissed by admin-token, on the page").first).to_be_visible()
    expect(waiting("not dicom")).to_have_count(2)
    picture(page, "quarantine-dismissed")
    assert list_quarantine(gateway.ledger)["waiting"] == 2


def test_operator_sees_no_header(browser: Browser, gateway: Gateway) -> None:
    gateway.comes(b"nothing")
    page = page_of(Role.OPERATOR, browser, gateway)
    expect(page.locator("#who")).to_contain_text("(operator)")
    page.goto(f"{gateway.address}#/quarantine")
    card = page.locator(".waiting article")
    expect(card.get_by_role("button", name="Dismiss")).to_be_visible()
    expect(card.get_by_text("Header of the object")).to_have_count(0)
    expect(card.get_by_role("link", name="Save the object")).to_have_count(0)
    page.context.close()
