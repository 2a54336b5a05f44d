"""What EC2 says about the machine is asked with a token, and nobody who does not answer is waited for."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from batch_job.ec2_metadata import DISABLED_VARIABLE, ENDPOINT_VARIABLE, machine_type


class _Metadata(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        self._answer(b"a token")

    def do_GET(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token"] == "a token"
        assert self.path == "/latest/meta-data/instance-type"
        self._answer(b"g4dn.xlarge")

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(ENDPOINT_VARIABLE, f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv(DISABLED_VARIABLE, raising=False)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("metadata")
def test_machine_type_is_what_the_metadata_say() -> None:
    assert machine_type() == "g4dn.xlarge"


@pytest.mark.usefixtures("metadata")
def test_machine_type_where_the_metadata_are_switched_off_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLED_VARIABLE, "true")
    assert machine_type() == ""


def test_machine_type_where_nobody_answers_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.delenv(DISABLED_VARIABLE, raising=False)
    assert machine_type() == ""
