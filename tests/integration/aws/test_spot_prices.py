"""Spot prices, asked of EC2 (moto) once an hour; what does not answer holds nothing up."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from gateway.adapters.aws.session import AwsSession
from gateway.adapters.aws.spot_prices import Ec2SpotPrices

AT = datetime(2026, 11, 1, 12, 34, tzinfo=UTC)


@pytest.fixture
def asked(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What EC2 is asked."""
    found: list[dict[str, Any]] = []
    make = AwsSession.ec2

    def watched(session: AwsSession) -> Any:
        client = make(session)
        note = lambda params, **_: found.append(dict(params))  # noqa: E731
        client.meta.events.register("provide-client-params.ec2.DescribeSpotPriceHistory", note)
        return client

    monkeypatch.setattr(AwsSession, "ec2", watched)
    return found


def test_price_is_asked_once_an_hour_for_each_zone(asked: list[dict[str, Any]]) -> None:
    prices = Ec2SpotPrices(AwsSession("us-east-1"))
    for zone in ("us-east-1a", "us-east-1b", "us-east-1a"):
        assert prices.usd_per_hour("g4dn.xlarge", zone, AT) == 0.00001  # moto's
    assert len(asked) == 2
    assert prices.usd_per_hour("g4dn.xlarge", "us-east-1a", AT + timedelta(hours=1)) == 0.00001
    assert asked[0]["InstanceTypes"] == ["g4dn.xlarge"]
    assert asked[0]["StartTime"] == asked[0]["EndTime"] == AT.replace(minute=0)
    assert len(asked) == 3


@pytest.mark.usefixtures("asked")
def test_price_of_a_machine_that_is_not_offered_there_is_not_known() -> None:
    assert Ec2SpotPrices(AwsSession("us-east-1")).usd_per_hour("g4dn.xlarge", "mars-1a", AT) is None


@pytest.fixture
def denied(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """EC2 refuses the one request that it expects."""
    client = AwsSession("us-east-1").ec2()
    with Stubber(client) as stubber:
        stubber.add_client_error("describe_spot_price_history", "UnauthorizedOperation")
        monkeypatch.setattr(AwsSession, "ec2", lambda session: client)
        yield


@pytest.mark.usefixtures("denied")
def test_price_that_nobody_tells_is_not_asked_for_again_at_once() -> None:
    prices = Ec2SpotPrices(AwsSession("us-east-1"))
    assert prices.usd_per_hour("g4dn.xlarge", "us-east-1a", AT) is None
    assert prices.usd_per_hour("g4dn.xlarge", "us-east-1b", AT) is None  # a second request would raise
