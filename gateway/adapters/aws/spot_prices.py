"""Spot prices as EC2 tells them: one a machine type and zone, which changes a few times a day."""

import time
from datetime import datetime
from typing import Final

import structlog

from gateway.adapters.errors import OutsideError

from .refusals import asking
from .session import AwsSession

log = structlog.get_logger(__name__)

AGAIN_S: Final = 600.0
"""For how long nobody is asked again who did not answer: a price holds up no result."""
SYSTEM: Final = "Linux/UNIX"


class Ec2SpotPrices:
    """`SpotPrices`, asked once an hour for each machine type and zone that runs were on."""

    def __init__(self, session: AwsSession) -> None:
        self._ec2 = session.ec2()
        self._known: dict[tuple[str, str], tuple[datetime, float]] = {}
        self._ask_again_at = 0.0

    def usd_per_hour(self, machine: str, zone: str, at: datetime) -> float | None:
        """The price that held then, as of the hour."""
        hour = at.replace(minute=0, second=0, microsecond=0)
        known = self._known.get((machine, zone))
        if known is not None and known[0] == hour:
            return known[1]
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            price = self._asked(machine, zone, hour)
        except OutsideError as error:
            self._ask_again_at = time.monotonic() + AGAIN_S
            log.warning("spot_price_unknown", reason=str(error))
            return None
        if price is not None:
            self._known[machine, zone] = hour, price
        return price

    def _asked(self, machine: str, zone: str, at: datetime) -> float | None:
        """The price in force at a time, which EC2 says when begin and end of the history are that time."""
        with asking("ec2:DescribeSpotPriceHistory", "the Spot prices"):
            answer = self._ec2.describe_spot_price_history(
                InstanceTypes=[machine],  # type: ignore[list-item]  # whatever the machine says it is
                ProductDescriptions=[SYSTEM],
                Filters=[{"Name": "availability-zone", "Values": [zone]}],
                StartTime=at,
                EndTime=at,
            )
        found = answer["SpotPriceHistory"]
        return float(max(found, key=lambda each: each["Timestamp"])["SpotPrice"]) if found else None
