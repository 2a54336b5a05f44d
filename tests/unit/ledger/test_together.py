"""Writes of several threads in one commit."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.events import Event, ObjectQuarantined
from gateway.ledger.store import Ledger
from gateway.ledger.together import WritesTogether
from gateway.ledger.transaction import Transaction

WAIT_S = 30.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


class Disk:
    """Holds up the first write until others wait behind it, and counts transactions."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes = WritesTogether(ledger)
        self.commits = 0
        self._is_held, self._may_go = threading.Event(), threading.Event()
        begun = ledger.transaction

        def counted() -> object:
            self.commits += 1
            return begun()

        monkeypatch.setattr(ledger, "transaction", counted)

    def hold(self, _: Transaction) -> None:
        self._is_held.set()
        assert self._may_go.wait(WAIT_S)

    def write_behind(self, *works: object) -> list[BaseException | None]:
        """What became of works that all came while another was being written."""
        with ThreadPoolExecutor(len(works) + 1) as pool:
            first = pool.submit(self.writes.write, self.hold)
            assert self._is_held.wait(WAIT_S)
            later = [pool.submit(self.writes.write, work) for work in works]
            while len(self.writes._waiting) < len(works):
                self._may_go.wait(0.001)
            self._may_go.set()
            first.result(WAIT_S)
            return [each.exception(WAIT_S) for each in later]


def note(number: int) -> object:
    def work(transaction: Transaction) -> None:
        transaction.note(f"instance.number_{number}")
        transaction.publish(ObjectQuarantined(str(number), "tried"))

    return work


def refused(_: Transaction) -> None:
    raise ValueError("it cannot be")


def noted(ledger: Ledger) -> set[str]:
    return {row["event"] for row in ledger.read("SELECT event FROM events")}


def test_writes_that_wait_while_another_is_committed_share_a_commit_and_are_all_told(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    ledger.bus.subscribe(told.append)
    disk = Disk(ledger, monkeypatch)
    assert disk.write_behind(*(note(number) for number in range(7))) == [None] * 7
    assert disk.commits == 2
    assert noted(ledger) == {f"instance.number_{number}" for number in range(7)}
    assert {event.key for event in told if isinstance(event, ObjectQuarantined)} == set("0123456")


def test_write_that_cannot_be_is_refused_alone(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(ledger, monkeypatch)
    outcomes = disk.write_behind(note(1), refused, note(2))
    assert [type(outcome) for outcome in outcomes] == [type(None), ValueError, type(None)]
    assert noted(ledger) == {"instance.number_1", "instance.number_2"}


def test_each_hears_of_a_ledger_that_takes_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(ledger, monkeypatch)

    def full(_: Transaction) -> None:
        raise OSError(28, "No space left on device")

    assert all(isinstance(outcome, OSError) for outcome in disk.write_behind(full, full, full))
    disk.writes.write(note(1))
    assert noted(ledger) == {"instance.number_1"}


def test_write_that_went_down_with_another_is_not_taken_for_written(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tear(_: Transaction) -> None:
        raise SystemExit

    outcomes = Disk(ledger, monkeypatch).write_behind(note(1), tear, note(2))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "LedgerError",
        "LedgerError",
        "SystemExit",
    ]
    assert noted(ledger) == set()
