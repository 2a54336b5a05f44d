"""The upload on the status page in a real browser: to a gateway, and to where a cloud's answer says."""

import gzip
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.api.app import create_api
from gateway.api.callers.access import ADMIN, Access
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.live.live import live_feed
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.api.store import UploadWish
from gateway.events import Bus
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from tests.nifti import content, image, uploads_of, voxels

pytestmark = pytest.mark.peer("chromium")

TOKEN = "a-token-of-this-test"
NAME = "Doe^John 1961.nii.gz"


class NoFiles:
    """No job has files."""

    def located(self, job_key: str, name: str) -> None:
        return None


@dataclass
class Bucket:
    """A store on another origin that takes a file by PUT, as S3 does with a presigned URL and CORS rules."""

    origin: str = ""
    puts: list[tuple[str, str | None, bytes]] = field(default_factory=list)


@dataclass
class CloudUploads:
    """Says where to put a file, as the status API in the cloud does, over a gateway's own uploads."""

    gateway: Any
    bucket: Bucket
    wishes: list[UploadWish] = field(default_factory=list)
    study_key: str = ""

    def tasks(self) -> dict[str, Any]:
        return {**self.gateway.tasks(), "takes": "put", "max_bytes": None}

    def take(self, wish: UploadWish, file: BinaryIO) -> dict[str, Any]:
        raise AssertionError("the page sends no file here")

    def offer(self, wish: UploadWish) -> dict[str, Any]:
        self.wishes.append(wish)
        put = {
            "url": f"{self.bucket.origin}/put-here?signed",
            "headers": {"x-amz-checksum-sha256": "c"},
            "expires": "2026-01-01T00:00:00.000000Z",
        }
        return {"job_key": "a" * 64, "study_key": self.study_key, "state": "planned", "put": put}

    def start(self, job_key: str) -> dict[str, Any]:
        assert self.bucket.puts, "it was started before the file was put"
        return {"kind": "job", "key": job_key, "state": "planned"}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    bucket = Bucket()

    class Store(BaseHTTPRequestHandler):
        def _allow(self) -> None:
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", ""))
            self.send_header("Access-Control-Allow-Methods", "PUT")
            self.send_header("Access-Control-Allow-Headers", "x-amz-checksum-sha256, content-type")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_OPTIONS(self) -> None:
            self._allow()

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bucket.puts.append((self.path, self.headers["x-amz-checksum-sha256"], body))
            self._allow()

        def log_message(self, format: str, *values: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bucket.origin = f"http://127.0.0.1:{server.server_port}"
        yield bucket
        server.shutdown()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", Bus()) as ledger:
        yield ledger


@pytest.fixture
def open_page(ledger: Ledger, browser: Browser) -> Iterator[Callable[..., Any]]:
    """Serves these uploads and opens the page on them, signed in."""

    @contextmanager
    def serve(uploads: Any, troubles: list[str], pictures_from: str = "", **room: Any) -> Iterator[Page]:
        access = Access(TOKEN)
        api = create_api(
            LedgerStore(ledger), LedgerActions(ledger), lambda: Readiness(True), live_feed(ledger),
            access, NoFiles(), uploads, pictures_from=pictures_from, **room,
        )  # fmt: skip
        server = ApiServer(api, "127.0.0.1", 0)
        server.start()
        host, port = server.address
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on(
            "console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(f"http://{host}:{port}/?code={access.new_code(ADMIN)}")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        page.get_by_role("navigation").get_by_role("link", name="Upload", exact=True).click()
        yield page
        context.close()
        server.stop()

    return serve


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(content())
    return path


def _pictures(page: Page, name: str) -> None:
    """Keep pictures for a person to look at, where they are wished for."""
    folder = os.environ.get("IRIS_TEST_PICTURES")
    for scheme in ("light", "dark") if folder else ():
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=str(Path(folder or "") / f"{name}-{scheme}.png"), full_page=True)


def test_file_uploaded_to_a_gateway_leads_to_its_study(
    open_page: Callable[..., Any], ledger: Ledger, tmp_path: Path, file: Path
) -> None:
    uploads, troubles = uploads_of(ledger, tmp_path), list[str]()
    with open_page(uploads, troubles, upload_room=uploads) as page:
        expect(page.get_by_label("Task")).to_have_value("tissue")
        page.get_by_label("Model").select_option("fast")
        page.get_by_label("NIfTI file").set_input_files(file)
        _pictures(page, "upload")
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("heading", name="NIfTI upload")).to_be_visible()
        expect(page.get_by_role("heading", name="tissue on the uploaded image")).to_be_visible()
        expect(page.get_by_text("asked for by hand, engine threshold")).to_be_visible()
        expect(page.get_by_role("region", name="Series")).to_have_count(0)
        [job] = ledger.read("SELECT * FROM jobs")
        assert '"fast": true' in job["options"]
        for event in (JobEvent.SEGMENTED, JobEvent.DELIVERED):
            with ledger.transaction() as transaction:
                transaction.move_job(job["job_key"], event)
        expect(page.get_by_role("link", name="Label map (NIfTI)")).to_be_visible()
        expect(page.get_by_text("the label map is ready").first).to_be_visible()
        _pictures(page, "upload-study")
        page.get_by_role("navigation").get_by_role("link", name="Studies", exact=True).click()
        expect(page.get_by_role("link", name="NIfTI upload")).to_be_visible()
        _pictures(page, "upload-list")
    assert [trouble for trouble in troubles if "404" not in trouble] == []  # no preview was made here


