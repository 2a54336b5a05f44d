"""How long a run gets no further: by what it says, and by what the others of its process say."""

from typing import Any

import pytest

from gateway.adapters.queue import Lane
from gateway.ledger.records import RunRow
from gateway.ledger.runs import begin_run, run_of
from gateway.running.hanging import Stillness
from tests.one_job import JOB_KEY


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def runs(site: Any) -> list[RunRow]:
    """Three runs: two of one process, and another."""
    found = []
    for number, queue_id in enumerate(("taker", "taker", "other"), start=1):
        with site.ledger.transaction() as transaction:
            begin_run(transaction, JOB_KEY, number, Lane.MAIN)
        run = run_of(site.ledger, JOB_KEY, number)
        assert run is not None
        found.append(run.model_copy(update={"queue_id": queue_id}))
    return found


def test_run_is_still_for_as_long_as_it_says_the_same(runs: list[RunRow]) -> None:
    clock = Clock()
    stillness, run = Stillness(clock), runs[2]
    said = []
    for clock.now_s, content in ((0.0, None), (5.0, None), (9.0, b"load"), (20.0, b"load"), (21.0, b"save")):
        said.append(stillness.lasts_s(run, content))
    assert said == [0.0, 5.0, 0.0, 11.0, 0.0]


def test_run_that_begins_again_is_not_still(runs: list[RunRow]) -> None:
    clock = Clock()
    stillness = Stillness(clock)
    stillness.lasts_s(runs[2], b"load")
    clock.now_s = 60.0
    assert stillness.lasts_s(runs[2].model_copy(update={"attempt": 2}), b"load") == 0.0


def test_run_that_waits_for_another_of_its_process_is_not_still_while_that_gets_further(
    runs: list[RunRow],
) -> None:
    clock = Clock()
    stillness = Stillness(clock)
    first, second, other = runs
    for clock.now_s in range(0, 100, 10):
        stillness.lasts_s(first, f"segment {clock.now_s}".encode())
        assert stillness.lasts_s(second, b"load") == 0.0
        assert stillness.lasts_s(other, b"load") == clock.now_s
    stillness.keep([second, other])  # the first is done
    clock.now_s = 120.0
    assert stillness.lasts_s(second, b"load") == 30.0
    assert stillness.lasts_s(other, b"load") == 120.0
    assert stillness.lasts_s(second, b"segment") == 0.0
