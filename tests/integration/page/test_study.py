"""One study on the page: decisions, jobs and their results, timeline, live changes, buttons."""

import re

import pytest
from playwright.sync_api import Page, expect

from gateway.adapters.queue import Lane
from gateway.events import JobChanged
from gateway.ledger.comparisons import freeze_comparison
from gateway.ledger.corrections import (
    Evidence,
    Link,
    compared,
    expect_correction,
    waiting_corrections,
)
from gateway.ledger.records import ComparisonRow, CorrectedStructure, utc_now
from gateway.ledger.runs import begin_run, end_run, note_cost
from gateway.ledger.states import DeliveryEvent, JobEvent, JobState
from gateway.ledger.work import wait_with_job
from tests.page_gateway import Gateway, picture, say_yes
from tests.results import COST

pytestmark = pytest.mark.peer("chromium")

WAITING = [
    (JobEvent.CONVERTED, "Waits to be put into its job folder", ["First", "Cancel"]),
    (JobEvent.STAGED, "Waits to be handed to the queue", ["First", "Cancel"]),
    (JobEvent.SUBMITTED, "Waits at the queue for its turn", ["Cancel"]),
    (JobEvent.QUEUED, "Waits for a machine", ["Cancel"]),
    (JobEvent.SEGMENTED, "Segmented; its results are being made", ["Cancel"]),
    (JobEvent.FAILED, "Failed while its images were converted", ["Retry", "Cancel"]),
    (JobEvent.HELD, "Held: images are missing", ["Release", "Cancel"]),
]


