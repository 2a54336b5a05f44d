"""When a study counts as arrived: on what evidence, and what stands in the way."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

import gateway.arrival.completeness as completeness_module
from gateway.arrival import witness
from gateway.arrival.completeness import NOT_PLANNED, Completeness
from gateway.files.kept import FilesLost
from gateway.ledger.completion import StudyPlan, request_completion
from gateway.ledger.flags import flags_of
from gateway.ledger.instances import current_instance, renew_file
from gateway.ledger.records import StudyRow, utc_text
from gateway.ledger.states import JobState, StudyState
from gateway.ledger.transaction import WhyDone
from gateway.workers.waits import Waits, wall_clock

DEADLINE_S = 120.0
LONG_S = 3600.0


@dataclass
class ScriptedPlanner:
    """Plans whatever `jobs` holds; raises for the studies in `broken`."""

    jobs: tuple[Any, ...] = ()
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    error: Exception = field(default_factory=lambda: OSError("a kept file cannot be read"))

    def plan(self, study: StudyRow) -> StudyPlan:
        self.asked.append(study.study_uid)
        before, self.before = self.before, lambda: None
        before()
        if study.study_uid in self.broken:
            raise self.error
        return StudyPlan(study.study_uid, study.generation, self.jobs, ())


@pytest.fixture
def watch(book) -> Iterator[Callable[..., tuple[Completeness, ScriptedPlanner]]]:
    """Start the watch over the studies of the book."""
    started = []

    def start(*jobs: Any, is_open: Callable[[str], bool] = lambda _: False, **times: Any) -> Any:
        planner = ScriptedPlanner(jobs)
        given: dict[str, Any] = {"quiet_s": 0.0, "timeout_s": LONG_S, **times}
        watcher = Completeness(book.ledger, planner, book.ledger.bus, is_open, **given)  # type: ignore[arg-type]
        watcher.start()
        started.append(watcher)
        return watcher, planner

    yield start
    for watcher in started:
        watcher.stop()


def _wait_for(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, "the condition did not come true"
        time.sleep(0.005)


def _completed_with(book) -> str:
    """Wait until the study is complete; the evidence."""
    _wait_for(lambda: "study.completed" in book.names())
    (line,) = [line for line in book.timeline() if line.event == "study.completed"]
    return str(line.detail["evidence"])


def test_released_study_without_a_gap_is_complete_after_the_quiet_time(book, watch) -> None:
    book.store()
    watch(book.planned(), quiet_s=0.05)
    book.close_association()
    assert _completed_with(book) == "released"
    assert book.state() is JobState.PLANNED
    at = book.study()
    assert at.completed_at is not None
    assert at.evidence_at is not None
    assert at.completed_at > at.evidence_at


def test_study_that_an_earlier_process_left_open_is_completed_at_start(book, watch) -> None:
    book.store()
    book.close_association()
    watch(book.planned())
    assert _completed_with(book) == "released"


def test_study_is_not_looked_at_before_its_quiet_time_or_without_evidence(book, watch) -> None:
    book.store()
    watcher, planner = watch(book.planned(), quiet_s=LONG_S)
    assert 0 < watcher.work() <= completeness_module.LOOK_AGAIN_S
    book.close_association()
    assert 0 < watcher.work() <= completeness_module.LOOK_AGAIN_S
    assert planner.asked == []


def test_study_whose_association_is_open_waits_for_its_sender(book, watch) -> None:
    book.store()
    book.close_association()
    watcher, planner = watch(book.planned(), is_open=lambda uid: uid == book.study_uid, timeout_s=0.0)
    watcher.work()
    assert planner.asked == []


def test_aborted_association_is_no_evidence(book, watch) -> None:
    book.store()
    book.close_association(released=False)
    watcher, planner = watch(book.planned())
    watcher.work()
    assert planner.asked == []


def test_study_broken_off_by_one_association_and_released_by_another_waits_for_the_timeout(
    book, watch
) -> None:
    book.store()
    opened_at = utc_text(wall_clock())
    book.close_association(released=False)
    book.store("1.2.3.4.2")
    book.close_association(opened_at=opened_at)
    watch(book.planned(), timeout_s=0.05)
    assert _completed_with(book) == "timeout without release"
    (flag,) = flags_of(book.ledger, "k1")
    assert flag.code == "closed_after_abort"


@pytest.mark.parametrize("released", [None, False])
def test_study_without_a_release_is_complete_at_the_timeout(book, watch, released: bool | None) -> None:
    book.store()
    if released is not None:
        book.close_association(released=released)
    watch(book.planned(), timeout_s=0.05)
    assert _completed_with(book) == "timeout without release"
    assert book.state() is JobState.PLANNED


def test_gap_is_waited_for_until_the_timeout_and_then_held(book, watch) -> None:
    book.store()
    book.close_association()
    _, planner = watch(book.planned(hold="a slice is missing"), timeout_s=0.3)
    assert _completed_with(book) == "timeout with a gap"
    assert len(planner.asked) == 2  # at its release, too
    assert book.state() is JobState.QUARANTINED
    assert len(planner.asked) == 2  # at the release and at the timeout, not all the time in between


def test_gap_that_a_late_slice_fills_is_complete_at_once(book, watch) -> None:
    book.store()
    book.close_association()
    _, planner = watch(book.planned(hold="a slice is missing"))
    _wait_for(lambda: planner.asked)
    planner.jobs = (book.planned("k2"),)
    book.store("1.2.3.4.2")
    book.close_association()
    assert _completed_with(book) == "released"
    assert book.state("k2") is JobState.PLANNED


def test_person_who_says_complete_is_believed_in_spite_of_gap_and_open_association(book, watch) -> None:
    book.store()
    watch(book.planned(hold="a slice is missing"), is_open=lambda _: True)
    with book.ledger.transaction() as transaction:
        request_completion(transaction, book.study_uid)
    assert _completed_with(book) == "requested"
    assert book.state() is JobState.QUARANTINED


def test_instance_that_comes_while_the_study_is_planned_is_not_left_out(book, watch) -> None:
    book.store()
    is_open = True
    _, planner = watch(book.planned(), is_open=lambda _: is_open)
    planner.before = lambda: book.store("1.2.3.4.2")
    is_open = False
    book.close_association()
    _wait_for(lambda: planner.asked)
    book.close_association()
    assert _completed_with(book) == "released"
    assert len(planner.asked) >= 2
    assert book.study().generation == 2


# -- one study must not hold up the others ----------------------------------------------------------------


def test_study_that_cannot_be_planned_does_not_hold_up_the_others(book, watch) -> None:
    book.store("1.9.1", study_uid="1.9", series_uid="1.9.0")  # comes first, is looked at first
    book.store()
    with book.ledger.transaction() as transaction:
        for uid in ("1.9", book.study_uid):
            request_completion(transaction, uid)
    planner = ScriptedPlanner(broken={"1.9"})
    watcher = Completeness(
        book.ledger, planner, book.ledger.bus, lambda _: False, quiet_s=0.0, timeout_s=LONG_S
    )  # type: ignore[arg-type]
    with capture_logs() as said:
        wait_s = watcher.work()
    assert planner.asked == ["1.9", book.study_uid]
    assert book.study().state is StudyState.DONE
    (broken,) = book.ledger.read("SELECT state, reason FROM studies WHERE study_uid = '1.9'")
    assert (broken["state"], broken["reason"]) == ("receiving", NOT_PLANNED)
    assert ("study_not_planned", "key of 1.9") in {(entry["event"], entry.get("study_key")) for entry in said}
    assert 0 < wait_s <= completeness_module.LOOK_AGAIN_S


def test_study_whose_files_are_lost_says_so_until_they_are_there_again(book) -> None:
    book.store()
    with book.ledger.transaction() as transaction:
        request_completion(transaction, book.study_uid)
    planner = ScriptedPlanner(broken={book.study_uid}, error=FilesLost(3))
    watcher = Completeness(
        book.ledger, planner, book.ledger.bus, lambda _: False, quiet_s=0.0, timeout_s=LONG_S
    )  # type: ignore[arg-type]
    watcher.work()
    assert book.study().reason == "3 kept files are lost or cannot be read; send the study again"
    known = current_instance(book.ledger, "1.2.3.4.1")
    planner.broken.clear()
    with book.ledger.transaction() as transaction:
        renew_file(transaction, known, book.arrived(), 1)
    watcher.work()
    assert (book.study().state, book.study().reason) == (StudyState.DONE, WhyDone.NOTHING_TO_DO)


def test_study_that_cannot_be_planned_rests_until_its_time_or_a_new_instance(
    book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.store()
    with book.ledger.transaction() as transaction:
        request_completion(transaction, book.study_uid)
    planner = ScriptedPlanner(broken={book.study_uid})
    watcher = Completeness(
        book.ledger, planner, book.ledger.bus, lambda _: False, quiet_s=0.0, timeout_s=LONG_S
    )  # type: ignore[arg-type]
    watcher.work()
    watcher.work()
    assert len(planner.asked) == 1
    book.store("1.2.3.4.2")
    watcher.work()
    assert len(planner.asked) == 2
    monkeypatch.setattr(completeness_module, "LOOK_AGAIN_S", 0.0)
    planner.broken.clear()
    watcher.work()
    assert book.study().state is StudyState.DONE
    assert book.study().reason != NOT_PLANNED


# -- many studies at once -----------------------------------------------------------------------------------


@pytest.fixture
def looked_up(book, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The parameters of every look into the table of studies from now on."""
    seen, read = [], book.ledger.read

    def noted(sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        rows = read(sql, parameters)
        if "FROM studies" in sql:
            seen.append((*parameters, len(rows)))
        return rows

    monkeypatch.setattr(book.ledger, "read", noted)
    return seen


def _watch_without_a_thread(book, is_open: Callable[[str], bool], **times: Any) -> Any:
    planner = ScriptedPlanner()
    given: dict[str, Any] = {"quiet_s": 0.0, "timeout_s": LONG_S, **times}
    return Completeness(book.ledger, planner, book.ledger.bus, is_open, **given), planner  # type: ignore[arg-type]


def test_further_instance_of_a_study_that_waits_wakes_nobody_and_looks_nothing_up(book, looked_up) -> None:
    for number in range(20):
        book.store(f"1.{number}.1", study_uid=f"1.{number}", series_uid=f"1.{number}.0")
    watcher, _ = _watch_without_a_thread(book, lambda _: True)
    watcher.work()
    looked_up.clear()
    for number in range(20):
        book.store(f"1.{number}.2", study_uid=f"1.{number}", series_uid=f"1.{number}.0")
    assert not watcher._wake.is_set()
    watcher.work()
    assert looked_up == []


def test_study_that_changed_is_looked_at_alone_among_many(book, looked_up) -> None:
    for number in range(20):
        book.store(f"1.{number}.1", study_uid=f"1.{number}", series_uid=f"1.{number}.0")
    watcher, planner = _watch_without_a_thread(book, lambda _: False)
    watcher.work()
    book.store()
    watcher.work()
    looked_up.clear()
    book.close_association()
    watcher.work()
    assert looked_up == [(book.study_uid, StudyState.RECEIVING, 1)]
    assert planner.asked == [book.study_uid]


def test_study_that_was_complete_is_looked_at_again_when_an_instance_comes(book) -> None:
    book.store()
    watcher, planner = _watch_without_a_thread(book, lambda _: False)
    book.close_association()
    watcher.work()
    assert book.study().state is StudyState.DONE
    watcher._wake.clear()
    book.store("1.2.3.4.2")
    assert watcher._wake.is_set()
    book.close_association()
    watcher.work()
    assert len(planner.asked) == 2


def test_instance_that_comes_while_its_study_is_planned_is_looked_at_again(book) -> None:
    book.store()
    watcher, planner = _watch_without_a_thread(book, lambda _: False, timeout_s=0.0)
    planner.before = lambda: book.store("1.2.3.4.2")
    watcher.work()
    watcher.work()
    assert book.study().state is StudyState.DONE
    assert len(planner.asked) == 2


def test_every_open_study_is_looked_at_now_and_then_without_an_event(
    book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.store()
    is_open = True
    watcher, planner = _watch_without_a_thread(book, lambda _: is_open, timeout_s=0.0)
    watcher.work()
    is_open = False  # its association ended without a word
    watcher.work()
    assert planner.asked == []
    monkeypatch.setattr(completeness_module, "LOOK_AGAIN_S", 0.0)
    watcher.work()
    assert planner.asked == [book.study_uid]


# -- the wall clock is set --------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-2, 2])
@pytest.mark.parametrize("released", [True, False])
def test_wall_clock_that_is_set_neither_stretches_nor_cuts_the_wait(
    book, watch, hours: int, *, released: bool
) -> None:
    shift = timedelta(0)
    waits = Waits(now=lambda: wall_clock() + shift)
    book.store()
    book.close_association(released=released)
    begun = time.monotonic()
    watcher, _ = watch(book.planned(), quiet_s=1.0, timeout_s=1.0, waits=waits)
    _wait_for(lambda: watcher._next_look_at or "study.completed" in book.names())
    shift = timedelta(hours=hours)
    watcher._all_looked_at = -LONG_S  # as every half minute
    watcher.look_again()
    assert _completed_with(book) == ("released" if released else "timeout without release")
    assert time.monotonic() - begun >= 0.5


def test_study_that_a_clock_ahead_wrote_down_waits_for_the_quiet_time_only(book, watch) -> None:
    book.store()
    book.close_association()
    ahead = utc_text(wall_clock() + timedelta(hours=2))
    with book.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET evidence_at = ?, last_instance_at = ?", (ahead, ahead))
    watch(book.planned(), quiet_s=0.2)
    assert _completed_with(book) == "released"


def test_ledger_that_fails_in_the_middle_of_a_look_makes_nobody_forget_a_study(
    book, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, planner = _watch_without_a_thread(book, lambda _: False)
    watcher.work()
    book.store()
    book.close_association()
    with monkeypatch.context() as patch:
        patch.setattr(completeness_module, "receiving_study", _raise_full)
        with pytest.raises(sqlite3.OperationalError):
            watcher.work()
    watcher.work()
    assert planner.asked == [book.study_uid]


def _raise_full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_study_that_is_large_is_planned_by_its_own_watch_and_holds_up_no_other(book) -> None:
    for number in range(5):
        book.store(f"1.9.{number}", study_uid="1.9", series_uid="1.9.0")
    book.store()
    small, small_planner = _watch_without_a_thread(book, lambda _: False, sizes=range(5))
    large, large_planner = _watch_without_a_thread(book, lambda _: False, sizes=range(5, 100))
    with book.ledger.transaction() as transaction:
        for uid in ("1.9", book.study_uid):
            request_completion(transaction, uid)
    small.work()
    assert small_planner.asked == [book.study_uid]
    large.work()
    assert large_planner.asked == ["1.9"]
    assert (small.name, large.name) == ("completeness", "completeness-large")


def test_study_that_grows_large_while_it_comes_in_passes_to_the_other_watch(book) -> None:
    small, small_planner = _watch_without_a_thread(book, lambda _: False, sizes=range(2))
    large, large_planner = _watch_without_a_thread(book, lambda _: False, sizes=range(2, 100))
    for number in range(3):
        book.store(f"1.2.3.4.{number}")
        small.work()
        large.work()
    book.close_association()
    small.work()
    large.work()
    assert (small_planner.asked, large_planner.asked) == ([], [book.study_uid])
    assert book.study().state is StudyState.DONE


@dataclass(frozen=True)
class _ShortPauses:
    quiet_s: float

    def quiet_after_s(self, study_uid: str) -> float:
        return self.quiet_s


@dataclass(frozen=True)
class _Misses:
    missing: int

    def says(self, study: StudyRow) -> witness.Testimony:
        return witness.Testimony(self.missing, is_everything=False)


@pytest.mark.parametrize(
    ("released", "given", "said"),
    [
        (None, {}, "no association that brought some of it was released; it is closed as it is when"),
        (False, {}, "nothing has changed for 3600 s (study.timeout_s)"),
        (True, {}, "nothing more of it has come for 5 s (study.quiet_s)"),
        (
            True,
            {"gaps": _ShortPauses(1.234)},
            "for 1.23 s (study.quiet_adaptive, by its sender's own pauses; study.quiet_s is 5 s)",
        ),
        (True, {"gaps": _ShortPauses(5.0)}, "for 5 s (study.quiet_s)"),
        (True, {"witness": _Misses(3)}, "3 images that were named for it have not come; it is closed"),
    ],
)
def test_study_that_waits_says_for_what(book, released: bool | None, given: Any, said: str) -> None:
    book.store()
    if released is not None:
        book.close_association(released=released)
    watcher, _ = _watch_without_a_thread(book, lambda _: False, quiet_s=5.0, **given)
    assert watcher.waits_for(book.study_uid) == ""
    watcher.work()
    assert said in watcher.waits_for(book.study_uid)


def test_study_that_is_coming_in_says_so_and_one_that_is_complete_says_nothing(book) -> None:
    book.store()
    is_open = True
    watcher, _ = _watch_without_a_thread(book, lambda _: is_open)
    watcher.work()
    assert "is still open" in watcher.waits_for(book.study_uid)
    is_open = False
    book.close_association()
    watcher.work()
    assert book.study().state is StudyState.DONE
    assert watcher.waits_for(book.study_uid) == ""


def test_study_with_a_gap_says_that_it_has_one(book) -> None:
    book.store()
    book.close_association()
    watcher, planner = _watch_without_a_thread(book, lambda _: False)
    planner.jobs = (book.planned(hold="a gap"),)
    watcher.work()
    watcher.work()
    assert watcher.waits_for(book.study_uid).startswith("a volume of it has a gap; ")
