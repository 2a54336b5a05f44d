"""The search for telling values finds them in whatever clothes; else a clean result would say nothing."""

import base64
import gzip
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest

from tests.doubles.recording_proxy import Sent, traces_of

NAME = "Zebediah^Telltale Müller"


@pytest.mark.parametrize(
    "content",
    [
        f"before {NAME} after".encode(),
        NAME.upper().encode(),
        json.dumps({"name": NAME}).encode(),
        json.dumps({"name": NAME}, ensure_ascii=False).encode(),
        json.dumps(json.dumps({"name": NAME})).encode(),
        quote(f"/{NAME}/").encode(),
        quote_plus(NAME).encode(),
        urlencode({"name": NAME}).encode(),
        NAME.encode("latin-1"),
        NAME.encode("utf-16"),
        *(base64.b64encode(f"{before}{NAME} and more".encode()) for before in ("", "x", "xy", "xyz")),
    ],
)
def test_value_is_found_however_it_is_written(content: bytes) -> None:
    assert traces_of(["another one", NAME], content) == [NAME]


@pytest.mark.parametrize("framed", [False, True], ids=["plain", "aws-chunked"])
def test_value_is_found_in_a_compressed_body(framed: bool) -> None:
    body = gzip.compress(b"x" * 1000 + NAME.encode() + bytes(range(256)) * 20)
    headers: tuple[tuple[str, str], ...] = ()
    if framed:
        parts = [body[:40], body[40:]]
        frames = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
        body = frames + b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
        headers = (("content-encoding", "aws-chunked"),)
    assert traces_of([NAME], Sent("PUT", "/a", headers, body).everything()) == [NAME]


def test_value_is_found_in_an_address_and_in_a_header() -> None:
    assert traces_of(["TELLTALE-1"], Sent("GET", "/b/TELLTALE-1?x", (), b"").everything()) == ["TELLTALE-1"]
    headers = (("x-amz-meta-id", "telltale-1"),)
    assert traces_of(["TELLTALE-1"], Sent("GET", "/b", headers, b"").everything()) == ["TELLTALE-1"]


def test_value_that_is_not_there_is_not_found() -> None:
    other = json.dumps({"name": "Zebediah^Telltale", "id": base64.b64encode(b"Telltale").decode()})
    assert traces_of([NAME, "20260131"], other.encode()) == []
