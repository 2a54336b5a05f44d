"""One study on the page, as a person finds it: what it says first, with its picture wide, narrow and dark."""

import os
import re

import pytest
from playwright.sync_api import Page, expect

from gateway.adapters.queue import Lane
from gateway.ledger.comparisons import freeze_comparison
from gateway.ledger.deliveries import say_why_it_waits
from gateway.ledger.flags import Flag, FlagSource, add_flag
from gateway.ledger.records import ComparisonRow, utc_now
from gateway.ledger.runs import begin_run, end_run, note_cost
from gateway.ledger.states import DeliveryEvent, JobEvent
from tests.page_gateway import Gateway, picture
from tests.results import COST

pytestmark = pytest.mark.peer("chromium")

SIZES = {"wide": (1280, 900), "phone": (390, 844)}
CUT = Flag(
    "truncated",
    "liver",
    1488.1,
    "ml",
    "liver reaches the edge of the scan: its volume is that of the part seen.",
)
AIR = Flag(
    "air_not_minus_1000",
    None,
    -820.0,
    "HU",
    "Air has -820 HU where -1000 is expected: the rescale may be wrong.",
)


def pictures(page: Page, name: str) -> None:
    if not os.environ.get("IRIS_TEST_PICTURES"):
        return
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        picture(page, f"study-{name}-{size}")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="dark")
    picture(page, f"study-{name}-dark")


def fits(page: Page) -> bool:
    """Whether nothing of a study has to be looked for at the side."""
    page.set_viewport_size({"width": 390, "height": 844})
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def run_of(gateway: Gateway, job_key: str, run: int = 1) -> None:
    with gateway.ledger.transaction() as transaction:
        transaction.move_job(job_key, JobEvent.SUBMITTED, columns={"run": run})
        begin_run(transaction, job_key, run, Lane.MAIN, backend="local")
        transaction.move_job(job_key, JobEvent.STARTED, columns={"stage": "segment", "fraction": 0.4})


def begin(gateway: Gateway, job_key: str) -> None:
    """Bring a planned job to its first run."""
    gateway.move(job_key, JobEvent.CONVERTED)
    gateway.move(job_key, JobEvent.STAGED)
    run_of(gateway, job_key)


