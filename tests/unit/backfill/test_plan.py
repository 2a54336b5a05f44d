"""What a backfill says that it will take."""

from datetime import UTC, datetime

import pytest

from gateway.backfill.missing import MissingStudy
from gateway.backfill.pace import Limits, Window
from gateway.backfill.plan import plan

MISSING = [MissingStudy(f"1.2.{number}", 3) for number in range(24)]
NIGHT = Window.parse("20:00-06:00")
AT_NIGHT = "begun from 20:00 to 06:00 only (UTC, 10 hours a day)"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limits", "jobs_per_hour", "said"),
    [
        (Limits(), 0, ""),
        (Limits(4), 0, "; at 4 an hour, that is 6.0 hours from now"),
        (
            Limits(2, NIGHT),
            0,
            f"; at 2 an hour, {AT_NIGHT}, that is 34.0 hours from now",
        ),
        (Limits(0, NIGHT), 0, f"; {AT_NIGHT}"),
        (Limits(4), 3, "; at 3 an hour, that is 8.0 hours from now"),
        (
            Limits(12, NIGHT),
            2,
            f"; at 2 an hour, {AT_NIGHT}, that is 12.0 hours from now",
        ),
    ],
)
def test_plan_says_how_long_it_takes_and_at_what_time_of_the_day(
    limits: Limits, jobs_per_hour: int, said: str
) -> None:
    found = plan(MISSING, limits, NOON, jobs_per_hour=jobs_per_hour, usd_of_a_job=None)
    sentence = found.sentence(limits, NOON, at_batch=False)
    assert sentence == f"24 studies with 72 images are missing here{said}"


def test_plan_at_batch_says_what_it_costs() -> None:
    for usd, said in ((0.05, "a job a study: 1.20"), (None, "not known: no run at AWS Batch was priced yet")):
        found = plan(MISSING, Limits(), NOON, jobs_per_hour=0, usd_of_a_job=usd)
        assert found.sentence(Limits(), NOON, at_batch=True).endswith(said.replace("a job", "one job"))


def test_plan_of_nothing_says_so() -> None:
    found = plan([], Limits(4), NOON, jobs_per_hour=0, usd_of_a_job=0.05)
    assert found.sentence(Limits(4), NOON, at_batch=True).endswith("missing here: nothing is to be done")
