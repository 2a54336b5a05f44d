"""A PACS by DICOMweb."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.dicom.peer import Peer
from gateway.config import Destination
from gateway.prove.pacs import Pacs
from gateway.prove.web import WebPacs
from tests.doubles.dicomweb_server import DicomWebServer, Said, served


@pytest.fixture
def server() -> Iterator[DicomWebServer]:
    with served(DicomWebServer()) as server:
        yield server


def test_study_is_deleted_at_its_own_address_and_a_service_that_does_not_is_left_alone(
    server: DicomWebServer,
) -> None:
    web = WebPacs(Destination(name="web", stow=server.url))
    server.say(Said(405))
    Pacs(Peer("PACS", "127.0.0.1", 104), "IRIS", None, web).delete("1.2.3")
    assert [(one.method, one.path) for one in server.asked] == [("DELETE", "/dicom-web/studies/1.2.3")]


def test_search_says_what_is_there_and_nothing_where_there_is_none(server: DicomWebServer) -> None:
    web = WebPacs(Destination(name="web", stow=server.url))
    server.holds = []
    assert web.shown("1.2", "1.2.3") == set()
    server.search_status = 404
    assert web.shown("1.2", "1.2.3") is None


def test_parts_that_are_no_dicom_are_left_out(
    server: DicomWebServer, small_study: Path, tmp_path: Path
) -> None:
    image = (small_study / "0001.dcm").read_bytes()
    parts = b"".join(b"--x\r\n\r\n" + content + b"\r\n" for content in (image, b"<html>"))
    server.gives = Said(200, parts + b"--x--\r\n", {"Content-Type": "multipart/related; boundary=x"})
    web = WebPacs(Destination(name="web", stow=server.url))
    (fetched,) = web.fetch("1.2", "1.2.3", tmp_path / "fetched")
    assert fetched.read_bytes() == image
