"""Where the demo's parts find each other on this machine."""

import socket
from contextlib import suppress
from random import SystemRandom
from typing import Final

LOOPBACK = "127.0.0.1"
PACS_AE_TITLE = "DEMOPACS"
PORTS: Final = range(20_000, 32_000)
"""Below those that systems give to whoever calls, and so might give away before somebody listens there."""


def free_port() -> int:
    """A port on the loopback address that nobody holds at the moment."""
    while True:
        port = SystemRandom().choice(PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
