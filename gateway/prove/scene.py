"""What every station needs: the phantom, the gateway, the PACS, and patience."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .at_gateway import AtGateway, Made, Study
from .pacs import Pacs
from .phantom import Phantom, Series
from .stations import Report, Verdict

LOOK_EVERY_S: Final = 0.25
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """What a station says when the phantom has passed it; `at` is when, where that is known exactly."""

    text: str
    fix: str = ""
    verdict: Verdict = Verdict.PASSED
    at: datetime | None = None


@dataclass
class Returned:
    """One object that the gateway made, as the PACS gave it back."""

    made: Made
    job: Study
    series: Series
    fetched: Path


@dataclass
class Scene:
    """One run.

    Parameters
    ----------
    folder
        Everything of this run lies there.
    limit_s
        A station at which nothing happens for so long has failed.
    say
        Told what is being waited for.
    """

    gateway: AtGateway
    pacs: Pacs
    phantom: Phantom
    folder: Path
    limit_s: float
    say: Callable[[str], None]
    report: Report
    study: Study = field(default_factory=dict)
    """As the gateway said it last; empty while it does not know it."""
    returned: list[Returned] = field(default_factory=list)
    came_back: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """By the name of the position: the labels that came back, on the phantom's slices."""

    def until(self, look: Callable[[], T | None]) -> T | None:
        """Look until there is something; None where nothing comes of it and nothing moves for `limit_s`."""
        give_up_at, seen = time.monotonic() + self.limit_s, self._moves()
        while (found := look()) is None:
            if (moves := self._moves()) != seen:
                give_up_at, seen = time.monotonic() + self.limit_s, moves
            if time.monotonic() > give_up_at:
                return None
            time.sleep(LOOK_EVERY_S)
        return found

    def look_at_study(self) -> Study | None:
        """Ask the gateway for the phantom's study; None while it does not know it."""
        found = self.gateway.study(self.phantom.study_uid)
        self.study = found or self.study
        return found

    def series_named(self, series_uid: str) -> Series | None:
        """The phantom's series with that UID."""
        return next((each for each in self.phantom.series if each.series_uid == series_uid), None)

    def jobs(self) -> list[Study]:
        """The gateway's jobs on the phantom's series, but for those that others took the place of."""
        return [job for job in self.study.get("jobs", []) if job["state"] not in ("superseded", "cancelled")]

    def _moves(self) -> object:
        """What changes while the gateway gets on."""
        jobs = [(job["job_key"], job["state"], job["progress"]["fraction"]) for job in self.jobs()]
        deliveries = [(each["key"], each["state"]) for each in self.study.get("deliveries", [])]
        return self.study.get("images"), self.study.get("state"), jobs, deliveries