def test_study_that_is_receiving_says_so_first_and_can_be_called_complete(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    gateway.study(1, "CT ABDOMEN", series=2)
    gateway.spread(3)
    page.goto(f"{gateway.address}#/studies/key0001")
    head = page.locator(".headline")
    expect(head.locator(".where")).to_have_text("Its images are coming in")
    expect(head).to_contain_text("What to do: Nothing. If no more will come, say that it is complete.")
    expect(head.get_by_role("button", name="It is complete")).to_be_visible()
    expect(page).to_have_title("CT ABDOMEN, receiving - IRIS Gateway")
    link = head.get_by_role("link", name="Open in the viewer")
    expect(link).to_have_attribute("href", "https://viewer.example/viewer?StudyInstanceUIDs=1.2.826.0.1.1")
    pictures(page, "receiving")
    assert fits(page)
    assert troubles == []


def test_study_that_runs_shows_its_progress_and_where_its_time_goes(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN", series=2))
    begin(gateway, job_key)
    gateway.spread(8, 5, 0.2, 2, 1, 4, 0.1, 130)
    page.goto(f"{gateway.address}#/studies/key0001")
    head = page.locator(".headline")
    expect(head.locator(".where")).to_contain_text("Being segmented segment 40 %")
    steps = page.get_by_role("table", name="Time spent in each step")
    row = steps.get_by_role("row", name=re.compile(r"^Segmented since .* (s|min) so far$"))
    expect(row).to_be_visible()
    expect(steps.locator(".longest")).to_contain_text("Segmented")
    pictures(page, "running")
    assert fits(page)
    assert troubles == []


def test_study_that_failed_says_where_why_and_what_to_do(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN", series=2))
    begin(gateway, job_key)
    why = "the memory ran out; choose a machine with more, or the option fast"
    with gateway.ledger.transaction() as transaction:
        transaction.move_job(job_key, JobEvent.FAILED, reason=why, exit_code=137)
        end_run(transaction, job_key, 1, exit_code=137, sentence=why)
    gateway.spread(8, 5, 0.2, 2, 1, 4, 0.1, 130, 1800)
    page.goto(f"{gateway.address}#/studies/key0001")
    head = page.locator(".headline")
    expect(head.locator(".where")).to_have_text("Failed while it was segmented")
    expect(head).to_contain_text(why)
    expect(head).to_contain_text("What to do: Settle what is said, then retry it; or cancel it.")
    expect(head.get_by_role("button")).to_have_text(["Retry", "Cancel"])
    expect(page.get_by_role("region", name="What happened").locator("summary", has_text=why)).to_have_count(1)
    expect(page).to_have_title("CT ABDOMEN, failed - IRIS Gateway")
    pictures(page, "failed")
    assert fits(page)
    assert troubles == []


def test_study_that_is_held_shows_the_result_and_the_doubts_about_it(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN", series=2)))
    begin(gateway, job_key)
    gateway.move(job_key, JobEvent.SEGMENTED)
    with gateway.ledger.transaction() as transaction:
        transaction.move_job(job_key, JobEvent.HELD, reason=AIR.sentence, columns={"fraction": 1.0})
        for flag in (AIR, CUT):
            add_flag(transaction, job_key, FlagSource.RESULT, flag)
    gateway.spread(8, 5, 0.2, 2, 1, 4, 0.1, 130, 1, 7200)
    page.goto(f"{gateway.address}#/studies/key0001")
    head = page.locator(".headline")
    expect(head.locator(".where")).to_have_text("Held: its result is in doubt")
    expect(head.get_by_role("button")).to_have_text(["Release", "Cancel"])
    expect(page.get_by_role("row", name=re.compile("^liver truncated"))).to_be_visible()
    pictures(page, "held")
    assert fits(page)
    assert troubles == []


def test_study_that_is_done_shows_figures_prior_answers_of_destinations_and_cost(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN", series=2)))
    begin(gateway, job_key)
    gateway.encode(job_key, ("seg", "sr", *["overlay"] * 3), ("pacs", "archive"))
    grown = {
        "then_ml": 190.2,
        "now_ml": 211.4,
        "change_ml": 21.2,
        "change_percent": 11.1,
        "not_compared": None,
    }
    cut = {**grown, "change_ml": None, "change_percent": None, "not_compared": "cut_now"}
    changes = ({"structure": "spleen", **grown}, {"structure": "liver", **cut})
    compared = ComparisonRow(
        job_key=job_key,
        chosen_for="c",
        why_none="",
        prior_date="2026-03-04",
        interval_days=91,
        changes=changes,
    )
    with gateway.ledger.transaction() as transaction:
        freeze_comparison(transaction, compared)
        add_flag(transaction, job_key, FlagSource.RESULT, CUT)
        note_cost(transaction, transaction.job(job_key), COST, "i-0abc", utc_now())
        end_run(transaction, job_key, 1, exit_code=0, sentence="")
    keys = [
        row["key"] for row in gateway.ledger.read("SELECT key FROM deliveries ORDER BY destination, rowid")
    ]
    with gateway.ledger.transaction() as transaction:
        say_why_it_waits(transaction, keys[0], "archive is away: no association")
        for number, key in enumerate(keys):
            columns = {"attempts": 2 if number == 0 else 1}
            answer = "answered with 0x0000 (Success)"
            transaction.move_delivery(key, DeliveryEvent.SENT, columns=columns, answer=answer)
    gateway.spread(8, 5, 0.2, 2, 1, 4, 0.1, 130, *[0] * 10, 12, 4)
    page.goto(f"{gateway.address}#/studies/key0001")
    head = page.locator(".headline")
    expect(head.locator(".where")).to_have_text("Done, with doubts: delivered to pacs and archive")
    expect(head).to_contain_text(CUT.sentence)
    deliveries = page.get_by_role("region", name="Deliveries", exact=True).first
    expect(deliveries.get_by_role("row").filter(has_text="answered with 0x0000 (Success)")).to_have_count(6)
    first = page.locator(f'[data-delivery="{keys[0]}"]')
    first.get_by_text("Tried 2 times").click()
    expect(first.get_by_text("archive is away")).to_be_visible()
    page.get_by_text("Compared with 2026-03-04, 91 days before").click()
    page.get_by_text("1 run: 100 s of g4dn.xlarge, 0.0270 USD").click()
    pictures(page, "done")
    assert fits(page)
    assert troubles == []


def test_figures_are_sorted_by_their_heads_and_stay_so_while_the_study_changes(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN")))
    key = gateway.encode(job_key)
    page.goto(f"{gateway.address}#/studies/key0001")
    figures = page.get_by_role("table", name="Figures of tissue")
    names = figures.locator("tbody th")
    expect(names.first).to_have_text("aorta")
    expect(figures.get_by_role("columnheader")).to_have_text(
        ["Structure", "Volume, ml", "Mean, HU", "SD, HU"]
    )
    figures.get_by_role("button", name="Volume, ml").press("Enter")
    expect(names.first).to_have_text("liver")
    expect(figures.get_by_role("row", name="liver ≥ 1,488 105 24.5")).to_be_visible()
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(key, DeliveryEvent.SENT)
    expect(page.locator(".headline .where")).to_have_text("Done: delivered to pacs")
    expect(names.first).to_have_text("liver")
    expect(figures.get_by_role("button", name="Volume, ml")).to_be_focused()
    figures.get_by_role("button", name="Volume, ml").press("Enter")
    expect(names.first).to_have_text("urinary bladder")
    expect(figures.get_by_role("columnheader", name="Volume, ml")).to_have_attribute("aria-sort", "ascending")
    assert troubles == []


def test_study_with_several_jobs_is_told_of_by_the_one_that_failed_and_has_bars_for_each(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    tissue = gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN"), also=["lung"]))
    delivery = gateway.encode(tissue)
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT, answer="answered with 0x0000 (Success)")
    [lung] = [row["job_key"] for row in gateway.ledger.read("SELECT job_key FROM jobs WHERE task = 'lung'")]
    gateway.move(lung, JobEvent.FAILED, reason="the disk is broken")
    page.goto(f"{gateway.address}#/studies/key0001")
    head = page.locator(".headline")
    where = "Failed while its images were converted (lung, one of 2 jobs)"
    expect(head.locator(".where")).to_have_text(where)
    expect(head.get_by_role("button")).to_have_text(["Retry", "Cancel"])
    steps = page.get_by_role("table", name="Time spent in each step")
    expect(steps.locator("th.group")).to_have_text(["tissue", "lung"])
    expect(page.locator("article.card h3")).to_have_text(["tissue on series 1", "lung on series 1"])
    expect(page.get_by_text("lung: Failed: the disk is broken")).to_be_visible()
    expect(page.locator(f'[data-delivery="{delivery}"]')).to_contain_text("tissue")
    pictures(page, "several")
    assert fits(page)
    assert troubles == []
