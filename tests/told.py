"""Who is told something: a web server and a mail server that remember what they got; a pytest plugin."""

import base64
import email
import email.policy
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer, ThreadingTCPServer
from typing import Any

import pytest

from tests.certificates import Authority

USER, PASSWORD = "iris", "pass word"


@dataclass
class Web:
    """Answers as it is told to, and remembers each request with its headers."""

    port: int = 0
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=SECRET-IN-URL"

    @property
    def keys(self) -> list[str]:
        return [headers["X-IRIS-Delivery"] for headers, _ in self.got]


@pytest.fixture
def web() -> Iterator[Web]:
    with _web() as told:
        yield told


@pytest.fixture
def collector() -> Iterator[Web]:
    """Takes traces as an OpenTelemetry collector does."""
    with _web() as told:
        told.status = 200
        yield told


@contextmanager
def _web() -> Iterator[Web]:
    told = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.got.append((dict(self.headers), body))
            self.send_response(told.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        told.port = port
        yield told


@dataclass
class MailServer:
    """Speaks SMTP with STARTTLS (or TLS from the start), lets one user in, and remembers mails."""

    certificate: tuple[Path, Path]
    ca: Path
    offers: str = "starttls"  # or "tls", "nothing"
    refuses: str = ""
    """The address that it does not take."""
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate)
        return context


class _Session(StreamRequestHandler):
    place: MailServer

    def handle(self) -> None:
        self.is_safe, self.is_known = self.place.offers == "tls", False
        if self.is_safe:
            self._secure()
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "QUIT":
                self._say("221 bye")
                return
            getattr(self, f"on_{verb.lower()}", self.on_other)(line)

    def on_ehlo(self, _: str) -> None:
        offered = "STARTTLS" if self.place.offers == "starttls" and not self.is_safe else "AUTH PLAIN"
        self._say(f"250-here\r\n250 {offered}")

    def on_starttls(self, _: str) -> None:
        self._say("220 go on")
        self._secure()

    def on_auth(self, line: str) -> None:
        said = base64.b64decode(line.split()[-1]).decode()
        self.is_known = self.is_safe and said == f"\0{USER}\0{PASSWORD}"
        self._say("235 welcome" if self.is_known else "535 MUELLER^ANNA is not known")

    def on_rcpt(self, line: str) -> None:
        is_refused = self.place.refuses and self.place.refuses in line
        self._say("550 MUELLER^ANNA has moved" if is_refused else "250 yes")

    def on_data(self, _: str) -> None:
        if not self.is_known:
            self._say("530 sign in first")
            return
        self._say("354 go on")
        lines = iter(self.rfile.readline, b".\r\n")
        policy = email.policy.default
        self.place.mails.append(email.message_from_bytes(b"".join(lines), policy=policy))  # type: ignore[arg-type]
        self._say("250 taken")

    def on_other(self, _: str) -> None:
        self._say("250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _secure(self) -> None:
        self.connection = self.place.context().wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)  # type: ignore[assignment]
        self.is_safe = True

    def finish(self) -> None:
        self.rfile.close()
        self.wfile.close()
        self.connection.close()


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[MailServer]:
    authority = Authority(tmp_path, "hospital")
    server = MailServer(authority.sign("mail"), authority.certificate)
    session = type("Session", (_Session,), {"place": server})
    tcp = ThreadingTCPServer(("127.0.0.1", 0), session)
    tcp.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up in the middle is meant to
    with served(tcp) as port:
        server.port = port
        yield server


@contextmanager
def served(server: TCPServer) -> Iterator[int]:
    """Serve in a thread while the block lasts; its port."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()
    thread.join()
