"""From where the API may be asked."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from gateway.api.addresses import keep_to_addresses
from gateway.config import Api


def ask_from(address: str, networks: list[str]) -> int:
    api = FastAPI()
    api.add_api_route("/healthz", lambda: "ok")
    keep_to_addresses(api, networks)

    async def ask() -> int:
        transport = httpx.ASGITransport(api, client=(address, 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return (await client.get("/healthz")).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("address", "networks", "status"),
    [
        ("203.0.113.9", [], 200),
        ("192.0.2.77", ["192.0.2.0/24"], 200),
        ("203.0.113.9", ["192.0.2.0/24"], 403),
        ("203.0.113.9", ["192.0.2.0/24", "203.0.113.9"], 200),
        ("2001:db8::1", ["192.0.2.0/24", "2001:db8::/32"], 200),
        ("2001:db8::1", ["192.0.2.0/24"], 403),
        ("no address", ["192.0.2.0/24"], 403),
    ],
)
def test_request_from_an_address_that_is_not_listed_is_refused(
    address: str, networks: list[str], status: int
) -> None:
    assert ask_from(address, networks) == status


def test_address_that_is_none_is_refused_by_the_configuration() -> None:
    with pytest.raises(ValueError, match="addresses"):
        Api(addresses=["192.0.2.0/99"])
