"""What a run cost: its machine's seconds, those that the machine was there for nobody before it, and a price.

A machine is paid for from its start to its end. A run bears the time that it held its machine, and the time
before it that was nobody's: the machine's start, or since the last run there that this ledger knows ended.
Where runs overlap, as when one process reads the next input beside a calculation, the time counts once. So
the times of all runs on a machine come to what was paid for it, but for what follows the last one. Attempts
whose machines Spot took away are borne by the run that gave the result, at its price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from batch_job.contract import MachineUse, Manifest
from gateway.adapters.prices import SpotPrices
from gateway.adapters.queue import Detail
from gateway.ledger.records import utc_text, utc_time
from gateway.ledger.run_cost import RunCost
from gateway.ledger.runs import last_held_until, taken_away_s
from gateway.ledger.store import Ledger


@dataclass(frozen=True)
class Reckoned:
    """A run's cost, and what the next run on the same machine has to know."""

    cost: RunCost
    instance: str = ""
    held_until: str | None = None

    def detail(self) -> Detail:
        """For the timeline; what is not known is left out."""
        cost = self.cost
        found = {
            "machine": cost.machine or None,
            "is_spot": cost.is_spot,
            "machine_s": cost.machine_s,
            "gpu_s": cost.gpu_s,
            "shared_s": cost.shared_s,
            "usd_per_hour": cost.usd_per_hour,
            "usd_estimate": cost.usd,
            "usd_shared": cost.usd_shared,
            "lost_s": cost.lost_s or None,
            "usd_lost": cost.usd_lost or None,
        }
        return {name: value for name, value in found.items() if value is not None}


class Costs:
    """Reckons what runs cost.

    Parameters
    ----------
    usd_per_hour
        On-demand prices of machine types.
    spot
        None: there are no Spot machines.
    """

    def __init__(
        self, ledger: Ledger, usd_per_hour: Mapping[str, float], spot: SpotPrices | None = None
    ) -> None:
        self._ledger = ledger
        self._usd_per_hour = usd_per_hour
        self._spot = spot

    def of(self, manifest: Manifest, detail: Detail) -> Reckoned:
        """What the run of this manifest cost.

        Parameters
        ----------
        detail
            What the queue said of the run; its `seconds` count where the manifest does not tell.
        """
        use = manifest.machine_use
        if use is None:  # of an earlier version of the job
            seconds = float(detail.get("seconds") or sum(manifest.seconds.values()))
            on_demand = self._usd_per_hour.get(manifest.machine)
            return Reckoned(RunCost.of(manifest.machine, seconds, on_demand))
        until = use.begun_at + timedelta(seconds=use.machine_s)
        overlap_s, shared_s = self._before(use, utc_text(until))
        spot = None
        if use.is_spot and self._spot is not None:
            spot = self._spot.usd_per_hour(manifest.machine, use.zone, until)
        cost = RunCost(
            machine=manifest.machine,
            is_spot=use.is_spot if manifest.machine else None,
            machine_s=max(0.0, round(use.machine_s - overlap_s, 3)),
            gpu_s=use.gpu_s,
            shared_s=shared_s,
            usd_per_hour=spot if spot is not None else self._usd_per_hour.get(manifest.machine),
            is_spot_price=spot is not None,
            lost_s=taken_away_s(self._ledger, manifest.job_key),
        )
        return Reckoned(cost, use.instance, utc_text(until))

    def _before(self, use: MachineUse, until: str) -> tuple[float, float | None]:
        """Seconds that the run before it held the machine, too, and seconds before it that were nobody's."""
        last = last_held_until(self._ledger, use.instance, until) if use.instance else None
        if last is None:
            return 0.0, None if use.up_s is None else round(use.up_s, 2)
        since_s = (use.begun_at - utc_time(last)).total_seconds()
        return max(0.0, -since_s), max(0.0, round(since_s, 2))
