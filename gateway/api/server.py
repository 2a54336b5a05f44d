"""Serves the API: binds its port at once, runs uvicorn in a thread, ends promptly."""

import errno
import ipaddress
import os
import socket
import threading
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI

from .connections import HttpLimits, protocol_within
from .live.live import LiveFeed

START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0
LINGER_S = 3
"""How long answers under way may take once the server stops."""


class ApiError(Exception):
    """The API cannot be served; one sentence that says why and what to do."""


class _Server(uvicorn.Server):
    """Tells when it answers, or never will."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()


class ApiServer:
    """The HTTP server.

    Parameters
    ----------
    port
        0 takes a free one; see `address`.
    proxies
        Addresses and networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
    """

    def __init__(
        self,
        api: FastAPI,
        host: str,
        port: int,
        limits: HttpLimits | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        self._api = api
        self._proxies = [str(ipaddress.ip_network(each, strict=False)) for each in proxies]
        self._limits = limits or HttpLimits()
        self._wanted = (host, port)
        self._bound: tuple[str, int] | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the real port once started."""
        return self._bound or self._wanted

    def start(self) -> None:
        """Bind the port and answer from now on.

        Raises
        ------
        ApiError
            The address cannot be used.
        """
        listening = _bind(*self._wanted)
        self._bound = (self._wanted[0], listening.getsockname()[1])
        # Its access log would hold addresses with UIDs and tokens.
        config = uvicorn.Config(
            self._api,
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=self._proxies,  # else uvicorn believes whoever is on this machine
            ws="none",
            http=protocol_within(self._limits),
            timeout_keep_alive=max(1, round(self._limits.idle_s)),
            timeout_graceful_shutdown=LINGER_S,
        )
        self._server = server = _Server(config)

        def serve() -> None:
            try:
                server.run(sockets=[listening])
            finally:
                listening.close()
                server.settled.set()

        self._thread = threading.Thread(target=serve, name="api", daemon=True)
        self._thread.start()
        server.settled.wait(START_WITHIN_S)
        if not server.started:
            raise ApiError("the status API did not start; its log says why")

    def stop(self) -> None:
        """End live streams, let answers under way end, and give the port back."""
        live = getattr(self._api.state, "live", None)
        if isinstance(live, LiveFeed):
            live.close()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(STOP_WITHIN_S)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise ApiError(f"api.host: {host} is no address of this machine; set it to 127.0.0.1") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ApiError(_why_not_bound(host, port, error)) from None
    return listening


def _why_not_bound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{host}:{port} is in use by another program; end it, or set api.port (0: a free one)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"api.host: {host} is no address of this machine; set it to 127.0.0.1"
    why = os.strerror(error.errno) if error.errno else "no reason given"
    return f"{host}:{port} cannot be opened ({why}); change api.host or api.port"
