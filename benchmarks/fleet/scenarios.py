"""What is simulated: settings by studies a day, a backlog, many sites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .arrivals import backlog, hospital_days, many_sites
from .assumptions import ALL_SETTINGS, Price, Settings, Stages
from .simulation import Outcome, simulate

STUDIES_A_DAY: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
DAYS: Final = 20
SEED: Final = 17
BACKLOG: Final = 1000
SITES, OF_A_SITE = 20, 20


@dataclass(frozen=True)
class Point:
    """One simulation in a few figures."""

    settings: str
    studies: int
    """A day; or all, where they come at once."""
    usd: float
    """For each study."""
    median_s: float
    p95_s: float
    machines: int
    containers: int
    interruptions: int

    @classmethod
    def of(cls, settings: Settings, studies: int, outcome: Outcome, price: Price) -> "Point":
        """Read it off an outcome."""
        return cls(
            settings.name,
            studies,
            outcome.usd_a_study(price),
            outcome.waited_s(0.5),
            outcome.waited_s(0.95),
            len(outcome.machines),
            outcome.containers,
            outcome.interruptions,
        )


def by_studies_a_day(
    stages: Stages, price: Price, all_settings: Sequence[Settings] = ALL_SETTINGS
) -> Mapping[str, Sequence[Point]]:
    """Settings, for hospitals of each size."""
    return {
        settings.name: [
            _point(settings, studies, hospital_days(studies, DAYS, SEED), stages, price)
            for studies in STUDIES_A_DAY
        ]
        for settings in all_settings
    }


def of_a_backlog(stages: Stages, price: Price, settings: Sequence[Settings]) -> list[Point]:
    """A thousand studies at once."""
    return [_point(each, BACKLOG, backlog(BACKLOG), stages, price) for each in settings]


def of_many_sites(stages: Stages, price: Price, settings: Sequence[Settings]) -> list[Point]:
    """Twenty sites of twenty studies a day, in one queue."""
    arrivals = many_sites(SITES, OF_A_SITE, DAYS, SEED)
    return [_point(each, SITES * OF_A_SITE, arrivals, stages, price) for each in settings]


def _point(
    settings: Settings, studies: int, arrivals: Sequence[float], stages: Stages, price: Price
) -> Point:
    outcome = simulate(arrivals, [stages] * len(arrivals), settings, SEED)
    return Point.of(settings, studies, outcome, price)
