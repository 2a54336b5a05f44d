"""Studies that come by STOW-RS, through the whole gateway, which is killed in the middle of a request."""

import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

BOUNDARY = "b"
HEADERS = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
END = f"--{BOUNDARY}--\r\n".encode()


def _part(content: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + content + b"\r\n"


class Sender:
    """Who sends to a world by HTTP, with the token that its start made."""

    def __init__(self, world: Any) -> None:
        self._url = (world.data_dir / "api-address").read_text().strip()
        self._token = (world.data_dir / "sender-token").read_text().strip()

    def post(self, *contents: bytes | Iterator[bytes]) -> httpx.Response:
        def body() -> Iterator[bytes]:
            for content in contents:
                yield from [_part(content)] if isinstance(content, bytes) else content
            yield END

        headers = HEADERS | {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(trust_env=False, verify=False, timeout=120) as client:
            return client.post(f"{self._url}/dicom-web/studies", content=body(), headers=headers)

    def begin(self, sent: bytes) -> socket.socket:
        """A request whose body has begun so."""
        url = httpx.URL(self._url)
        peer = socket.create_connection((url.host, url.port), timeout=30)
        headers = HEADERS | {"Authorization": f"Bearer {self._token}", "Content-Length": "100000000"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        peer.sendall(f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + sent)
        return peer


def test_what_was_answered_is_there_after_a_kill_and_the_study_is_done_when_it_is_sent_again(
    make_world: Callable[..., Any], write_study: Callable[..., str], tmp_path: Path
) -> None:
    study_uid = write_study(tmp_path / "study")
    contents = [path.read_bytes() for path in sorted((tmp_path / "study").iterdir())]
    world = make_world()
    world.start()
    assert (world.data_dir / "sender-token").stat().st_mode & 0o777 == 0o600
    assert Sender(world).post(*contents[:4]).status_code == 200
    with Sender(world).begin(b"".join(map(_part, contents[4:6])) + _part(contents[6])[:-1000]):
        world.until(study_uid, lambda study: study["series"][0]["images"] >= 6)
        world.kill()
    instances = [path for path in (world.data_dir / "instances").rglob("*") if path.is_file()]
    assert {path.read_bytes() for path in instances} == set(contents[:6])

    world.start()
    assert world.study(study_uid)["series"][0]["images"] == 6
    assert list((world.data_dir / "incoming").iterdir()) == []
    assert Sender(world).post(*contents).status_code == 200
    study = world.until(study_uid, lambda study: study["state"] == "done")
    assert [job["state"] for job in study["jobs"]][-1] == "encoded"
    senders = {line["detail"].get("sender") for line in study["timeline"]}
    assert "sender-token" in senders


def test_request_that_a_stop_breaks_off_is_an_abort(
    make_world: Callable[..., Any], write_study: Callable[..., str], tmp_path: Path
) -> None:
    study_uid = write_study(tmp_path / "study", slices=2)
    first, second = (path.read_bytes() for path in sorted((tmp_path / "study").iterdir()))
    world = make_world()
    world.start()
    with Sender(world).begin(_part(first) + _part(second)[:-1000]):
        world.until(study_uid, lambda study: study["series"][0]["images"] >= 1)
        assert world.stop() == 0
    world.start()
    assert "association.aborted" in [line["event"] for line in world.study(study_uid)["timeline"]]


@pytest.mark.long
def test_huge_object_does_not_stay_in_memory(make_world: Callable[..., Any]) -> None:
    world = make_world()
    world.start()
    pid = world.gateway_pid()
    before_bytes = _resident_bytes(pid)
    peak_bytes = before_bytes

    def huge() -> Iterator[bytes]:
        nonlocal peak_bytes
        yield _part(b"")[:-2]
        for _ in range(1000):
            yield bytes(1_000_000)
            peak_bytes = max(peak_bytes, _resident_bytes(pid))
        yield b"\r\n"

    assert Sender(world).post(huge()).status_code == 409  # it is no DICOM
    assert peak_bytes - before_bytes < 50_000_000


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
