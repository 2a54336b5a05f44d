"""C-GET and C-MOVE as they are asked for, and how a PACS says no."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from gateway.adapters.dicom.peer import Peer
from gateway.adapters.dicom.retrieval import NotAnswered, NotOffered, find, get, move

GET, MOVE = StudyRootQueryRetrieveInformationModelGet, StudyRootQueryRetrieveInformationModelMove


@pytest.fixture
def pacs() -> Iterator[Callable[..., Peer]]:
    """Start a PACS that has these services besides C-FIND."""
    servers = []

    def start(*services: str, **handlers: Callable[..., Any]) -> Peer:
        entity = AE("PACS")
        for service in (StudyRootQueryRetrieveInformationModelFind, *services):
            entity.add_supported_context(service)
        bound = [(getattr(evt, name), handler) for name, handler in handlers.items()]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=bound)
        servers.append(server)
        return Peer("PACS", *server.server_address[:2])

    yield start
    for server in servers:
        server.shutdown()


def ask_to_move(peer: Peer) -> None:
    move(peer, "IRIS", "IRIS", study_uid="1.2", series_uid="1.2.3")


def ask_to_get(peer: Peer, folder: Path) -> None:
    get(peer, "IRIS", folder, sop_class_uids=[CTImageStorage], study_uid="1.2", series_uid="1.2.3")


def nowhere(_: Any) -> Iterator[tuple[None, None]]:
    yield None, None


def refused(_: Any) -> Iterator[Any]:
    yield 1
    yield 0xA702, None


def test_pacs_that_does_not_know_where_to_send_to_is_told_how(pacs: Callable[..., Peer]) -> None:
    with pytest.raises(NotAnswered, match=r"does not know IRIS .* enter this gateway's AE title"):
        ask_to_move(pacs(MOVE, EVT_C_MOVE=nowhere))


def test_pacs_that_ends_the_association_instead_of_an_answer_is_told_to_know_this_gateway(
    pacs: Callable[..., Peer],
) -> None:
    def end(event: Any) -> Iterator[None]:
        event.assoc.abort()
        yield from ()

    said = r"answered C-FIND with nothing; enter this gateway's AE title, .* allow C-FIND for it"
    with pytest.raises(NotAnswered, match=said):
        find(pacs(EVT_C_FIND=end), "IRIS", "STUDY", {"StudyInstanceUID": "1.2"})


def test_pacs_without_the_services_lacks_them(pacs: Callable[..., Peer], tmp_path: Path) -> None:
    peer = pacs()
    with pytest.raises(NotOffered, match="allow them there"):
        ask_to_move(peer)
    with pytest.raises(NotOffered, match="allow them there"):
        ask_to_get(peer, tmp_path)


def test_pacs_that_sends_nothing_by_get_does_not_offer_it(pacs: Callable[..., Peer], tmp_path: Path) -> None:
    with pytest.raises(NotOffered, match="C-GET with status 0xA702"):
        ask_to_get(pacs(GET, EVT_C_GET=refused), tmp_path)
