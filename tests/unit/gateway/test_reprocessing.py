"""Another task on the volume of a job: which job that is, and what becomes of it when images come late."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import canonical_options, engine_facts
from gateway.api.ledger_actions import LedgerActions
from gateway.api.store import UploadWish
from gateway.config import Config, Rule
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import StudyPlan, images_of
from gateway.ledger.flags import flags_of
from gateway.ledger.states import JobEvent, JobState, StudyState
from gateway.ledger.transaction import NotPossible
from gateway.ledger.work import cancel, retry
from gateway.reprocessing import Reprocessing
from tests.nifti import ENGINE as UPLOAD_ENGINE
from tests.nifti import content, uploads_of

ENGINE = EngineIdentity("totalsegmentator", "2.11.0", "", "dcm2niix 1.0")
FACTS = engine_facts("totalsegmentator")
OPTIONS = canonical_options(FACTS, "total", {})
RULE = Rule(name="ct", when={"Modality": "CT"}, task="total", options=OPTIONS, priority=3)
OTHER = "lung_vessels"


@pytest.fixture
def actions(book, tmp_path: Path) -> LedgerActions:
    another = Reprocessing(book.ledger, FACTS, SiteSecret(tmp_path / "site-secret"), ENGINE)
    return LedgerActions(book.ledger, another_task=another.planned)


@pytest.fixture
def arrive(shelve, plan, complete, book) -> Callable[..., str]:
    """Let these slices come and the study be complete by this rule; the key of the volume's job."""

    def come(*, rules: tuple[Rule, ...] = (RULE,), **given: Any) -> str:
        shelve(**given)
        made: StudyPlan = plan(*rules, engine=ENGINE)
        complete(made)
        return made.jobs[0].job_key

    return come


def test_another_task_is_a_further_job_of_the_same_images_outputs_and_destinations(
    arrive, actions, book
) -> None:
    first = arrive()
    made = actions.reprocess(first, OTHER, {})
    before, job = book.job(first), book.job(made["key"])
    assert made == {"kind": "job", "key": job.job_key, "state": "planned"}
    assert (job.task, job.options) == (OTHER, canonical_options(FACTS, OTHER, {}))
    same = (
        "series_uid",
        "rule",
        "engine",
        "priority",
        "send_to",
        "outputs",
        "volume_sha256",
    )
    assert [getattr(job, name) for name in same] == [getattr(before, name) for name in same]
    assert images_of(book.ledger, job.job_key) == images_of(book.ledger, first)
    assert before.state is JobState.PLANNED


def test_same_wish_finds_the_same_job_and_leaves_it(arrive, actions, book) -> None:
    first = arrive()
    key = actions.reprocess(first, OTHER, {})["key"]
    book.move(key, JobEvent.CONVERTED)
    assert actions.reprocess(first, OTHER, {}) == {"kind": "job", "key": key, "state": "converted"}
    assert actions.reprocess(key, "total", {})["key"] == first  # what the rule did is found, too
    assert len(book.jobs()) == 2


def test_study_that_is_done_goes_on_with_it(arrive, actions, book) -> None:
    first = arrive()
    book.move(first, JobEvent.SEGMENTED, JobEvent.FOUND_NOTHING)
    assert book.study().state is StudyState.DONE
    actions.reprocess(first, OTHER, {})
    assert book.study().state is StudyState.PROCESSING


def test_cancelled_one_is_taken_up_by_the_same_wish_and_by_retry(arrive, actions, book) -> None:
    first = arrive()
    key = actions.reprocess(first, OTHER, {})["key"]
    for again in (lambda: actions.reprocess(first, OTHER, {}), lambda: actions.retry(key)):
        actions.cancel(key)
        again()
        assert book.state(key) is JobState.PLANNED


def test_task_with_other_options_takes_the_place_of_what_was_asked_for_before(arrive, actions, book) -> None:
    first = arrive()
    slow = actions.reprocess(first, "body", {})["key"]
    fast = actions.reprocess(first, "body", {"fast": True})["key"]
    assert (book.state(slow), book.state(fast), book.state(first)) == ("superseded", "planned", "planned")
    assert actions.reprocess(first, "body", {}) == {"kind": "job", "key": slow, "state": "planned"}
    assert book.state(fast) is JobState.SUPERSEDED


def test_task_of_the_rule_with_other_options_stands_beside_the_rules_job(arrive, actions, book) -> None:
    first = arrive()
    fast = actions.reprocess(first, "total", {"fast": True})["key"]
    again = arrive(PatientName="Same^Images")  # a later completion, which knows nothing of it
    assert again == first
    assert (book.state(first), book.state(fast)) == ("planned", "planned")


