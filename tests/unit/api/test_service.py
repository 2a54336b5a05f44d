"""Probes, metrics, faults, OpenAPI, the server, and what the package may import."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.api.callers import guard
from gateway.api.callers.access import Access
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiError


def test_readyz_not_ready_is_503_with_reasons(world, stranger: httpx.Client) -> None:
    world.readiness = Readiness(False, ("the disk is full",), ("pacs: away",))
    answer = stranger.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": ["the disk is full"], "degraded": ["pacs: away"]}


def test_readyz_degraded_stays_200(world, stranger: httpx.Client) -> None:
    world.readiness = Readiness(True, (), ("pacs: away",))
    answer = stranger.get("/readyz")
    assert (answer.status_code, answer.json()["degraded"]) == (200, ["pacs: away"])


def test_metrics_count_what_the_ledger_holds(world, client: httpx.Client) -> None:
    world.study(1)
    world.encode(world.job(world.study(2)))
    world.refuse()
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["iris_studies", "receiving"] == 1
    assert samples["iris_studies", "processing"] == 1
    assert samples["iris_studies", "done"] == 0
    assert samples["iris_jobs", "encoded"] == 1
    assert samples["iris_deliveries", "pending"] == 1
    assert samples["iris_quarantined_objects",] == 1
    assert samples["iris_instances_stored",] == 4
    assert 0 < samples["iris_oldest_open_study_age_seconds",] < 300
    assert samples["iris_disk_free_bytes",] > 0
    assert "1.2.826" not in answer.text
    assert "key0001" not in answer.text


def test_metrics_nothing_open_has_age_0(client: httpx.Client) -> None:
    assert "iris_oldest_open_study_age_seconds 0.0" in client.get("/metrics").text


def test_list_of_a_damaged_ledger_is_a_problem_with_the_way_out(world, client: httpx.Client) -> None:
    world.study(1)
    with closing(sqlite3.connect(world.ledger.path)) as other:
        other.execute("UPDATE studies SET accession_number = CAST(x'4A6F686EFF' AS TEXT)")  # no text
        other.commit()
    answer = client.get("/api/v1/studies")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "iris ledger rebuild" in answer.json()["detail"]
    assert "John" not in answer.text


class _Recorder:
    """A logger that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def exception(self, event: str, **keys: object) -> None:
        self.lines.append((event, keys))


def test_fault_inside_is_a_500_problem_without_its_text(
    world, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a patient's name")

    recorder = _Recorder()
    monkeypatch.setattr(guard, "log", recorder)
    monkeypatch.setattr(world.ledger, "read", break_down)
    answer = client.get("/api/v1/studies/1.2.3")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "patient" not in answer.text
    assert recorder.lines == [
        ("request_failed", {"method": "GET", "route": "/api/v1/studies/{study}"}),
    ]
    monkeypatch.undo()
    assert client.get("/api/v1/studies").status_code == 200


def test_openapi_describes_studies_and_problems(client: httpx.Client) -> None:
    content = client.get("/openapi.json").json()
    fields = content["components"]["schemas"]["Study"]["properties"]
    contract = {
        "study_uid", "study_key", "state", "reason", "received", "series", "jobs", "deliveries", "timeline",
    }  # fmt: skip
    assert contract <= set(fields)
    studies = content["paths"]["/api/v1/studies"]["get"]
    assert {one["name"] for one in studies["parameters"]} == {
        *("q", "state", "waits", "modality", "sender", "rule", "destination", "flag", "since", "until"),
        *("sort", "order", "limit", "cursor", "count", "if-none-match"),
    }
    assert "application/problem+json" in studies["responses"]["401"]["content"]
    assert "/" not in content["paths"]


def test_docs_page_is_our_own(client: httpx.Client) -> None:
    assert "/page/docs/docs.js" in client.get("/docs").text
    assert client.get("/page/docs/docs.js").headers["content-type"].startswith("text/javascript")


def test_server_port_in_use_is_refused_with_the_way_out(world) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = world.serve(Access(None))
        server._wanted = ("127.0.0.1", port)
        with pytest.raises(ApiError, match=rf"127\.0\.0\.1:{port} is in use .* api\.port"):
            server.start()
        server.stop()


def test_server_unknown_host_is_refused_with_the_way_out(world) -> None:
    server = world.serve(Access(None))
    server._wanted = ("192.0.2.1", 0)
    with pytest.raises(ApiError, match=r"api\.host: 192\.0\.2\.1"):
        server.start()


def test_server_stopped_gives_the_port_back_at_once(world) -> None:
    server = world.serve(Access(None))
    server.start()
    host, port = server.address
    assert httpx.get(f"http://{host}:{port}/healthz", trust_env=False).status_code == 200
    server.stop()
    with socket.create_server((host, port)):
        pass
    server.stop()


def test_package_imported_alone_brings_no_imaging_library_and_of_the_job_its_contract_only() -> None:
    program = (
        "import sys, pkgutil, importlib, gateway.api as api\n"
        "for module in pkgutil.walk_packages(api.__path__, 'gateway.api.'):\n"
        "    importlib.import_module(module.name)\n"
        "heavy = {'pydicom', 'numpy', 'highdicom', 'pynetdicom', 'nibabel', 'converter'}\n"
        "light = ('batch_job.contract', 'batch_job.catalogue', 'batch_job.refusals')\n"
        "heavy |= {m for m in sys.modules if m.startswith('batch_job.') and not m.startswith(light)}\n"
        "rooms = ('app', 'arrival', 'making', 'running', 'listener', 'delivery')\n"
        "assert 'gateway.api.app' in sys.modules\n"
        "print(sorted((heavy | {f'gateway.{room}' for room in rooms}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