def test_preview_in_the_cloud_is_shown(
    page: Page, gateway: Gateway, bucket: str, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.picture(job_key)
    gateway.elsewhere = bucket
    gateway.encode(job_key)
    page.goto(f"{gateway.address}#/studies")
    page.get_by_role("link", name="CT ABDOMEN").click()
    expect(page.get_by_role("img", name="Preview of tissue")).to_have_js_property("naturalWidth", 480)
    expect(page.get_by_role("table", name="Figures of tissue")).to_be_visible()
    asked = [f"asked {bucket}/{job_key}/{name}?signed" for name in ("preview.png", "statistics.json")]
    assert sorted(troubles) == asked


def test_study_shows_decisions_result_deliveries_and_timeline(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    uid = gateway.study(1, "CT ABDOMEN", series=2)
    job_key = gateway.job(uid)
    gateway.picture(job_key)
    page.goto(f"{gateway.address}#/studies")
    page.get_by_role("link", name="CT ABDOMEN").click()
    jobs = page.get_by_role("region", name="Results")
    expect(jobs.get_by_text("planned")).to_be_visible()
    delivery = gateway.encode(job_key)
    expect(jobs.get_by_text("encoded")).to_be_visible()
    expect(page.get_by_role("img", name="Preview of tissue")).to_have_js_property("naturalWidth", 480)
    page.get_by_text("Ranking of the 2 volumes of its scan").click()
    expect(page.get_by_text("series 2: axial, 5 mm")).to_be_visible()
    with gateway.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    expect(
        page.get_by_role("region", name="Deliveries", exact=True).first.get_by_text("sent")
    ).to_be_visible()
    expect(page.get_by_text("series 2: axial, 5 mm")).to_be_visible()  # unfolded still
    expect(page.get_by_text("rule ct: series 1 of the same scan ranks higher")).to_be_visible()
    expect(page.get_by_role("region", name="What happened").get_by_text("Done: delivered")).to_be_visible()
    expect(page.get_by_text("Done: delivered to pacs")).to_be_visible()
    picture(page, "study")
    page.emulate_media(color_scheme="dark")
    picture(page, "study-dark")
    assert troubles == []


def test_study_retry_of_failed_job_takes_it_up(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    gateway.move(job_key, JobEvent.FAILED, reason="the engine failed")
    page.goto(f"{gateway.address}#/studies/key0001")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Retry: job is now: planned.")).to_be_visible()
    expect(page.locator(f'[data-job="{job_key}"][data-state="planned"]')).to_be_visible()
    assert gateway.state(job_key) == "planned"
    page.get_by_role("button", name="Cancel").click()
    say_yes(page, "This stops the job tissue.", "Cancel")
    expect(page.locator(f'[data-job="{job_key}"][data-state="cancelled"]')).to_be_visible()
    assert gateway.state(job_key) == "cancelled"
    assert troubles == []


def test_keyboard_stays_where_it_was_while_the_study_changes_and_at_the_page_where_that_is_gone(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN", series=2), hold="One slice is missing at 12.5 mm.")
    page.goto(f"{gateway.address}#/studies")
    page.get_by_role("link", name="CT ABDOMEN").press("Enter")
    ranking = page.get_by_text("Ranking").first
    ranking.press("Enter")
    with gateway.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", job_key, {"reason": "Another one is missing."})
        transaction.publish(JobChanged(job_key, "1.2.826.0.1.1", "", JobState.QUARANTINED))
    expect(page.get_by_text("Another one is missing.").first).to_be_visible()
    expect(ranking).to_be_focused()
    page.get_by_role("button", name="Release").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Release").press("Enter")
    expect(page.get_by_role("button", name="Release")).to_have_count(0)
    expect(page.get_by_role("main")).to_be_focused()
    assert troubles == []


def test_job_shows_each_of_its_runs_and_how_it_ended(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    for run in (1, 2):
        with gateway.ledger.transaction() as transaction:
            transaction.move_job(job_key, JobEvent.SUBMITTED, columns={"run": run})
            begin_run(transaction, job_key, run, Lane.MAIN, backend="local")
            if run == 1:
                transaction.move_job(job_key, JobEvent.RUN_LOST, reason="the disk is full")
                end_run(
                    transaction, job_key, run, exit_code=75, sentence="the disk is full", lost_on="machine"
                )
    with gateway.ledger.transaction() as transaction:
        note_cost(transaction, transaction.job(job_key), COST, "i-0abc", utc_now())
    page.goto(f"{gateway.address}#/studies/key0001")
    job = page.locator(f'[data-job="{job_key}"]')
    job.get_by_text("2 runs").click()
    runs = job.get_by_role("listitem")
    expect(runs).to_have_count(2)
    first, second = runs.all()
    expect(first).to_contain_text(re.compile(r"On this machine, handed over .*, ended .*: the disk is full"))
    expect(second).to_contain_text("goes on")
    expect(second).to_contain_text(
        "g4dn.xlarge, Spot at 0.2160 USD an hour; held for 100 s; with the GPU at work for 62 s;"
        " start and idle before: 5.8 min; about 0.0060 USD for the run; 0.0210 USD for the time before it"
    )
    picture(page, "runs")
    assert troubles == []


def test_job_shows_what_changed_since_the_earlier_result(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    grown = {
        "then_ml": 100.0,
        "now_ml": 112.5,
        "change_ml": 12.5,
        "change_percent": 12.5,
        "not_compared": None,
    }
    cut = {**grown, "change_ml": None, "change_percent": None, "not_compared": "cut_now"}
    compared = ComparisonRow(
        job_key=job_key,
        chosen_for="c",
        why_none="",
        prior_date="2026-03-04",
        interval_days=1,
        changes=({"structure": "spleen", **grown}, {"structure": "kidney_left", **cut}),
    )
    with gateway.ledger.transaction() as transaction:
        freeze_comparison(transaction, compared)
    page.goto(f"{gateway.address}#/studies/key0001")
    job = page.locator(f'[data-job="{job_key}"]')
    job.get_by_text("Compared with 2026-03-04, 1 day before").click()
    expect(job.get_by_role("row", name="spleen 100 113 +12.5 +12.5")).to_be_visible()
    left = "kidney left 100 113 not compared: the scan cuts it off now"
    expect(job.get_by_role("row", name=left)).to_be_visible()
    picture(page, "compared")
    assert troubles == []


def test_job_shows_what_a_person_corrected_the_latest_first(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    uid = gateway.study(1, "CT ABDOMEN")
    job_key = gateway.job(uid)
    gateway.encode(job_key)
    gateway.picture(job_key)
    spleen = CorrectedStructure(
        structure="spleen", is_new=False, dice=1.0, volume_ml=210.4, corrected_ml=210.4
    )
    liver = CorrectedStructure(
        structure="liver", is_new=False, dice=0.9312, volume_ml=1500, corrected_ml=1420.6
    )
    added = CorrectedStructure(
        structure="<b>Lesion</b>", is_new=True, dice=None, volume_ml=None, corrected_ml=12.0
    )
    for number, structures in enumerate([(spleen,), (liver, spleen, added)], start=1):
        with gateway.ledger.transaction() as transaction:
            expect_correction(transaction, f"1.2.3.{number}", uid)
        with gateway.ledger.transaction() as transaction:
            [row] = waiting_corrections(gateway.ledger)
            compared(transaction, row, Link(f"c{number}", job_key, Evidence.LABELS), structures)
    page.goto(f"{gateway.address}#/studies/key0001")
    job = page.locator(f'[data-job="{job_key}"]')
    shown = job.get_by_role("group", name="Corrections of tissue").locator("details")
    expect(shown).to_have_count(2)
    latest, first = shown.all()
    expect(first).to_contain_text("nothing differs")
    expect(latest).to_contain_text("liver Dice 0.931, <b>Lesion</b> added")
    latest.locator("summary").click()
    expect(latest.get_by_role("row", name="liver")).to_contain_text("-79.4")
    picture(page, "corrections")
    assert troubles == []


def test_volume_that_lost_is_used_by_its_button(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    gateway.job(gateway.study(1, "CT ABDOMEN", series=2))
    page.goto(f"{gateway.address}#/studies/key0001")
    series = page.get_by_role("region", name="Series")
    expect(series.get_by_text("rule ct: series 1 of the same scan ranks higher")).to_be_visible()
    picture(page, "use")
    series.get_by_role("button", name="Use this one").click()  # the one that is used has none
    say_yes(page, "what is delivered stays", "Use this one")
    expect(page.get_by_text("Use this one: it takes the place of the others")).to_be_visible()
    expect(page.get_by_text("A person chose a volume: number 1 of its series")).to_be_visible()
    [chosen] = gateway.ledger.read("SELECT series_uid, number FROM choices WHERE is_open = 1")
    assert tuple(chosen) == ("1.2.826.0.1.1.2", 1)
    assert troubles == []


def test_job_that_waits_says_why_and_until_when_and_is_tried_now(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    job_key = gateway.job(gateway.study(1, "CT ABDOMEN"))
    with gateway.ledger.transaction() as transaction:
        wait_with_job(transaction, job_key, delay_s=3600, reason="the disk is full", on="machine")
    page.goto(f"{gateway.address}#/studies/key0001")
    head = page.locator(".headline")
    expect(head.locator(".where")).to_have_text("Put off")
    expect(head.get_by_text("the disk is full")).to_be_visible()
    expect(head.get_by_text("Tried again: ")).to_be_visible()
    picture(page, "job-waits")
    head.get_by_role("button", name="Try now").click()
    expect(head.get_by_role("button", name="Try now")).to_have_count(0)
    [row] = gateway.ledger.read("SELECT not_before FROM jobs")
    assert row["not_before"] is None
    assert troubles == []


def test_job_that_waits_is_put_first(page: Page, gateway: Gateway, troubles: list[str]) -> None:
    gateway.job(gateway.study(1, "CT ABDOMEN"))
    job_key = gateway.job(gateway.study(2, "CT THORAX"))
    page.goto(f"{gateway.address}#/studies/key0002")
    page.locator(".headline").get_by_role("button", name="First").click()
    expect(page.get_by_text("First: it comes before all others that wait.")).to_be_visible()
    expect(page.get_by_text("Its priority was changed to 1; it was 0")).to_be_visible()
    expect(page.locator(f'[data-job="{job_key}"]').get_by_text("priority 1")).to_be_visible()
    picture(page, "first")
    assert troubles == []


def test_another_task_is_run_on_the_images_of_a_job(
    page: Page, gateway: Gateway, troubles: list[str]
) -> None:
    gateway.job(gateway.study(1, "CT ABDOMEN"))
    with gateway.ledger.transaction() as transaction:
        transaction.execute("UPDATE jobs SET task = 'bones'")
    page.goto(f"{gateway.address}#/studies/key0001")
    page.get_by_text("Run another task").click()
    picture(page, "another-task")
    page.get_by_role("button", name="Run it").click()
    say_yes(page, "This runs the task tissue on the same images, as a further job.", "Run it")
    expect(page.get_by_text("Run it: the task tissue is a job of this study now.")).to_be_visible()
    expect(page.get_by_role("heading", name="tissue on series 1")).to_be_visible()
    expect(page.get_by_text("Run another task")).to_have_count(0)  # every task that there is was asked for
    assert troubles == []


def test_every_state_in_which_a_job_waits_has_its_sentence_and_buttons_at_the_top(
    page: Page, gateway: Gateway
) -> None:
    for number, (event, where, buttons) in enumerate(WAITING, start=1):
        job_key = gateway.job(gateway.study(number, "CT ABDOMEN"))
        gateway.move(job_key, event, reason="a reason")
        page.goto(f"{gateway.address}#/studies/key{number:04d}")
        head = page.locator(".headline")
        expect(head.locator(".where")).to_have_text(where)
        expect(head.get_by_text("a reason")).to_be_visible()
        expect(head.get_by_role("button")).to_have_text(buttons)


def test_study_that_waits_for_what_the_pacs_holds_says_how_many_images(page: Page, gateway: Gateway) -> None:
    study_uid = gateway.study(1, "CT ABDOMEN")
    with gateway.ledger.transaction() as transaction:
        for answer, missing in (("away", 0), ("more_there", 7)):
            transaction.note("study.pacs_answered", study_uid=study_uid, answer=answer, missing=missing)
    page.goto(f"{gateway.address}#/studies/key0001")
    expect(page.get_by_text("The PACS held 7 images more.")).to_be_visible()


def test_forgetting_says_what_goes_and_is_for_admins(page: Page, gateway: Gateway) -> None:
    gateway.job(gateway.study(1, "CT ABDOMEN"))
    page.goto(f"{gateway.address}#/studies/key0001")
    page.get_by_role("button", name="Forget").click()
    picture(page, "forget")
    page.get_by_role("button", name="Leave it as it is").click()
    assert gateway.ledger.read("SELECT forget_at FROM studies")[0]["forget_at"] is None
    page.get_by_role("button", name="Forget").click()
    say_yes(page, "1 job and what was made. What destinations have of it stays there.", "Forget")
    expect(page.locator("#said")).to_contain_text("forgetting")
    assert gateway.ledger.read("SELECT forget_at FROM studies")[0]["forget_at"]


def test_study_called_complete_is_requested(page: Page, gateway: Gateway) -> None:
    gateway.study(1, "CT ABDOMEN")
    page.goto(f"{gateway.address}#/studies/key0001")
    page.get_by_role("button", name="It is complete").click()
    say_yes(page, "all of the study is here", "It is complete")
    expect(page.get_by_text("A person said that it is complete (asked for by ")).to_be_visible()
    [row] = gateway.ledger.read("SELECT complete_requested FROM studies")
    assert row["complete_requested"] == 1
