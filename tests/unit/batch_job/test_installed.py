"""Engines of other packages, by their entry points."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_job.contract import ContractError, engine_facts, find_task
from gateway.config import Config
from tests.own_engines import install_bright

ROOT = Path(__file__).parents[3]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages on Python's path, with `bright` in it."""
    install_bright(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("bright", None)


def test_engine_of_another_package_is_one_as_any_other(packages: Path) -> None:
    facts = Config(engine={"name": "bright"}).engine.facts
    assert (facts.package, facts.version, facts.loader) == ("bright", "1.2", "bright:Bright")
    assert find_task("bright/bright") == (facts, "bright")


def test_engine_of_another_package_works_in_a_process_of_its_own(packages: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "batch_job", "check", "bright", "bright"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{packages}"},
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("bright 1\nfinds bright_region in the reference case")


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("import no_such_module", r"the engine bright \(bright:Bright\) does not load: ModuleNotFoundError"),
        ("class Bright: pass", "does not load: AttributeError"),
        ("class Bright:\n    facts = 3", "its facts are no dictionary"),
        ("class Bright:\n    facts = {'about': 'x'}", "algorithm_family: is missing"),
    ],
)
def test_engine_of_another_package_that_is_broken_is_told_by_its_name(
    packages: Path, module: str, sentence: str
) -> None:
    (packages / "bright.py").write_text(module)
    with pytest.raises(ContractError, match=sentence):
        engine_facts("bright")


def test_engine_that_is_not_there_is_told_with_those_of_other_packages(packages: Path) -> None:
    with pytest.raises(ContractError, match=r"known: container, nnunet, threshold, totalsegmentator, bright"):
        engine_facts("dark")
