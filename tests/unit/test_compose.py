"""`compose.yaml` and what it gives its containers, without starting one."""

import base64
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load_config

ROOT = Path(__file__).parents[2]
GIVEN = ROOT / "examples" / "compose"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


@pytest.mark.peer("tools")
def test_compose_file_keeps_to_the_schema_of_the_specification() -> None:
    command = [ROOT / ".venv-tools" / "bin" / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [*command, ROOT / "compose.yaml"], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stdout


def test_files_that_containers_are_given_exist(services: dict[str, Any]) -> None:
    mounted = [each.split(":")[0] for service in services.values() for each in service["volumes"]]
    files = [each for each in mounted if each.startswith("./")]
    assert len(files) > 6
    assert [each for each in files if not (ROOT / each).is_file()] == []


def test_nothing_is_opened_to_the_network_and_each_image_is_of_one_version(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service["ports"]]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    images = {name: service["image"] for name, service in services.items()}
    assert [image for image in images.values() if not re.search(r":v?\d+\.\d+\.\d+$", image)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert images["gateway"] == f"iris-gateway:{project['version']}"
    assert services["gateway"]["build"]["args"] == {"VERSION": project["version"]}


def test_gateway_and_pacs_know_each_other_by_the_names_of_their_services(services: dict[str, Any]) -> None:
    config = load_config(GIVEN / "iris.toml")
    pacs = json.loads((GIVEN / "orthanc.json").read_text(encoding="utf-8"))
    (to,) = config.destination
    assert (to.ae_title, to.host, to.port) == (pacs["DicomAet"], "orthanc", pacs["DicomPort"])
    assert pacs["DicomModalities"] == {"iris": {"AET": "IRIS", "Host": "gateway", "Port": config.dicom.port}}
    assert {each.ae_title for each in config.dicom.allow} == {pacs["DicomAet"]}
    assert {to.host, "gateway"} <= set(services)


def test_whoever_asks_the_pacs_has_its_password() -> None:
    pacs = json.loads((GIVEN / "orthanc.json").read_text(encoding="utf-8"))
    ((user, password),) = pacs["RegisteredUsers"].items()
    assert f'user = "{user}:{password}"' in (GIVEN / "to-iris.curl").read_text(encoding="utf-8")
    (given,) = re.findall(r'"Basic (\S+)"', (GIVEN / "viewer.conf").read_text(encoding="utf-8"))
    assert base64.b64decode(given).decode() == f"{user}:{password}"


def test_prometheus_asks_the_gateway_with_its_token_and_knows_the_alerts(services: dict[str, Any]) -> None:
    asked = yaml.safe_load((GIVEN / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = asked["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["gateway:8080"]}]
    assert job["authorization"] == {"credentials_file": "/data/admin-token"}
    (alerts,) = asked["rule_files"]
    given = services["prometheus"]["volumes"]
    assert "iris-data:/data:ro" in given
    assert f"./examples/prometheus/alerts.yml:/etc/prometheus/{alerts}:ro" in given
