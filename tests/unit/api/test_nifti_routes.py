"""NIfTI uploads over HTTP: what is taken, what is refused before it is read, and what is left of it."""

import asyncio
import gzip
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from gateway.api.callers.access import Access
from gateway.api.upload_gate import UploadGate
from tests.nifti import content, image, uploads_of, voxels

UPLOAD = "/api/v1/nifti"
NAME = "Doe^John 1961.nii.gz"


def upload(client: httpx.Client, given: bytes | None = None, **form: str) -> httpx.Response:
    return client.post(UPLOAD, data=form, files={"file": (NAME, given or content())})


def spools() -> int:
    """How many files without a name this process holds open: what is spooled has none."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += "(deleted)" in str(descriptor.readlink())
        except OSError:  # closed meanwhile
            continue
    return count


def test_upload_is_202_with_the_keys_and_its_name_is_nowhere(world, client: httpx.Client, capfd) -> None:
    answer = upload(client, task="tissue", options='{"fast": true}')
    assert answer.status_code == 202
    taken = answer.json()
    assert taken["state"] == "planned"
    study = client.get(f"/api/v1/studies/{taken['study_key']}").json()
    assert study["jobs"][0]["job_key"] == taken["job_key"]
    started = client.post(f"{UPLOAD}/{taken['job_key']}/start")
    assert (started.status_code, started.json()["state"]) == (202, "planned")
    world.ledger.close()
    kept = [path for path in world.folder.rglob("*") if path.is_file()]
    assert not any(b"Doe" in path.read_bytes() or "Doe" in path.name for path in kept)
    assert "Doe" not in "".join(capfd.readouterr())


def test_upload_without_a_file_is_409_with_the_way_out(client: httpx.Client) -> None:
    answer = client.post(UPLOAD, data={"task": "tissue"})
    assert (answer.status_code, "form's part `file`" in answer.json()["detail"]) == (409, True)


def test_upload_of_no_image_is_409_with_a_sentence(client: httpx.Client) -> None:
    answer = upload(client, content(image(voxels(3, 3, 3, 3))))
    assert answer.status_code == 409
    assert answer.json()["detail"] == "the image has 4 dimensions; one 3D image is needed"


def test_upload_with_a_form_that_is_none_is_422(client: httpx.Client) -> None:
    assert upload(client, sha256="short").status_code == 422


def test_upload_by_a_stranger_is_401(stranger: httpx.Client) -> None:
    assert upload(stranger).status_code == 401


def test_start_of_an_unknown_upload_is_404(client: httpx.Client) -> None:
    assert client.post(f"{UPLOAD}/{'a' * 64}/start").status_code == 404


def test_tasks_say_how_files_are_taken(client: httpx.Client) -> None:
    tasks = client.get("/api/v1/tasks").json()
    assert (tasks["takes"], tasks["max_bytes"]) == ("file", 64_000_000)


@pytest.fixture
def small(world) -> None:
    """Uploads of at most 1 MB."""
    world.__dict__["uploads"] = uploads_of(world.ledger, world.folder, max_upload_mb=1)


def test_upload_that_is_said_to_be_too_large_is_413_before_it_is_read(small, client: httpx.Client) -> None:
    connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
    connection.putrequest("POST", UPLOAD)
    connection.putheader("Authorization", client.headers["authorization"])
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", "3000000")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    assert (answer.status, "api.max_upload_mb" in content) == (413, True)


def test_upload_that_does_not_say_its_size_is_413_when_too_much_came(small, client: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(30):
            yield bytes(100_000)
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = client.post(UPLOAD, content=body(), headers=headers)
    assert (answer.status_code, "api.max_upload_mb" in answer.json()["detail"]) == (413, True)


def test_upload_that_unpacks_to_too_much_is_413(small, client: httpx.Client) -> None:
    answer = upload(client, gzip.compress(content(image(voxels(100, 100, 100)), gzipped=False)))
    assert (answer.status_code, "unpacked" in answer.json()["detail"]) == (413, True)


def test_upload_under_the_low_water_mark_is_507(world, token: str) -> None:
    world.__dict__["uploads"] = uploads_of(world.ledger, world.folder, low_water_mb=10**9)
    server = world.serve(Access(token))
    server.start()
    host, port = server.address
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://{host}:{port}", headers=headers, trust_env=False) as client:
        answer = upload(client)
    server.stop()
    assert (answer.status_code, "low-water mark" in answer.json()["detail"]) == (507, True)


def test_upload_while_the_disk_fills_up_ends_with_507(world, client: httpx.Client, monkeypatch) -> None:
    monkeypatch.setattr("gateway.api.upload_gate.LOOK_EVERY_BYTES", 1 << 20)
    looks = iter([True, True])
    monkeypatch.setattr(type(world.uploads), "has_room", lambda self, coming: next(looks, False))
    before = spools()
    answer = upload(client, bytes(6 << 20))
    assert answer.status_code == 507
    assert spools() == before


def test_upload_that_breaks_off_leaves_no_spooled_file(world, client: httpx.Client) -> None:
    before = spools()
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port or 0), timeout=60) as connection:
        connection.sendall(
            f"POST {UPLOAD} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {client.headers['authorization']}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 30000000\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
            + bytes(5_000_000)
        )
        _until(lambda: spools() == before + 1)
    _until(lambda: spools() == before)
    assert world.ledger.read("SELECT * FROM studies") == []


def _until(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_gate_lets_other_requests_pass_uncounted(world) -> None:
    """It is in the way of uploads only: a room that has none refuses nothing else."""
    passed = []

    async def app(scope, receive, send) -> None:
        passed.append(scope["path"])

    gate = UploadGate(app, uploads_of(world.ledger, world.folder, low_water_mb=10**9))
    for method, path in (("GET", UPLOAD), ("POST", "/api/v1/jobs/a/retry")):
        asyncio.run(gate({"type": "http", "method": method, "path": path, "headers": []}, None, None))
    assert passed == [UPLOAD, "/api/v1/jobs/a/retry"]
