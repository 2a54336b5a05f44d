"""A process of the listener: serves associations that the gateway's own process has admitted.

`python -m gateway.listener.beside.child` has a socket to it as its standard input, over which settings and
connections come. It knows no ledger: what it has brought to the disk is filed, or refused, by the gateway's
process. It ends when that does.
"""

import errno
import os
import pickle
import signal
import socket
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Final

import structlog

from gateway.logs import configure_logging
from gateway.quiet_python import quieten_python

if TYPE_CHECKING:
    from ..wire.associations import Associations
    from .channel import ChildSettings

log = structlog.get_logger(__name__)

CODECS: Final = ("gdcm", "pylibjpeg", "jpeg_ls", "PIL")
"""What pydicom loads where it is there: 28 MB for what decodes pixels, and nothing is decoded here."""

_OF_AN_ASSOCIATION: Final = 2
"""Descriptors: its connection and its channel."""


def main() -> None:
    """Serve until the gateway's process closes the socket, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # who ends all of a group ends that process, too
        signal.signal(number, signal.SIG_IGN)
    configure_logging()
    quieten_python()
    sys.modules.update(dict.fromkeys(CODECS))  # type: ignore[arg-type]
    from .channel import READY

    control = socket.socket(fileno=os.dup(0))
    settings = _settings(control)
    if settings is None:
        return
    associations = _associations(settings)
    with suppress(ConnectionError):  # it was killed
        control.sendall(READY)
        while True:
            said, descriptors, *_ = socket.recv_fds(control, 1, _OF_AN_ASSOCIATION)
            if not said:
                break
            _take(associations, descriptors)
    associations.stop()
    os._exit(0)  # a thread that hangs, with a damaged object, would keep it for ever


def _settings(control: socket.socket) -> "ChildSettings | None":
    """What it is started with; None where who started it is gone."""
    from .channel import LENGTH_BYTES

    length = int.from_bytes(control.recv(LENGTH_BYTES, socket.MSG_WAITALL), "big")
    said = control.recv(length, socket.MSG_WAITALL)
    if not said or len(said) < length:
        return None
    settings: ChildSettings = pickle.loads(said)  # nosec B301: of our own parent
    return settings


def _associations(settings: "ChildSettings") -> "Associations":
    from ..intake.incoming import IncomingFolder
    from ..wire.associations import Associations
    from ..wire.contexts import supported_contexts
    from ..wire.upper_layer import Serving

    folder = IncomingFolder(settings.folder, settings.limits.object_bytes)
    folder.clear()  # of one that was killed
    return Associations(settings.ae_title, supported_contexts(), Serving(settings.limits, folder))


def _take(associations: "Associations", descriptors: list[int]) -> None:
    """Begin with an association; where that cannot be its connection is closed, and the others go on."""
    try:
        if len(descriptors) < _OF_AN_ASSOCIATION:  # the system dropped what found no number
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        threading.Thread(target=_begin, args=(associations, *descriptors), daemon=True).start()
    except (OSError, RuntimeError):  # or no thread can be started
        log.exception("association_not_begun")
        for descriptor in descriptors:
            os.close(descriptor)


def _begin(associations: "Associations", connected: int, channelled: int) -> None:
    from .channel import BEGUN, DistantAttendant

    connection, channel = socket.socket(fileno=connected), Connection(channelled)
    attendant = DistantAttendant(channel)
    try:
        address, request = channel.recv()
        channel.send(BEGUN)
        associations.begin(attendant, connection, address, request)
    except Exception:  # no thread can be started, or the gateway's process is gone
        log.exception("association_not_begun")
        connection.close()
        attendant.over()


if __name__ == "__main__":
    main()
