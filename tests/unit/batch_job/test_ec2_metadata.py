"""What EC2 says about the machine is asked with a token, and nobody who does not answer is waited for."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from batch_job.ec2_metadata import DISABLED_VARIABLE, ENDPOINT_VARIABLE, Machine, this_machine

DOCUMENT = "/latest/dynamic/instance-identity/document"
LIFE_CYCLE = "/latest/meta-data/instance-life-cycle"
SAID = {
    DOCUMENT: b'{"instanceType": "g4dn.xlarge", "instanceId": "i-0abc", "availabilityZone": "us-east-1b"}',
    LIFE_CYCLE: b"spot",
}


class _Metadata(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        self._answer(b"a token")

    def do_GET(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token"] == "a token"
        self._answer(SAID[self.path])

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
def test_machine_is_what_the_metadata_say() -> None:
    assert this_machine() == Machine("g4dn.xlarge", "i-0abc", "us-east-1b", is_spot=True)


@pytest.mark.usefixtures("metadata")
@pytest.mark.parametrize("document", [b"[]", b"{}", b"not JSON"])
def test_machine_that_the_metadata_do_not_tell_is_nobody_s(
    monkeypatch: pytest.MonkeyPatch, document: bytes
) -> None:
    monkeypatch.setitem(SAID, DOCUMENT, document)
    assert this_machine() == Machine()


@pytest.mark.usefixtures("metadata")
def test_machine_where_the_metadata_are_switched_off_is_nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLED_VARIABLE, "true")
    assert this_machine() == Machine()


def test_machine_where_nobody_answers_is_nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.delenv(DISABLED_VARIABLE, raising=False)
    assert this_machine() == Machine()
