"""A proxy in front of any HTTP service: keeps every byte that is sent there, and misbehaves when told to.

A pytest plugin, named in tests/conftest.py: `recording_proxy` stands before the moto server. `traces_of`
looks for values in what was sent, however they are written.
"""

import base64
import http.client
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import IO, Final
from urllib.parse import quote, quote_plus, urlsplit

import pytest

TIMEOUT_S: Final = 60.0
_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


@dataclass(frozen=True)
class Sent:
    """One request, as it came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def operation(self) -> str:
        """The operation of a JSON service: `PutItem`; empty for others."""
        return dict(self.headers).get("x-amz-target", "").rpartition(".")[2]

    def everything(self) -> bytes:
        """All bytes of it, and those of compressed bodies once more as they are inside."""
        head = "\n".join(
            [f"{self.method} {self.path}", *(f"{name}: {value}" for name, value in self.headers)]
        )
        content = self.body
        if "aws-chunked" in dict(self.headers).get("content-encoding", ""):
            content = _joined_chunks(BytesIO(self.body))
        return b"\n\n".join([head.encode("latin-1"), self.body, *_unpacked(content)])


@dataclass(frozen=True)
class Answer:
    """What is answered in the service's place."""

    status: int
    body: bytes = b""

    @classmethod
    def refusal(cls, code: str, status: int = 400) -> "Answer":
        """A refusal of a JSON service of AWS."""
        return cls(status, json.dumps({"__type": f"com.amazonaws#{code}", "message": "no"}).encode())


@dataclass
class RecordingProxy:
    """What stands in front of one service."""

    target: str
    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    is_away: bool = False
    """Whether connections are closed without an answer, and nothing is passed on."""
    loses_answers: bool = False
    """Whether requests are passed on, and connections are closed in the place of their answers."""
    instead: Callable[[Sent], Answer | None] = lambda _: None
    """What to answer in the service's place; None: pass it on."""

    def operations(self) -> list[str]:
        """The operations that were asked for, in order."""
        return [sent.operation for sent in self.sent]

    def everything(self) -> bytes:
        """All bytes that were sent."""
        return b"\n\n".join(sent.everything() for sent in self.sent)

    def serve(self) -> Callable[[], None]:
        """Begin; the returned function ends it."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (_Handler,), {"proxy": self}))
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one of its own to the service."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: RecordingProxy

    def setup(self) -> None:
        super().setup()
        place = urlsplit(self.proxy.target)
        self._service = http.client.HTTPConnection(str(place.hostname), place.port, timeout=TIMEOUT_S)

    def finish(self) -> None:
        super().finish()
        self._service.close()

    def _pass_on(self) -> None:
        sent = Sent(
            self.command, self.path, tuple((k.lower(), v) for k, v in self.headers.items()), self._body()
        )
        self.proxy.sent.append(sent)
        if self.proxy.is_away:
            self.close_connection = True
            return
        answer = self.proxy.instead(sent)
        if answer is not None:
            self._answer(answer.status, [("content-type", "application/x-amz-json-1.0")], answer.body)
            return
        self._ask(sent)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _pass_on  # noqa: N815

    def _ask(self, sent: Sent) -> None:
        headers = {name: value for name, value in sent.headers if name not in _HOP_BY_HOP}
        self._service.request(sent.method, sent.path, sent.body, headers)
        response = self._service.getresponse()
        content = response.read()
        if self.proxy.loses_answers:
            self.close_connection = True
            return
        self._answer(response.status, response.getheaders(), content, response.getheader("content-length"))

    def _answer(
        self, status: int, headers: Iterable[tuple[str, str]], content: bytes, length: str | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("content-length", length or "0" if is_head else str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        return _joined_chunks(self.rfile)

    def log_message(self, *_: object) -> None:
        pass


def _joined_chunks(stream: IO[bytes]) -> bytes:
    """What a chunked body holds, be it HTTP's chunks or those of S3."""
    parts = []
    while size := int(stream.readline().split(b";")[0], 16):
        parts.append(stream.read(size))
        stream.readline()
    while stream.readline().strip():  # trailers
        pass
    return b"".join(parts)


# -- looking for what must not be there -------------------------------------------------------------------


def traces_of(values: Iterable[str], content: bytes) -> list[str]:
    """Those of the values that stand in the content: plain, escaped for JSON or URLs, or in base64.

    Capital and small letters are the same, except in base64.
    """
    small = content.lower()
    return [
        value
        for value in values
        if any(form.lower() in small for form in _plain_forms(value))
        or any(form in content for form in _base64_forms(value))
    ]


def _plain_forms(value: str) -> set[bytes]:
    forms: set[str] = set()
    for written in (value, value.lower(), value.upper()):
        in_json = json.dumps(written)[1:-1]
        forms |= {written, in_json, json.dumps(in_json)[1:-1]}
        forms |= {quote(written), quote(written, safe=""), quote_plus(written)}
    return {encoded for form in forms for encoded in _encoded(form)}


def _encoded(text: str) -> Iterator[bytes]:
    yield text.encode("utf-8")
    yield text.encode("utf-16-le")
    yield text.encode("latin-1", errors="replace")


def _base64_forms(value: str) -> Iterator[bytes]:
    """What base64 makes of the value wherever in a group of three bytes it begins, without its edges."""
    raw = value.encode("utf-8")
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw)
        first, last = -(-8 * before // 6), (8 * (before + len(raw))) // 6
        if last - first >= 6:  # shorter ones are found in anything
            yield whole[first:last]


def _unpacked(body: bytes) -> Iterator[bytes]:
    """Everything in it that is compressed, as far as it goes."""
    start = body.find(b"\x1f\x8b\x08")
    while start >= 0:
        with suppress(zlib.error):
            yield zlib.decompressobj(wbits=31).decompress(body[start:])
        start = body.find(b"\x1f\x8b\x08", start + 1)


@pytest.fixture
def recording_proxy(moto_server: str) -> Iterator[RecordingProxy]:
    """A proxy in front of the moto server."""
    proxy = RecordingProxy(moto_server)
    stop = proxy.serve()
    yield proxy
    stop()
