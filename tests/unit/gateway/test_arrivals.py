"""Studies as they really come in, each with its right outcome; an hour passes at once."""

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.adapters.contents import NoAnswer, NotTold, SeriesContents
from gateway.adapters.errors import CalledOff
from gateway.arrival.asking import LOOK_AGAIN_S, PacsQuestions
from gateway.arrival.completeness import Completeness
from gateway.arrival.gaps import ENOUGH, Gaps
from gateway.arrival.witness import NamedInstances, Witnesses
from gateway.events import AssociationClosed
from gateway.ledger.completion import StudyPlan
from gateway.ledger.flags import flags_of
from gateway.ledger.instances import RefusedObject, association_closed, put_aside, store_instance
from gateway.ledger.named import NamedList, name_instances
from gateway.ledger.records import StudyRow, utc_text
from gateway.ledger.states import StudyState
from gateway.workers.waits import Waits

STUDY, OTHER_STUDY, SERIES, OTHER_SERIES = "1.2.3", "1.2.9", "1.2.3.4", "1.2.3.5"
QUIET_S, TIMEOUT_S = 5.0, 60.0
MINUTE_S, HOUR_S = 50.0, 3600.0
SOON_S = 0.5
"""No time for a quiet time."""
INSTANT_S = 1e-6
"""What the ledger's times tell apart."""
FIRST_HALF, ALL = range(1, 11), range(1, 21)
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Clock:
    """Both clocks; they pass only when somebody waits."""

    at_s: float = 0.0

    def monotonic(self) -> float:
        return self.at_s

    def now(self) -> datetime:
        return BEGUN + timedelta(seconds=self.at_s)

    def text(self) -> str:
        return utc_text(self.now())


@dataclass
class Pacs:
    """Holds images by series, and counts its questions; `trouble` is raised in place of an answer."""

    holds: dict[str, set[str]] = field(default_factory=dict)
    has_images: bool = True
    counts: bool = True
    trouble: NotTold | None = None
    asked_at: list[float] = field(default_factory=list)
    clock: Clock | None = None

    def add(self, *numbers: Iterable[int], series_uid: str = SERIES) -> None:
        self.holds.setdefault(series_uid, set()).update(f"{series_uid}.{n}" for some in numbers for n in some)

    def of_series(self, study_uid: str, series_uids: Iterable[str]) -> Mapping[str, SeriesContents]:
        self.answers()
        held = {uid: frozenset(self.holds.get(uid, ())) for uid in series_uids}
        return {
            uid: SeriesContents(len(uids), uids if self.has_images else None) for uid, uids in held.items()
        }

    def numbers(self, study_uid: str) -> Mapping[str, int]:
        self.answers()
        return {uid: len(uids) for uid, uids in self.holds.items()} if self.counts else {}

    def answers(self) -> str:
        assert self.clock is not None
        self.asked_at.append(self.clock.at_s)
        if self.trouble is not None:
            raise self.trouble
        return "answers"

    def interrupt(self) -> None:
        """Nothing is open."""


@dataclass
class Planner:
    """Plans a job for each study; one with a gap is held."""

    book: Any
    has_gap: bool = False

    def plan(self, study: StudyRow) -> StudyPlan:
        key = f"job of {study.study_uid} {study.generation}"
        hold = "a slice is missing" if self.has_gap else ""
        job = self.book.planned(key, hold=hold, slot=f"{study.study_uid}#1#tissue")
        return StudyPlan(study.study_uid, study.generation, (job,), ())


