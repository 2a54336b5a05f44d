"""From where the API may be asked."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request

from gateway.api.callers.addresses import keep_to_addresses
from gateway.api.server import ApiServer
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


@pytest.mark.parametrize(
    ("proxies", "believed"), [([], "127.0.0.1 http"), (["127.0.0.9/8"], "192.0.2.7 https")]
)
def test_address_that_a_request_says_is_believed_of_proxies_alone(proxies: list[str], believed: str) -> None:
    api = FastAPI()

    @api.get("/who")
    def who(request: Request) -> str:
        assert request.client is not None
        return f"{request.client.host} {request.url.scheme}"

    server = ApiServer(api, "127.0.0.1", 0, proxies=proxies)
    server.start()
    said = {"X-Forwarded-For": "198.51.100.1, 192.0.2.7", "X-Forwarded-Proto": "https"}
    try:
        host, port = server.address
        answer = httpx.get(f"http://{host}:{port}/who", headers=said, trust_env=False)
    finally:
        server.stop()
    assert answer.json() == believed
