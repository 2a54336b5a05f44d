"""The simulation of machines that are kept by day (benchmarks/fleet)."""

from dataclasses import replace

import pytest

from benchmarks.fleet.assumptions import Settings, Stages
from benchmarks.fleet.simulation import Outcome, simulate

HOUR_S = 3600.0
STAGES = Stages(load_s=10.0, before_s=1.0, segment_s=20.0, behind_s=5.0)
ALONE_S = STAGES.load_s + STAGES.alone_s
GIVEN_BACK = Settings("any", machines=2, stays_s=120.0, interruptions_per_hour=0.0)
KEPT = replace(GIVEN_BACK, warm=1)


def study_at(hour: float, settings: Settings) -> Outcome:
    return simulate([hour * HOUR_S], [STAGES], settings, 1)


@pytest.mark.parametrize(("hour", "begins_s"), [(7.0, 180.0), (12.0, 0.0), (20.0, 180.0)])
def test_study_waits_for_no_start_in_the_hours_in_which_a_machine_is_kept(
    hour: float, begins_s: float
) -> None:
    waited_s = study_at(hour, KEPT).waited_s(0.5)
    assert waited_s == pytest.approx(begins_s + KEPT.dispatch_s + ALONE_S)


def test_kept_machine_is_paid_for_from_begin_to_end() -> None:
    [machine] = study_at(12.0, KEPT).machines
    assert machine.from_s == 7.5 * HOUR_S
    assert machine.to_s == pytest.approx(19.0 * HOUR_S + KEPT.stays_s)
    [other] = study_at(12.0, GIVEN_BACK).machines
    assert other.to_s - other.from_s < 0.2 * HOUR_S


def test_kept_machine_that_is_taken_away_is_followed_by_another() -> None:
    found = simulate([18.0 * HOUR_S], [STAGES], replace(KEPT, interruptions_per_hour=2.0), 1)
    assert found.interruptions > 3
    assert all(study.done_s for study in found.studies)
    for life, following in zip(found.machines, found.machines[1:], strict=False):
        assert following.from_s == pytest.approx(life.to_s)
