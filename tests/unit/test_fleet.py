"""The simulation of machines: its arithmetic by hand, and what is to hold whatever the figures are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.fleet.arrivals import backlog, hospital_days, many_sites
from benchmarks.fleet.assumptions import Price, Settings, Stages
from benchmarks.fleet.manifests import stages_in
from benchmarks.fleet.simulation import Outcome, simulate

STAGES = Stages(load_s=10.0, before_s=2.0, segment_s=20.0, behind_s=5.0)
CALM = Settings(
    "by hand",
    machines=1,
    stays_s=100.0,
    unused_s=50.0,
    start_s=60.0,
    dispatch_s=3.0,
    interruptions_per_hour=0,
)


def outcome(arrivals: list[float], settings: Settings, seed: int = 1) -> Outcome:
    return simulate(arrivals, [STAGES] * len(arrivals), settings, seed)


def done(of: Outcome) -> list[float | None]:
    return [study.done_s for study in of.studies]


def test_study_alone_pays_the_start_itself_and_what_the_machine_waits() -> None:
    found = outcome([7.0], CALM)
    assert done(found) == [7 + 60 + 3 + 10 + 2 + 20 + 5]
    assert found.machine_s == 60 + 3 + 10 + 2 + 20 + 5 + 100
    price = Price(on_demand=0.5, spot_share=0.5, beside=0.05)
    assert found.usd_a_study(price) == pytest.approx(200 / 3600 * 0.3)


def test_one_study_a_container_loads_for_each() -> None:
    found = outcome(backlog(3), replace(CALM, takes_for_s=0.0))
    assert done(found) == [100.0, 140.0, 180.0]
    assert (found.containers, found.machine_s) == (3, 280.0)


def test_taker_loads_once_and_reads_and_saves_beside() -> None:
    found = outcome(backlog(3), CALM)
    assert done(found) == [100.0, 120.0, 140.0]
    assert (found.containers, found.machine_s) == (1, 240.0)


def test_taker_makes_room_for_another_process_when_it_has_gone_on_for_long_enough() -> None:
    found = outcome(backlog(3), replace(CALM, takes_for_s=30.0))
    assert done(found) == [100.0, 120.0, 160.0]
    assert found.containers == 2


def test_taker_whose_saving_takes_longest_goes_at_its_pace() -> None:
    slow = replace(STAGES, behind_s=30.0)
    found = simulate(backlog(3), [slow] * 3, CALM, 1)
    assert done(found) == [125.0, 155.0, 185.0]


def test_taker_finds_what_came_while_it_saved_the_last() -> None:
    assert outcome([0.0, 97.0], CALM).containers == 1
    assert outcome([0.0, 101.0], CALM).containers == 2


def test_machines_start_for_what_waits_up_to_the_limit_and_one_without_work_goes_soon() -> None:
    assert len(outcome(backlog(2), replace(CALM, machines=4)).machines) == 2
    found = outcome([0.0, 59.0], replace(CALM, machines=4))  # the second is taken by the first's machine
    assert [machine.to_s - machine.from_s for machine in found.machines] == [220.0, 60.0 + 50.0]


def test_gathered_studies_wait_for_the_next_time_that_machines_are_given() -> None:
    found = outcome([10.0, 3599.0, 3600.0], replace(CALM, gather_s=3600.0))
    assert done(found) == [3600 + 100, 3600 + 120, 3600 + 140]
    assert found.waited_s(0.5) == 3740 - 3600


def test_interrupted_studies_are_done_again_and_each_once() -> None:
    found = simulate(backlog(200), [STAGES] * 200, replace(CALM, machines=3, interruptions_per_hour=20.0), 5)
    assert found.interruptions > 10
    assert None not in done(found)
    assert len(found.runs) == 200
    calm = simulate(backlog(200), [STAGES] * 200, replace(CALM, machines=3), 5)
    assert found.machine_s > calm.machine_s


def test_machines_are_paid_for_more_than_they_work_and_never_more_than_allowed_at_once() -> None:
    found = outcome(hospital_days(100, 2, seed=3), replace(CALM, machines=2))
    assert found.machine_s > sum(run.ended_s - run.begun_s for run in found.runs) > 0
    ends = sorted([(m.from_s, 1) for m in found.machines] + [(m.to_s, -1) for m in found.machines])
    at_once = 0
    for _, change in ends:
        at_once += change
        assert at_once <= 2


def test_arrivals_are_the_same_for_the_same_seed_and_of_every_site() -> None:
    assert hospital_days(20, 3, 1) == hospital_days(20, 3, 1) != hospital_days(20, 3, 2)
    found = many_sites(4, 20, 3, 1)
    assert (len(found), found) == (240, sorted(found))


def test_stages_of_manifests_are_their_medians(tmp_path: Path) -> None:
    for number, segment_s in enumerate((10.0, 30.0, 80.0)):
        seconds = {
            "fetch": 1.0,
            "load": 2.0,
            "segment": segment_s,
            "measure": 3.0,
            "save": 4.0,
            "model 1": 9.0,
        }
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "manifest.json").write_text(json.dumps({"seconds": seconds}))
    assert stages_in(tmp_path, 12.0) == Stages(12.0, 3.0, 30.0, 7.0)
    with pytest.raises(ValueError, match="no manifest"):
        stages_in(tmp_path / "0" / "nothing", 12.0)
