"""Every error is a problem (RFC 9457) with a sentence that says what to do, the framework's own too."""

import json
import socket

import httpx
import pytest

from gateway.api.server import ApiServer

TOKEN = b"Authorization: Bearer a-token-of-this-test\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=b\r\n"
JSON = b"Content-Type: application/json\r\n"


def _asked(server: ApiServer, request: bytes, body: bytes = b"", *headers: bytes) -> tuple[int, str, str]:
    """Status, media type and sentence of the answer to these bytes."""
    length = b"Content-Length: %d\r\n" % len(body)
    head = b"".join((request, b" HTTP/1.1\r\nHost: localhost\r\n", TOKEN, *headers, length, b"\r\n"))
    with socket.create_connection(server.address, timeout=60) as peer:
        peer.sendall(head + body)
        return _read(peer)


def _read(peer: socket.socket) -> tuple[int, str, str]:
    reply = b""
    while b"\r\n\r\n" not in reply or not reply.endswith(b"}"):
        more = peer.recv(65536)
        if not more:
            break
        reply += more
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.decode().lower().splitlines()
    media_type = next(line.partition(": ")[2] for line in lines if line.startswith("content-type"))
    content = json.loads(body)
    assert content["status"] == int(lines[0].split()[1])
    return content["status"], media_type, content["detail"]


@pytest.mark.parametrize(
    ("request_line", "headers", "body", "status", "says"),
    [
        (b"GET /nowhere", (), b"", 404, "/docs lists what there is"),
        (b"GET /page/nowhere.js", (), b"", 404, "/docs lists what there is"),
        (b"DELETE /api/v1/studies", (), b"", 405, "does not take that method"),
        (b"PATCH /page/main.js", (), b"", 405, "does not take that method"),
        (b"POST /api/v1/nifti", (MULTIPART,), b"--b\r\nno header\r\n", 400, "cannot be read"),
        (b"POST /api/v1/nifti", (b"Content-Type: multipart/form-data\r\n",), b"x", 400, "cannot be read"),
        (b"POST /api/v1/actions", (JSON,), b'{"action": "\xff"}', 400, "cannot be read"),
        (b"POST /api/v1/actions", (JSON,), b"{", 422, "JSON"),
        (b"POST /api/v1/actions", (JSON,), b'{"action": "dance"}', 422, "action"),
        (b"GET /api/v1/studies?limit=0", (), b"", 422, "limit"),
        (b"GET /api/v1/studies", (b"X-Long: " + b"x" * 600_000 + b"\r\n",), b"", 431, "too long"),
        (b"GET no path", (), b"", 400, "no HTTP/1.1 request"),
        (b"nonsense", (), b"", 400, "no HTTP/1.1 request"),
    ],
)
def test_error_is_a_problem_with_a_sentence(
    server: ApiServer, request_line: bytes, headers: tuple[bytes, ...], body: bytes, status: int, says: str
) -> None:
    answered, media_type, sentence = _asked(server, request_line, body, *headers)
    assert (answered, media_type) == (status, "application/problem+json")
    assert says in sentence


def test_method_that_an_address_does_not_take_is_answered_with_those_that_it_does(
    client: httpx.Client,
) -> None:
    assert client.delete("/api/v1/studies").headers["allow"] == "GET"


def test_every_operation_documents_what_any_may_answer(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    lacking = [
        f"{method} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if path not in ("/healthz", "/readyz")
        and not {"400", "401", "403", "421", "429", "500", "503"} <= set(operation["responses"])
    ]
    assert lacking == []