def test_later_completion_keeps_it_and_corrects_its_header(arrive, actions, book) -> None:
    first = arrive()
    key = actions.reprocess(first, OTHER, {})["key"]
    book.move(key, JobEvent.SEGMENTED)
    book.encode(key, uid="2.25.7")
    header = book.job(key).header_sha256
    arrive(PatientName="Corrected^Name")
    job = book.job(key)
    assert job.header_sha256 == book.job(first).header_sha256 != header
    assert job.state is JobState.SEGMENTED  # encoded anew with the header that is right
    assert book.job(first).state is JobState.PLANNED


def test_images_that_come_late_supersede_it_with_its_volumes_job(arrive, actions, book) -> None:
    first = arrive(count=10)
    key = actions.reprocess(first, OTHER, {})["key"]
    second = arrive(count=12)
    assert [book.state(each) for each in (first, key, second)] == ["superseded", "superseded", "planned"]
    with pytest.raises(NotPossible, match="another job took the place of this one"):
        actions.reprocess(first, OTHER, {})
    anew = actions.reprocess(second, OTHER, {})["key"]
    assert anew != key
    assert book.job(anew).slot == book.job(key).slot  # a revision of what was made before
    assert len(images_of(book.ledger, anew)) == 12


def test_it_competes_with_no_rules_volume_and_is_taken_over_by_a_rule_for_it(arrive, actions, book) -> None:
    first = arrive()
    key = actions.reprocess(first, OTHER, {})["key"]
    rule = Rule(name="lungs", when={"Modality": "CT"}, task=OTHER, options=book.job(key).options)
    arrive(rules=(RULE, rule), PatientName="Other^Name")
    assert sorted(book.jobs()) == sorted([first, key])
    assert book.job(key).slot == f"{book.job(key).series_uid}#1#{OTHER}"


def test_what_was_said_of_the_images_is_said_of_it(arrive, actions, book) -> None:
    first = arrive(missing=(5,))
    with pytest.raises(NotPossible, match="held for a person; release it first"):
        actions.reprocess(first, OTHER, {})
    actions.release(first)
    key = actions.reprocess(first, OTHER, {})["key"]
    assert [flag.sentence for flag in flags_of(book.ledger, key)] == [
        flag.sentence for flag in flags_of(book.ledger, first)
    ]
    assert flags_of(book.ledger, key)


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("lungs", {}, 'totalsegmentator has no task "lungs"; it has: '),
        (OTHER, {"quick": True}, 'totalsegmentator has no option "quick"; it has: '),
        ("body_mr", {}, "the task body_mr works on MR, these images are CT"),
    ],
)
def test_wish_that_the_engine_cannot_fulfil_is_refused(
    arrive, actions, book, task: str, options: dict[str, Any], says: str
) -> None:
    first = arrive()
    with pytest.raises(NotPossible) as refused:
        actions.reprocess(first, task, options)
    assert str(refused.value).startswith(says)
    assert len(book.jobs()) == 1


def test_while_images_come_in_or_after_they_were_removed_it_is_refused(arrive, actions, book) -> None:
    first = arrive()
    with book.ledger.transaction() as transaction:
        transaction.execute("UPDATE instances SET removed_at = received_at WHERE rowid = 1")
    with pytest.raises(NotPossible, match="images of this job are not here any more"):
        actions.reprocess(first, OTHER, {})
    with book.ledger.transaction() as transaction:
        transaction.execute("UPDATE instances SET removed_at = NULL")
        transaction.execute("UPDATE studies SET images_removed_at = '2026-11-30T12:00:00Z'")
    with pytest.raises(NotPossible, match="were removed here on 2026-11-30; send it again"):
        actions.reprocess(first, OTHER, {})
    book.store("1.2.3.9.1", series_uid="1.2.3.9")
    with pytest.raises(NotPossible, match="this study is receiving"):
        actions.reprocess(first, OTHER, {})


def test_rules_job_that_was_cancelled_is_no_further_one(arrive, actions, book) -> None:
    first = arrive()
    key = actions.reprocess(first, OTHER, {})["key"]
    with book.ledger.transaction() as transaction:
        cancel(transaction, first)
    with pytest.raises(NotPossible, match="which is cancelled; `iris retry` takes up"):
        actions.reprocess(key, "total", {})
    with book.ledger.transaction() as transaction:
        retry(transaction, first)
    assert actions.reprocess(key, "total", {})["key"] == first


def test_uploaded_image_gets_the_job_that_it_would_get_by_another_upload(book, tmp_path: Path) -> None:
    uploads = uploads_of(book.ledger, tmp_path)
    secret = SiteSecret(Config(site={"data_dir": tmp_path}).secret_path)
    another = Reprocessing(book.ledger, engine_facts("threshold"), secret, UPLOAD_ENGINE)
    actions = LedgerActions(book.ledger, another_task=another.planned)
    file = content()
    first = uploads.take(UploadWish("tissue", "{}", None, None), BytesIO(file))["job_key"]
    key = actions.reprocess(first, "tissue", {"fast": True})["key"]
    again = uploads.take(UploadWish("tissue", '{"fast": true}', None, None), BytesIO(file))
    assert (again["job_key"], again["state"]) == (key, "planned")
    assert key != first
