"""The converter as a package of its own: all of it, with what it needs and nothing else."""

import ast
import json
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
OWN = tomllib.loads((ROOT / "converter" / "pyproject.toml").read_text())["project"]
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BY_PLUGIN: Final = {"pylibjpeg", "pylibjpeg-openjpeg", "python-gdcm"}
"""What pydicom decodes by, once it is there."""


def _name(requirement: str) -> str:
    return requirement.partition(">")[0]


def test_converter_package_has_the_gateways_version_and_asks_for_the_same_of_others() -> None:
    assert OWN["version"] == WHOLE["version"]
    assert OWN["requires-python"] == WHOLE["requires-python"]
    assert set(OWN["dependencies"]) <= set(WHOLE["dependencies"])


def test_converter_package_needs_what_its_files_import_and_nothing_else() -> None:
    imported: set[str] = set()
    for path in (ROOT / "converter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"converter"}
    packages = metadata.packages_distributions()
    needed = {name.lower().replace("_", "-") for module in foreign for name in packages[module]}
    assert {_name(each) for each in OWN["dependencies"]} == needed | BY_PLUGIN


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=ROOT / "converter",
        capture_output=True,
        text=True,
        check=True,
    )
    return folder / done.stdout.split()[-1]


def test_converter_wheel_holds_all_of_it_and_works_without_the_gateway(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("converter/")}
        archive.extractall(tmp_path / "there")
    known = subprocess.run(
        ["git", "ls-files", "converter"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert names == set(known.stdout.split()) - {"converter/pyproject.toml"}
    # Where the gateway is not installed, its own version is that of this package.
    try_it = """
import json, sys
from importlib import metadata
installed = metadata.version
def without_the_gateway(name):
    if name == "iris-gateway":
        raise metadata.PackageNotFoundError(name)
    return installed(name)
metadata.version = without_the_gateway
sys.path.insert(0, "there")
import converter
made = converter.convert(sys.argv[1], "ct.nii.gz")
print(json.dumps([converter.__file__, converter.__version__, "gateway" in sys.modules]))
"""
    series = ROOT / "examples" / "ct-abdomen-jpeg2000"
    done = subprocess.run(
        [sys.executable, "-c", try_it, str(series)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    said: list[Any] = json.loads(done.stdout)
    assert said == [str(tmp_path / "there" / "converter" / "__init__.py"), OWN["version"], False]
    assert (tmp_path / "ct.nii.gz").stat().st_size > 0
