"""What a run cost, as the ledger keeps it with the run."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class RunCost(BaseModel):
    """What a run that gave a result cost: times in seconds, money in USD."""

    model_config = ConfigDict(frozen=True)

    machine: str
    """Its machine's type; empty: none of EC2."""
    is_spot: bool | None
    """None: not known."""
    machine_s: float
    """How long it held the machine."""
    gpu_s: float | None
    """How long of that it segmented with a GPU; None: not known."""
    shared_s: float | None
    """How long the machine had been there before it for nobody: its start, or since its last run ended.
    None: not known, or no machine of EC2."""
    usd_per_hour: float | None
    is_spot_price: bool
    """Else it is the configured price, on demand."""
    lost_s: float = 0.0
    """How long attempts at the job held machines that Spot took away before there was a result."""

    @classmethod
    def of(cls, machine: str, machine_s: float, usd_per_hour: float | None) -> Self:
        """The cost of a run of which no more is known."""
        return cls(
            machine=machine,
            is_spot=None,
            machine_s=round(machine_s, 2),
            gpu_s=None,
            shared_s=None,
            usd_per_hour=usd_per_hour,
            is_spot_price=False,
        )

    @property
    def usd(self) -> float | None:
        """What the run itself cost, about."""
        return self._priced(self.machine_s)

    @property
    def usd_shared(self) -> float | None:
        """What the time before it cost, about."""
        return self._priced(self.shared_s)

    @property
    def usd_lost(self) -> float | None:
        """What the attempts cost whose machines were taken away, about: at this run's price."""
        return self._priced(self.lost_s)

    def _priced(self, seconds: float | None) -> float | None:
        if self.usd_per_hour is None or seconds is None:
            return None
        return round(seconds / 3600 * self.usd_per_hour, 6)
