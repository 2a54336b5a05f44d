"""A gateway that knows a million instances is as quick as one that knows none, from outside."""

import pytest

from benchmarks.large_ledger.make import Size
from benchmarks.large_ledger.measure import FIGURES, LONG_TIMELINE, Outcome, measure

SLOWER = 1.2
BY_CHANCE = 0.15
"""What the same thing takes more or less, in processor time, where others use the machine, too."""
NOT_COMPARED = ("idle", "port")
"""The one is too small, the other a time on the clock."""
MOST_MB = 250.0
MOST_IDLE_PERCENT = 1.0


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return measure(tmp_path_factory.mktemp("ledgers"), Size(20_000, 50, LONG_TIMELINE), print)


@pytest.mark.long
def test_million_instances_make_nothing_slower(outcome: Outcome) -> None:
    ratios = {FIGURES[name].what: ratio for name, ratio in outcome.ratios.items() if name not in NOT_COMPARED}

    assert {what: ratio for what, ratio in ratios.items() if ratio > SLOWER + BY_CHANCE} == {}, outcome


@pytest.mark.long
def test_million_instances_need_no_more_memory_and_no_work_while_nobody_asks(outcome: Outcome) -> None:
    many = outcome.figures["many"]

    assert many["start_mb"] < MOST_MB
    assert many["peak_mb"] < MOST_MB
    assert many["idle"] < MOST_IDLE_PERCENT