@dataclass
class Scene:
    """Senders, the gateway's arrival, and time."""

    book: Any
    clock: Clock
    pacs: Pacs
    gaps: Gaps
    planner: Planner
    watcher: Completeness
    questions: PacsQuestions | None
    open: dict[str, set[str]]
    opened_at: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(
        self, numbers: Iterable[int], *, sender: str = "PACS", study: str = STUDY, series: str = SERIES
    ) -> None:
        """Images on this sender's association, which is opened where it is not."""
        if sender not in self.open:
            self.open[sender] = set()
            self.opened_at[sender] = self.clock.text()
        for number in numbers:
            arrived = self.book.arrived(
                f"{series}.{number}", study_uid=study, series_uid=series, sender=sender
            )
            with self.book.ledger.transaction() as transaction:
                store_instance(transaction, arrived, 1)
        self.open[sender].add(study)

    def end(self, *, sender: str = "PACS", released: bool = True) -> None:
        """Release this sender's association, or abort it."""
        studies = self.open.pop(sender)
        with self.book.ledger.transaction() as transaction:
            association_closed(
                transaction,
                sorted(studies),
                released=released,
                sender=sender,
                opened_at=self.opened_at[sender],
            )
            transaction.publish(AssociationClosed(1, released, frozenset(studies), sender))

    def wait(self, seconds: float) -> None:
        """Let time pass, and the gateway do what is due in it."""
        end_s = self.clock.at_s + seconds
        while True:
            waits_s = [self.questions.work()] if self.questions is not None else []
            waits_s.append(self.watcher.work())
            if self.clock.at_s >= end_s:
                return
            step_s = min(max(INSTANT_S, min(waits_s)), end_s - self.clock.at_s)
            self.clock.at_s = round(self.clock.at_s + step_s, 6)

    def name(self, numbers: Iterable[int], *, study: str | None = None, series: str = SERIES) -> None:
        """A notice that instances are available, or where it names no study a storage commitment request."""
        instances = {f"{series}.{number}": "1.2.840.10008.5.1.4.1.1.2" for number in numbers}
        transaction_uid = None if study else f"1.9.{next(self.numbers)}"
        with self.book.ledger.transaction() as transaction:
            name_instances(transaction, NamedList("CT", "192.0.2.1", instances, study, transaction_uid))

    def closed(self, study: str = STUDY) -> list[tuple[float, str]]:
        """When the study was complete, in seconds, and on what evidence, each time."""
        return [
            ((_time(line.at) - BEGUN).total_seconds(), line.detail["evidence"])
            for line in self.book.timeline()
            if line.event == "study.completed" and line.study_uid == study
        ]

    def evidence(self, study: str = STUDY) -> list[str]:
        return [evidence for _, evidence in self.closed(study)]

    def flags(self) -> list[str]:
        """Of the newest job."""
        rows = self.book.ledger.read("SELECT job_key FROM jobs ORDER BY rowid DESC LIMIT 1")
        return [flag.code for flag in flags_of(self.book.ledger, rows[0]["job_key"])]

    def answers(self) -> list[str]:
        """What stands in the timeline of the PACS's answers."""
        return [line.detail["answer"] for line in self.book.timeline() if line.event == "study.pacs_answered"]


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


@pytest.fixture
def scene(book, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scene]:
    """Open the gateway's arrival, with or without a PACS that is asked."""
    clock = Clock()
    for module in ("instances", "completion", "transaction", "flags"):
        monkeypatch.setattr(f"gateway.ledger.{module}.utc_now", clock.text)

    def begin(*, asks: bool, adaptive: bool = False) -> Scene:
        open_now: dict[str, set[str]] = {}
        pacs = Pacs(clock=clock)
        planner = Planner(book)
        gaps = Gaps(book.ledger.bus, QUIET_S, clock.monotonic)

        def is_open(study_uid: str) -> bool:
            return any(study_uid in studies for studies in open_now.values())

        questions = PacsQuestions(
            book.ledger,
            book.ledger.bus,
            pacs,
            is_open,
            gaps,
            longest_settle_s=QUIET_S,
            monotonic=clock.monotonic,
        )
        watcher = Completeness(
            book.ledger,
            planner,  # type: ignore[arg-type]
            book.ledger.bus,
            is_open,
            quiet_s=QUIET_S,
            timeout_s=TIMEOUT_S,
            witness=Witnesses([NamedInstances(book.ledger), *([questions] if asks else [])]),
            gaps=gaps if adaptive else None,
            waits=Waits(clock.monotonic, clock.now),
        )
        return Scene(book, clock, pacs, gaps, planner, watcher, questions if asks else None, open_now)

    return begin


