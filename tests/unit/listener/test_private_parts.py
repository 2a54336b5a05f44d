"""What `gateway/listener/wire/` relies on in pynetdicom: another version that differs fails here."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from pynetdicom import dimse_messages, transport
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

RELIED_ON: list[tuple[Callable[..., Any], str]] = [
    (DULServiceProvider.__init__, "c82dafa9438ddf70"),
    (DULServiceProvider._decode_pdu, "fc71dd1bf853e1ce"),
    (DULServiceProvider._is_transport_event, "8725ed03bb8fbdef"),
    (DULServiceProvider._read_pdu_data, "19f2d4e38c13c835"),
    (DULServiceProvider.run_reactor, "e3a10eb3a0931e48"),
    (DULServiceProvider._send, "a850a7919e68484e"),
    (AssociationSocket.__init__, "1f0325fdef2cc353"),
    (AssociationSocket.ready.fget, "3eb58e3d39dc076d"),
    (AssociationSocket.recv, "6bc20a33b1b7cfe7"),
    (RequestHandler._create_association, "05c8d12b79863cdb"),
    (RequestHandler.handle, "034823fb4df3a874"),
    (AssociationServer.__init__, "edacb98bdfb7b974"),
    (AssociationServer.server_bind, "cf69278a05a5c777"),
    (AssociationServer.shutdown, "e8e2c3a41009886d"),
    (Association.run_reactor, "ed8bbbe3b3d6ddae"),
    (Association._run_reactor, "f28838c5559e462a"),
    (Association.set_socket, "235681dc751728fb"),
    (Association.kill, "8f9713666a7f4cff"),
    (DULServiceProvider.kill_dul, "5ceccf8dd01c2072"),
    (DULServiceProvider.stop_dul, "28a7e0be126e7b30"),
    (DULServiceProvider._process_recv_primitive, "4c0ebbb3e646e35e"),
    (AssociationSocket.send, "1ea8158c0b51faca"),
    (AssociationSocket.close, "c726c8db53813d55"),
    (AssociationSocket._shutdown_socket, "e2b2628faa81a578"),
    (StorageServiceClass.SCP, "63afca7fc6c6e7ee"),
    (DIMSEServiceProvider.receive_primitive, "5f99c86b14a15cef"),
    (dimse_messages.DIMSEMessage.decode_msg, "f51c777e841a76be"),
]


@pytest.mark.parametrize(("part", "digest"), RELIED_ON, ids=lambda value: getattr(value, "__qualname__", ""))
def test_private_part_is_as_it_was_looked_at(part: Callable[..., Any], digest: str) -> None:
    source = inspect.getsource(part)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == digest, "read it again, then upper_layer.py"


def test_associations_are_made_by_the_handler_that_is_replaced() -> None:
    assert transport.RequestHandler is RequestHandler
