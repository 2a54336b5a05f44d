"""The Dockerfile, the build script and the lists beside them, without building anything."""

import ast
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
    engine = {path for path in (ROOT / "batch_job").rglob("*.py") if "totalsegmentator" in str(path)}
    imported = set().union(*(imports_of(path) for path in set((ROOT / "batch_job").rglob("*.py")) - engine))
    foreign = imported - set(sys.stdlib_module_names) - {"batch_job"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} - {None} == names_in("batch.txt")


def test_batch_image_pins_everything_that_it_names() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names_in("batch.txt") <= pinned
