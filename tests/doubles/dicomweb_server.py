"""A DICOMweb service that answers what it is told to, and keeps what it was sent."""

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/dicom+json"


@dataclass(frozen=True)
class Said:
    """One answer; a content of bytes goes out as it is. A negative status: the line is cut."""

    status: int = 200
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def parts(self) -> list[bytes]:
        """The objects of a request to store."""
        (boundary,) = re.findall(r"boundary=(\w+)", self.headers["Content-Type"])
        pieces = self.body.split(f"--{boundary}".encode())
        assert pieces[0] == b""
        assert pieces[-1] == b"--\r\n"
        return [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces[1:-1]]


def stored(*uids: str, warning: int | None = None) -> dict[str, Any]:
    """A Store Instances Response by which objects are stored."""
    return {"00081199": {"vr": "SQ", "Value": [_item(uid, "00081196", warning) for uid in uids]}}


def failed(uid: str, reason: int | None = None) -> dict[str, Any]:
    """One by which an object is not."""
    return {"00081198": {"vr": "SQ", "Value": [_item(uid, "00081197", reason)]}}


def both(*answers: dict[str, Any]) -> dict[str, Any]:
    """What several say of different sequences."""
    return {tag: element for answer in answers for tag, element in answer.items()}


def _item(uid: str, tag: str, number: int | None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return item if number is None else {**item, tag: {"vr": "US", "Value": [number]}}


@dataclass
class DicomWebServer:
    """Stores as `answer` says; searches with what it `holds`."""

    answer: Callable[[Asked], Said] = lambda _: Said()
    holds: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    search_status: int = 200
    gives: Said = field(default_factory=lambda: Said(404))
    """Where objects are asked for."""
    is_held: threading.Event = field(default_factory=threading.Event)
    waits: threading.Event | None = None
    url: str = ""

    @property
    def posts(self) -> list[Asked]:
        return [one for one in self.asked if one.method == "POST"]

    def say(self, *answers: Said) -> None:
        """Answer so, in this order, the last one for ever."""
        left = list(answers)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def answer_to(self, asked: Asked) -> Said:
        self.asked.append(asked)
        if asked.method == "POST" and self.waits is not None:
            self.is_held.set()
            self.waits.wait(20)
        if asked.method == "GET" and "multipart" in asked.headers["Accept"]:
            return self.gives
        if asked.method == "GET":
            found = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in self.holds if uid in asked.path]
            return Said(self.search_status, found)
        if asked.method == "OPTIONS":
            return Said(204, headers={"Allow": "GET, POST"})
        return self.answer(asked)


@contextmanager
def served(double: DicomWebServer, tls: ssl.SSLContext | None = None) -> Iterator[DicomWebServer]:
    """Let it be called while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = double.answer_to(Asked(self.command, self.path, dict(self.headers), body))
            if said.status < 0:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            content = said.content if isinstance(said.content, bytes) else json.dumps(said.content).encode()
            self.send_response(said.status)
            for name, value in {"Content-Type": JSON, **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content if said.status not in (204, 304) else b"")

        do_GET = do_OPTIONS = do_DELETE = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A peer that hangs up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    double.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
