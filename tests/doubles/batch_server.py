"""The HTTP side of the Batch double: operations by path (rest-json) or by target (json), and faults."""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from .batch_faults import Fault, Faults, Harm, Refusal

Answer = dict[str, Any]
Operation = Callable[[dict[str, Any]], Answer]


class Refused(Exception):
    """An operation answers with an error."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Server:
    """Serves operations on a free port of the loopback.

    Parameters
    ----------
    operations
        By name: what each does with its request.
    """

    def __init__(self, operations: Mapping[str, Operation], faults: Faults) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Every request that came in, those that met a fault too."""
        self._by_path = {f"/v1/{name.lower()}": name for name in operations}
        self._operations = operations
        self._faults = faults
        server = self

        class Handler(_Handler):
            def do_POST(self) -> None:
                server.serve(self)

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._httpd.server_address[1]}"
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join(10)

    def serve(self, handler: "_Handler") -> None:
        """Answer one request, or do it harm."""
        name, request = self._understand(handler)
        self.calls.append((name, request))
        fault = self._faults.take(name)
        if fault is not None and fault.harm is Harm.REQUEST_LOST:
            handler.hang_up()
        elif fault is not None and fault.harm is Harm.REFUSED:
            handler.refuse(_named(fault, name))
        else:
            self._act(handler, name, request, fault)

    def _act(self, handler: "_Handler", name: str, request: dict[str, Any], fault: Fault | None) -> None:
        try:
            operation = self._operations.get(name)
            if operation is None:
                raise Refused(Refusal("UnknownOperationException", 404, f"the double knows no {name}"))
            answer = operation(request)
        except Refused as error:
            handler.refuse(error.refusal)
            return
        if fault is None:
            handler.answer(answer)
        elif fault.harm is Harm.ANSWER_LOST:
            handler.hang_up()
        else:
            handler.refuse(fault.refusal)

    def _understand(self, handler: "_Handler") -> tuple[str, dict[str, Any]]:
        request = json.loads(handler.body() or b"{}")
        target = handler.headers.get("X-Amz-Target", "")
        if target:
            return target.rpartition(".")[2], request
        if handler.path.startswith("/v1/tags/"):
            return "TagResource", {**request, "resourceArn": unquote(handler.path.removeprefix("/v1/tags/"))}
        return self._by_path.get(handler.path, handler.path), request


def _named(fault: Fault, operation: str) -> Refusal:
    """A denial names the action, as AWS's does."""
    given = fault.refusal
    return Refusal(given.code, given.status, given.message.replace("{operation}", operation))


class _Handler(BaseHTTPRequestHandler):
    """Writes each answer in one piece."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, content: Answer) -> None:
        self._write(200, json.dumps(content).encode(), {})

    def refuse(self, refusal: Refusal) -> None:
        content = {"__type": refusal.code, "message": refusal.message}
        self._write(refusal.status, json.dumps(content).encode(), {"x-amzn-ErrorType": refusal.code})

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _write(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:  # the client asked for it, and is told that it gets it
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
