"""Answers that are none of AWS's."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gateway.adapters.aws.batch_readings import BatchReader
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.errors import Away


class _Page(BaseHTTPRequestHandler):
    """What a proxy shows that does not let a program pass."""

    def do_POST(self) -> None:
        page = b"<!doctype html><title>Please sign in</title>"
        self.send_response(403)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def proxy() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_page_of_a_proxy_in_the_place_of_an_answer_is_waited_out_with_the_way_out(
    aws_environment: dict[str, str], proxy: str
) -> None:
    reader = BatchReader(AwsSession("us-east-1", proxy))
    with pytest.raises(Away, match="does not speak as AWS does; look at proxies"):
        reader.offered(["g4dn.xlarge"])
