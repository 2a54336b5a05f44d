"""What a machine costs by the hour where its price changes all the time."""

from datetime import datetime
from typing import Protocol


class SpotPrices(Protocol):
    """Knows the prices of Spot machines."""

    def usd_per_hour(self, machine: str, zone: str, at: datetime) -> float | None:
        """The price of a machine type in an availability zone at a time; None: it cannot be had now."""
        ...