# -- without anybody to ask ---------------------------------------------------------------------------------


def test_interleaved_studies_of_one_association_are_complete_each_after_its_release(scene) -> None:
    place = scene(asks=False)
    for number in ALL:
        place.send([number])
        place.send([number], study=OTHER_STUDY, series="1.2.9.1")
        place.wait(1)
    place.end()
    place.wait(QUIET_S + 1)
    assert place.evidence() == place.evidence(OTHER_STUDY) == ["released"]
    assert place.closed() == place.closed(OTHER_STUDY) == [(25.0, "released")]


def test_study_in_several_associations_with_pauses_is_complete_once_after_the_last(scene) -> None:
    place = scene(asks=False)
    for series in (SERIES, OTHER_SERIES, "1.2.3.6"):
        place.send(ALL, series=series)
        place.end()
        place.wait(3)
    place.wait(QUIET_S)
    assert place.closed() == [(11.0, "released")]


def test_study_of_two_senders_is_not_complete_while_one_of_them_has_an_association_open(scene) -> None:
    place = scene(asks=False)
    place.send(FIRST_HALF, sender="PACS")
    place.send([11], sender="CT")
    place.end(sender="PACS")
    place.wait(MINUTE_S)
    assert place.closed() == []
    place.end(sender="CT")
    place.wait(QUIET_S + 1)
    assert place.evidence() == ["released"]


def test_study_with_a_pause_of_a_minute_is_complete_before_and_again_after_it(scene) -> None:
    place = scene(asks=False)
    place.send(FIRST_HALF)
    place.end()
    place.wait(MINUTE_S)
    place.send(ALL)
    assert place.book.study().state is StudyState.RECEIVING
    place.end()
    place.wait(QUIET_S + 1)
    assert place.evidence() == ["released", "released"]
    assert place.flags() == []


def test_abort_that_another_association_hides_by_its_release_waits_for_the_timeout_and_is_told(scene) -> None:
    place = scene(asks=False)
    place.send(FIRST_HALF, sender="PACS")
    place.send([11], sender="CT")
    place.end(sender="PACS", released=False)
    place.end(sender="CT")
    place.wait(TIMEOUT_S + 1)
    assert place.closed() == [(TIMEOUT_S, "timeout without release")]
    assert place.flags() == ["closed_after_abort"]


def test_sender_that_comes_back_after_an_abort_and_releases_is_believed(scene) -> None:
    place = scene(asks=False)
    place.send(FIRST_HALF)
    place.end(released=False)
    place.wait(20)
    place.send(ALL)
    place.end()
    place.wait(QUIET_S + 1)
    assert place.closed() == [(25.0, "released")]
    assert place.flags() == []


def test_late_slice_opens_the_study_again_and_is_in_its_next_revision(scene) -> None:
    place = scene(asks=False)
    place.send(FIRST_HALF)
    place.end()
    place.wait(HOUR_S)
    place.send([11])
    place.end()
    place.wait(QUIET_S + 1)
    assert place.closed() == [(5.0, "released"), (HOUR_S + 5, "released")]
    jobs = place.book.ledger.read("SELECT state FROM jobs ORDER BY rowid")
    assert [row["state"] for row in jobs] == ["superseded", "planned"]


def test_gap_is_waited_for_and_then_held(scene) -> None:
    place = scene(asks=False)
    place.planner.has_gap = True
    place.send(FIRST_HALF)
    place.end()
    place.wait(TIMEOUT_S + 1)
    assert place.closed() == [(TIMEOUT_S, "timeout with a gap")]
    assert place.book.study().state is StudyState.HELD


# -- the PACS is asked --------------------------------------------------------------------------------------


