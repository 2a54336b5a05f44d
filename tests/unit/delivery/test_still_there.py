"""Who got the results of a study that came again in full is asked whether they are still there."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.adapters.contents import NoAnswer, NotTold
from gateway.adapters.errors import Away, OutsideError, Retriable
from gateway.config import Config
from gateway.delivery.carriers.carrier import NotAskable, ShowsResults
from gateway.delivery.carriers.catalogue import carriers_of
from gateway.delivery.still_there import TIMES_ASKED, StillThere
from gateway.ledger.bulk import Action, Wanted, selected
from gateway.ledger.records import utc_now
from gateway.ledger.rejections import Rejection, reject
from gateway.ledger.resending import resend_job
from gateway.ledger.states import DeliveryState
from gateway.ledger.transaction import NotPossible
from gateway.listener.again import FORGOTTEN_AFTER_S, MOST_STUDIES, CameAgain
from gateway.listener.endings import Ending, Endings
from gateway.workers.attempts import Backoff
from tests.place import Place, open_place

AT_ONCE = Backoff(0.0, 0.0)


@dataclass
class Pacs:
    """Shows what it has, or does not say it."""

    has: set[str] = field(default_factory=set)
    trouble: OutsideError | None = None
    asked: list[str] = field(default_factory=list)

    def missing(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        self.asked.append(study_uid)
        if self.trouble is not None:
            raise self.trouble
        return frozenset(uid for uids in wanted.values() for uid in uids) - self.has

    def interrupt(self) -> None:
        pass


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = open_place(tmp_path)
    yield place
    place.ledger.close()


@pytest.fixture
def pacs() -> Pacs:
    return Pacs()


@pytest.fixture
def look(place: Place, pacs: Pacs) -> Callable[[], None]:
    """One look of the worker at what is due."""
    worker = StillThere(place.ledger, place.bus, place.data_dir, {"pacs": pacs}, again=AT_ONCE)  # type: ignore[dict-item]

    def look() -> None:
        with place.ledger.transaction() as transaction:  # its time has come
            transaction.execute("UPDATE revisits SET not_before = NULL")
        worker._rests.resume("pacs")
        worker.work()

    return look


def _result(study: str) -> str:
    return f"2.25.{study}.1"


def _delivered(place: Place, study: str) -> None:
    place.done(study)
    with place.ledger.transaction() as transaction:
        transaction.update("result_objects", "sop_instance_uid", _result(study), {"series_uid": f"{study}.9"})


def _comes_again(place: Place, study: str, images: Collection[int] = (0, 1, 2)) -> None:
    endings = Endings(place.ledger)
    for number in images:
        endings.again.note(study, f"{study}.1.{number}")
    endings.tell(Ending(1, "PACS", True, frozenset({study}), utc_now()))


def _said(place: Place, study: str) -> list[str]:
    return [event for event in place.events(study) if event.startswith("study.results")]


def _is_sent_again(place: Place, study: str) -> bool:
    return place.deliveries(study)[0].state is DeliveryState.PENDING


def test_results_that_are_there_cost_one_question_each_time(
    place: Place, pacs: Pacs, look: Callable[[], None]
) -> None:
    for study in ("1.1", "1.2"):
        _delivered(place, study)
        pacs.has.add(_result(study))
    for _ in range(2):
        for study in ("1.1", "1.2"):
            _comes_again(place, study)
        look(), look()
    assert sorted(pacs.asked) == ["1.1", "1.1", "1.2", "1.2"]
    assert _said(place, "1.1") == ["study.results_still_there"] * 2
    assert not _is_sent_again(place, "1.1")


def test_results_that_are_gone_are_sent_again_and_looked_for_once(
    place: Place, pacs: Pacs, look: Callable[[], None]
) -> None:
    for study in ("1.1", "1.2"):
        _delivered(place, study)
        _comes_again(place, study)
    look()
    assert [_is_sent_again(place, study) for study in ("1.1", "1.2")] == [True, False]
    look()  # it is still on its way: who has shown nothing yet gets no more
    assert not _is_sent_again(place, "1.2")
    pacs.has.add(_result("1.1"))
    place.deliver("1.1")
    look()
    assert _said(place, "1.1") == ["study.results_back"]
    assert _is_sent_again(place, "1.2")
    assert _said(place, "1.2") == ["study.results_sent_again"]


def test_pacs_that_does_not_show_what_it_takes_gets_one_thing_again_and_no_more(
    place: Place, pacs: Pacs, look: Callable[[], None]
) -> None:
    for study in ("1.1", "1.2"):
        _delivered(place, study)
        _comes_again(place, study)
    look()
    place.deliver("1.1")
    for _ in range(TIMES_ASKED + 1):
        look()
    assert _said(place, "1.1") == _said(place, "1.2") == ["study.results_not_shown"]
    assert not _is_sent_again(place, "1.1")
    assert not _is_sent_again(place, "1.2")


@pytest.mark.parametrize(
    "trouble",
    [
        NotTold(NoAnswer.NONSENSE, "it gave an answer about something else"),
        NotTold(NoAnswer.REFUSED, "it has no C-FIND"),
        NotAskable("it cannot be searched"),
    ],
    ids=lambda trouble: str(trouble),
)
def test_pacs_that_cannot_say_it_changes_nothing_and_is_not_asked_again(
    place: Place, pacs: Pacs, look: Callable[[], None], trouble: OutsideError
) -> None:
    _delivered(place, "1.1")
    _comes_again(place, "1.1")
    pacs.trouble = trouble
    look(), look()
    assert (len(pacs.asked), _said(place, "1.1")) == (1, ["study.results_not_told"])
    assert place.timeline("1.1")[-1].detail == {"destination": "pacs", "reason": str(trouble)}
    assert not _is_sent_again(place, "1.1")


@pytest.mark.parametrize(
    "trouble", [NotTold(NoAnswer.AWAY, "nobody is there"), Away("no connection")], ids=["DICOM", "web"]
)
def test_pacs_that_is_away_is_asked_until_it_is_back(
    place: Place, pacs: Pacs, look: Callable[[], None], trouble: OutsideError
) -> None:
    _delivered(place, "1.1")
    _comes_again(place, "1.1")
    pacs.trouble = trouble
    for _ in range(TIMES_ASKED + 2):
        look()
    assert (_said(place, "1.1"), _is_sent_again(place, "1.1")) == ([], False)
    pacs.trouble = None
    look()
    assert _is_sent_again(place, "1.1")


@pytest.mark.parametrize("trouble", [NotTold(NoAnswer.SILENT, "not in time"), Retriable("it broke off")])
def test_pacs_that_does_not_answer_is_asked_some_times(
    place: Place, pacs: Pacs, look: Callable[[], None], trouble: OutsideError
) -> None:
    _delivered(place, "1.1")
    _comes_again(place, "1.1")
    pacs.trouble = trouble
    for _ in range(TIMES_ASKED + 2):
        look()
    assert (len(pacs.asked), _said(place, "1.1")) == (TIMES_ASKED, ["study.results_not_told"])


def test_pacs_that_is_away_is_complained_of(place: Place, pacs: Pacs) -> None:
    _delivered(place, "1.1")
    _comes_again(place, "1.1")
    pacs.trouble = Away("no connection")
    worker = StillThere(place.ledger, place.bus, place.data_dir, {"pacs": pacs})  # type: ignore[dict-item]
    left_s = worker.work()
    assert worker.trouble == "no connection"
    assert left_s is not None
    assert left_s > 1


def test_result_that_is_gone_everywhere_says_the_way_out(
    place: Place, pacs: Pacs, look: Callable[[], None]
) -> None:
    _delivered(place, "1.1")
    with place.ledger.transaction() as transaction:
        transaction.update("jobs", "job_key", "job-1.1", {"results_removed_at": "2026-03-04T"})
        transaction.update("studies", "study_uid", "1.1", {"images_removed_at": "2026-03-04T"})
    _comes_again(place, "1.1")
    look()
    assert _said(place, "1.1") == ["study.results_gone"]
    assert "it cannot be made again" in place.timeline("1.1")[-1].detail["reason"]
    assert place.deliveries("1.1")[0].state is DeliveryState.SENT


def test_result_that_was_rejected_there_is_not_asked_about(
    place: Place, pacs: Pacs, look: Callable[[], None]
) -> None:
    _delivered(place, "1.1")
    with place.ledger.transaction() as transaction:
        reject(transaction, Rejection("1.9", "1.1", "", "113001", (_result("1.1"),)))
    _comes_again(place, "1.1")
    look()
    assert pacs.asked == []
    assert not _is_sent_again(place, "1.1")
    assert selected(place.ledger, Action.RESEND, Wanted(destination="pacs")) == []
    with place.ledger.transaction() as transaction, pytest.raises(NotPossible, match="the PACS rejected it"):
        resend_job(transaction, "job-1.1")


def test_folder_is_not_asked(place: Place, tmp_path: Path) -> None:
    config = Config(destination=[{"name": "pacs", "folder": str(tmp_path)}])
    carriers = {to.name: carrier for to, carrier in carriers_of(config)}
    assert not isinstance(carriers["pacs"], ShowsResults)
    _delivered(place, "1.1")
    _comes_again(place, "1.1")
    StillThere(place.ledger, place.bus, place.data_dir, carriers).work()
    assert place.ledger.read("SELECT * FROM revisits") == []
    assert _said(place, "1.1") == []


# -- who comes again in full --------------------------------------------------------------------------------


def _is_to_be_asked(place: Place) -> bool:
    return bool(place.ledger.read("SELECT 1 FROM revisits"))


def test_study_is_asked_about_when_each_image_of_its_result_came_on_whatever_association(
    place: Place,
) -> None:
    place.receive("1.1")
    place.complete("1.1")
    place.segment("1.1")
    place.encode("1.1")
    endings = Endings(place.ledger)
    with place.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM job_images")
        for number in range(2):
            transaction.insert(
                "job_images", {"job_key": "job-1.1", "position": number, "name": f"1.1.1.{number}#7"}
            )

    def comes(number: int) -> bool:
        endings.again.note("1.1", f"1.1.1.{number}")
        endings.tell(Ending(number, "PACS", True, frozenset({"1.1"}), utc_now()))
        return _is_to_be_asked(place)

    assert [comes(0), comes(1)] == [False, False]  # it is not delivered yet
    place.deliver("1.1")
    endings.again.forget(["1.1"])
    assert [comes(0), comes(2), comes(1)] == [False, False, True]
    with place.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM revisits")
    assert [comes(2), comes(0), comes(1)] == [False, False, True]  # another time


def test_what_came_is_forgotten_after_an_hour_and_where_many_studies_come_one_by_one() -> None:
    now = 0.0
    again = CameAgain(lambda: now)
    again.note("1.1", "a")
    now += FORGOTTEN_AFTER_S + 1
    again.note("1.1", "b")
    assert again.of(["1.1", "1.2"]) == {"1.1": {"b"}}
    for number in range(MOST_STUDIES):
        again.note(f"2.{number}", "a")
    assert again.of(["1.1"]) == {}
