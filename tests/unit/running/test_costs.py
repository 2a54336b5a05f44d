"""What runs cost: the times of all runs on a machine come to what it was there for, each second once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batch_job.contract import EngineInfo, MachineUse, Manifest
from benchmarks.fleet.arrivals import hospital_days
from benchmarks.fleet.assumptions import Settings, Stages
from benchmarks.fleet.simulation import simulate
from gateway.ledger.run_cost import RunCost
from gateway.ledger.runs import note_cost
from gateway.running.costs import Costs
from tests.one_job import site_in

BOOT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
ON_DEMAND = {"g4dn.xlarge": 0.526}


class Prices:
    """Spot prices that know one machine in one zone."""

    def __init__(self) -> None:
        self.asked: list[datetime] = []

    def usd_per_hour(self, machine: str, zone: str, at: datetime) -> float | None:
        self.asked.append(at)
        return 0.18 if (machine, zone) == ("g4dn.xlarge", "us-east-1b") else None


class Fleet:
    """Runs that come to a gateway with what they cost."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self.prices = Prices()
        self._costs = Costs(site.ledger, ON_DEMAND, self.prices)

    def run(self, begun_s: float, machine_s: float, *, instance: str = "i-0abc", **use: Any) -> RunCost:
        """One that began so long after its machine did."""
        begun_at = BOOT + timedelta(seconds=begun_s)
        given = {"instance": instance, "zone": "us-east-1b", "is_spot": True, "up_s": begun_s, "gpu_s": 9.0}
        used = MachineUse(begun_at=begun_at, machine_s=machine_s, **{**given, **use})
        job = self._site.job()
        reckoned = self._costs.of(manifest(used, job.job_key), {})
        with self._site.ledger.transaction() as transaction:
            transaction.update("jobs", "job_key", job.job_key, {"run": job.run + 1})
            job = transaction.job(job.job_key)
            note_cost(transaction, job, reckoned.cost, reckoned.instance, reckoned.held_until)
        return reckoned.cost

    def tell(self, event: str, **detail: Any) -> None:
        """Have something of the job in the timeline."""
        with self._site.ledger.transaction() as transaction:
            transaction.step(event, self._site.job(), **detail)

    def reckon(self, without_use: dict[str, float]) -> RunCost:
        return self._costs.of(manifest(None), without_use).cost


def manifest(use: MachineUse | None, job_key: str = "a" * 64) -> Manifest:
    return Manifest(
        job_key=job_key,
        outputs={},
        labels={1: "bone"},
        engine=EngineInfo(name="threshold", version="1", weights=""),
        seconds={"segment": 9.0, "save": 1.0},
        peak_rss_mb=1.0,
        attempt=1,
        machine="g4dn.xlarge",
        machine_use=use,
    )


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with site_in(tmp_path) as site:
        yield Fleet(site)


def test_first_run_on_a_machine_bears_its_start(fleet: Fleet) -> None:
    cost = fleet.run(200.0, 60.0)
    assert (cost.machine_s, cost.gpu_s, cost.shared_s) == (60.0, 9.0, 200.0)
    assert (cost.usd_per_hour, cost.is_spot_price) == (0.18, True)
    assert (cost.usd, cost.usd_shared) == (0.003, 0.01)


def test_later_runs_on_a_machine_bear_the_time_since_the_last_one(fleet: Fleet) -> None:
    fleet.run(200.0, 60.0)
    assert fleet.run(290.0, 50.0).shared_s == 30.0
    assert fleet.run(100.0, 20.0, instance="i-0def").shared_s == 100.0
    assert fleet.run(340.0, 10.0).shared_s == 0.0


def test_run_that_overlaps_the_one_before_counts_the_time_once(fleet: Fleet) -> None:
    runs = [fleet.run(100.0, 60.0), fleet.run(150.0, 60.0), fleet.run(205.0, 60.0), fleet.run(300.0, 10.0)]
    assert [(run.machine_s, run.shared_s) for run in runs] == [(60, 100), (50, 0), (55, 0), (10, 35)]
    assert sum(run.machine_s + (run.shared_s or 0.0) for run in runs) == 310.0  # its whole life


def test_costs_of_simulated_runs_come_to_the_simulated_machines_but_for_their_ends(fleet: Fleet) -> None:
    settings = Settings("any", machines=2, stays_s=60.0, interruptions_per_hour=0)
    stages = Stages(10.0, 2.0, 20.0, 5.0)
    found = simulate(hospital_days(60, 1, seed=2), [stages] * 60, settings, seed=2)
    lives, reckoned_s, last_s = found.machines, 0.0, dict[int, float]()
    for run in sorted(found.runs, key=lambda each: each.ended_s):
        up_s = run.begun_s - lives[run.machine].from_s
        cost = fleet.run(run.begun_s, run.ended_s - run.begun_s, instance=f"i-{run.machine}", up_s=up_s)
        reckoned_s += cost.machine_s + (cost.shared_s or 0.0)
        last_s[run.machine] = run.ended_s
    unreckoned_s = sum(life.to_s - last_s.get(number, life.from_s) for number, life in enumerate(lives))
    assert len(last_s) > 5
    assert reckoned_s + unreckoned_s == pytest.approx(found.machine_s, abs=1.0)


def test_spot_machine_whose_price_is_not_known_costs_less_than_on_demand(fleet: Fleet) -> None:
    cost = fleet.run(200.0, 3600.0, zone="us-east-1e")
    assert (cost.is_spot, cost.is_spot_price, cost.usd) == (True, False, 0.526)


def test_machine_on_demand_is_not_asked_a_spot_price_of(fleet: Fleet) -> None:
    cost = fleet.run(200.0, 3600.0, is_spot=False)
    assert (cost.is_spot, cost.usd, fleet.prices.asked) == (False, 0.526, [])


def test_price_is_that_of_the_time_when_the_run_ended(fleet: Fleet) -> None:
    fleet.run(200.0, 60.0)
    assert fleet.prices.asked == [BOOT + timedelta(seconds=260)]


def test_attempts_whose_machines_were_taken_away_are_borne_by_the_run_that_gave_the_result(
    fleet: Fleet,
) -> None:
    fleet.tell("job.queued", interruption="spot", seconds=400.0)
    fleet.tell("job.segmented", seconds=60.0)  # of an earlier result, which bore that
    fleet.tell("job.queued", interruption="spot", seconds=120.0)
    fleet.tell("job.run_lost", interruption="spot", seconds=60.5)
    fleet.tell("job.run_lost", exit_code=75, seconds=30.0)  # on a machine that stayed
    cost = fleet.run(200.0, 60.0)
    assert (cost.lost_s, cost.usd_lost) == (180.5, 0.009025)


@pytest.mark.parametrize(("detail", "seconds"), [({"seconds": 3600.0}, 3600.0), ({}, 10.0)])
def test_run_of_an_earlier_version_costs_its_duration_on_demand(
    fleet: Fleet, detail: dict[str, float], seconds: float
) -> None:
    cost = fleet.reckon(detail)
    assert (cost.machine_s, cost.usd) == (seconds, round(seconds / 3600 * 0.526, 6))
    assert (cost.is_spot, cost.gpu_s, cost.shared_s, cost.usd_shared) == (None, None, None, None)
