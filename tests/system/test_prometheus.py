"""A real Prometheus, with the configuration and the alerts of `examples/prometheus`, asks a real gateway."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "prometheus"
DASHBOARD = EXAMPLES.parent / "grafana" / "iris-gateway.json"
DEADLINE_S = 60.0

pytestmark = [pytest.mark.long, pytest.mark.peer("prometheus")]


def _promtool(*arguments: str, folder: Path = EXAMPLES, given: bytes = b"") -> str:
    ran = subprocess.run(["promtool", *arguments], cwd=folder, input=given, capture_output=True, timeout=60)
    said = ran.stdout.decode() + ran.stderr.decode()
    assert ran.returncode == 0, said
    return said


def _until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)
    return found


@pytest.fixture
def world(make_world: Callable[..., Any], tmp_path: Path) -> Any:
    (tmp_path / "results").mkdir()
    world = make_world(config=f'[[destination]]\nname = "disk"\nfolder = "{tmp_path / "results"}"\n')
    world.start()
    return world


class Server:
    """Prometheus, asked by its API."""

    def __init__(self, address: str, process: "subprocess.Popen[bytes]") -> None:
        self._address = address
        self.process = process

    def query(self, expression: str) -> list[dict[str, Any]]:
        try:
            answer = httpx.get(f"{self._address}/api/v1/query", params={"query": expression})
        except httpx.HTTPError:
            return []
        return list(answer.json()["data"]["result"]) if answer.is_success else []

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None


@pytest.fixture
def prometheus(world: Any, tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "prometheus"
    shutil.copytree(EXAMPLES, folder)
    shutil.copy(world.data_dir / "admin-token", folder / "iris-token")
    target = (world.data_dir / "api-address").read_text().strip().removeprefix("http://")
    settings = (folder / "prometheus.yml").read_text().replace("127.0.0.1:8080", target)
    (folder / "prometheus.yml").write_text(settings.replace("15s", "1s"))
    _promtool("check", "config", "prometheus.yml", folder=folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield Server(f"http://{address}", process)
    process.terminate()
    process.wait(30)


def test_alerts_do_what_their_tests_say() -> None:
    assert "SUCCESS" in _promtool("test", "rules", "alerts_test.yml")


def test_every_question_of_the_dashboard_is_understood(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    plain = [one.replace("$instance", ".*").replace("$__rate_interval", "1m") for one in asked]
    rules = [{"record": f"asked:{number}", "expr": one} for number, one in enumerate(plain)]
    (tmp_path / "asked.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    assert f"{len(asked)} rules found" in _promtool("check", "rules", "asked.yml", folder=tmp_path)


def test_every_alert_is_tried() -> None:
    names = (EXAMPLES / "alerts.yml").read_text().split("- alert: ")[1:]
    tried = (EXAMPLES / "alerts_test.yml").read_text()
    assert [name.split()[0] for name in names if tried.count(f"alertname: {name.split()[0]}") != 2] == []


def test_gateway_is_asked_with_its_token_and_a_study_is_seen_in_the_figures(
    world: Any, prometheus: Server, write_study: Callable[..., str], tmp_path: Path
) -> None:
    _until(lambda: prometheus.value('up{job="iris"}') == 1)
    assert prometheus.value("iris_ready") == 1
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    world.until(study_uid, lambda study: study["state"] == "done")
    _until(lambda: (prometheus.value("sum(iris_own_part_seconds_count)") or 0) >= 1)
    _until(lambda: prometheus.value('iris_delivery_outcomes_total{destination="disk",outcome="sent"}') or 0)
    assert (prometheus.value('sum(iris_instances_received_total{status="0000"})') or 0) >= 8
    _promtool("check", "metrics", given=world.file("/metrics"))
