"""What the simulation takes as given, each with its source; docs/cost.md repeats it."""

from dataclasses import dataclass, replace
from typing import Final

SECONDS_A_DAY: Final = 86400.0
WARM_HOURS: Final = (7.5, 19.0)
"""From and to, as `WarmBegin` and `WarmEnd` have them; here every day is a working day."""


@dataclass(frozen=True)
class Price:
    """USD an hour of one machine, with its disk and public address."""

    on_demand: float = 0.526
    """g4dn.xlarge, us-east-1, list price of January 2026, second-hand."""
    spot_share: float = 0.5
    """Of it; Spot is commonly a third to two thirds."""
    beside: float = 0.037
    """100 GB at 0.08 and 375 MiB/s at 0.04 USD a month, 0.005 an hour for the address."""

    @property
    def usd_per_hour(self) -> float:
        """All of it."""
        return self.on_demand * self.spot_share + self.beside


@dataclass(frozen=True)
class Stages:
    """Seconds of one study in the job, by what can be done beside another study.

    Attributes
    ----------
    load_s
        Of a process, once: the container's start, imports, networks.
    before_s, segment_s, behind_s
        Fetched and decoded; segmented; measured, drawn, saved, uploaded.
    """

    load_s: float
    before_s: float
    segment_s: float
    behind_s: float

    @property
    def alone_s(self) -> float:
        """One study in a process of its own, without the process's start."""
        return self.before_s + self.segment_s + self.behind_s


@dataclass(frozen=True)
class Settings:
    """How machines are used.

    Attributes
    ----------
    machines
        At most so many at once (`MaxvCpus` / 4).
    takes_for_s
        For so long a run that is done takes the next one that waits (docs/aws.md); 0: each has a container.
    stays_s
        How long a machine without work is kept that had some (`ScaleDownDelayMinutes`).
    warm
        So many machines are kept in `WARM_HOURS` even if nothing is to be done (`WarmVcpus` / 4).
    unused_s
        The same of one that never had: another took its work while it started.
    gather_s
        Machines are given once in so long a time, counted from midnight (`WorkingHoursEnd`); 0: at once.
    start_s
        From the wish for a machine to its first container.
    dispatch_s
        From a job that waits to its container, on a machine that is there.
    interruptions_per_hour
        Of one Spot machine.
    kept_share
        How much of an interrupted segmentation the checkpoint saves.
    """

    name: str
    machines: int = 4
    takes_for_s: float = 900.0
    stays_s: float = 1200.0
    warm: int = 0
    unused_s: float = 120.0
    gather_s: float = 0.0
    start_s: float = 180.0
    dispatch_s: float = 15.0
    interruptions_per_hour: float = 0.02
    kept_share: float = 0.4


MEASURED: Final = Stages(load_s=12.0, before_s=1.1, segment_s=16.0, behind_s=5.0)
"""Four studies of 512 x 512 x 280 in one process, task `total`, networks of a few kilobytes, two cores that
nobody else used: 12.6 s of processor time each to segment, taken as if one core did all of it, and 3.4 s of
a T4 for the real networks' 86 TFLOP. `load_s`: imports and networks, measured 5 to 7 s, and 5 s for the
container."""
AIMED_AT: Final = replace(MEASURED, segment_s=4.4)
"""The same with an engine that adds one second to the networks."""

TODAY: Final = Settings("one study a container, machines stay 20 min", takes_for_s=0.0)
TAKERS: Final = Settings("takers, machines stay 20 min")
ONE_MACHINE: Final = Settings("takers, one machine, given back at once", machines=1, stays_s=120.0)
IN_IMAGE: Final = replace(ONE_MACHINE, name="the same, batch image in the machine's image", start_s=90.0)
KEPT: Final = replace(ONE_MACHINE, name="the same, one machine kept by day", warm=1)
HOURLY: Final = replace(ONE_MACHINE, name="the same, machines every hour", gather_s=3600.0)
EVERY_4_H: Final = replace(ONE_MACHINE, name="the same, machines every 4 h", gather_s=4 * 3600.0)
ONCE_A_DAY: Final = replace(ONE_MACHINE, name="the same, machines once a day", gather_s=SECONDS_A_DAY)
ALL_SETTINGS: Final = (TODAY, TAKERS, ONE_MACHINE, HOURLY, EVERY_4_H, ONCE_A_DAY)
SOONER: Final = (ONE_MACHINE, IN_IMAGE, KEPT)
"""What is paid so that a study begins sooner."""

NCI_USD: Final = 0.008
"""USD a CT of the NCI's IDC: 126,000 CTs for 1,011 USD, twelve series a preemptible T4 (PMC11092813)."""
