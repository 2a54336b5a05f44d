"""OHIF as a hospital would have it: its built pages, and a PACS's DICOMweb behind the same address."""

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx

CONFIGURATION = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "investigationalUseDialog": {"option": "never"},
    "maxNumberOfWebWorkers": 2,
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": {
                "friendlyName": "PACS",
                "name": "pacs",
                "wadoUriRoot": "/dicom-web",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
            },
        }
    ],
}
"""What OHIF is told: one DICOMweb source on its own address."""
SCRIPT = f"""
window.config = {json.dumps(CONFIGURATION)};
localStorage.setItem("shownTours", '["basicViewerTour"]');
""".encode()
"""Its configuration, and that its user has seen its tour of the page."""


class _Pages(SimpleHTTPRequestHandler):
    """Files of OHIF, its configuration, and what it asks of the PACS."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, pacs: tuple[str, str], **more: object) -> None:
        self._pacs, self._authorization = pacs
        super().__init__(*args, **more)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/dicom-web"):
            self._ask_pacs()
        elif path == "/app-config.js":
            self._answer(200, "application/javascript", SCRIPT)
        else:
            if not Path(self.translate_path(self.path)).is_file():
                self.path = "/index.html"  # its addresses are pages of one program
            super().do_GET()

    def end_headers(self) -> None:
        # Shared memory between its workers is for pages that say this.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def _ask_pacs(self) -> None:
        connection = http.client.HTTPConnection(self._pacs, timeout=60)
        headers = {"Authorization": self._authorization, "Accept": self.headers.get("Accept", "*/*")}
        connection.request("GET", self.path, headers=headers | {"Host": self.headers["Host"]})
        answer = connection.getresponse()
        self._answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
        connection.close()

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a viewer asks for hundreds of files."""


@contextmanager
def serving(pages: Path, rest: tuple[str, tuple[str, str]]) -> Iterator[str]:
    """Serve OHIF over a PACS while the block runs; gives its address.

    Parameters
    ----------
    pages
        The folder of OHIF's built pages.
    rest
        The address of the PACS's HTTP server, its user and password.
    """
    address, user = rest
    authorization = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    handler = partial(_Pages, directory=str(pages), pacs=(urlsplit(address).netloc, authorization))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def store(rest: tuple[str, tuple[str, str]], paths: list[Path]) -> None:
    """Put files into the PACS."""
    address, user = rest
    with httpx.Client(base_url=address, auth=user, timeout=60) as client:
        for path in paths:
            client.post("/instances", content=path.read_bytes()).raise_for_status()
