"""Where the demo's parts find each other on this machine."""

import socket

LOOPBACK = "127.0.0.1"
PACS_AE_TITLE = "DEMOPACS"


def free_port() -> int:
    """A port on the loopback address that nobody holds at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
