"""The Dockerfile, the build script and the lists beside them, without building anything."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "botocore": "boto3", "mypy_boto3_s3": None}
"""Names of imports that are not those of what is installed; None: for the type checker alone."""


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is not installed (pip install -e .[dev])"
    return found


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "Dockerfile"),
        ("shellcheck", "container/build-images.sh", "infra/functions/build.sh", ".ci/run"),
    ],
    ids=lambda command: command[0],
)
def test_container_file_passes_its_linter(command: tuple[str, ...]) -> None:
    result = subprocess.run(
        [program(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.returncode, result.stdout) == (0, "")


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def names_in(requirements: str) -> set[str]:
    lines = (ROOT / "container" / requirements).read_text().splitlines()
    return {re.split(r"[<>=\[]", line)[0] for line in lines if line and not line.startswith("#")}


def test_batch_image_installs_exactly_what_the_job_imports() -> None:
    of_engines = ("totalsegmentator", "nnunet")  # what these need is in segment.txt
    engine = {
        path for path in (ROOT / "batch_job").rglob("*.py") if any(name in str(path) for name in of_engines)
    }
    imported = set().union(*(imports_of(path) for path in set((ROOT / "batch_job").rglob("*.py")) - engine))
    foreign = imported - set(sys.stdlib_module_names) - {"batch_job"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} - {None} == names_in("batch.txt")


def pins_in(file: str) -> dict[str, str]:
    """The version of every package that a constraints file names; of each a hash is known."""
    blocks = re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / file).read_text())
    found = {}
    for block in blocks:
        if pin := re.match(r"([a-z0-9.-]+)==([^ ;]+)", block):
            assert re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", block), f"{pin[0]} in {file} has no hash"
            found[pin[1]] = pin[2]
    assert found
    return found


def test_images_pin_everything_that_they_name_with_its_hashes() -> None:
    engine = pins_in("constraints-engine.txt")
    assert names_in("batch.txt") <= set(pins_in("constraints.txt"))
    assert {name.lower() for name in names_in("segment.txt")} <= set(engine)
    assert set(pins_in("constraints-tools.txt")) >= {
        "bandit",
        "check-jsonschema",
        "cyclonedx-bom",
        "mkdocs-material",
        "pip-audit",
        "twine",
        "uv",
    }
    assert set(pins_in("container/pip.txt")) == {"pip"}
    dockerfile = (ROOT / "Dockerfile").read_text()
    for command in re.findall(r"pip (?:--python \S+ )?install(?:[^\n]|\\\n)*", dockerfile):
        assert ("--require-hashes" in command) != ("--no-deps" in command), command
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE)


def test_engine_in_the_image_is_what_was_tested_but_for_torch() -> None:
    rest, engine = pins_in("constraints.txt"), pins_in("constraints-engine.txt")
    assert {name: engine[name] for name in rest.keys() & engine.keys()} == {
        name: rest[name] for name in rest.keys() & engine.keys()
    }
    cpu, cuda = pins_in("container/constraints-cpu.txt"), pins_in("container/constraints-cuda.txt")
    assert set(cpu) == {"torch"}
    assert {"torch", "nvidia-cuda-runtime-cu12"} <= set(cuda)  # CUDA 12: drivers from 525 on
    assert not engine.keys() & (cpu.keys() | cuda.keys())


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, ""),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
            1,
            "pins.txt: a 1: CVE-1, fixed in 2\n",
        ),
        ([{"name": "a", "skip_reason": "not found"}], 0, "pins.txt: NOT AUDITED: no source"),
        (None, 0, "pins.txt: NOT AUDITED: no source"),
    ],
    ids=["nothing known", "a vulnerability", "an index that knows none", "no index"],
)
def test_audit_fails_for_what_is_known_and_says_where_nothing_was_compared(
    tmp_path: Path, answer: object, code: int, said: str
) -> None:
    program = tmp_path / "pip-audit"
    content = json.dumps({"dependencies": answer}) if answer is not None else ""
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{content}\nEND\n")
    program.chmod(0o755)
    command = [sys.executable, str(ROOT / "container" / "audit.py"), str(program), "pins.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.startswith(said)) == (code, True), done.stderr
    assert bool(said) == bool(done.stderr)
