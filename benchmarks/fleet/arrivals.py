"""When studies come: a hospital's day, a backlog at once, many sites into one queue."""

import random
from collections.abc import Iterator
from typing import Final

from .assumptions import SECONDS_A_DAY

BUSY: Final = (1, 1, 1, 1, 1, 1, 2, 6, 12, 14, 14, 13, 11, 12, 13, 12, 10, 8, 5, 4, 3, 3, 2, 2)
"""How often a CT is made in each hour of the day, relatively: an assumption, with two thirds from 8 to 16."""


def hospital_days(studies_a_day: int, days: int, seed: int) -> list[float]:
    """Seconds from the first midnight at which studies come, in order."""
    chance = random.Random(seed)
    return sorted(
        day * SECONDS_A_DAY + (hour + chance.random()) * 3600
        for day in range(days)
        for hour in chance.choices(range(24), BUSY, k=studies_a_day)
    )


def backlog(studies: int) -> list[float]:
    """All of them at once."""
    return [0.0] * studies


def many_sites(sites: int, studies_a_day: int, days: int, seed: int) -> list[float]:
    """Sites whose gateways hand over to one queue, in order."""
    return sorted(at for of_site in _sites(sites, studies_a_day, days, seed) for at in of_site)


def _sites(sites: int, studies_a_day: int, days: int, seed: int) -> Iterator[list[float]]:
    for site in range(sites):
        yield hospital_days(studies_a_day, days, seed * 1000 + site)