def test_file_that_is_refused_says_why_and_another_can_be_sent(
    open_page: Callable[..., Any], ledger: Ledger, tmp_path: Path, file: Path
) -> None:
    uploads = uploads_of(ledger, tmp_path)
    flat = tmp_path / "flat.nii.gz"
    flat.write_bytes(content(image(voxels(3, 3, 3, 3))))
    with open_page(uploads, [], upload_room=uploads) as page:
        page.get_by_label("NIfTI file").set_input_files(flat)
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("alert")).to_have_text("the image has 4 dimensions; one 3D image is needed")
        _pictures(page, "upload-refused")
        page.get_by_label("NIfTI file").set_input_files(file)
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("heading", name="NIfTI upload")).to_be_visible()


def test_upload_says_how_long_it_takes_is_stopped_and_sent_again(
    open_page: Callable[..., Any], ledger: Ledger, tmp_path: Path, file: Path
) -> None:
    uploads = uploads_of(ledger, tmp_path)
    file.write_bytes(content(image(voxels(110, 110, 110))))
    with open_page(uploads, [], upload_room=uploads) as page:
        network = page.context.new_cdp_session(page)

        def let_through(bytes_per_s: int) -> None:
            line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_s}
            network.send("Network.emulateNetworkConditions", line)

        let_through(100_000)
        page.get_by_label("NIfTI file").set_input_files(file)
        page.get_by_role("button", name="Upload").click()
        expect(page.locator("[data-sending]")).to_have_text(
            re.compile(r"\d+ %, [\d.]+ [kM]B a second, [\d.]+ (s|min) left")
        )
        _pictures(page, "upload-sending")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("alert")).to_have_text("The upload was stopped; nothing of it is kept.")
        assert ledger.read("SELECT 1 FROM jobs") == []
        let_through(-1)
        page.get_by_role("button", name="Send it again").click()
        expect(page.get_by_role("heading", name="NIfTI upload")).to_be_visible()


def test_file_larger_than_is_taken_is_not_even_sent(
    open_page: Callable[..., Any], ledger: Ledger, tmp_path: Path, file: Path
) -> None:
    uploads = uploads_of(ledger, tmp_path, max_upload_mb=1)
    file.write_bytes(bytes(1_500_000))
    with open_page(uploads, [], upload_room=uploads) as page:
        asked = list[str]()
        page.on("request", lambda request: asked.append(request.method))
        page.get_by_label("NIfTI file").set_input_files(file)
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("alert")).to_have_text("This file has 2 MB; at most 1 MB are taken.")
        assert "POST" not in asked


def test_form_outlives_news_and_a_look_at_another_view(
    open_page: Callable[..., Any], ledger: Ledger, tmp_path: Path, file: Path
) -> None:
    uploads = uploads_of(ledger, tmp_path)
    with open_page(uploads, [], upload_room=uploads) as page:
        page.get_by_label("Model").select_option("fast")
        with file.open("rb") as stream:
            uploads.take(UploadWish("", "{}", None, None), stream)  # news
        page.get_by_role("navigation").get_by_role("link", name="Studies", exact=True).click()
        expect(page.get_by_role("link", name="NIfTI upload")).to_be_visible()
        page.get_by_role("navigation").get_by_role("link", name="Upload", exact=True).click()
        expect(page.get_by_label("Model")).to_have_value("fast")


def test_file_is_put_where_the_cloud_says_and_then_started(
    open_page: Callable[..., Any], ledger: Ledger, tmp_path: Path, bucket: Bucket, file: Path
) -> None:
    gateway = uploads_of(ledger, tmp_path)
    with file.open("rb") as stream:
        study_key = gateway.take(UploadWish("", "{}", None, None), stream)["study_key"]
    uploads, troubles = CloudUploads(gateway, bucket, study_key=study_key), list[str]()
    with open_page(uploads, troubles, pictures_from=bucket.origin) as page:
        page.get_by_label("NIfTI file").set_input_files(file)
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("heading", name="NIfTI upload")).to_be_visible()
    [(where, header, put)] = bucket.puts
    assert (where, header) == ("/put-here?signed", "c")
    assert uploads.wishes == [UploadWish("tissue", "{}", hashlib.sha256(put).hexdigest(), len(put))]
    voxels_put = gzip.decompress(put)[352:]
    assert gzip.decompress(file.read_bytes()).endswith(voxels_put)
    assert len(voxels_put) == voxels().nbytes
    assert troubles == []
