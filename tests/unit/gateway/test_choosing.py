"""Which volume of a scan is used when better ones come late or a person chooses, and which job it keeps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.arrival.completeness import Completeness
from gateway.config import Rule
from gateway.events import VolumeChosen
from gateway.identity import EngineIdentity
from gateway.ledger.choices import choose_volume, replan_study
from gateway.ledger.completion import PlannedJob, StudyPlan
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent, JobState, StudyState
from gateway.ledger.transaction import NotPossible, StaleRow
from gateway.ledger.work import cancel
from tests.shelf import ENGINE, save_slice, store_slice

Shelve = Callable[..., None]
Plan = Callable[..., StudyPlan]
Complete = Callable[[StudyPlan], None]

NEWER = EngineIdentity("threshold", "2.0.0", "", "dcm2niix 2.0")
THICK: dict[str, Any] = {"series": 1, "spacing_mm": 5.0, "count": 5}
THIN: dict[str, Any] = {"series": 2, "spacing_mm": 1.25, "count": 20}


def _only(made: StudyPlan) -> PlannedJob:
    (job,) = made.jobs
    return job


def _why(made: StudyPlan) -> dict[str, str]:
    """Series number to the reason."""
    return {volume.series_uid.rpartition(".")[2]: volume.why for volume in made.volumes}


def _deliver(book, job_key: str, uid: str = "2.25.1") -> None:
    book.move(job_key, JobEvent.SEGMENTED)
    book.encode(job_key, uid=uid)
    book.move_delivery("pacs", DeliveryEvent.SENT)


def _choose(book, series: int, number: int = 1) -> None:
    with book.ledger.transaction() as transaction:
        choose_volume(transaction, book.study_uid, f"{book.study_uid}.{series}", number)


def _replan(book, made: StudyPlan) -> None:
    with book.ledger.transaction() as transaction:
        replan_study(transaction, made)


@pytest.fixture
def begun(shelve: Shelve, plan: Plan, complete: Complete) -> PlannedJob:
    """The job of the thick series, which came first."""
    shelve(**THICK)
    made = plan()
    complete(made)
    return _only(made)


# -- a better volume that comes late ----------------------------------------------------------------------


@pytest.mark.parametrize("reached", [[], [JobEvent.STARTED], [JobEvent.SEGMENTED], [JobEvent.FAILED]])
def test_better_volume_takes_the_place_of_one_of_which_nothing_is_delivered(
    begun: PlannedJob, shelve: Shelve, plan: Plan, complete: Complete, book, reached: list[JobEvent]
) -> None:
    book.move(begun.job_key, *reached)
    shelve(**THIN)
    made = plan()
    assert _why(made) == {
        "1": "rule ct: series 2 of the same scan ranks higher",
        "2": "taken by rule ct for task tissue",
    }
    complete(made)
    old = book.job(begun.job_key)
    assert (old.state, old.reason) == (JobState.SUPERSEDED, "series 2 of the same scan ranks higher")
    assert book.state(_only(made).job_key) is JobState.PLANNED
    assert book.study().state is StudyState.PROCESSING


def test_encoded_result_that_waits_for_its_destination_gives_way_to_a_better_volume(
    begun: PlannedJob, shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    book.move(begun.job_key, JobEvent.SEGMENTED)
    book.encode(begun.job_key)
    shelve(**THIN)
    complete(plan())
    assert book.state(begun.job_key) is JobState.SUPERSEDED
    assert book.delivery().state is DeliveryState.SUPERSEDED


def test_volume_that_is_delivered_stays_the_one_and_the_better_one_says_what_a_person_can_do(
    begun: PlannedJob, shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    _deliver(book, begun.job_key)
    shelve(**THIN)
    made = plan()
    assert _only(made).job_key == begun.job_key
    assert _why(made)["2"] == (
        "rule ct: series 1 of the same scan was taken first and is delivered; `iris use` takes another one"
    )
    complete(made)
    assert set(book.jobs()) == {begun.job_key}
    assert book.state(begun.job_key) is JobState.DELIVERED


def test_volume_that_is_delivered_while_the_better_one_is_planned_stays_the_one(
    begun: PlannedJob, shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THIN)
    made = plan()
    _deliver(book, begun.job_key)
    before = book.everything()
    with pytest.raises(StaleRow):
        complete(made)
    assert book.everything() == before
    assert _only(plan()).job_key == begun.job_key


def test_volume_that_is_only_as_good_leaves_the_first_one_its_place(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**{**THIN, "series": 3})
    first = plan()
    complete(first)
    shelve(**THIN)
    second = plan()
    assert _only(second).job_key == _only(first).job_key
    assert _why(second)["2"] == "rule ct: series 3 of the same scan was taken first"


def test_volume_that_found_nothing_gives_way_to_a_better_one(
    begun: PlannedJob, shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    book.move(begun.job_key, JobEvent.SEGMENTED, JobEvent.FOUND_NOTHING)
    shelve(**THIN)
    made = plan()
    assert _only(made).series_uid == "1.2.3.2"
    complete(made)
    assert book.state(begun.job_key) is JobState.DELIVERED


# -- what a person chooses --------------------------------------------------------------------------------


def test_chosen_volume_is_used_in_the_place_of_what_is_not_delivered(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THICK)
    shelve(**THIN)
    first = plan()
    complete(first)
    _choose(book, 1)
    assert VolumeChosen(book.study_uid) in book.heard
    second = plan()
    assert _only(second).series_uid == "1.2.3.1"
    assert _why(second) == {
        "1": "taken by rule ct for task tissue, chosen by a person",
        "2": "rule ct: series 1 of the same scan was chosen by a person",
    }
    _replan(book, second)
    given_up = book.job(_only(first).job_key)
    assert given_up.state is JobState.SUPERSEDED
    assert given_up.reason == "series 1 of the same scan was chosen by a person"
    assert book.state(_only(second).job_key) is JobState.PLANNED
    assert book.study().state is StudyState.PROCESSING


def test_chosen_volume_is_delivered_beside_what_is_delivered(
    begun: PlannedJob, shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    _deliver(book, begun.job_key)
    shelve(**THIN)
    complete(plan())
    _choose(book, 2)
    made = plan()
    _replan(book, made)
    assert book.state(begun.job_key) is JobState.DELIVERED
    assert book.state(_only(made).job_key) is JobState.PLANNED
    _deliver(book, _only(made).job_key, uid="2.25.2")
    assert book.study().state is StudyState.DONE


def test_choice_outlives_later_completions_and_another_numbering(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    rule = Rule(name="all", when={"ImageType": "AXIAL"})
    shelve(**{**THICK, "count": 10})
    shelve(**THIN)
    complete(plan(rule))
    _choose(book, 1)
    _replan(book, plan(rule))
    coronal = {"orientation": (1, 0, 0, 0, 0, -1), "origin_mm": 500.0, "count": 40}
    shelve(series=1, only=range(10, 40), ImageType=["ORIGINAL", "PRIMARY", "CORONAL"], **coronal)
    made = plan(rule)  # the coronal stack is the first volume of series 1 now
    assert [(v.number, v.images) for v in made.volumes if v.series_uid == "1.2.3.1"] == [(1, 30), (2, 10)]
    assert (_only(made).series_uid, len(_only(made).instance_uids)) == ("1.2.3.1", 10)
    complete(made)
    assert [v.why for v in plan(rule).volumes if v.images == 10] == [
        "taken by rule all for task tissue, chosen by a person"
    ]


def test_second_choice_takes_the_place_of_the_first_and_its_job_up_again(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THICK)
    shelve(**THIN)
    first = plan()
    complete(first)
    for series in (1, 2):
        _choose(book, series)
        _replan(book, plan())
    states = {job.series_uid: job.state for job in book.jobs().values()}
    assert states == {"1.2.3.1": JobState.SUPERSEDED, "1.2.3.2": JobState.PLANNED}
    assert set(book.jobs()) >= {_only(first).job_key}
    assert len(book.jobs()) == 2


def test_chosen_volume_whose_job_was_cancelled_is_taken_up_once(begun: PlannedJob, plan: Plan, book) -> None:
    with book.ledger.transaction() as transaction:
        cancel(transaction, begun.job_key)
    _choose(book, 1)
    _replan(book, plan())
    assert book.state(begun.job_key) is JobState.PLANNED
    with book.ledger.transaction() as transaction:
        cancel(transaction, begun.job_key)
    _replan(book, plan())
    assert book.state(begun.job_key) is JobState.CANCELLED


def test_one_of_several_volumes_of_a_series_can_be_chosen(
    make_headers: Callable[..., Any], plan: Plan, complete: Complete, book, tmp_path: Path
) -> None:
    for echo in (1, 2):
        for path, header in make_headers(Modality="MR", EchoNumbers=echo, EchoTime=10 * echo):
            header.SOPInstanceUID = f"{header.SOPInstanceUID}.{echo}"
            echo_path = path.with_name(f"{header.SOPInstanceUID}.dcm")
            save_slice(header, echo_path)
            store_slice(book, header, echo_path.relative_to(tmp_path))
    rule = Rule(name="mr")
    complete(plan(rule, modality="MR"))
    _choose(book, 1, number=2)
    made = plan(rule, modality="MR")
    assert all(uid.endswith(".2") for uid in _only(made).instance_uids)
    assert [v.job_key for v in made.volumes] == [None, _only(made).job_key]


def test_volume_that_no_rule_takes_or_that_is_none_cannot_be_chosen(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    book.store()
    with pytest.raises(NotPossible, match="wait until it is complete"):
        _choose(book, 1)
    shelve(**THICK)
    shelve(series=2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with book.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM instances WHERE series_uid = ?", ("1.2.3.4",))
    complete(plan())
    with pytest.raises(NotPossible, match=r"no rule would take this volume \(.*scout.*\); change the rules"):
        _choose(book, 2)
    with pytest.raises(NotPossible, match="`iris study` shows"):
        _choose(book, 1, number=2)
    assert book.ledger.read("SELECT * FROM choices") == []


def test_volume_of_a_version_that_wrote_no_image_down_is_chosen_by_its_number(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THICK)
    shelve(**THIN)
    complete(plan())
    with book.ledger.transaction() as transaction:
        transaction.execute("UPDATE volumes SET first_image = ''")
    _choose(book, 1)
    assert _only(plan()).series_uid == "1.2.3.1"


def test_choice_is_planned_by_who_watches_the_studies_and_not_again(
    begun: PlannedJob, shelve: Shelve, plan: Plan, complete: Complete, book, planner: Callable[[], Any]
) -> None:
    _deliver(book, begun.job_key)
    shelve(**THIN)
    complete(plan())
    watcher = Completeness(
        book.ledger, planner(), book.ledger.bus, lambda _: False, quiet_s=0.0, timeout_s=3600.0
    )
    watcher.work()
    assert len(book.jobs()) == 1
    _choose(book, 2)
    assert watcher._wake.is_set()
    watcher.work()
    assert {job.series_uid for job in book.jobs().values()} == {"1.2.3.1", "1.2.3.2"}
    assert book.names().count("study.replanned") == 1
    Completeness(
        book.ledger, planner(), book.ledger.bus, lambda _: False, quiet_s=0.0, timeout_s=3600.0
    ).work()
    assert book.names().count("study.replanned") == 1


# -- the job that a volume keeps --------------------------------------------------------------------------


def test_volume_keeps_its_job_under_newer_versions_when_something_else_comes_late(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THIN)
    first = plan()
    complete(first)
    _deliver(book, _only(first).job_key)
    shelve(series=5, count=2)
    second = plan(engine=NEWER)
    assert _only(second).job_key == _only(first).job_key
    complete(second)
    assert book.state(_only(first).job_key) is JobState.DELIVERED


def test_job_that_a_version_without_digests_planned_is_kept_by_its_images(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THIN)
    first = plan()
    complete(first)
    with book.ledger.transaction() as transaction:
        transaction.execute("UPDATE jobs SET volume_sha256 = ''")
    assert _only(plan(engine=NEWER)).job_key == _only(first).job_key
    shelve(**{**THIN, "count": 21})
    assert _only(plan(engine=NEWER)).job_key != _only(first).job_key


@pytest.mark.parametrize(
    "change",
    [{"task": "other"}, {"options": {"fast": True}}, {"engine": EngineIdentity("other", "1.0.0", "", "")}],
)
def test_other_task_options_or_engine_make_another_job(
    shelve: Shelve, plan: Plan, complete: Complete, change: dict[str, Any]
) -> None:
    shelve(**THIN)
    first = plan()
    complete(first)
    engine = change.pop("engine", ENGINE)
    assert _only(plan(Rule(name="ct", **change), engine=engine)).job_key != _only(first).job_key


@pytest.mark.parametrize("column", ["pixel_sha256", "geometry_sha256"])
def test_other_pixels_or_geometry_make_another_job(
    shelve: Shelve, plan: Plan, complete: Complete, book, column: str
) -> None:
    shelve(**THIN)
    first = plan()
    complete(first)
    with book.ledger.transaction() as transaction:
        transaction.execute(f"UPDATE instances SET {column} = 'other' WHERE sop_instance_uid = '1.2.3.2.1'")
    assert _only(plan()).job_key != _only(first).job_key


def test_person_who_asks_for_a_volume_gets_it_from_the_newer_version_once(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THIN)
    first = plan()
    complete(first)
    _deliver(book, _only(first).job_key)
    _choose(book, 2)
    second = plan(engine=NEWER)
    assert _only(second).job_key != _only(first).job_key
    _replan(book, second)
    assert _only(plan(engine=NEWER)).job_key == _only(second).job_key
    newest = EngineIdentity("threshold", "3.0.0", "", "dcm2niix 3.0")
    assert _only(plan(engine=newest)).job_key == _only(second).job_key


def test_job_that_failed_gives_way_when_a_person_asks_for_its_volume_from_a_newer_version(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    shelve(**THIN)
    first = plan()
    complete(first)
    book.move(_only(first).job_key, JobEvent.FAILED, reason="the engine has a defect")
    _choose(book, 2)
    second = plan(engine=NEWER)
    _replan(book, second)
    old = book.job(_only(first).job_key)
    assert (old.state, old.reason) == (JobState.SUPERSEDED, "a person asked for its volume anew")
    assert book.state(_only(second).job_key) is JobState.PLANNED


def test_option_that_only_a_newer_engine_has_makes_no_other_job(
    shelve: Shelve, plan: Plan, complete: Complete, book
) -> None:
    engine = EngineIdentity("totalsegmentator", "2.0.0", "", "")
    shelve(**THIN)
    rule = Rule(name="ct", task="total", options={"fast": True})
    first = plan(rule, engine=engine)
    complete(first)
    with_more = Rule(name="ct", task="total", options={"fast": True, "robust_crop": False})
    assert _only(plan(with_more, engine=engine)).job_key == _only(first).job_key
