"""Both images, built without Docker: what runs in them, as whom, on a root that cannot be written to."""

import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from batch_job.conformance import EngineConformance
from batch_job.contract import EXIT_DONE, EXIT_INTERRUPTED, read_manifest, read_progress
from tests.own_engines import write_program

pytestmark = [pytest.mark.peer("images"), pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
USER = 10001
RUN = (
    "podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--read-only", "--network=host",
    "--pull=never", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
)  # fmt: skip


@dataclass(frozen=True)
class Images:
    """Where the images are, and the lists of what is in them."""

    tag: str
    boms: Path

    def name(self, target: str) -> str:
        return f"localhost/iris-{target}:{self.tag}"

    def bom(self, target: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.boms / f"iris-{target}-{self.tag}.cdx.json").read_bytes())
        return found


def call(*command: str, timeout_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """The gateway, and the batch job without torch; removed afterwards, their layers stay as a cache."""
    made = Images(f"test-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("boms"))
    settings = {"IRIS_BUILDER": "buildah", "IRIS_TAG": made.tag, "IRIS_BOM_DIR": str(made.boms)}
    script = [str(ROOT / "container" / "build-images.sh"), "gateway", "batch"]
    built = subprocess.run(
        [*script, "--", "--build-arg", "ENGINE=threshold"],
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
        env={**os.environ, **settings},
    )
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    yield made
    call("buildah", "rmi", made.name("gateway"), made.name("batch"))


@pytest.fixture
def job_folder(tmp_path: Path) -> Path:
    """A folder that the image's user may write to."""
    folder = tmp_path / "job"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


def stage(folder: Path, content: bytes, name: str) -> None:
    (folder / name).write_bytes(content)
    named = {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
    request = {"contract": 1, "job_key": "k", "task": "tissue", "engine": "threshold", "input": named}
    (folder / "request.json").write_text(json.dumps(request))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_gateway_image_says_its_version(images: Images) -> None:
    result = call(*RUN, "--rm", "--entrypoint", "iris", images.name("gateway"), "--version")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (result.returncode, result.stdout) == (0, f"iris {version}\n")


@pytest.mark.parametrize("target", ["gateway", "batch"])
def test_image_runs_as_nobody_special_and_cannot_change_itself(images: Images, target: str) -> None:
    script = "id -u; touch /scratch/file && echo may; touch /opt/iris/file || echo may not"
    result = call(*RUN, "--rm", "--entrypoint", "sh", images.name(target), "-c", script)
    assert result.stdout.split("\n") == [str(USER), "may", "may not", ""]


@pytest.mark.parametrize(("target", "check"), [("gateway", "CMD"), ("batch", "NONE")])
def test_image_says_what_it_is_and_what_is_in_it(images: Images, target: str, check: str) -> None:
    inspected = call("buildah", "inspect", "--type", "image", images.name(target)).stdout
    config = json.loads(inspected)["Docker"]["config"]
    assert config["Healthcheck"]["Test"][0] == check
    labels = config["Labels"]
    for name in ("title", "description", "licenses", "version", "revision"):
        assert labels[f"org.opencontainers.image.{name}"]
    components = {part["name"]: part for part in images.bom(target)["components"]}
    assert {"numpy", "nibabel", "pydantic"} <= set(components)
    assert components["numpy"]["version"] in (ROOT / "constraints.txt").read_text()
    assert ("fastapi" in components) == (target == "gateway")
    assert "torch" not in components


def test_batch_image_does_a_job(images: Images, job_folder: Path, data: Path) -> None:
    stage(job_folder, (data / "ct-torso-3mm" / "ct.nii.gz").read_bytes(), "input.nii.gz")
    result = call(*RUN, "--rm", "--volume", f"{job_folder}:/job", images.name("batch"), "/job/")
    assert result.returncode == EXIT_DONE, result.stderr
    manifest = read_manifest(job_folder)
    assert manifest is not None
    for name, entry in manifest.outputs.items():
        assert hashlib.sha256((job_folder / name).read_bytes()).hexdigest() == entry.sha256
        assert (job_folder / name).stat().st_uid == USER


def test_batch_image_is_interrupted_as_process_1(images: Images, job_folder: Path, data: Path) -> None:
    ct = nib.load(data / "ct-torso-3mm" / "ct.nii.gz")
    values = np.repeat(np.repeat(np.asanyarray(ct.dataobj).astype(np.int16), 5, axis=0), 5, axis=1)
    nib.save(nib.Nifti1Image(values, ct.affine @ np.diag([0.2, 0.2, 1, 1])), job_folder / "input.nii")
    stage(job_folder, (job_folder / "input.nii").read_bytes(), "input.nii")
    name = f"iris-{uuid.uuid4().hex[:8]}"
    started = call(
        *RUN, "--detach", "--name", name, "--volume", f"{job_folder}:/job", images.name("batch"), "/job/"
    )
    assert started.returncode == 0, started.stderr
    try:
        wait_until(lambda: read_progress(job_folder))
        call("podman", "--runtime", "runc", "stop", "--time", "60", name)
        ended = call("podman", "--runtime", "runc", "inspect", "--format", "{{.State.ExitCode}}", name)
    finally:
        call("podman", "--runtime", "runc", "rm", "--force", name)
    assert ended.stdout.strip() == str(EXIT_INTERRUPTED)
    assert read_manifest(job_folder) is None
    assert not list(job_folder.glob(".unfinished-*"))


def test_gateway_image_is_healthy_and_ends_in_order(images: Images, free_port: Callable[[], int]) -> None:
    name, port = f"iris-{uuid.uuid4().hex[:8]}", free_port()
    variables = {"IRIS_DICOM__PORT": str(free_port()), "IRIS_API__PORT": str(port)}
    settings = [part for item in variables.items() for part in ("--env", "=".join(item))]
    started = call(*RUN, "--detach", "--name", name, *settings, images.name("gateway"))
    assert started.returncode == 0, started.stderr
    try:
        wait_until(lambda: call("podman", "--runtime", "runc", "healthcheck", "run", name).returncode == 0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
            assert answer.status == 200
        call("podman", "--runtime", "runc", "stop", "--time", "60", name)
        ended = call("podman", "--runtime", "runc", "inspect", "--format", "{{.State.ExitCode}}", name)
        assert ended.stdout.strip() == "0"
    finally:
        call("podman", "--runtime", "runc", "rm", "--force", name)


# -- an image as an engine ----------------------------------------------------------------------------------

PODMAN = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
"""
SLEEP = ["python3", "-c", "import time; print('progress 0.1 sleeps', flush=True); time.sleep(600)"]


class Bands(EngineConformance):
    """The rules that every engine keeps."""

    engine = "container"


@pytest.fixture
def derived(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[list[str]], str]]:
    """`derived(entrypoint)`: an image with that entry point, and the program of docs/engines.md in it."""
    (tmp_path / "containers.conf").write_text(PODMAN)
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    monkeypatch.delenv("IRIS_ENGINE__COMMAND", raising=False)
    name = f"localhost/iris-bands:{images.tag}"
    write_program(tmp_path)

    def make(entrypoint: list[str]) -> str:
        working = call("buildah", "from", images.name("batch")).stdout.strip()
        call("buildah", "copy", working, str(tmp_path / "bands.py"), "/bands.py")
        call("buildah", "config", "--entrypoint", json.dumps(entrypoint), working)
        call("buildah", "commit", working, name)
        call("buildah", "rm", working)
        monkeypatch.setenv("IRIS_ENGINE__IMAGE", name)
        return name

    yield make
    call("buildah", "rmi", name)


def test_image_as_an_engine_does_its_job_as_its_own_user(
    derived: Callable[[list[str]], str], tmp_path: Path
) -> None:
    derived(["python3", "/bands.py"])
    Bands().test_job_has_a_manifest_with_the_engine_and_every_name(tmp_path)


def test_image_as_an_engine_does_not_outlive_its_job(
    derived: Callable[[list[str]], str], tmp_path: Path
) -> None:
    image = derived(SLEEP)

    def running() -> str:
        return call("podman", "ps", "--quiet", "--filter", f"ancestor={image}").stdout.strip()

    (tmp_path / "job").mkdir()
    folder = Bands()._job_folder(tmp_path / "job")
    command = [sys.executable, "-m", "batch_job", f"{folder}/"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as job:
        wait_until(running)
        job.kill()
    wait_until(lambda: not running())
