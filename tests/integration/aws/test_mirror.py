"""The mirror against moto's DynamoDB: what is in the table, in which order it came, and what goes wrong."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.aws.dynamodb import DynamoMirror
from gateway.adapters.mirror import ItemKey, ItemKind, Mirror, MirrorItem
from gateway.events import JobChanged
from gateway.ledger.erasing import forget, request_forget
from gateway.ledger.outbox import EPOCH_FACTOR, mirror_of
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.workers.attempts import Backoff
from tests.doubles.recording_proxy import Answer, RecordingProxy
from tests.mirrored_ledger import MirroredLedger, dynamodb, items_in, make_table

pytestmark = pytest.mark.usefixtures("aws_environment")

DEADLINE_S = 120.0


@pytest.fixture
def make_ledger(tmp_path: Path, recording_proxy: RecordingProxy) -> Iterator[Callable[..., MirroredLedger]]:
    """Makes ledgers that are mirrored into one table, and closes them."""
    table = make_table(recording_proxy.target)
    made: list[MirroredLedger] = []

    def make(**given: Any) -> MirroredLedger:
        path = tmp_path / f"{len(made)}.sqlite"
        made.append(MirroredLedger(path, recording_proxy.url, table, **given))
        made[-1].open()
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(make_ledger: Callable[..., MirroredLedger]) -> MirroredLedger:
    return make_ledger()


# -- what is in it ----------------------------------------------------------------------------------------


def test_table_has_study_jobs_and_every_event_with_codes_and_counts(ledger: MirroredLedger) -> None:
    study = ledger.study(1, images=3)
    job = ledger.job(study)
    ledger.move(job, JobEvent.SUBMITTED, run=1, columns={"run": 1})
    ledger.move(job, JobEvent.RUN_LOST, reason="a sentence", exit_code=75, run=1)
    ledger.ship()
    item = ledger.item()
    assert (item["state"], item["series"], item["instances"], item["jobs"]) == ("processing", 1, 3, 1)
    assert "expires_at" not in item
    item = ledger.item(f"JOB#{job}")
    assert (item["state"], item["reason"], item["run"]) == ("staged", "run_lost exit=75", 1)
    assert (item["task"], item["rule"], item["engine"], item["lane"]) == ("tissue", "ct", "threshold", "main")
    events = {sort: item for (_, sort), item in ledger.items().items() if sort.startswith("EVENT#")}
    assert sorted(events) == [f"EVENT#{seq:012d}" for seq in ledger.event_numbers()]
    lost = next(item for item in events.values() if item["event"] == "job.run_lost")
    assert (lost["job"], lost["details"]) == (job, {"exit_code": 75, "run": 1})


def test_table_has_the_deliveries_of_a_job_and_a_done_study_expires_with_its_jobs(
    ledger: MirroredLedger,
) -> None:
    job = ledger.job(ledger.study())
    delivery = ledger.encode(job)
    with ledger.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    ledger.ship()
    study, item = ledger.item(), ledger.item(f"JOB#{job}")
    assert (study["state"], study["reason"], item["state"]) == ("done", "delivered", "delivered")
    assert study["expires_at"] == item["expires_at"]
    assert [d["state"] for d in item["deliveries"]] == ["sent"]
    assert item["outputs"] == ["labels.nii.gz", "statistics.json", "preview.png"]
    assert all("expires_at" in item for (_, sort), item in ledger.items().items() if sort[:5] == "EVENT")


def test_study_that_receives_again_does_not_expire_any_more(ledger: MirroredLedger) -> None:
    ledger.study()
    with ledger.ledger.transaction() as transaction:
        transaction.execute("UPDATE studies SET state = 'done', reason = 'delivered'")
        transaction.note("study.finished", study_uid="1.2.826.0.1.1")
    ledger.ship()
    assert "expires_at" in ledger.item()
    ledger.study()
    ledger.ship()
    assert "expires_at" not in ledger.item()


def test_index_by_state_finds_studies_and_index_by_job_finds_jobs_alone(ledger: MirroredLedger) -> None:
    job = ledger.job(ledger.study())
    ledger.ship()
    client = dynamodb(ledger.url)

    def query(index: str, name: str, value: str) -> list[str]:
        found = client.query(
            TableName=ledger.table,
            IndexName=index,
            KeyConditionExpression="#name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        return [item["sk"]["S"] for item in found["Items"]]

    assert query("by_state", "state", "processing") == ["STUDY"]
    assert query("by_state", "state", "planned") == []
    assert query("by_job", "job_key", job) == [f"JOB#{job}"]


def test_version_is_the_ledgers_epoch_and_a_number_that_grows(ledger: MirroredLedger) -> None:
    ledger.study()
    ledger.ship()
    epoch, first = mirror_of(ledger.ledger).epoch, ledger.item()["version"]
    ledger.study()
    ledger.ship()
    second = ledger.item()["version"]
    assert first // EPOCH_FACTOR == second // EPOCH_FACTOR == epoch
    assert first < second


# -- order and conditions ---------------------------------------------------------------------------------


def test_changes_of_a_study_come_in_their_order_with_the_study_last(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    for number in range(1, 6):
        ledger.move(ledger.job(ledger.study(number)), JobEvent.CONVERTED, JobEvent.STAGED)
    ledger.ship()
    versions: dict[str, list[tuple[int, str]]] = {}
    for sent in recording_proxy.sent:
        item = json.loads(sent.body)["Item"]
        versions.setdefault(item["pk"]["S"], []).append((int(item["version"]["N"]), item["sk"]["S"]))
    assert len(versions) == 5
    for of_study in versions.values():
        assert of_study == sorted(of_study)
        assert of_study[-1][1] == "STUDY"


def test_late_item_never_takes_the_place_of_a_later_one(recording_proxy: RecordingProxy) -> None:
    table = make_table(recording_proxy.target)
    mirror = DynamoMirror(dynamodb(recording_proxy.url), table)
    key = ItemKey("k", ItemKind.STUDY)
    later, earlier = (MirrorItem(key, version, {"state": str(version)}) for version in (7, 6))
    assert mirror.put(later) is None
    assert mirror.put(earlier) == 7
    assert mirror.put(later) == 7
    [item] = items_in(recording_proxy.target, table).values()
    assert (item["version"], item["state"]) == (7, "7")


def test_item_that_is_to_be_removed_stays_when_it_has_become_newer(recording_proxy: RecordingProxy) -> None:
    table = make_table(recording_proxy.target)
    mirror = DynamoMirror(dynamodb(recording_proxy.url), table)
    keys = [ItemKey("k", ItemKind.EVENT, "3"), ItemKey("k", ItemKind.JOB, "j"), ItemKey("k", ItemKind.STUDY)]
    for version, key in enumerate(keys, start=1):
        mirror.put(MirrorItem(key, version, {"site": "here"}))
    assert set(mirror.older("here", 3)) == set(keys[:2])
    assert list(mirror.older("elsewhere", 3)) == []
    for key in keys:
        mirror.remove(key, 3)
    mirror.remove(keys[0], 3)
    assert set(items_in(recording_proxy.target, table)) == {("STUDY#k", "STUDY")}


def test_answer_that_was_lost_is_no_trouble(ledger: MirroredLedger, recording_proxy: RecordingProxy) -> None:
    ledger.study()
    recording_proxy.loses_answers = True
    ledger.ship()
    assert "does not answer dynamodb:PutItem" in ledger.worker.trouble
    recording_proxy.loses_answers = False
    ledger.ship()
    assert (ledger.worker.complaint(), ledger.waiting()) == ("", 0)
    assert ledger.item()["state"] == "receiving"


# -- away, and back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer.refusal("ThrottlingException"), "asks to wait"),
        (Answer.refusal("ProvisionedThroughputExceededException"), "asks to wait"),
        (Answer.refusal("InternalServerError", 500), "AWS is in trouble"),
        (Answer(503), "AWS is in trouble"),
        (Answer.refusal("ExpiredTokenException"), "credentials have expired"),
        (Answer.refusal("UnrecognizedClientException"), "no AWS credentials"),
        (Answer.refusal("AccessDeniedException"), "denies dynamodb:PutItem on the table iris-"),
        (Answer.refusal("ResourceNotFoundException"), "does not find the table iris-"),
        (Answer.refusal("ValidationException"), "refuses dynamodb:PutItem on the table iris-"),
    ],
)
def test_refusal_is_waited_out_and_said_and_everything_comes_afterwards(
    ledger: MirroredLedger, recording_proxy: RecordingProxy, answer: Answer, said: str
) -> None:
    job = ledger.job(ledger.study())
    recording_proxy.instead = lambda _: answer
    ledger.ship()
    assert said in ledger.worker.trouble
    assert said in ledger.control.state()["trouble"]
    assert items_in(recording_proxy.target, ledger.table) == {}
    recording_proxy.instead = lambda _: None
    ledger.move(job, JobEvent.CONVERTED)
    ledger.ship()
    assert (ledger.worker.complaint(), ledger.waiting()) == ("", 0)
    assert ledger.item(f"JOB#{job}")["state"] == "converted"


def test_what_was_shipped_before_a_refusal_is_not_shipped_again(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    ledger.job(ledger.study())
    recording_proxy.instead = lambda _: Answer(503) if len(recording_proxy.sent) > 3 else None
    waiting = ledger.waiting()
    ledger.ship()
    assert ledger.waiting() == waiting - 3
    recording_proxy.instead = lambda _: None
    ledger.ship()
    assert len(recording_proxy.sent) == waiting + 1


def test_refused_worker_leaves_the_table_alone_for_a_while_whatever_happens(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    ledger.study()
    recording_proxy.is_away = True
    ledger.ship()
    asked = len(recording_proxy.sent)
    waits_s = [ledger.worker.work() for _ in range(3)]
    assert all(wait_s is not None and 0 < wait_s <= 2 for wait_s in waits_s)
    assert len(recording_proxy.sent) == asked


def test_day_without_the_table_loses_nothing_and_is_said_with_its_lag(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    recording_proxy.is_away = True
    for number in range(1, 31):
        job = ledger.job(ledger.study(number))
        ledger.move(job, JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED)
        if number % 10 == 0:
            ledger.ship()
    ledger.age(86400)
    assert f"{ledger.waiting()} changes wait, the oldest for 1440 min" in ledger.worker.complaint()
    recording_proxy.is_away = False
    ledger.ship()
    items = ledger.items()
    assert (ledger.waiting(), ledger.worker.complaint()) == (0, "")
    assert sum(sort == "STUDY" for _, sort in items) == 30
    assert (
        sum(sort.startswith("JOB#") and item["state"] == "submitted" for (_, sort), item in items.items())
        == 30
    )
    assert sum(sort.startswith("EVENT#") for _, sort in items) == len(ledger.event_numbers())


def test_fault_of_our_own_is_said_and_waited_out_like_any_other(
    ledger: MirroredLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.study()
    with monkeypatch.context() as broken:
        broken.setattr(ledger.worker._items, "of", lambda *_: 1 / 0)
        ledger.ship()
    assert "unforeseen error" in ledger.worker.complaint()
    assert (ledger.worker.work() or 0) > 0
    ledger.ship()
    assert (ledger.worker.complaint(), ledger.waiting()) == ("", 0)


def test_worker_is_woken_by_a_change_and_tries_again_by_itself(
    ledger: MirroredLedger, recording_proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mirror.worker.BACKOFF", Backoff(0.05, 60.0))
    refused = threading.Event()

    def refuse_once(_: Any) -> Answer | None:
        first = not refused.is_set()
        refused.set()
        return Answer(503) if first else None

    recording_proxy.instead = refuse_once
    ledger.worker.start()
    try:
        job = ledger.job(ledger.study())
        ledger.bus.publish(JobChanged(job, "1.2.826.0.1.1", "planned", "planned"))
        _until(lambda: refused.is_set() and ledger.waiting() == 0)
    finally:
        ledger.worker.stop()
    assert ledger.item(f"JOB#{job}")["state"] == "planned"


# -- ends of the process ----------------------------------------------------------------------------------


class _Killed(BaseException):
    """The process ends here, as by SIGKILL: nothing handles it."""


@dataclass
class _Mortal:
    """A mirror whose caller dies at one instant: before the item is in the table, or after."""

    mirror: Mirror
    left: int
    is_written: bool

    def put(self, item: MirrorItem) -> int | None:
        self.left -= 1
        if self.left < 0 and not self.is_written:
            raise _Killed
        version = self.mirror.put(item)
        if self.left < 0:
            raise _Killed
        return version

    def older(self, site: str, version: int) -> Iterator[ItemKey]:
        return self.mirror.older(site, version)

    def remove(self, key: ItemKey, version: int) -> None:
        self.mirror.remove(key, version)


@pytest.mark.parametrize("is_written", [False, True], ids=["before", "after"])
def test_end_at_any_instant_of_shipping_loses_nothing(
    make_ledger: Callable[..., MirroredLedger], is_written: bool
) -> None:
    ledger = make_ledger()
    job = ledger.job(ledger.study())
    for instant in range(ledger.waiting()):
        ledger.wrap = lambda mirror, left=instant: _Mortal(mirror, left, is_written)
        ledger.restart()
        with pytest.raises(_Killed):
            ledger.ship()
    ledger.wrap = lambda mirror: mirror
    ledger.restart()
    ledger.move(job, JobEvent.CONVERTED)
    ledger.ship()
    items = ledger.items()
    assert ledger.waiting() == 0
    assert ledger.item(f"JOB#{job}")["state"] == "converted"
    assert sum(sort.startswith("EVENT#") for _, sort in items) == len(ledger.event_numbers())
    assert len(items) == len(ledger.event_numbers()) + 2


_SHIP = """
import sys
from pathlib import Path
from tests.mirrored_ledger import MirroredLedger
ledger = MirroredLedger(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
ledger.open()
ledger.ship()
"""


@pytest.mark.parametrize("moment", [2, 30])
def test_process_killed_while_it_ships_is_made_up_for_by_the_next(
    ledger: MirroredLedger, recording_proxy: RecordingProxy, moment: int
) -> None:
    for number in range(1, 11):
        ledger.job(ledger.study(number))
    ledger.close()
    processes: list[subprocess.Popen[bytes]] = []

    def kill_at_moment(_: Any) -> Answer | None:
        if len(recording_proxy.sent) == moment:
            processes[0].kill()
        return None

    recording_proxy.instead = kill_at_moment
    command = [sys.executable, "-c", _SHIP, str(ledger.path), ledger.url, ledger.table]
    processes.append(subprocess.Popen(command))
    assert processes[0].wait(DEADLINE_S) == -signal.SIGKILL
    recording_proxy.instead = lambda _: None
    ledger.open()
    assert ledger.waiting() > 0
    ledger.ship()
    items = ledger.items()
    assert len(items) == len(ledger.event_numbers()) + 20
    assert {item["state"] for (_, sort), item in items.items() if sort == "STUDY"} == {"processing"}


# -- studies that are forgotten ---------------------------------------------------------------------------


def _forget(ledger: MirroredLedger, study_uid: str) -> None:
    with ledger.ledger.transaction() as transaction:
        request_forget(transaction, study_uid)
    with ledger.ledger.transaction() as transaction:
        assert forget(transaction, study_uid, lambda _: False)


def test_forgotten_study_is_gone_from_the_table_and_no_other(ledger: MirroredLedger) -> None:
    gone, kept = ledger.study(1), ledger.study(2)
    ledger.job(gone)
    ledger.job(kept)
    ledger.ship()
    before = {keys for keys in ledger.items() if "key0002" in keys[0]}
    _forget(ledger, gone)
    ledger.ship()
    assert set(ledger.items()) == before
    assert (ledger.worker.complaint(), ledger.waiting()) == ("", 0)
    assert ledger.ledger.read("SELECT * FROM removals WHERE kind = 'mirror'") == []


def test_forgotten_study_waits_for_a_table_that_is_away(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    study_uid = ledger.study()
    ledger.ship()
    recording_proxy.is_away = True
    _forget(ledger, study_uid)
    ledger.ship()
    assert ledger.worker.trouble != ""
    recording_proxy.is_away = False
    ledger.restart()
    ledger.ship()
    assert ledger.items() == {}


def test_study_that_is_forgotten_between_two_looks_at_it_is_not_shipped(
    ledger: MirroredLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_uid = ledger.study()
    of = ledger.worker._items.of

    def forget_first(*given: Any) -> Any:
        monkeypatch.setattr(ledger.worker._items, "of", of)
        _forget(ledger, study_uid)
        return of(*given)

    monkeypatch.setattr(ledger.worker._items, "of", forget_first)
    ledger.ship()
    assert (ledger.items(), ledger.worker.complaint()) == ({}, "")


# -- ledgers that were put back, lost, rebuilt ------------------------------------------------------------


def test_older_ledger_that_was_put_back_wins_over_what_the_table_has(
    ledger: MirroredLedger, tmp_path: Path
) -> None:
    job = ledger.job(ledger.study())
    ledger.ship()
    ledger.close()
    shutil.copy(ledger.path, tmp_path / "backup.sqlite")
    ledger.open()
    ledger.move(job, *(JobEvent(name) for name in ("converted", "staged", "submitted", "failed")))
    ledger.ship()
    assert ledger.item()["state"] == "failed"
    ledger.close()
    for left in tmp_path.glob("0.sqlite*"):
        left.unlink()
    shutil.copy(tmp_path / "backup.sqlite", ledger.path)
    ledger.open()
    ledger.move(job, JobEvent.CONVERTED)
    ledger.ship()
    assert (ledger.item()["state"], ledger.item(f"JOB#{job}")["state"]) == ("processing", "converted")
    assert ledger.worker.complaint() == ""


def test_rebuild_after_an_older_ledger_was_put_back_leaves_nothing_of_the_lost_time(
    ledger: MirroredLedger, tmp_path: Path
) -> None:
    job = ledger.job(ledger.study())
    ledger.close()
    shutil.copy(ledger.path, tmp_path / "backup.sqlite")
    ledger.open()
    ledger.move(job, *(JobEvent(name) for name in ("converted", "staged", "submitted", "failed")))
    ledger.study(2)  # of which the older ledger knows nothing
    ledger.ship()
    ledger.close()
    for left in tmp_path.glob("0.sqlite*"):
        left.unlink()
    shutil.copy(tmp_path / "backup.sqlite", ledger.path)
    ledger.open()
    ledger.control.rebuild()
    ledger.ship()
    of_study = [sort for (key, sort), _ in ledger.items().items() if key == "STUDY#key0001"]
    assert len(of_study) == len(ledger.event_numbers()) + 2
    assert ledger.item(f"JOB#{job}")["state"] == "planned"
    assert ledger.item(number=2)["state"] == "receiving"  # nothing else knows of it
    assert ledger.control.state()["rebuilding"] is False


def test_rebuild_restores_a_table_that_was_emptied(ledger: MirroredLedger) -> None:
    for number in (1, 2):
        ledger.job(ledger.study(number))
    ledger.ship()
    before = ledger.items()
    client = dynamodb(ledger.url)
    for partition, sort in before:
        client.delete_item(TableName=ledger.table, Key={"pk": {"S": partition}, "sk": {"S": sort}})
    ledger.control.rebuild()
    ledger.ship()
    after = ledger.items()

    def without_versions(items: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
        return {key: {**item, "version": 0} for key, item in items.items()}

    assert without_versions(after) == without_versions(before)
    assert min(i["version"] for i in after.values()) > max(i["version"] for i in before.values())


def test_rebuild_that_was_interrupted_by_a_restart_keeps_what_it_had_shipped(
    make_ledger: Callable[..., MirroredLedger],
) -> None:
    ledger = make_ledger()
    for number in (1, 2, 3):
        ledger.job(ledger.study(number))
    ledger.ship()
    expected = set(ledger.items())
    ledger.control.rebuild()
    ledger.wrap = lambda mirror: _Mortal(mirror, 7, is_written=True)
    ledger.restart()
    with pytest.raises(_Killed):
        ledger.ship()
    ledger.wrap = lambda mirror: mirror
    ledger.restart()
    ledger.ship()
    assert set(ledger.items()) == expected
    assert ledger.control.state()["rebuilding"] is False


def test_rebuild_leaves_other_sites_in_the_table_alone(make_ledger: Callable[..., MirroredLedger]) -> None:
    here, there = make_ledger(site="here"), make_ledger(site="there")
    there.study(7)
    there.ship()
    here.study(1)
    here.control.rebuild()
    here.ship()
    assert there.item(number=7)["site"] == "there"


def test_new_ledger_after_a_lost_one_wins_and_what_only_the_table_knows_stays(
    make_ledger: Callable[..., MirroredLedger],
) -> None:
    lost = make_ledger()
    lost.move(lost.job(lost.study(1)), JobEvent.FAILED)
    lost.study(2)
    lost.ship()
    new = make_ledger()
    new.study(1)
    new.ship()
    assert (new.item()["state"], new.item(number=2)["state"]) == ("receiving", "receiving")
    new.control.rebuild()
    new.ship()
    assert new.item(number=2)["state"] == "receiving"


def test_table_that_is_ahead_of_the_ledger_is_said_until_the_rebuild(
    make_ledger: Callable[..., MirroredLedger],
) -> None:
    ahead, ledger = make_ledger(), make_ledger()
    with ahead.ledger.transaction() as transaction:
        transaction.execute("UPDATE mirror SET epoch = epoch + 1000000")
    ahead.study(1)
    ahead.ship()
    ledger.move(ledger.job(ledger.study(1)), JobEvent.FAILED)
    ledger.ship()
    assert (ledger.waiting(), ledger.item()["state"]) == (0, "receiving")
    assert "`iris mirror rebuild`" in ledger.worker.complaint()
    ledger.control.rebuild()
    ledger.ship()
    assert (ledger.worker.complaint(), ledger.item()["state"]) == ("", "failed")


def _until(condition: Callable[[], bool]) -> None:
    deadline = threading.Event()
    timer = threading.Timer(DEADLINE_S, deadline.set)
    timer.start()
    try:
        while not condition():
            assert not deadline.is_set(), "it did not happen in time"
            deadline.wait(0.01)
    finally:
        timer.cancel()
