"""What a command says where the running gateway does not know it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gateway.commands.status_client import StatusClient, StatusError
from gateway.files.names import API_ADDRESS_NAME


class _KnowsNobody(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    with HTTPServer(("127.0.0.1", 0), _KnowsNobody) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / API_ADDRESS_NAME).write_text(f"http://127.0.0.1:{server.server_port}")
        yield tmp_path
        server.shutdown()


def test_token_that_the_gateway_does_not_take_is_named_with_its_file_and_the_way_out(data_dir: Path) -> None:
    with pytest.raises(StatusError, match=r"the token in .*admin-token, .* put that one back, or start"):
        StatusClient(data_dir).study("1.2.3")
