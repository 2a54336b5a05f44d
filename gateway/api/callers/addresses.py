"""From where the API may be asked at all: addresses and networks, looked at before everything else."""

import ipaddress
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from ..problems import problem


def keep_to_addresses(api: FastAPI, networks: Sequence[str]) -> None:
    """Answer whoever asks from elsewhere with 403; an empty list is everybody.

    The address is that of the connection, or of who called API Gateway in the cloud; where a proxy that
    is believed (`api.proxies`) stands before a gateway, the one that it hands on (X-Forwarded-For).
    """
    if networks:
        api.add_middleware(_AddressList, networks=networks)


class _AddressList:
    """Lets requests from these networks pass."""

    def __init__(self, app: ASGIApp, networks: Sequence[str]) -> None:
        self._app = app
        self._networks = [ipaddress.ip_network(each, strict=False) for each in networks]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request from elsewhere, whatever it asks for."""
        if scope["type"] == "http" and not self._knows(scope.get("client")):
            refused = problem(403, "this address may not ask here; api.addresses has those that may")
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, client: Sequence[object] | None) -> bool:
        if client is None:
            return False
        try:
            address = ipaddress.ip_address(str(client[0]))
        except ValueError:
            return False
        return any(address in network for network in self._networks)
