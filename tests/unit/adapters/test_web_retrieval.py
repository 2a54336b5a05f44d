"""Objects from a DICOMweb service (PS3.18 10.4)."""

from collections.abc import Iterator

import pytest

from gateway.adapters.credentials import Credentials
from gateway.adapters.dicomweb import WebPeer
from tests.doubles.dicomweb_server import DicomWebServer, Said, served

FILES = [b"\0" * 128 + b"DICM", b"a\r\n--\r\n\r\nb\r\n"]
"""Whatever is in them, line ends too, is theirs."""


@pytest.fixture
def server() -> Iterator[DicomWebServer]:
    with served(DicomWebServer()) as server:
        yield server


def body(boundary: str, *files: bytes) -> bytes:
    parts = b"".join(
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + f + b"\r\n" for f in files
    )
    return parts + f"--{boundary}--\r\n".encode()


def retrieved(server: DicomWebServer) -> list[bytes]:
    return list(WebPeer(server.url, Credentials(), None).retrieve("/studies/1/series/2"))


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"said before\r\n"])
@pytest.mark.parametrize("quoted", ['"x-1"', "x-1"])
def test_objects_are_taken_out_of_the_parts_byte_by_byte(
    server: DicomWebServer, quoted: str, preamble: bytes
) -> None:
    type_ = f'multipart/related; type="application/dicom"; boundary={quoted}'
    server.gives = Said(200, preamble + body("x-1", *FILES), {"Content-Type": type_})
    assert retrieved(server) == FILES
    assert server.asked[-1].headers["Accept"].endswith("transfer-syntax=*")


@pytest.mark.parametrize(
    "said",
    [
        Said(404),
        Said(200, b"", {"Content-Type": "text/html"}),
        Said(406, b"x", {"Content-Type": "a; boundary=b"}),
    ],
)
def test_service_that_gives_none_gives_none(server: DicomWebServer, said: Said) -> None:
    server.gives = said
    assert retrieved(server) == []
