"""What a backfill will take: said before anything is fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .missing import MissingStudy
from .pace import HOUR_S, Limits


@dataclass(frozen=True)
class Plan:
    """What is missing, and what it takes.

    Parameters
    ----------
    per_hour
        So many studies are fetched and segmented in an hour; None: as many as can be.
    hours
        Until the last one is, from now on, with the times of the day that are left out; None: nobody knows.
    usd
        None: nobody knows.
    """

    studies: int
    images: int
    per_hour: int | None
    hours: float | None
    usd: float | None

    def sentence(self, limits: Limits, now: datetime, *, at_batch: bool) -> str:
        """For a person; `now` is in the site's time zone."""
        said = f"{self.studies} studies with {self.images} images are missing here"
        if not self.studies:
            return f"{said}: nothing is to be done"
        how = [f"at {self.per_hour} an hour"] if self.per_hour is not None else []
        if limits.window is not None:
            how.append(f"begun from {limits.window} only ({now:%Z}, {limits.window.length_h:g} hours a day)")
        if self.hours is not None:
            how.append(f"that is {self.hours:.1f} hours from now")
        if how:
            said += f"; {', '.join(how)}"
        if at_batch:
            cost = "not known: no run at AWS Batch was priced yet" if self.usd is None else f"{self.usd:.2f}"
            said += f"; about so many dollars, at one job a study: {cost}"
        return said


def plan(
    missing: Sequence[MissingStudy],
    limits: Limits,
    now: datetime,
    *,
    jobs_per_hour: int,
    usd_of_a_job: float | None,
) -> Plan:
    """Say what it takes.

    Parameters
    ----------
    now
        In the site's time zone.
    jobs_per_hour
        `queue.max_jobs_per_hour`, which lets jobs begin at any time of the day; 0: no limit.
    """
    studies = len(missing)
    hours = []
    if limits.per_hour:
        open_s = studies / limits.per_hour * HOUR_S
        hours.append((limits.window.passes_s(open_s, now) if limits.window else open_s) / HOUR_S)
    if jobs_per_hour:
        hours.append(studies / jobs_per_hour)
    return Plan(
        studies,
        sum(study.missing for study in missing),
        min(filter(None, (limits.per_hour, jobs_per_hour)), default=None),
        max(hours, default=None),
        None if usd_of_a_job is None else usd_of_a_job * studies,
    )
