"""The proxies of examples/, real ones, before a gateway: changes and uploads go through while they come."""

import json
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.live.live import live_feed
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.demo.loopback import free_port
from gateway.events import StudyChanged
from tests.certificates import Authority
from tests.nifti import uploads_of

EXAMPLES = Path(__file__).parents[2] / "examples"
ADMIN = {"Authorization": "Bearer an-admin-token"}
STOW = {
    "Authorization": "Bearer a-sender-token",
    "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
}
CLIENT = "127.0.0.2"
"""From where the proxy is asked; it asks the gateway from another address."""

NGINX = """
daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {example}
}}
"""
CADDY = "{{\n admin off\n auto_https disable_redirects\n storage file_system {folder}\n}}\n{example}"

PROXIES = [
    pytest.param("nginx", marks=pytest.mark.peer("nginx")),
    pytest.param("caddy", marks=pytest.mark.peer("caddy")),
]


@dataclass
class Site:
    """A gateway's two doors behind a proxy."""

    gate: Any
    client: httpx.Client


@pytest.fixture
def gateway(make_gate: Callable[..., Any]) -> Iterator[tuple[Any, int]]:
    """A listener, and the port of its API."""
    gate = make_gate()
    api = create_api(
        LedgerStore(gate.ledger),
        LedgerActions(gate.ledger),
        lambda: Readiness(True),
        live_feed(gate.ledger),
        Access("an-admin-token", "a-sender-token"),
        None,  # type: ignore[arg-type]
        uploads_of(gate.ledger, gate.data_dir),
        door=gate.listener.state,
        stow=gate.listener.stow,
    )
    server = ApiServer(api, "127.0.0.1", 0, proxies=["127.0.0.1"])
    server.start()
    yield gate, server.address[1]
    server.stop()


@pytest.fixture(params=PROXIES)
def site(request: pytest.FixtureRequest, gateway: tuple[Any, int], tmp_path: Path) -> Iterator[Site]:
    gate, api_port = gateway
    authority = Authority(tmp_path, "ca")
    certificate, key = authority.sign("proxy")
    port, folder = free_port(), tmp_path / "proxy"
    folder.mkdir()
    here = {
        "/etc/iris/tls/fullchain.pem": str(certificate),
        "/etc/iris/tls/key.pem": str(key),
        "127.0.0.1:8080": f"127.0.0.1:{api_port}",
        "listen 443": f"listen 127.0.0.1:{port}",
        "iris.hospital.example {": f"https://127.0.0.1:{port} {{",
    }
    if request.param == "nginx":
        example, around, config = EXAMPLES / "nginx" / "iris-gateway.conf", NGINX, folder / "nginx.conf"
        command = ["nginx", "-p", str(folder), "-c", str(config)]
    else:
        example, around, config = EXAMPLES / "caddy" / "Caddyfile", CADDY, folder / "Caddyfile"
        command = ["caddy", "run", "--config", str(config)]
    text = example.read_text(encoding="utf-8")
    for there, stands_in in here.items():
        text = text.replace(there, stands_in)
    config.write_text(around.format(folder=folder, example=text), encoding="utf-8")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    transport = httpx.HTTPTransport(verify=context, local_address=CLIENT)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as proxy,
        httpx.Client(transport=transport, base_url=f"https://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            until(lambda: answers(client) or proxy.poll() is not None)
            assert proxy.poll() is None, (folder / "log").read_text()
            yield Site(gate, client)
        finally:
            proxy.terminate()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_changes_are_told_through_a_proxy_as_they_happen(site: Site) -> None:
    with site.client.stream("GET", "/api/v1/events", headers=ADMIN) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert ": connected" in (next(lines) for _ in range(10))
        site.gate.ledger.bus.publish(StudyChanged("1.2.3", "done"))
        told = next(line for line in lines if line.startswith("data:"))
    assert json.loads(told.removeprefix("data:"))["state"] == "done"


def test_study_goes_through_a_proxy_while_it_comes(site: Site, small_study: Path) -> None:
    first, second, *_ = (path.read_bytes() for path in sorted(small_study.iterdir()))

    def body() -> Iterator[bytes]:
        yield b"--b\r\nContent-Type: application/dicom\r\n\r\n" + first + b"\r\n--b\r\n"
        until(lambda: site.gate.files("instances"))
        yield b"Content-Type: application/dicom\r\n\r\n" + second + b"\r\n"
        yield b"--b\r\nContent-Type: application/dicom\r\n\r\n" + bytes(2_000_000) + b"\r\n--b--\r\n"

    answer = site.client.post("/dicom-web/studies", headers=STOW, content=body())
    assert answer.status_code == 202, answer.text
    assert len(site.gate.files("instances")) == 2


def test_gateway_knows_from_where_a_proxy_was_asked_whatever_who_asks_says(site: Site) -> None:
    said = {"X-Forwarded-For": "192.0.2.9", "X-Real-IP": "192.0.2.9"}
    assert site.client.post("/dicom-web/studies", headers=said).status_code == 401
    door = site.client.get("/api/v1/door", headers=ADMIN).json()
    assert [each["address"] for each in door["turned_away"]] == [CLIENT]


def test_page_signs_in_through_a_proxy_with_a_cookie_for_https_only(site: Site) -> None:
    answer = site.client.post(
        "/", data={"token": "an-admin-token"}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "; Secure" in answer.headers["set-cookie"]
    assert "/page/" in site.client.get("/").text  # by the cookie
    asked = site.client.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin", "X-IRIS-Page": "1"})
    assert asked.status_code == 204
