"""Opens the DICOM port. Loads next to nothing: it is open before the rest of the gateway is loaded.

Who calls meanwhile is not turned away, but waits in the system's queue until the listener takes it.
"""

import socket
from contextlib import suppress
from typing import Final

BACKLOG: Final = 128
"""Connections that may wait to be taken."""


class ListenerError(Exception):
    """The listener cannot start; the text says why and what to do."""


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens; `port` 0 is any that is free.

    Raises
    ------
    ListenerError
        It cannot be opened.
    """
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        opened = socket.socket(family, kind)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(BACKLOG)
        except BaseException:
            with suppress(OSError):
                opened.close()
            raise
    except OSError as error:
        where = f"{host}:{port}"
        raise ListenerError(
            f"cannot listen on {where}: {error.strerror}; choose another dicom.port or end what holds it"
        ) from None
    return opened
