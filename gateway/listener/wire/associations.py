"""Associations as pynetdicom serves them, in whatever process; who attends each hears what it does."""

import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from .attendant import Attendant
from .guard import MAXIMUM_PDU_BYTES
from .upper_layer import Serving, begin_association

NETWORK_TIMEOUT_S: Final = 120.0
"""An association that says nothing for so long is aborted; its study then waits for the sender."""
STOP_TIMEOUT_S: Final = 10.0
"""How long a stop waits for the objects at hand."""


class Associations:
    """Serves those of this process."""

    def __init__(self, ae_title: str, contexts: Sequence[PresentationContext], serving: Serving) -> None:
        _config.LOG_HANDLER_LEVEL = "none"  # they format every message, which costs more than storing it
        entity = AE(ae_title)
        entity.maximum_associations = 1_000_000  # places are counted at the door
        entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
        entity.network_timeout = NETWORK_TIMEOUT_S
        self._entity = entity
        self._server = _Server(entity, ("127.0.0.1", 0), ae_title, list(contexts))
        self._serving = serving

    def begin(
        self, attendant: Attendant, connection: socket.socket, address: tuple[Any, ...], request: bytes
    ) -> None:
        """Serve an association whose A-ASSOCIATE-RQ was read.

        Raises
        ------
        RuntimeError, OSError
            No thread or descriptor is left.
        """
        begin_association(self._serving, self._server, attendant, connection, address, request)

    def stop(self) -> None:
        """Abort what is open; what was not answered stays with its sender."""
        threads: list[Association] = self._entity.active_associations
        self._entity.shutdown()
        until = time.monotonic() + STOP_TIMEOUT_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))


class _Server(ThreadedAssociationServer):
    """What pynetdicom's associations know of their server; others hold the ports."""

    def server_bind(self) -> None:
        """Bind nothing."""
        if self.socket is not None:
            self.socket.close()

    def server_activate(self) -> None:
        """Do nothing: nobody comes here."""