def test_study_of_which_the_pacs_has_no_more_is_complete_at_once(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(ALL)
    place.wait(2)
    assert place.pacs.asked_at == [0.0]  # whether it answers at all
    place.end()
    place.wait(SOON_S)
    assert place.closed() == [(2.3, "nothing else named")]
    assert place.pacs.asked_at == [0.0, 2.0, 2.3]
    assert place.answers() == ["all_here"]
    assert place.flags() == []


def test_pacs_that_does_not_count_is_asked_for_its_images_twice(scene) -> None:
    place = scene(asks=True)
    place.pacs.counts = False
    place.pacs.add(ALL)
    place.send(ALL)
    place.end()
    place.wait(SOON_S)
    assert place.evidence() == ["nothing else named"]
    assert len(place.pacs.asked_at) == 3


def test_pacs_that_gets_more_between_two_questions_is_believed_only_then(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(FIRST_HALF)
    place.send(FIRST_HALF)
    place.end()
    place.wait(0.2)
    place.pacs.add([11])
    place.wait(QUIET_S + 1)
    assert place.answers() == ["more_there"]
    assert place.closed() == []
    place.send([11])
    place.end()
    place.wait(10)
    assert place.evidence() == ["nothing else named"]


def test_what_the_pacs_has_more_is_waited_for_and_complete_at_once_when_it_came(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(FIRST_HALF)
    place.end()
    place.wait(MINUTE_S)
    assert place.closed() == []
    place.send(ALL)
    place.end()
    place.wait(SOON_S)
    ((at_s, evidence),) = place.closed()
    assert (evidence, at_s) == ("nothing else named", pytest.approx(MINUTE_S + 0.3))
    assert place.answers() == ["more_there", "all_here"]


def test_what_the_pacs_has_more_and_never_comes_is_told_with_the_job_after_the_timeout(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(FIRST_HALF)
    place.end()
    place.wait(TIMEOUT_S + 1)
    assert place.closed() == [(TIMEOUT_S, "timeout with named instances missing")]
    (flag,) = flags_of(place.book.ledger, f"job of {STUDY} 10")
    assert (flag.code, flag.number) == ("named_instances_missing", 10.0)
    assert len(place.pacs.asked_at) < 12


def test_only_series_that_came_are_compared(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.pacs.add(ALL, series_uid=OTHER_SERIES)
    place.send(ALL)
    place.end()
    place.wait(SOON_S)
    assert place.evidence() == ["nothing else named"]


def test_pacs_that_tells_numbers_only_is_believed_as_well(scene) -> None:
    place = scene(asks=True)
    place.pacs.has_images = False
    place.pacs.add(ALL)
    place.send(FIRST_HALF)
    place.end()
    place.wait(10)
    assert place.closed() == []
    place.send(ALL)
    place.end()
    place.wait(SOON_S)
    assert place.answers() == ["more_there", "all_here"]
    assert place.evidence() == ["nothing else named"]


def test_own_results_and_what_is_quarantined_are_not_missed(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(ALL)
    place.end()
    place.wait(SOON_S)
    aside = RefusedObject("key", "damaged", "It is damaged.", "quarantine/a", STUDY, f"{SERIES}.21", "PACS")
    with place.book.ledger.transaction() as transaction:
        put_aside(transaction, aside)
        transaction.execute(
            "INSERT INTO result_objects (sop_instance_uid, job_key, output, sop_class_uid, path, sha256,"
            " is_current, made_at) SELECT ?, job_key, 'seg', '1.2', 'results/a', 's', 1, '' FROM jobs",
            (f"{SERIES}.22",),
        )
    place.pacs.add([21, 22, 23])
    place.send([23])
    place.end()
    place.wait(1)
    assert place.answers() == ["all_here", "all_here"]
    assert place.evidence() == ["nothing else named"] * 2


@pytest.mark.parametrize("released", [True, False])
def test_study_that_was_broken_off_and_is_all_here_is_complete_without_a_flag(scene, released: bool) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(FIRST_HALF, sender="PACS")
    place.send(range(11, 21), sender="CT")
    place.end(sender="PACS", released=False)
    place.end(sender="CT", released=released)
    place.wait(SOON_S)
    assert place.evidence() == ["nothing else named"]
    assert place.flags() == []


def test_study_that_was_broken_off_and_has_more_there_says_both_after_the_timeout(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(FIRST_HALF)
    place.end(released=False)
    place.wait(TIMEOUT_S + 1)
    assert place.closed() == [(TIMEOUT_S, "timeout without release")]
    assert place.flags() == ["closed_after_abort", "named_instances_missing"]


def test_gap_that_the_pacs_has_too_is_waited_for_all_the_same(scene) -> None:
    place = scene(asks=True)
    place.planner.has_gap = True
    place.pacs.add(ALL)
    place.send(ALL)
    place.end()
    place.wait(TIMEOUT_S + 1)
    assert place.closed() == [(TIMEOUT_S, "timeout with a gap")]


def test_study_is_not_complete_while_the_pacs_itself_still_gets_it(scene) -> None:
    place = scene(asks=True)
    for number in ALL:  # forwarded one by one, a second apart
        place.pacs.add([number])
        place.send([number])
        place.end()
        place.wait(1)
    place.wait(QUIET_S)
    assert [evidence for at_s, evidence in place.closed() if at_s > 2] == ["nothing else named"]
    assert len(place.closed()) <= 2  # the first image alone is all that the PACS has


def test_sender_that_pauses_between_series_is_known_for_it_from_its_second_study_on(scene) -> None:
    place = scene(asks=True)
    for study in (STUDY, OTHER_STUDY):
        for series in (f"{study}.4", f"{study}.5", f"{study}.6"):
            place.pacs.add(ALL, series_uid=series)
            place.send(ALL, study=study, series=series)
            place.end()
            place.wait(2)
        place.wait(QUIET_S)
    assert len(place.closed(STUDY)) == 2  # after its first series nobody knew that more would come
    assert place.evidence(OTHER_STUDY) == ["nothing else named"]


def test_study_whose_association_ended_without_a_word_is_asked_about_all_the_same(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(ALL)
    place.wait(1)
    place.open.clear()  # as after a crash: nothing tells of its end
    place.wait(LOOK_AGAIN_S + 1)
    assert place.evidence() == ["nothing else named"]


def test_study_that_grows_for_a_day_is_complete_after_each_part(scene) -> None:
    place = scene(asks=True)
    for number in range(1, 25):
        place.pacs.add([number])
        place.send([number])
        place.end()
        place.wait(HOUR_S)
    assert place.evidence() == ["nothing else named"] * 24
    assert len(place.pacs.asked_at) == 2 * 24


@pytest.mark.parametrize("code", list(NoAnswer))
def test_pacs_that_does_not_answer_changes_nothing_and_is_told(scene, code: NoAnswer) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.pacs.trouble = NotTold(code, "PACS@host:104 does not answer; look at it")
    place.send(FIRST_HALF)
    place.end()
    place.wait(QUIET_S + 0.1)
    assert place.closed() == [(QUIET_S, "released")]
    assert place.answers() == [code]
    assert place.questions.complaint() == "PACS@host:104 does not answer; look at it"
    assert place.flags() == []


def test_pacs_that_has_less_than_came_changes_nothing(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(range(2, 100))
    place.send(FIRST_HALF)
    place.end()
    place.wait(QUIET_S + 0.1)
    assert place.closed() == [(QUIET_S, "released")]
    assert place.answers() == ["fewer_there"]
    assert place.questions.complaint() == ""


def test_pacs_that_takes_long_is_waited_for_by_nobody(book) -> None:
    class Silent(Pacs):
        asked, over = threading.Event(), threading.Event()

        def answers(self) -> str:
            self.asked.set()
            self.over.wait(20)
            raise CalledOff("the gateway stops")

        def interrupt(self) -> None:
            self.over.set()

    pacs, bus = Silent(), book.ledger.bus
    questions = PacsQuestions(
        book.ledger, bus, pacs, lambda _: False, Gaps(bus, QUIET_S), longest_settle_s=QUIET_S
    )
    book.store()
    questions.start()
    assert pacs.asked.wait(20)
    watcher = Completeness(
        book.ledger,
        Planner(book),  # type: ignore[arg-type]
        bus,
        lambda _: False,
        quiet_s=0.0,
        timeout_s=TIMEOUT_S,
        witness=questions,
    )
    book.close_association()
    watcher.work()
    assert "study.completed" in book.names()
    assert questions.stop(20)


def test_pacs_that_is_away_is_asked_ever_more_rarely_and_believed_when_it_is_back(scene) -> None:
    place = scene(asks=True)
    place.pacs.trouble = NotTold(NoAnswer.AWAY, "PACS@host:104 cannot be reached")
    for number in range(50):
        place.send([number], study=f"1.3.{number}", series=f"1.3.{number}.1")
        place.end()
        place.wait(60)
    assert len(place.pacs.asked_at) < 25
    place.pacs.trouble = None
    place.wait(300)
    assert place.questions.complaint() == ""
    place.pacs.add(ALL)
    place.send(ALL)
    place.end()
    place.wait(SOON_S)
    assert place.evidence() == ["nothing else named"]


def test_person_who_says_complete_is_not_asked_about(scene) -> None:
    place = scene(asks=True)
    place.wait(0)
    place.send(ALL)
    with place.book.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET complete_requested = 1")
    place.wait(1)
    assert place.evidence() == ["requested"]
    assert len(place.pacs.asked_at) == 1


def test_ledger_that_fails_in_the_middle_of_a_question_makes_nobody_forget_a_study(
    scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = scene(asks=True)
    place.pacs.add(ALL)
    place.send(ALL)
    place.end()
    for name in ("receiving_studies", "receiving_study", "instances_by_series"):
        with monkeypatch.context() as patch:
            patch.setattr(f"gateway.arrival.asking.{name}", _raise_full)
            with pytest.raises(sqlite3.OperationalError):
                place.questions.work()
    place.wait(1)
    assert place.evidence() == ["nothing else named"]


def _raise_full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


# -- what senders teach -------------------------------------------------------------------------------------


def test_quiet_time_is_shorter_where_the_senders_pauses_are_and_it_is_allowed(scene) -> None:
    place = scene(asks=False, adaptive=True)
    for each in range(ENOUGH):
        place.book.ledger.bus.publish(AssociationClosed(1, True, frozenset({f"1.4.{each}"}), "PACS"))
        place.clock.at_s += QUIET_S + 1
    begun_s = place.clock.at_s
    place.send(ALL)
    place.end()
    place.send(ALL, sender="CT", study=OTHER_STUDY, series="1.2.9.1")
    place.end(sender="CT")
    place.wait(QUIET_S + 1)
    assert place.closed() == [(begun_s + 0.5, "released")]
    assert place.closed(OTHER_STUDY) == [(begun_s + QUIET_S, "released")]


# -- instances that somebody named --------------------------------------------------------------------------


@pytest.mark.parametrize("study", [STUDY, None], ids=["notice", "commitment"])
def test_what_is_named_is_waited_for_and_closes_the_study_at_once_when_it_is_here(scene, study) -> None:
    place = scene(asks=False)
    place.send(FIRST_HALF)
    place.end()
    place.wait(1)
    place.name(ALL, study=study)
    place.wait(MINUTE_S)
    assert place.closed() == []
    place.send(ALL)
    place.wait(1)
    place.end()
    place.wait(SOON_S)
    assert place.closed() == [(52.0, "nothing else named")]
    assert place.flags() == []


@pytest.mark.parametrize("study", [STUDY, None], ids=["notice", "commitment"])
def test_what_is_named_before_anything_came_is_waited_for(scene, study) -> None:
    place = scene(asks=False)
    place.name(ALL, study=study)
    place.wait(HOUR_S)
    place.send(FIRST_HALF)
    place.end()
    place.wait(MINUTE_S)
    assert place.closed() == []
    place.send(ALL)
    place.end()
    place.wait(SOON_S)
    assert place.evidence() == ["nothing else named"]


def test_study_that_is_here_already_is_closed_as_soon_as_all_of_it_is_named(scene) -> None:
    place = scene(asks=False)
    place.send(ALL)
    place.end()
    place.wait(1)
    place.name(ALL)
    place.wait(SOON_S)
    assert place.closed() == [(1.0, "nothing else named")]


def test_named_instance_that_does_not_come_is_a_finding_after_the_timeout_and_waited_for_no_more(
    scene,
) -> None:
    place = scene(asks=False)
    place.name(ALL, study=STUDY)
    place.send(FIRST_HALF)
    place.end()
    place.wait(TIMEOUT_S + 1)
    assert place.closed() == [(TIMEOUT_S, "timeout with named instances missing")]
    assert place.flags() == ["named_instances_missing"]
    place.send([11])
    place.end()
    place.wait(QUIET_S + 1)
    assert place.evidence()[1:] == ["released"]
    assert place.flags() == []


def test_images_that_no_list_names_leave_the_quiet_time_as_it_is(scene) -> None:
    place = scene(asks=False)
    place.name(FIRST_HALF, study=STUDY)
    place.send(ALL)
    place.end()
    place.wait(QUIET_S + 1)
    assert place.closed() == [(QUIET_S, "released")]


def test_lists_of_several_series_are_waited_for_together(scene) -> None:
    place = scene(asks=False)
    place.name(ALL)
    place.name(ALL, series=OTHER_SERIES)
    place.send(ALL)
    place.send([1], series=OTHER_SERIES)
    place.end()
    place.wait(MINUTE_S)
    assert place.closed() == []
    place.send(ALL, series=OTHER_SERIES)
    place.end()
    place.wait(SOON_S)
    assert place.evidence() == ["nothing else named"]


def test_request_about_two_studies_lets_each_wait_and_ends_with_the_second(scene) -> None:
    place = scene(asks=False)
    instances = {f"{series}.1": "1.2" for series in (SERIES, "1.2.9.1")}
    with place.book.ledger.transaction() as transaction:
        name_instances(transaction, NamedList("CT", "192.0.2.1", instances, None, "1.9"))
    place.send([1])
    place.end()
    place.wait(QUIET_S + 1)
    assert place.closed() == []
    place.send([1], study=OTHER_STUDY, series="1.2.9.1")
    place.end()
    place.wait(QUIET_S)
    assert place.evidence() == place.evidence(OTHER_STUDY) == ["nothing else named"]
    (left,) = place.book.ledger.read("SELECT count(*) AS n FROM named_instances WHERE is_awaited = 1")
    assert left["n"] == 0


def test_quarantined_instance_that_is_named_is_not_waited_for(scene) -> None:
    place = scene(asks=False)
    place.name(ALL, study=STUDY)
    place.send(range(1, 20))
    with place.book.ledger.transaction() as transaction:
        put_aside(
            transaction,
            RefusedObject("k", "damaged", "it is", "quarantine/k.dcm", STUDY, f"{SERIES}.20", "PACS"),
        )
    place.end()
    place.wait(SOON_S)
    assert place.evidence() == ["nothing else named"]


def test_pacs_that_misses_nothing_does_not_outweigh_what_was_named(scene) -> None:
    place = scene(asks=True)
    place.pacs.add(FIRST_HALF)
    place.name(ALL, study=STUDY)
    place.send(FIRST_HALF)
    place.end()
    place.wait(MINUTE_S)
    assert place.closed() == []
