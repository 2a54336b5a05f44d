"""Proxies before an HTTP service: one spoils answers, the other lets moto's S3 say all that S3 says."""

import base64
import hashlib
import http.client
import re
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Wish = str | int | tuple[int, str] | Callable[[bytes], bytes] | None


class Proxy:
    """Passes requests on, and spoils the answers that `spoil` picks.

    `spoil(method, path, number)` is asked for each answer, `number` counting those to the same method and
    path, and gives None, "lose", a number of bytes to cut the body after, a status with an error code, or
    what makes other bytes of the body.
    """

    def __init__(self, behind: str) -> None:
        self.behind = urlsplit(behind).netloc
        self.spoil: Callable[[str, str, int], Wish] = lambda *asked: None
        self.seen: list[tuple[str, str, str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                proxy.answer(self)

            def log_message(self, format: str, *values: Any) -> None:
                pass

        for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.pass_on)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path = handler.path.partition("?")[0]
        number = sum(seen[:2] == (handler.command, path) for seen in self.seen)
        self.seen.append((handler.command, path, handler.headers.get("Range", "")))
        wish = self.spoil(handler.command, path, number)
        if isinstance(wish, tuple):
            self.refuse(handler, *wish)
            return
        status, answered, content = self.pass_on(handler.command, handler.path, handler.headers, body)
        content = wish(content) if callable(wish) else content
        if wish == "lose":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response_only(status)
        for name, value in answered:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        lengths = dict(answered)
        length = lengths.get("Content-Length", "0") if handler.command == "HEAD" else str(len(content))
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(content[:wish] if isinstance(wish, int) else content)
        handler.close_connection = isinstance(wish, int)

    def pass_on(
        self, method: str, path: str, asked: Mapping[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask the service; its status, headers and body."""
        upstream = http.client.HTTPConnection(self.behind, timeout=60)
        headers = {name: value for name, value in asked.items() if name.lower() != "expect"}
        upstream.request(method, path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        return answer.status, answer.getheaders(), content

    @staticmethod
    def refuse(handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>secret text of the store</Message></Error>".encode()
        handler.send_response_only(status)
        if status == 301:
            handler.send_header("x-amz-bucket-region", "eu-west-1")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(text)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class S3Proxy(Proxy):
    """Adds to moto's answers what S3's own have, and moto leaves out.

    The checksums of parts in ListParts, when an upload was begun in ListMultipartUploads, the first part
    alone where PartNumber asks for it, the refusal of content that is not what its checksum says, and of
    parts of an upload that was ended.
    """

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Method and query of every request that was passed on."""
        self.begun: dict[str, datetime] = {}
        self.ended: set[str] = set()
        self.spoil_body: Callable[[bytes], bytes] = lambda body: body
        self._checksums: dict[tuple[str, str], str] = {}
        self._part_bytes: dict[str, int] = {}

    @property
    def parts_sent(self) -> list[int]:
        """The numbers of the parts that came, in order."""
        return [int(query["partNumber"]) for method, query in self.asked if _is_part(method, query)]

    def age(self, days: float) -> None:
        """Let every upload that was begun have been begun so long ago."""
        self.begun = dict.fromkeys(self.begun, datetime.now(UTC) - timedelta(days=days))

    def pass_on(
        self, method: str, path: str, asked: Mapping[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.asked.append((method, query))
        body = self.spoil_body(body)
        checksum = asked.get("x-amz-checksum-sha256")
        if checksum and checksum != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return 400, [], b"<Error><Code>BadDigest</Code></Error>"
        if method == "DELETE" and "uploadId" in query:
            self.ended.add(query["uploadId"])
        elif query.get("uploadId") in self.ended:
            return 404, [], b"<Error><Code>NoSuchUpload</Code></Error>"
        if _is_part(method, query):
            self._checksums[query["uploadId"], query["partNumber"]] = checksum or ""
            self._part_bytes[url.path] = max(len(body), self._part_bytes.get(url.path, 0))
        if method == "GET" and query.get("partNumber") == "1":
            first = {**asked, "Range": f"bytes=0-{self._part_bytes[url.path] - 1}"}
            return super().pass_on(method, url.path, first, body)
        status, headers, content = super().pass_on(method, path, asked, body)
        if method == "POST" and "uploads" in query:
            self.begun[_inner(content, "UploadId")] = datetime.now(UTC)
        if method == "GET" and "uploads" in query:
            content = re.sub(rb"<Upload>.*?</Upload>", self._with_its_time, content, flags=re.DOTALL)
        if method == "GET" and "uploadId" in query:
            content = re.sub(
                rb"<PartNumber>(\d+)</PartNumber>",
                lambda found: found[0] + self._checksum_of(query["uploadId"], found[1].decode()),
                content,
            )
        return status, headers, content

    def _with_its_time(self, upload: re.Match[bytes]) -> bytes:
        at = self.begun[_inner(upload[0], "UploadId")].strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return re.sub(rb"<Initiated>.*?</Initiated>", f"<Initiated>{at}</Initiated>".encode(), upload[0])

    def _checksum_of(self, upload_id: str, part: str) -> bytes:
        return f"<ChecksumSHA256>{self._checksums[upload_id, part]}</ChecksumSHA256>".encode()


def _is_part(method: str, query: Mapping[str, str]) -> bool:
    return method == "PUT" and "partNumber" in query


def _inner(content: bytes, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", content.decode())
    assert found, content
    return found[1]
