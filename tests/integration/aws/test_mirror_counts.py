"""The counts of a gateway in the mirror's table: one item, whole, and made anew with the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from gateway.adapters.aws.dynamodb_own import OwnItems
from gateway.adapters.aws.dynamodb_reading import DynamoReader
from gateway.adapters.mirror import (
    OPEN_SINCE,
    Counting,
    Item,
    ItemKey,
    ItemKind,
    MirrorItem,
    counters_in,
)
from gateway.ledger.states import JobEvent
from gateway.ledger.watched import kept_counts
from gateway.mirror.counting import EVERY_S, CountsWorker
from tests.doubles.recording_proxy import RecordingProxy
from tests.mirrored_ledger import MirroredLedger, dynamodb, items_in, make_table

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def ledger(tmp_path: Path, recording_proxy: RecordingProxy) -> Iterator[MirroredLedger]:
    ledger = MirroredLedger(tmp_path / "l.sqlite", recording_proxy.url, make_table(recording_proxy.target))
    ledger.open()
    yield ledger
    ledger.close()


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _in_the_table(ledger: MirroredLedger) -> Item:
    [item] = DynamoReader(dynamodb(ledger.url), ledger.table).counts()
    return item


def _kept(ledger: MirroredLedger) -> dict[tuple[str, str], int]:
    return {counted: number for counted, number in kept_counts(ledger.ledger).items() if number}


def test_counts_are_those_of_the_ledger_at_most_once_a_minute_and_only_when_they_change(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    clock = _Clock()
    counts = CountsWorker(ledger.ledger, ledger.bus, ledger.worker._mirror, "test", clock)
    job = ledger.job(ledger.study())
    assert counts.work() is None
    assert counters_in(_in_the_table(ledger)) == _kept(ledger)
    assert _in_the_table(ledger)[OPEN_SINCE] == [ledger.ledger.read("SELECT received_at FROM studies")[0][0]]
    before = recording_proxy.operations().count("PutItem")
    ledger.move(job, JobEvent.CONVERTED)
    clock.now_s = 20
    assert counts.work() == EVERY_S - 20
    clock.now_s = EVERY_S
    assert counts.work() is None
    assert counters_in(_in_the_table(ledger)) == _kept(ledger)
    clock.now_s = 10 * EVERY_S
    assert counts.work() is None
    assert recording_proxy.operations().count("PutItem") == before + 1


def test_counts_wait_for_a_table_that_is_away_and_are_whole_afterwards(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    clock = _Clock()
    counts = CountsWorker(ledger.ledger, ledger.bus, ledger.worker._mirror, "test", clock)
    recording_proxy.is_away = True
    ledger.study()
    assert counts.work() == EVERY_S
    recording_proxy.is_away = False
    ledger.job(ledger.study(2))
    clock.now_s = EVERY_S
    counts.work()
    assert counters_in(_in_the_table(ledger)) == _kept(ledger)


def test_rebuild_writes_wrong_counts_right_at_once_and_leaves_those_of_others(ledger: MirroredLedger) -> None:
    other: dict[str, Any] = {"pk": {"S": "COUNTS"}, "sk": {"S": "SITE#other"}, "version": {"N": "1"}}
    dynamodb(ledger.url).put_item(TableName=ledger.table, Item={**other, "site": {"S": "other"}})
    ledger.job(ledger.study())
    ledger.counts.work()
    key = {"pk": {"S": "COUNTS"}, "sk": {"S": "SITE#test"}}
    dynamodb(ledger.url).delete_item(TableName=ledger.table, Key=key)
    ledger.control.rebuild()
    ledger.ship()
    ledger.counts.work()
    found = items_in(ledger.url, ledger.table)
    mine = {name: int(of) for name, of in found["COUNTS", "SITE#test"].items() if "#" in name}
    assert counters_in(mine) == _kept(ledger)
    assert ("COUNTS", "SITE#other") in found


@dataclass
class _Refusing:
    """A client whose transactions are cancelled for reasons given, one after the other, then succeed."""

    reasons: list[list[str]]
    asked: int = 0

    def transact_write_items(self, **_: Any) -> None:
        self.asked += 1
        if self.reasons:
            said = [{"Code": code} for code in self.reasons.pop(0)]
            answer: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": said}
            raise ClientError(answer, "TransactWriteItems")


@pytest.mark.parametrize(
    ("reasons", "is_written", "asked"),
    [
        ([["None", "TransactionConflict"]] * 2, True, 3),  # another job's counts: once more
        ([["ConditionalCheckFailed", "None"]], False, 1),  # the job itself: look again
        ([["TransactionConflict", "TransactionConflict"]], False, 1),
    ],
)
def test_uploads_that_meet_at_their_counts_are_written_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, reasons: list[list[str]], is_written: bool, asked: int
) -> None:
    monkeypatch.setattr("gateway.adapters.aws.dynamodb_own.LONGEST_PAUSE_S", 0)
    client = _Refusing(list(reasons))
    job = MirrorItem(ItemKey("study", ItemKind.JOB, "job"), 2, {"state": "staged"})
    items = OwnItems(cast(Any, client), "table")
    assert items.write([job], 1, Counting("cloud", {"job#staged": 1}, opened="2026")) is is_written
    assert client.asked == asked
